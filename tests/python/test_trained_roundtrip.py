"""Trained tensors back into a graph and into checkpoints that the exporter and PyTorch read again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from exporter import reference
from exporter.artifact import write_artifact
from exporter.calibration import calibrate
from exporter.checkpoint_write import store_calibration
from exporter.errors import ExporterError
from exporter.frontends import Checkpoint, load_graph
from exporter.graph import Conv2d, DepthwiseConv2d, Graph
from exporter.model import load_resnet26
from exporter.oracle import forward
from exporter.plan import make_plan
from exporter.quantize import quantize_input
from exporter.trained import dequantize_blocks, int8_path, merge_trained, write_trained
from host.quantizing import quantized_graph
from tests.python import networks

ALL = ("block1", "block2", "block3", "fc")
CASES = [("fc",), ("block1",), ("block2",), ("block3", "fc"), ALL]
Tensors = dict[str, NDArray[np.integer]]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random ResNet-26 with its ranges stored."""
    path = tmp_path_factory.mktemp("source") / "net.safetensors"
    graph, _ = load_graph(networks.write_random(path))
    store_calibration(path, calibrate(graph, networks.random_images(2), "random images"))
    return path


def trained_tensors(graph: Graph, blocks: tuple[str, ...], seed: int = 0) -> Tensors:
    """Tensors as a board returns them: weights moved by some steps, biases by about 0.1 in real units."""
    rng = np.random.default_rng(seed)
    found: Tensors = {}
    for node in graph.nodes:
        if not isinstance(node, Conv2d | DepthwiseConv2d) or node.block not in blocks:
            continue
        assert node.quant is not None
        if not (isinstance(node, DepthwiseConv2d) and node.is_affine):
            moved = node.quant.weight.astype(int) + rng.integers(-5, 6, node.quant.weight.shape)
            found[f"{node.name}.weight"] = np.clip(moved, -127, 127).astype(np.int8).reshape(-1)
        step = float(graph.quant[node.inputs[0]].scale) * node.quant.weight_scale
        change = np.rint(rng.normal(0, 0.1, len(step)) / step)
        found[f"{node.name}.bias"] = (node.quant.bias + change).astype(np.int32)
    return found


def write(source: Path, folder: Path, blocks: tuple[str, ...]) -> tuple[Graph, Checkpoint, Path]:
    graph, _, checkpoint, _ = quantized_graph(source)
    trained = merge_trained(graph, trained_tensors(graph, blocks))
    path, side = write_trained(
        folder / "trained.safetensors", trained, checkpoint, blocks, {"seed": "7"}
    )
    assert side == int8_path(path) and sorted(folder.iterdir()) == sorted([path, side])
    return trained, checkpoint, path


@pytest.mark.parametrize("blocks", CASES, ids=",".join)
def test_export_makes_the_very_same_artifact_again(
    source: Path, tmp_path: Path, blocks: tuple[str, ...]
) -> None:
    trained, _, path = write(source, tmp_path, blocks)
    again = quantized_graph(path)[0]
    assert again.quant == trained.quant
    one, two = (
        write_artifact(make_plan(graph, ("fc",), iterations=0)) for graph in (trained, again)
    )
    assert one[16:48] == two[16:48], "model hashes differ"
    x = quantize_input(networks.random_images(2, seed=5))
    np.testing.assert_array_equal(
        forward(trained, x)[trained.output], forward(again, x)[again.output]
    )


@pytest.mark.parametrize("blocks", CASES, ids=",".join)
def test_pytorch_and_the_front_end_load_the_float_checkpoint(
    source: Path, tmp_path: Path, blocks: tuple[str, ...]
) -> None:
    trained, _, path = write(source, tmp_path, blocks)
    images = networks.random_images(3, seed=1)
    expected = reference.logits(dequantize_blocks(trained, blocks), images)
    graph, checkpoint = load_graph(path)
    np.testing.assert_allclose(reference.logits(graph, images), expected, rtol=1e-4, atol=1e-4)
    model = load_resnet26(load_file(path))
    x = torch.from_numpy(reference.normalise(images).transpose(0, 3, 1, 2).copy())
    with torch.no_grad():
        np.testing.assert_allclose(model(x).numpy(), expected, rtol=1e-4, atol=1e-4)
    assert checkpoint.metadata["tbft.trained_blocks"] == ",".join(blocks)
    assert checkpoint.metadata["seed"] == "7"


@pytest.mark.parametrize("blocks", CASES, ids=",".join)
def test_without_the_int8_file_it_is_quantized_anew_and_stays_close(
    source: Path, tmp_path: Path, blocks: tuple[str, ...]
) -> None:
    trained, _, path = write(source, tmp_path, blocks)
    int8_path(path).unlink()
    again = quantized_graph(path)[0]
    x = quantize_input(networks.random_images(4, seed=2))
    one, two = (
        forward(graph, x)[graph.output].astype(int).reshape(4, -1) for graph in (trained, again)
    )
    # Rounding of offsets that moved into batch norms, carried through 26 layers of random weights.
    assert np.abs(one - two).max() <= 8 and np.abs(one - two).mean() < 3


def test_frozen_tensors_are_taken_over_unchanged(source: Path, tmp_path: Path) -> None:
    _, before, path = write(source, tmp_path, ("fc",))
    _, after = load_graph(path)
    changed = {k for k, v in before.tensors.items() if not np.array_equal(v, after.tensors[k])}
    assert changed == {"fc.weight", "fc.bias"}


def test_training_can_continue_from_the_written_files(source: Path, tmp_path: Path) -> None:
    """A second round of training starts from the exact integers and unfolds again."""
    _, _, first = write(source, tmp_path, ("block1",))
    (tmp_path / "second").mkdir()
    trained, _, second = write(first, tmp_path / "second", ("block3",))
    images = networks.random_images(2)
    expected = reference.logits(dequantize_blocks(trained, ALL), images)
    found = reference.logits(load_graph(second)[0], images)
    assert np.abs(found - expected).max() < 0.1 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("nothing.weight", np.zeros(3, np.int8), "not part of"),
        ("fc.weight", np.zeros(3, np.int8), "3 elements"),
        ("fc.bias", np.zeros(10, np.int64), "int64"),
    ],
)
def test_tensors_that_do_not_fit(name: str, value: NDArray[np.integer], words: str) -> None:
    with pytest.raises(ExporterError, match=words):
        merge_trained(networks.small_int8(), {name: value})


def test_an_int8_file_of_another_checkpoint_is_refused(source: Path, tmp_path: Path) -> None:
    _, _, path = write(source, tmp_path, ("fc",))
    path.write_bytes(source.read_bytes())
    with pytest.raises(ExporterError, match="does not belong"):
        quantized_graph(path)


def test_a_damaged_int8_file_is_refused(source: Path, tmp_path: Path) -> None:
    _, _, path = write(source, tmp_path, ("fc",))
    side = int8_path(path)
    side.write_bytes(side.read_bytes()[:-10])
    with pytest.raises(ExporterError, match="damaged"):
        quantized_graph(path)
