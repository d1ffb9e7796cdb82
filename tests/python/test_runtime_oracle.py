"""Engine against NumPy oracle on small random networks of all operators: gradients, accumulators, weights, to the bit."""

from __future__ import annotations

import numpy as np
import pytest

from exporter.artifact import write_artifact
from exporter.oracle.accumulate import RowAccumulator
from exporter.oracle.fixed import normalised
from exporter.oracle.train import Oracle, SampleResult, TrainedNode
from exporter.plan import make_plan
from tests.python.graph_factory import random_input, small_graph
from tests.python.runtime_board import Board

NETWORKS = range(16)
BATCHES, BATCH = 3, 3


def rows_of(entry: TrainedNode, weights: np.ndarray, rows: int) -> np.ndarray:
    """A weight gradient with one output channel per row."""
    depthwise = weights.ndim == 3
    return weights.reshape(-1, rows).T if depthwise else weights.reshape(rows, -1)


def compare_gradients(board: Board, oracle: Oracle, expected: SampleResult) -> None:
    for entry in oracle.trained:
        found = [board.gradient(2 * entry.number + i) for i in range(2)]
        if expected.skipped:
            assert found == [None, None]
            continue
        weights, biases, exponent = expected.gradients[entry.node.name]
        if weights is None:
            assert found[0] is None
        else:
            assert found[0] is not None
            np.testing.assert_array_equal(found[0][0], rows_of(entry, weights, biases.size))
            assert found[0][1] == exponent
        assert found[1] is not None
        np.testing.assert_array_equal(found[1][0][:, 0], biases)
        assert found[1][1] == exponent


def compare_accumulators(board: Board, oracle: Oracle) -> None:
    held: dict[int, RowAccumulator] = oracle._accumulators
    for number, accumulator in held.items():
        pairs = (
            (accumulator.weights, accumulator.weight_exponents),
            (accumulator.biases[:, None], accumulator.bias_exponents),
        )
        for i, (values, exponents) in enumerate(pairs):
            found = board.accumulator(2 * number + i)
            if values is None:
                assert found is None
                continue
            assert found is not None
            np.testing.assert_array_equal(found[1], exponents)
            filled = exponents != -32768  # an empty row's numbers mean nothing
            np.testing.assert_array_equal(found[0][filled], values[filled])


@pytest.mark.parametrize("mode", ["accumulate", "immediate"])
@pytest.mark.parametrize("blocks", ["first", "last", "all"])
@pytest.mark.parametrize("network", NETWORKS)
def test_training(network: int, blocks: str, mode: str) -> None:
    graph = small_graph(network)
    names = {"all": graph.blocks, "first": graph.blocks[:1], "last": graph.blocks[-1:]}[blocks]
    board = Board(1 << 16, 1 << 16)
    board.load(write_artifact(make_plan(graph, names, mode, iterations=50)))
    seed = 1000 + network
    oracle = Oracle(graph, names, immediate=mode == "immediate", seed=seed)
    images = random_input(graph, BATCHES * BATCH, network)
    for batch in range(BATCHES):
        rate = normalised(0.03 / (batch + 1))
        if batch == 0:
            board.configure(rate, seed)
        board.set_learning_rate(rate)
        for i in range(batch * BATCH, (batch + 1) * BATCH):
            label = i % len(graph.classes)
            result = board.train_input(images[i], label)
            expected = oracle.train_sample(images[i], label, rate)
            assert (result.loss_q16, result.prediction, result.skipped) == (
                expected.loss_q16,
                expected.prediction,
                expected.skipped,
            )
            compare_gradients(board, oracle, expected)
            compare_accumulators(board, oracle)
        board.end_batch()
        oracle.end_batch(rate)
        assert board.weights_sha256() == oracle.weights_sha256(), f"after batch {batch}"
        assert board.step == oracle.step
