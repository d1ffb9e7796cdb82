"""The front end: state dicts of the ResNet-26 family to float graphs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from exporter import reference
from exporter.errors import ExporterError
from exporter.frontends import load_graph
from exporter.graph import AveragePool, ChannelPad, Conv2d, DepthwiseConv2d
from exporter.model import ResNet26, load_resnet26
from tests.python import networks

State = dict[str, np.ndarray]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return networks.write_random(tmp_path / "net.safetensors")


def test_the_graph_computes_what_pytorch_computes(checkpoint: Path) -> None:
    graph, _ = load_graph(checkpoint)
    model = load_resnet26(
        {k: torch.from_numpy(v.copy()) for k, v in networks.random_state().items()}
    )
    images = networks.random_images(3)
    x = torch.from_numpy(reference.normalise(images).transpose(0, 3, 1, 2).copy())
    with torch.no_grad():
        expected = model(x).numpy()
    np.testing.assert_allclose(reference.logits(graph, images), expected, rtol=1e-4, atol=1e-4)


def test_structure_and_blocks(checkpoint: Path) -> None:
    graph, found = load_graph(checkpoint)
    assert graph.name == "resnet26"
    assert graph.blocks == ("block1", "block2", "block3", "fc")
    assert graph.shapes[graph.output] == (1, 1, 10)
    assert len(found.sha256) == 64
    kinds = [type(node) for node in graph.nodes]
    assert (kinds.count(Conv2d), kinds.count(DepthwiseConv2d)) == (26, 13)
    assert (kinds.count(AveragePool), kinds.count(ChannelPad)) == (3, 2)
    ends = {block: [n.name for n in graph.nodes if n.block == block] for block in graph.blocks}
    assert (ends["block1"][0], ends["block1"][-1]) == ("conv1", "layer1.3.add")
    assert (ends["block3"][-2:], ends["fc"]) == (["bn", "pool"], ["fc"])
    # Nodes come in execution order, and each tensor is written once.
    known = {graph.input}
    for node in graph.nodes:
        assert set(node.inputs) <= known and node.output not in known
        known.add(node.output)
    assert known == set(graph.shapes)


@pytest.mark.parametrize(("depth", "width", "classes"), [(1, 8, 2), (2, 16, 14), (3, 32, 100)])
def test_depth_width_and_classes_are_read_from_the_names(
    tmp_path: Path, depth: int, width: int, classes: int
) -> None:
    path = networks.write_random(
        tmp_path / "n.safetensors", depth=depth, width=width, classes=classes
    )
    graph, _ = load_graph(path)
    assert graph.name == f"resnet{6 * depth + 2}"
    assert graph.shapes["conv1.y"][2] == width
    assert len(graph.classes) == classes


@pytest.mark.parametrize("key", [None, "state_dict", "net", "model"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_pytorch_files_nested_or_prefixed(tmp_path: Path, key: str | None, prefix: str) -> None:
    state = {prefix + name: value for name, value in ResNet26(10).state_dict().items()}
    path = tmp_path / "net.pt"
    torch.save({key: state, "epoch": 3} if key else state, path)
    graph, _ = load_graph(path)
    assert len(graph.nodes) == 56


def spoil(change: Callable[[State], object]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        state: State = dict(networks.random_state())
        change(state)
        save_file(state, folder / "net.safetensors")
        return folder / "net.safetensors"

    return make


def set_item(name: str, value: np.ndarray) -> Callable[[State], object]:
    return lambda state: state.__setitem__(name, value.astype(np.float32))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (spoil(lambda s: s.pop("layer2.1.bn2.weight")), "'layer2.1.bn2.weight' is missing"),
        (spoil(lambda s: s.pop("fc.bias")), "'fc.bias' is missing"),
        (spoil(lambda s: s.clear()), "no tensor with a name like"),
        (spoil(set_item("conv1.weight", np.zeros((16, 1, 3, 3)))), "'conv1.weight' has shape"),
        (spoil(set_item("fc.weight", np.zeros((10, 32)))), "'fc.weight' has shape"),
        (spoil(set_item("bn.bias", np.full(64, np.nan))), "not finite"),
        (spoil(set_item("bn.running_var", np.full(64, -1.0))), "negative variance"),
        (spoil(set_item("bn.bias", np.zeros(3))), "different lengths"),
        (spoil(set_item("extra.weight", np.zeros(3))), "'extra.weight' is not part"),
        (spoil(set_item("layer5.0.bn1.weight", np.zeros(3))), "stage 4"),
    ],
)
def test_state_dicts_that_do_not_fit(
    tmp_path: Path, make: Callable[[Path], Path], words: str
) -> None:
    with pytest.raises(ExporterError, match=words) as caught:
        load_graph(make(tmp_path))
    assert "net.safetensors" in str(caught.value) and "expected" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "contents", "words"),
    [
        ("absent.safetensors", None, "does not exist"),
        ("net.safetensors", b"", "damaged"),
        ("net.safetensors", b"\xff" * 64, "damaged"),
        ("net.pt", b"PK\x03\x04 not a zip", "damaged"),
        ("net.pth", b"", "damaged"),
        ("net.h5", b"x", "expected .safetensors"),
    ],
)
def test_files_that_cannot_be_read(
    tmp_path: Path, name: str, contents: bytes | None, words: str
) -> None:
    if contents is not None:
        (tmp_path / name).write_bytes(contents)
    with pytest.raises(ExporterError, match=words):
        load_graph(tmp_path / name)


def test_a_cut_file_is_damaged(checkpoint: Path) -> None:
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    with pytest.raises(ExporterError, match="damaged"):
        load_graph(checkpoint)


def test_code_in_a_pickle_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return eval, ("1/0",)

    torch.save({"conv1.weight": Evil()}, tmp_path / "net.pt")
    with pytest.raises(ExporterError, match="could run code"):
        load_graph(tmp_path / "net.pt")


def test_without_pytorch_the_message_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(ResNet26(10).state_dict(), tmp_path / "net.pt")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ExporterError, match="make setup-dev"):
        load_graph(tmp_path / "net.pt")


def test_a_folder_is_not_a_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "net.safetensors").mkdir()
    with pytest.raises(ExporterError, match="cannot be read"):
        load_graph(tmp_path / "net.safetensors")
