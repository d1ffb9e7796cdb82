"""Stands for the package `pyjoulescope_driver`: topics, callbacks, sample ids, and what goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Callback = Callable[[str, Any], None]


class FakeDriver:
    """One driver with its instruments. `faults`: topics or `open` that answer with an error."""

    def __init__(self, paths: list[str], faults: dict[str, Exception] | None = None) -> None:
        self.paths = paths
        self.faults = faults or {}
        self.published: list[tuple[str, Any]] = []
        self.opened: list[str] = []
        self.finalized = 0
        self.subscribers: dict[str, list[Callback]] = {}

    def Driver(self) -> FakeDriver:
        """The fake is package and driver in one."""
        return self

    def device_paths(self) -> list[str]:
        return self.paths

    def open(self, path: str, mode: str | None = None) -> None:
        self._fail("open")
        assert mode == "defaults"
        self.opened.append(path)

    def close(self, path: str) -> None:
        self.opened.remove(path)

    def finalize(self) -> None:
        self.finalized += 1

    def publish(self, topic: str, value: Any) -> None:
        self._fail(topic.split("/", 3)[-1])
        self.published.append((topic, value))

    def subscribe(self, topic: str, flags: str, fn: Callback) -> None:
        assert flags == "pub"
        self.subscribers.setdefault(topic, []).append(fn)

    def unsubscribe(self, topic: str, fn: Callback) -> None:
        [found] = [f for f in self.subscribers[topic] if f is fn]  # by identity, as the real one
        self.subscribers[topic].remove(found)

    def _fail(self, what: str) -> None:
        if what in self.faults:
            raise self.faults[what]

    def tell(self, topic: str, value: Any) -> None:
        for fn in list(self.subscribers.get(topic, [])):
            fn(topic, value)

    def send(
        self, stream: str, sample_id: int, data: NDArray[Any], every: int, native_hz: int
    ) -> None:
        """One block; digital inputs (`s/gpi/N`) are packed eight to the byte."""
        if stream.startswith("s/gpi"):
            data = np.packbits(data.astype(np.uint8), bitorder="little")
        value = {
            "sample_id": sample_id,
            "sample_rate": native_hz,
            "decimate_factor": every,
            "data": data,
        }
        self.tell(f"{self.paths[0]}/{stream}/!data", value)
