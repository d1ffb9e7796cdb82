"""The modelled probe: a trace made from the work that a board reports, not from an instrument.

The wall clock of a PC says nothing about a microcontroller. So each span gets the time its work
takes on the described board (`Board.model`: counted instructions where an emulated CPU of the
board's kind ran, else the work reported) and the current of its phase's power state, and spans
follow each other without a pause on a virtual timeline. Idle and sleep spans carry no work and
therefore no time: how long a board waits is not known to a model of its work.

Each sample is the mean current over its period, as an integrating instrument gives: the sum over
the trace is exact at any rate, and only windows shorter than a few samples are not resolved.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from energy.board import Board
from energy.errors import EnergyError
from energy.probes import MODEL, Capabilities, ProbeOptions
from energy.session import Phase, PhaseEvent, Session
from energy.trace import TraceChunk, TraceInfo
from energy.windows import Window, WindowLog

DEFAULT_RATE_HZ = 1000.0
MAX_SAMPLES = 2_000_000
CHUNK_SAMPLES = 1 << 16


class ModelProbe:
    """Makes a trace from phase events, for `board`.

    `rate_hz`: samples per second of virtual time. Where the trace would exceed `max_samples` the
    rate is lowered to the next of 5, 2, 1 times a power of ten that fits (`lowered` then says so):
    a session of hours on the board must still be a file of megabytes.
    """

    def __init__(
        self, board: Board, rate_hz: float = DEFAULT_RATE_HZ, max_samples: int = MAX_SAMPLES
    ) -> None:
        if not (math.isfinite(rate_hz) and rate_hz > 0):
            raise EnergyError(f"the sample rate is {rate_hz!r} Hz, expected a number above 0")
        self.board = board
        self.windows = WindowLog()
        self.lowered = False
        self._wanted_hz = rate_hz
        self._max_samples = max_samples
        self._now_s = 0.0
        self._info: TraceInfo | None = None
        self._read_to = 0
        self._cpu = ""
        self._counted = 0

    @property
    def name(self) -> str:
        return MODEL

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(kind="modelled", trigger_lines=8)

    @property
    def duration_s(self) -> float:
        """Virtual time so far."""
        return self._now_s

    @property
    def rate_hz(self) -> float:
        """Samples per second of virtual time: the wanted ones, after `stop` the real ones."""
        return self._wanted_hz if self._info is None else self._info.rate_hz

    @property
    def has_trigger(self) -> bool:
        """The trace's trigger column holds the phase itself."""
        return True

    def attach(self, session: Session) -> None:
        """Whose instructions the events count, if any: `describe()` of an emulated board says it."""
        self.use_cpu(str(session.describe().get("cpu", "")))

    def use_cpu(self, cpu: str) -> None:
        """The emulated CPU whose instructions the events count, '' for none."""
        self._cpu = cpu

    def open(self) -> None:
        """Nothing to claim."""

    def start(self) -> TraceInfo:
        """Begin a new trace at virtual time 0."""
        self.windows = WindowLog()
        self._now_s, self._info, self._read_to = 0.0, None, 0
        return self._describe(self._wanted_hz)

    def on_event(self, event: PhaseEvent) -> Window:
        """Append the span of `event` to the virtual timeline and return its window."""
        span = self.board.model(event, self._cpu)
        self._counted += event.instructions > 0 and self._cpu == self.board.cpu
        start_s = self._now_s
        self._now_s += span.duration_s
        window = Window(
            phase=event.phase,
            start_s=start_s,
            stop_s=self._now_s,
            current_a=span.current_a,
            energy_j=span.energy_j,
            energy_low_j=span.energy_low_j,
            energy_high_j=span.energy_high_j,
            macs=event.macs,
            elements=event.elements,
            flash_bytes=event.flash_bytes,
            wire_bytes=event.wire_bytes,
            sample=event.sample,
            epoch=event.epoch,
            updates=event.updates,
            instructions=event.instructions,
            board_start_us=event.t_start_us,
            board_stop_us=event.t_stop_us,
            weight_macs=event.weight_macs,
            sums=event.sums,
            masks=event.masks,
        )
        self.windows.append(window)
        return window

    def stop(self) -> TraceInfo:
        """Fix the sample rate, now that the length is known."""
        rate_hz = fitting_rate(self._now_s, self._wanted_hz, self._max_samples)
        self.lowered = rate_hz < self._wanted_hz
        self._info = self._describe(rate_hz)
        return self._info

    def _describe(self, rate_hz: float) -> TraceInfo:
        return TraceInfo(
            kind="modelled",
            rate_hz=rate_hz,
            sampling="mean",
            probe=MODEL,
            board=self.board.name,
            provenance={
                "note": "modelled from reported work and energy/boards, not measured",
                "clock": "virtual time of the described board",
                "title": self.board.title,
                "work": f"instructions counted on an emulated {self._cpu}"
                if self._counted
                else "multiply-accumulates, elements and updates as reported",
            },
        )

    def read(self) -> Iterator[TraceChunk]:
        """After `stop`: the samples, at most `CHUNK_SAMPLES` at once. Before it there are none."""
        if self._info is None:
            return
        rate_hz = self._info.rate_hz
        total = math.ceil(self._now_s * rate_hz)
        # After its work the board idles, until the end of the last sample.
        start = self.windows.floats("start_s")
        edges = np.append(start, [self._now_s, self._now_s + 1.0 / rate_hz])
        currents = np.append(self.windows.floats("current_a"), self.board.current(Phase.IDLE).value)
        phases = np.append(self.windows.ints("phase"), int(Phase.IDLE)).astype(np.uint8)
        charge_c = np.concatenate([[0.0], np.cumsum(currents * np.diff(edges))])
        supply_v = self.board.supply_v.value
        while self._read_to < total:
            first, last = self._read_to, min(self._read_to + CHUNK_SAMPLES, total)
            at_s = np.arange(first, last + 1) / rate_hz
            until = np.interp(at_s, edges, charge_c)
            middle = np.searchsorted(edges, at_s[:-1] + 0.5 / rate_hz, side="right") - 1
            self._read_to = last
            yield TraceChunk(
                first_index=first,
                current_a=np.diff(until) * rate_hz,
                voltage_v=np.full(last - first, supply_v),
                trigger=phases[np.minimum(middle, len(phases) - 1)],
            )

    def close(self) -> None:
        """Nothing to release."""


def create(options: ProbeOptions) -> ModelProbe:
    """The model of `options.board`; raises `EnergyError` without one."""
    if options.board is None:
        raise EnergyError("the model needs a board description; name one with --board")
    return ModelProbe(options.board, options.rate_hz or DEFAULT_RATE_HZ)


def fitting_rate(duration_s: float, wanted_hz: float, max_samples: int) -> float:
    """`wanted_hz`, or the greatest of {1, 2, 5} x 10^k that keeps within `max_samples`."""
    if duration_s * wanted_hz <= max_samples:
        return wanted_hz
    limit_hz = max_samples / duration_s
    decade = 10.0 ** math.floor(math.log10(limit_hz))
    return max(step * decade for step in (1.0, 2.0, 5.0) if step * decade <= limit_hz * (1 + 1e-12))
