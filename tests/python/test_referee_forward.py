"""The int8 forward pass against interpreters that others wrote: bit for bit with LiteRT and TFLite Micro, to a step with onnxruntime.

The referees come with the extra ``referee`` (``make setup-dev``); without them this module fails, it is not skipped.
"""

from __future__ import annotations

import numpy as np
import pytest

from exporter.emit_onnx import emit_onnx
from exporter.emit_tflite import emit_tflite, frozen_parts, part_outputs
from exporter.graph import I8, Graph
from exporter.oracle import forward
from exporter.oracle.forward import run_node
from exporter.quantize import quantize_input
from tests.python import networks, referees
from tests.python.graph_factory import random_input, small_graph

IMAGES = 100
SMALL_SEEDS = range(24)


@pytest.fixture(scope="module")
def real() -> tuple[Graph, I8, dict[str, I8]]:
    """The shipped network, 100 real images, and all tensors the oracle computes for them."""
    graph = networks.resnet26_int8()
    x = quantize_input(networks.sample()[0][:IMAGES])
    parts = [forward(graph, x[start : start + 10]) for start in range(0, IMAGES, 10)]
    return graph, x, {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def check_all_tensors(graph: Graph, x: I8, expected: dict[str, I8]) -> None:
    model, names = referees.all_tensors_tflite(graph)
    found = {
        "LiteRT": referees.litert(model, x),
        "TFLite Micro": referees.tflite_micro(model, x, len(names)),
    }
    for referee, tensors in found.items():
        for name, tensor in zip(names, tensors, strict=True):
            wrong = int(np.count_nonzero(tensor.reshape(-1) != expected[name].reshape(-1)))
            assert not wrong, f"{referee}: {wrong} of {tensor.size} values of '{name}' differ"


@pytest.mark.slow
def test_every_tensor_of_100_real_images_equals_litert_and_tflite_micro(
    real: tuple[Graph, I8, dict[str, I8]],
) -> None:
    check_all_tensors(*real)


@pytest.mark.slow
def test_the_emitted_whole_model_gives_the_same_logits(
    real: tuple[Graph, I8, dict[str, I8]],
) -> None:
    graph, x, expected = real
    model = emit_tflite(graph)
    want = expected[graph.output].reshape(len(x), -1)
    np.testing.assert_array_equal(referees.litert(model, x)[0], want)
    np.testing.assert_array_equal(referees.tflite_micro(model, x)[0], want)


@pytest.mark.slow
@pytest.mark.parametrize("optimise", [True, False])
def test_onnxruntime_logits_are_within_one_step(
    real: tuple[Graph, I8, dict[str, I8]], optimise: bool
) -> None:
    graph, x, expected = real
    found = referees.logit_steps(graph, referees.onnx_logits(emit_onnx(graph), x, optimise))
    distance = np.abs(found - expected[graph.output].reshape(len(x), -1))
    within = float(np.mean(distance <= 1))
    assert within >= 0.99, f"{100 * within:.2f} % of the logits are within one step, expected 99 %"


@pytest.mark.slow
@pytest.mark.parametrize("blocks", [("fc",), ("block3",), ("block1",), ("block1", "block3", "fc")])
def test_frozen_parts_continue_the_network(
    real: tuple[Graph, I8, dict[str, I8]], blocks: tuple[str, ...]
) -> None:
    graph, _, tensors = real
    for nodes in frozen_parts(graph, blocks).values():
        outputs = part_outputs(graph, nodes)
        sources = {name for node in nodes for name in node.inputs} - {node.output for node in nodes}
        assert len(sources) == 1
        x = tensors[sources.pop()][:4]
        for run in (referees.litert(emit_tflite(graph, nodes), x),
                    referees.tflite_micro(emit_tflite(graph, nodes), x, len(outputs))):  # fmt: skip
            for name, found in zip(outputs, run, strict=True):
                np.testing.assert_array_equal(found.reshape(-1), tensors[name][:4].reshape(-1))


@pytest.mark.parametrize("seed", SMALL_SEEDS)
def test_random_networks_equal_litert_and_tflite_micro(seed: int) -> None:
    graph = small_graph(seed)
    x = random_input(graph, 6, seed)
    check_all_tensors(graph, x, forward(graph, x))


@pytest.mark.parametrize("seed", SMALL_SEEDS)
def test_each_operator_in_onnxruntime_is_within_one_step(seed: int) -> None:
    """Given the tensors onnxruntime computed, our operators find its next ones to a step (errors do not add up)."""
    graph = small_graph(seed)
    found = referees.onnx_tensors(graph, random_input(graph, 6, seed))
    for node in graph.nodes:
        ours = run_node(node, graph, found, {})
        distance = int(np.abs(ours.astype(int) - found[node.output]).max())
        assert distance <= 1, f"'{node.name}' is {distance} steps away"
