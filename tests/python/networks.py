"""Checkpoints and networks for tests: the shipped ResNet-26 where it is there, else one with random weights."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from exporter.calibration import calibrate
from exporter.frontends import Checkpoint, graph_from_checkpoint
from exporter.graph import Graph
from exporter.quantize import quantize
from host.datasets.cifar10_files import read_sample
from host.quantizing import DEFAULT_CHECKPOINT, quantized_graph


def random_state(
    seed: int = 0, classes: int = 10, depth: int = 4, width: int = 16
) -> dict[str, NDArray[np.float32]]:
    """State dict of the ResNet-26 family with random weights that keep activations of the order of 1."""
    rng = np.random.default_rng(seed)
    state: dict[str, NDArray[np.float32]] = {}

    def put(name: str, value: NDArray[np.float64]) -> None:
        state[name] = value.astype(np.float32)

    def conv(name: str, outputs: int, inputs: int) -> None:
        put(
            f"{name}.weight",
            rng.standard_normal((outputs, inputs, 3, 3)) * np.sqrt(2 / (9 * inputs)),
        )

    def norm(name: str, channels: int) -> None:
        put(f"{name}.weight", rng.uniform(0.5, 1.5, channels))
        put(f"{name}.bias", rng.normal(0, 0.3, channels))
        put(f"{name}.running_mean", rng.normal(0, 0.5, channels))
        put(f"{name}.running_var", rng.uniform(0.5, 2, channels))
        state[f"{name}.num_batches_tracked"] = np.array(7, dtype=np.int64)  # type: ignore[assignment]

    conv("conv1", width, 3)
    inputs = width
    for stage in (1, 2, 3):
        outputs = width << (stage - 1)
        for index in range(depth):
            name = f"layer{stage}.{index}"
            norm(f"{name}.bn1", inputs)
            conv(f"{name}.conv1", outputs, inputs)
            norm(f"{name}.bn2", outputs)
            conv(f"{name}.conv2", outputs, outputs)
            inputs = outputs
    norm("bn", inputs)
    put("fc.weight", rng.normal(0, 0.2, (classes, inputs)))
    put("fc.bias", rng.normal(0, 0.1, classes))
    return state


def write_random(path: Path, seed: int = 0, **family: int) -> Path:
    """A random checkpoint as safetensors."""
    save_file(random_state(seed, **family), path)  # type: ignore[arg-type]
    return path


def random_images(count: int, seed: int = 0) -> NDArray[np.uint8]:
    """8-bit images (count, 32, 32, 3) of noise."""
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


@cache
def sample() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The bundled CIFAR-10 images and labels."""
    images, labels, _ = read_sample()
    return images, labels


@cache
def small_float() -> Graph:
    """Float graph of a short random member of the family (one residual block a stage, 8/16/32 channels)."""
    return graph_from_checkpoint(
        Checkpoint(Path("random"), "", dict(random_state(depth=1, width=8)))
    )


@cache
def small_int8() -> Graph:
    """Its int8 form, calibrated on four random images."""
    graph = small_float()
    return quantize(graph, calibrate(graph, random_images(4), "random images").ranges)


@cache
def resnet26_int8() -> Graph:
    """The shipped ResNet-26 in int8, or one with random weights where none is shipped yet."""
    if DEFAULT_CHECKPOINT.exists():
        return quantized_graph(DEFAULT_CHECKPOINT)[0]
    graph = graph_from_checkpoint(Checkpoint(Path("random"), "", dict(random_state())))
    return quantize(graph, calibrate(graph, sample()[0][:32], "sample").ranges)
