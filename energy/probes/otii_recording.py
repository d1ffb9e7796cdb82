"""A recording of the Otii application that is read while it grows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from energy.samples import Flag, TraceChunk

VOLTAGE_RATE_HZ, LIMIT_A = 1000.0, 5.0
BLOCK_SAMPLES = 20_000
LINES = ("i1", "i2")


class Fetcher:
    """Reads one growing recording block by block. `rate_hz`: of the current."""

    def __init__(self, device: Any, recording: Any, rate_hz: float) -> None:
        self._device, self._recording, self._rate_hz = device, recording, rate_hz
        self._fetched = 0
        self._end = 0
        self._start_s: float | None = None
        self._voltage_hz = VOLTAGE_RATE_HZ
        self._voltage: NDArray[np.float64] = np.empty(0)
        self._voltage_first = 0
        self._events: dict[str, list[tuple[float, bool]]] = {line: [] for line in LINES}
        self._level: dict[str, bool] = {}
        self._seen = dict.fromkeys(LINES, 0)

    def fetch(self, hold_back_s: float) -> Iterator[TraceChunk]:
        """What is new, up to `hold_back_s` before the newest sample."""
        count = self._count("mc") - int(hold_back_s * self._rate_hz)
        if count <= self._fetched:
            return
        if self._start_s is None:
            info = self._recording.get_channel_info(self._device.id, "mv")
            self._voltage_hz = float(info.get("sample_rate") or VOLTAGE_RATE_HZ)
        for line in LINES:
            self._fetch_line(line)
        while self._fetched < count:
            take = min(BLOCK_SAMPLES, count - self._fetched)
            data = self._recording.get_channel_data(self._device.id, "mc", self._fetched, take)
            current = np.array(data["values"], dtype=np.float64)
            if len(current) == 0:
                return
            if self._start_s is None:
                self._start_s = float(data["timestamp"])
            # by its time: the recording counts what it has, not what it lost
            first = round((float(data["timestamp"]) - self._start_s) * self._rate_hz)
            first = max(first, self._end)
            self._fetched += len(current)
            self._end = first + len(current)
            yield self._chunk(first, current)

    def _chunk(self, first: int, current: NDArray[np.float64]) -> TraceChunk:
        index = np.arange(first, first + len(current))
        voltage = self._voltage_at(
            np.floor(index * self._voltage_hz / self._rate_hz).astype(np.int64)
        )
        trigger = np.zeros(len(current), dtype=np.uint8)
        for bit, line in enumerate(LINES):
            trigger |= (self._levels(line, index) << bit).astype(np.uint8)
        with np.errstate(invalid="ignore"):
            flags = np.where(np.abs(current) >= LIMIT_A, np.uint8(Flag.OVER_RANGE), np.uint8(0))
        return TraceChunk(first, current, voltage, trigger, flags.astype(np.uint8))

    def _voltage_at(self, wanted: NDArray[np.int64]) -> NDArray[np.float64]:
        """Voltage samples by number; the last one is held where the newest is not there yet."""
        keep = max(0, int(wanted[0]) - self._voltage_first)
        keep = min(keep, max(0, len(self._voltage) - 1))
        self._voltage = self._voltage[keep:]
        self._voltage_first += keep
        have = self._voltage_first + len(self._voltage)
        stop = min(int(wanted[-1]) + 1, self._count("mv"))
        while have < stop:
            take = min(BLOCK_SAMPLES, stop - have)
            data = self._recording.get_channel_data(self._device.id, "mv", have, take)
            values = np.array(data["values"], dtype=np.float64)
            if len(values) == 0:
                break
            self._voltage = np.concatenate([self._voltage, values])
            have += len(values)
        if len(self._voltage) == 0:
            return np.full(len(wanted), np.nan)
        return self._voltage[np.clip(wanted - self._voltage_first, 0, len(self._voltage) - 1)]

    def _fetch_line(self, line: str) -> None:
        count = self._count(line)
        if count > self._seen[line]:
            new = count - self._seen[line]
            data = self._recording.get_channel_data(self._device.id, line, self._seen[line], new)
            changes = [(float(v["timestamp"]), bool(v["value"])) for v in data["values"]]
            self._seen[line] += len(changes)
            if changes and line not in self._level:
                self._level[line] = not changes[0][1]
            self._events[line] += changes
        elif line not in self._level:
            self._level[line] = bool(self._device.get_gpi(LINES.index(line) + 1))

    def _levels(self, line: str, index: NDArray[np.int64]) -> NDArray[np.uint8]:
        """0 or 1 a sample; the changes up to the last one are used up."""
        start_s = self._start_s or 0.0
        events = self._events[line]
        places = np.array([(t - start_s) * self._rate_hz for t, _ in events])
        values = np.array([self._level.get(line, False), *(v for _, v in events)], dtype=np.uint8)
        after = np.searchsorted(places, index + 1e-6, side="right")
        if len(after):
            self._level[line] = bool(values[after[-1]])
            self._events[line] = events[int(after[-1]) :]
        return values[after]

    def _count(self, channel: str) -> int:
        return int(self._recording.get_channel_data_count(self._device.id, channel))
