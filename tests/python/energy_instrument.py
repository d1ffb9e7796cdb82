"""An instrument in this process: a board's true current and trigger pins, sampled by a clock of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from energy.errors import ProbeLostError
from energy.probes import Capabilities, Instrument
from energy.samples import Accuracy, Flag, TraceChunk, TraceInfo
from energy.session import OnEvent, OnProgress, Phase, PhaseEvent

Floats = NDArray[np.float64]
VOLTS, IDLE_A = 3.3, 0.008
CURRENT_A = {
    Phase.LOAD: 0.030,
    Phase.FROZEN_FORWARD: 0.055,
    Phase.TRAIN_FORWARD: 0.050,
    Phase.BACKWARD: 0.062,
    Phase.UPDATE: 0.041,
    Phase.INFER: 0.053,
}


@dataclass(frozen=True)
class Span:
    """One phase at true times in s; the current is `CURRENT_A` of the phase."""

    phase: Phase
    start_s: float
    stop_s: float
    sample: int

    @property
    def energy_j(self) -> float:
        return VOLTS * CURRENT_A[self.phase] * (self.stop_s - self.start_s)


def timeline(samples: int, seed: int = 1, first_s: float = 0.3) -> list[Span]:
    """Forward and backward passes with an update every four, idle in between."""
    rng = np.random.default_rng(seed)
    made, at = [], first_s
    for k in range(samples):
        phases = [Phase.LOAD, Phase.FROZEN_FORWARD, Phase.TRAIN_FORWARD, Phase.BACKWARD]
        for phase in [*phases, Phase.UPDATE] if k % 4 == 3 else phases:
            length = float(rng.uniform(0.004, 0.020))
            made.append(Span(phase, at, at + length, -1 if phase is Phase.LOAD else k))
            at += length + float(rng.uniform(2e-4, 3e-3))
    return made


def events_of(spans: Sequence[Span], drift: float = 0.0) -> Iterator[PhaseEvent]:
    """As the board reports them, by a clock that is `drift` slow and wraps soon."""
    for span in spans:
        times = [
            int((4_294_000_000 + round(t * 1e6 / (1 + drift))) % (1 << 32))
            for t in (span.start_s, span.stop_s)
        ]
        work = {"macs": 1000, "sample": span.sample, "epoch": 0}
        yield PhaseEvent(span.phase, times[0], times[1], **work)


@dataclass
class FakeInstrument(Instrument):
    """Samples `spans` as means over each period. `gain`, `offset_a`: what it reads wrong.

    `lost`: ranges of samples that never come; `over`: ranges over its range; `dies_at`: sample
    after which its cable is pulled; `accuracy`: what its data sheet says.
    """

    spans: Sequence[Span]
    rate_hz: float = 20_000.0
    lines: int = 4
    gain: float = 0.0
    offset_a: float = 0.0
    lost: tuple[tuple[int, int], ...] = ()
    over: tuple[tuple[int, int], ...] = ()
    dies_at: int | None = None
    accuracy: Accuracy = field(default_factory=Accuracy)
    provenance: dict[str, str] = field(default_factory=dict)
    block: int = 1777
    patient: bool = True  # waits with the rest until it is stopped
    log: list[str] = field(default_factory=list)
    _at: int = 0
    _stopped: bool = False

    @property
    def name(self) -> str:
        return "fake"

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities("measured", self.accuracy, "mean", self.lines)

    @property
    def total(self) -> int:
        return int((self.spans[-1].stop_s + 0.2) * self.rate_hz)

    def open(self) -> None:
        self.log.append("open")

    def start(self) -> TraceInfo:
        self.log.append("start")
        return self._info()

    def stop(self) -> TraceInfo:
        self.log.append("stop")
        self._stopped = True
        return self._info()

    def close(self) -> None:
        self.log.append("close")

    def _info(self) -> TraceInfo:
        return TraceInfo(
            "measured", self.rate_hz, "mean", "fake", "", dict(self.provenance), self.accuracy
        )

    def read(self) -> Iterator[TraceChunk]:
        until = self.total if self._stopped or not self.patient else self.total // 2
        for _ in range(20):
            first, last = self._at, min(self._at + self.block, until)
            if last <= first:
                return
            if self.dies_at is not None and last > self.dies_at:
                yield from self._chunks(first, self.dies_at)
                self._at = self.dies_at
                raise ProbeLostError("fake stopped answering; plug it in again and repeat")
            self._at = last
            yield from self._chunks(first, last)

    def _chunks(self, first: int, last: int) -> Iterator[TraceChunk]:
        whole = self.sample(first, last)
        keep = np.ones(last - first, dtype=bool)
        for low, high in self.lost:
            keep[max(low - first, 0) : max(high - first, 0)] = False
        edges = np.flatnonzero(np.diff(np.concatenate([[0], keep, [0]]).astype(np.int8)))
        for low, high in edges.reshape(-1, 2):
            yield TraceChunk(
                first + int(low),
                whole.current_a[low:high],
                whole.voltage_v[low:high],
                whole.trigger[low:high],
                whole.flags[low:high],
            )

    def sample(self, first: int, last: int) -> TraceChunk:
        """Samples `[first, last)` as the instrument reads them."""
        knots = np.array([[span.start_s, span.stop_s] for span in self.spans]).ravel()
        at_s = np.arange(first, last + 1) / self.rate_hz
        extra = np.array([CURRENT_A[span.phase] - IDLE_A for span in self.spans])
        charge = np.concatenate([[0.0], np.cumsum(extra * (knots[1::2] - knots[::2]))])
        steps = np.stack([charge[:-1], charge[1:]], axis=1).ravel()
        current = np.diff(np.interp(at_s, knots, steps)) * self.rate_hz + IDLE_A
        current = current * (1 + self.gain) + self.offset_a
        middle = np.searchsorted(knots, at_s[:-1] + 0.3 / self.rate_hz, side="right")
        inside = middle % 2 == 1
        phases = np.array([0 if s.phase is Phase.LOAD else int(s.phase) for s in self.spans])
        shown = phases[np.minimum((middle - 1) // 2, len(phases) - 1)]
        trigger = np.where(inside, shown, 0)
        flags = np.zeros(last - first, dtype=np.uint8)
        for low, high in self.over:
            flags[max(low - first, 0) : max(high - first, 0)] = Flag.OVER_RANGE
        volts = np.full(last - first, VOLTS)
        return TraceChunk(first, current, volts, trigger.astype(np.uint8), flags)


@dataclass
class TimedSession:
    """A session that delivers `events` one by one with `pause_s` between them."""

    run_dir: Path
    events: Sequence[PhaseEvent]
    pause_s: float = 0.0
    failure: BaseException | None = None

    def open(self, port: str, options: Sequence[str]) -> Self:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        return None

    def describe(self) -> Mapping[str, str | int]:
        return {"run_dir": str(self.run_dir), "board": "test board", "blocks": "fc"}

    def run(self, on_event: OnEvent, on_progress: OnProgress) -> Mapping[str, object]:
        import time

        for event in self.events:
            on_event(event)
            time.sleep(self.pause_s)
        if self.failure is not None:
            raise self.failure
        return {"accuracy_before": 0.1, "accuracy_after": 0.9}
