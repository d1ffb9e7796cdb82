"""The firmware's engine, built for this computer, equals the NumPy oracle bit for bit on the shipped network and real images."""

from __future__ import annotations

import numpy as np
import pytest

from exporter.artifact import write_artifact
from exporter.oracle import Oracle, forward
from exporter.oracle.fixed import normalised
from exporter.partition import parse_blocks
from exporter.plan import make_plan
from tests.integration.shipped import PARTITIONS, graph, int8_images, task
from tests.python.runtime_board import Board

STEPS = 20
BATCH = 2
RATE = 5e-3


@pytest.mark.parametrize("mode", ["accumulate", "immediate"])
@pytest.mark.parametrize("blocks", PARTITIONS)
def test_gradients_and_weights_after_twenty_steps(blocks: str, mode: str) -> None:
    network, data = graph(), task().train
    chosen = parse_blocks(network, blocks)
    images, labels = int8_images(data.images), data.labels
    immediate = mode == "immediate"
    oracle = Oracle(network, chosen, immediate=immediate, seed=11)
    board = Board(arena_bytes=4 << 20, cache_bytes=8 << 20)
    board.load(write_artifact(make_plan(network, chosen, mode)))
    rate = normalised(RATE) if immediate else normalised(RATE / BATCH)
    board.configure(rate, seed=11)
    batch = 1 if immediate else BATCH
    for step in range(STEPS):
        for k in range(batch):
            i = step * batch + k
            board.cache_sample(i, images[i], int(labels[i]))
            expected = oracle.train_sample(images[i], int(labels[i]), rate)
            found = board.train_sample(i)
            assert (found.loss_q16, found.prediction) == (expected.loss_q16, expected.prediction)
            if step < 3:
                assert_gradients_equal(board, oracle, expected.gradients)
        oracle.end_batch(rate)
        board.end_batch()
    assert_weights_equal(board, oracle)
    assert board.weights_sha256() == oracle.weights_sha256()
    assert any(
        not np.array_equal(oracle.parameters[e.node.name][1], e.node.quant.bias)  # type: ignore[union-attr]
        for e in oracle.trained
    ), "nothing was trained, so nothing was compared"


def assert_gradients_equal(board: Board, oracle: Oracle, gradients: dict[str, tuple]) -> None:  # type: ignore[type-arg]
    """Every gradient of the last sample, before accumulation."""
    assert len(gradients) == len(oracle.trained)
    for entry in oracle.trained:
        weights, biases, exponent = gradients[entry.node.name]
        for number, expected in ((2 * entry.number, weights), (2 * entry.number + 1, biases)):
            if expected is None:
                continue
            found = board.gradient(number)
            assert found is not None, f"{entry.node.name}: the engine formed no gradient"
            values, its_exponent = found
            assert its_exponent == exponent, entry.node.name
            np.testing.assert_array_equal(values.ravel(), expected.ravel(), entry.node.name)


def assert_weights_equal(board: Board, oracle: Oracle) -> None:
    """All trained tensors, so that a failure names the first that differs."""
    for entry in oracle.trained:
        weight, bias = oracle.parameters[entry.node.name]
        if not entry.bias_only:
            found = np.frombuffer(board.read_trained(2 * entry.number), np.int8)
            np.testing.assert_array_equal(found, weight.ravel(), entry.node.name)
        found_bias = np.frombuffer(board.read_trained(2 * entry.number + 1), np.int32)
        np.testing.assert_array_equal(found_bias, bias, entry.node.name)


def test_logits_of_a_hundred_real_images() -> None:
    network = graph()
    images = int8_images(task("cifar10").test.images[:100])
    board = Board(arena_bytes=1 << 20)
    board.load(write_artifact(make_plan(network, ("fc",))))
    expected = forward(network, images)[network.output].reshape(len(images), -1)
    found = np.stack([board.infer(image)[0] for image in images])
    np.testing.assert_array_equal(found, expected)
