"""Several streams of one instrument, each in blocks of its own, made into samples in common.

A Joulescope sends current, voltage, current range and each digital input as streams of their own;
blocks of different streams do not match, come late, or are missing. Every element has its place on
the instrument's one sample counter, and that alone decides which belong together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from energy.samples import Flag, TraceChunk

PATIENCE_S = 1.0
LIMIT_A, LIMIT_V = 10.0, 15.0


class Lane:
    """One stream: blocks of `per_sample` values (1, or more where it is faster than the trace)."""

    def __init__(self) -> None:
        self.blocks: deque[tuple[int, NDArray[Any]]] = deque()
        self.first: int | None = None
        self.end = 0
        self._half: tuple[int, NDArray[Any]] | None = None

    def put(self, at: int, values: NDArray[Any], every: int, step: int) -> None:
        """Values from counter `at` on, `every` counts apart; `step` counts are one trace sample.

        Slower streams are held, of faster ones whole samples are kept as rows (n, step // every).
        """
        if every > step:
            values = np.repeat(values, every // step)
            every = step
        per = step // every
        if self._half is not None and self._half[0] + len(self._half[1]) * every == at:
            at, values = self._half[0], np.concatenate([self._half[1], values])
        self._half = None
        skip = (-(at // every)) % per  # to the first whole sample
        rows = (len(values) - skip) // per
        if rows <= 0:
            self._half = (at, values)
            return
        first = (at + skip * every) // step
        rest = values[skip + rows * per :]
        if len(rest):
            self._half = ((first + rows) * step, rest)
        if first < self.end:  # sent twice
            return
        self.blocks.append((first, values[skip : skip + rows * per].reshape(rows, per)))
        self.first = first if self.first is None else self.first
        self.end = first + rows

    def take(self, start: int, stop: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Values (stop - start, per) of these samples, and which of them are there; frees them."""
        there = np.zeros(stop - start, dtype=np.bool_)
        per = self.blocks[0][1].shape[1] if self.blocks else 1
        dtype = self.blocks[0][1].dtype if self.blocks else np.dtype(np.uint8)
        values = np.zeros((stop - start, per), dtype=dtype)
        while self.blocks and self.blocks[0][0] < stop:
            first, block = self.blocks.popleft()
            low, high = max(first, start), min(first + len(block), stop)
            if high > low:
                values[low - start : high - start] = block[low - first : high - first]
                there[low - start : high - start] = True
            if first + len(block) > stop:
                self.blocks.appendleft((stop, block[stop - first :]))
                break
        return values, there


class Assembler:
    """Streams in, samples out. `lines`: digital inputs; `with_range`: whether the range is sent."""

    def __init__(self, lines: int, *, with_range: bool) -> None:
        names = ["current", "voltage", *(f"gpi{n}" for n in range(lines))]
        self.lanes = {name: Lane() for name in [*names, *(["range"] if with_range else [])]}
        self.lines = lines
        self.rate_hz = 0.0
        self._step = 0
        self._waiting: list[tuple[str, dict[str, Any]]] = []
        self._base: int | None = None
        self._next = 0
        self._range: int | None = None

    def put(self, name: str, message: dict[str, Any]) -> None:
        """One block of the vendor's: `sample_id`, `sample_rate`, `decimate_factor`, `data`."""
        if self._step == 0:
            if name != "current":  # the current decides the trace's rate
                self._waiting.append((name, message))
                return
            self._step = int(message["decimate_factor"])
            self.rate_hz = float(message["sample_rate"]) / self._step
            waiting, self._waiting = self._waiting, []
            for earlier in waiting:
                self.put(*earlier)
        data = np.asarray(message["data"])
        if name.startswith("gpi"):
            data = np.unpackbits(data.astype(np.uint8), bitorder="little")
        if len(data):
            at, every = int(message["sample_id"]), int(message["decimate_factor"])
            self.lanes[name].put(at, data, every, self._step)

    def take(self, *, everything: bool = False) -> Iterator[TraceChunk]:
        """The samples for which all streams are there; a sample that one of them lacks is a gap.

        A stream that lags more than `PATIENCE_S` behind is not waited for, and what it lacks is a
        gap; a digital input or range that never came at all counts as low. `everything`: nothing
        will come any more.
        """
        begun = {name: lane for name, lane in self.lanes.items() if lane.first is not None}
        if not {"current", "voltage"} <= set(begun):
            return
        floor = min(lane.first or 0 for lane in begun.values())
        ends = [lane.end if lane.first is not None else floor for lane in self.lanes.values()]
        high = max(min(ends), max(ends) - int(PATIENCE_S * self.rate_hz))
        if everything:
            high = min(self.lanes["current"].end, self.lanes["voltage"].end)
        if self._base is None:
            if high <= floor:
                return
            self._base = self._next = max(lane.first or 0 for lane in begun.values())
        if high <= self._next:
            return
        start, self._next = self._next, high
        taken = {name: lane.take(start, high) for name, lane in begun.items()}
        there = np.logical_and.reduce([mask for _, mask in taken.values()])
        current, voltage = (
            taken[name][0][:, 0].astype(np.float64) for name in ("current", "voltage")
        )
        trigger = np.zeros(high - start, dtype=np.uint8)
        for line in range(self.lines):
            if (name := f"gpi{line}") in taken:
                trigger |= (taken[name][0][:, 0].astype(np.uint8) << line).astype(np.uint8)
        with np.errstate(invalid="ignore"):
            over = (np.abs(current) >= LIMIT_A) | (np.abs(voltage) >= LIMIT_V)
        flags = np.where(over, np.uint8(Flag.OVER_RANGE), np.uint8(0)).astype(np.uint8)
        if "range" in taken:
            flags |= self._switches(*taken["range"])
        yield from _split(start - self._base, there, current, voltage, trigger, flags)

    def _switches(self, ranges: NDArray[Any], there: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Where the range is another one than before, or changes within the sample."""
        before = ranges[0, 0] if self._range is None else self._range
        flat = np.concatenate([[before], ranges.reshape(-1)])
        changed = (flat[1:] != flat[:-1]).reshape(ranges.shape).any(axis=1) & there
        if there[-1]:
            self._range = int(ranges[-1, -1])
        return np.where(changed, np.uint8(Flag.RANGE_SWITCH), np.uint8(0)).astype(np.uint8)


def _split(
    first: int,
    there: NDArray[np.bool_],
    current: NDArray[np.float64],
    voltage: NDArray[np.float64],
    trigger: NDArray[np.uint8],
    flags: NDArray[np.uint8],
) -> Iterator[TraceChunk]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], there, [False]]).astype(np.int8)))
    for low, high in edges.reshape(-1, 2).tolist():
        part = slice(low, high)
        yield TraceChunk(first + low, current[part], voltage[part], trigger[part], flags[part])
