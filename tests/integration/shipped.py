"""The shipped network and the bundled images, as the integration tests use them."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from exporter.graph import Graph
from host.datasets.registry import Task, load_task
from host.exporting import DEFAULT_CHECKPOINT, quantized_graph

PARTITIONS = ("fc", "block1", "block2", "block3", "block3,fc", "all")


@cache
def graph() -> Graph:
    """Int8 graph of the bundled CIFAR-10 checkpoint."""
    return quantized_graph(DEFAULT_CHECKPOINT)[0]


@cache
def task(name: str = "cifar-10-c:gaussian_noise:5", train_images: int = 48) -> Task:
    """A shifted task on the bundled sample."""
    return load_task(name, train_images=train_images, data_source="sample")


def int8_images(images: NDArray[np.uint8]) -> NDArray[np.int8]:
    """What a board makes of uint8 images."""
    return (images.astype(np.int16) - 128).astype(np.int8)
