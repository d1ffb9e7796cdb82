"""The checkpoints that are shipped: whole, described, and as accurate as they say."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from exporter.calibration import METADATA_KEY, stored_ranges
from exporter.frontends.state_dict import load_graph
from host.datasets.cifar10_files import CLASSES
from host.datasets.registry import load_task
from host.datasets.subpopulation import class_tables

NAMES = {"cifar10": CLASSES, "living14-tiny": class_tables()["living14-tiny"].superclasses}
FILES = {"cifar10": "resnet26-cifar10", "living14-tiny": "resnet26-living14"}
REQUIRED_ACCURACY = {"cifar10": 0.92, "living14-tiny": 0.66}


@pytest.fixture
def folder(repo: Path) -> Path:
    return repo / "checkpoints"


@pytest.mark.parametrize("name", NAMES)
def test_metadata_describes_the_checkpoint(folder: Path, name: str) -> None:
    _, checkpoint = load_graph(folder / f"{FILES[name]}.safetensors")
    metadata = checkpoint.metadata
    assert metadata["arch"] == "resnet26"
    assert metadata["dataset"] == name
    assert tuple(json.loads(metadata["class_names"])) == NAMES[name]
    assert int(metadata["num_classes"]) == len(NAMES[name])
    assert json.loads(metadata["input_shape_hwc"]) == [32, 32, 3]
    assert json.loads(metadata["mean"]) == json.loads(metadata["std"]) == [0.5, 0.5, 0.5]
    assert "host.pretrain" in metadata["command"]
    done, planned = metadata["epochs"].split("/")
    assert done == planned
    assert checkpoint.tensors["fc.weight"].shape == (len(NAMES[name]), 64)
    assert all(np.isfinite(value).all() for value in checkpoint.tensors.values())


@pytest.mark.parametrize("name", NAMES)
def test_accuracy_is_what_was_asked_for_and_the_card_says_the_same(folder: Path, name: str) -> None:
    _, checkpoint = load_graph(folder / f"{FILES[name]}.safetensors")
    accuracy = float(checkpoint.metadata["accuracy"])
    assert accuracy >= REQUIRED_ACCURACY[name]
    card = (folder / f"{FILES[name]}.md").read_text("utf-8")
    assert f"**{100 * accuracy:.2f} %**" in card
    assert checkpoint.metadata["command"] in card
    assert "Licence" in card and "Interim" not in card


@pytest.mark.parametrize("name", NAMES)
def test_activation_ranges_belong_to_the_weights(folder: Path, name: str) -> None:
    graph, checkpoint = load_graph(folder / f"{FILES[name]}.safetensors")
    assert METADATA_KEY in checkpoint.metadata
    ranges = stored_ranges(graph)
    assert ranges is not None and ranges.images == 512


def test_accuracy_holds_on_the_bundled_test_images(folder: Path) -> None:
    torch = pytest.importorskip("torch")
    from exporter.model import load_resnet26
    from host.pretraining import evaluate

    _, checkpoint = load_graph(folder / "resnet26-cifar10.safetensors")
    model = load_resnet26({k: torch.from_numpy(v) for k, v in checkpoint.tensors.items()})
    test = load_task("cifar10", data_source="sample").test
    claimed = float(checkpoint.metadata["accuracy"])
    # 1,500 of the 10,000 images: three standard deviations of such a draw are 2 points
    assert evaluate(model, test.images, test.labels) == pytest.approx(claimed, abs=0.02)


def test_calibration_images_are_training_images(folder: Path) -> None:
    with np.load(folder / "calibration-cifar10.npz") as stored:
        images, labels = stored["images"], stored["labels"]
        assert "CIFAR-10" in str(stored["source"])
    assert images.shape == (512, 32, 32, 3) and images.dtype == np.uint8
    assert set(np.bincount(labels)) == {51, 52}
    test = load_task("cifar10", data_source="sample").test
    seen = {hashlib.sha256(image.tobytes()).digest() for image in test.images}
    assert not seen & {hashlib.sha256(image.tobytes()).digest() for image in images}


def test_no_living14_images_are_shipped(folder: Path) -> None:
    assert not list(folder.glob("*living14*.npz"))
