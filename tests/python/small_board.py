"""A small network on the native board, for tests of the device client."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from exporter.artifact import write_artifact
from exporter.artifact_read import read_artifact
from exporter.plan import make_plan
from host.device import Device
from host.transport import open_port
from tests.python.graph_factory import random_input, small_graph

GRAPH = 1


@dataclass(frozen=True)
class SmallTask:
    """An artifact, its trained nodes' names, and random images that fit it."""

    data: bytes
    nodes: list[str]
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: int


@cache
def small_task(mode: str = "accumulate", images: int = 21) -> SmallTask:
    """The same for everybody."""
    graph = small_graph(GRAPH)
    data = write_artifact(make_plan(graph, ("all",), mode, None), {}, ())
    pixels = (random_input(graph, images, seed=5).astype(np.int16) + 128).astype(np.uint8)
    labels = np.random.default_rng(6).integers(0, len(graph.classes), images)
    artifact = read_artifact(data)
    nodes = [record["node"] for record in artifact.meta["trained"]]
    return SmallTask(data, nodes, pixels, labels, artifact.classes)


def native_url(**options: object) -> str:
    """`native://` with options, `_` for `-`."""
    query = "&".join(f"{name.replace('_', '-')}={value}" for name, value in options.items())
    return f"native://?{query}"


def open_native(**options: object) -> Device:
    """The native board."""
    return Device.open(native_url(**options))


def native_port(**options: object) -> object:
    """Its port alone."""
    return open_port(native_url(**options))


def flash_file(folder: Path) -> Path:
    """Where a test keeps the board's flash."""
    return folder / "flash.bin"
