"""A small board on duty, for tests: samples every ten minutes, labels a quarter of an hour later, fine-tuning on four."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from exporter.artifact import write_artifact
from exporter.plan import make_plan
from host.duty_schedule import Entry, schedule_bytes
from tests.python.duty_board import DutyBoard, Geometry
from tests.python.graph_factory import random_input, small_graph

GRAPH = 3
PERIOD_S = 600
DELAY_S = 900
START_S = 8 * 3600
SAMPLE = Entry("sample", PERIOD_S)
TUNE = Entry("tune", PERIOD_S, min_labelled=4, max_samples=4, epochs=2, batch=3, lr=0.1)
SCHEDULE = (SAMPLE, TUNE)
GEOMETRY = Geometry()


@cache
def artifact(graph: int = GRAPH, mode: str = "accumulate") -> bytes:
    """The same for everybody."""
    return write_artifact(make_plan(small_graph(graph), ("all",), mode))


@cache
def images() -> NDArray[np.int8]:
    """What the sensor will see."""
    return random_input(small_graph(GRAPH), 16, seed=7)


@cache
def labels() -> NDArray[np.int64]:
    """What it is."""
    classes = len(small_graph(GRAPH).classes)
    return np.random.default_rng(8).integers(0, classes, 16)


def reset(
    flash: bytes | None = None,
    geometry: Geometry = GEOMETRY,
    delay_s: int = DELAY_S,
    mode: str = "accumulate",
) -> DutyBoard:
    """A board fresh from reset with its sensor, not on duty yet."""
    board = DutyBoard(geometry, flash)
    board.load(artifact(GRAPH, mode))
    board.put_samples(images(), labels(), delay_s)
    board.put_battery((0, 4100, 100))
    return board


def on_duty(
    hours: float,
    schedule: tuple[Entry, ...] = SCHEDULE,
    geometry: Geometry = GEOMETRY,
    delay_s: int = DELAY_S,
    mode: str = "accumulate",
) -> DutyBoard:
    """A board that has just begun, for so many hours."""
    board = reset(None, geometry, delay_s, mode)
    board.write_schedule(schedule_bytes(schedule))
    board.start(START_S, START_S + round(3600 * hours))
    return board
