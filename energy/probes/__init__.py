"""Where samples come from: one file an instrument, all with the interface `Probe`.

A probe is opened, started, read while the session runs, stopped, and read until it is empty:

    probe.attach(session); probe.open(); info = probe.start()
    while running: writer.write(each of probe.read())
    info = probe.stop()
    for chunk in probe.read(): ...
    probe.close()

`attach` … `start`, `stop` and `close` are called from one thread, `read` between `start` and `stop`
from another; never two of them at once but `read` beside `on_event`. The probes and how they are
chosen are in `energy.probes.registry`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from energy.session import PhaseEvent, Session
from energy.trace import Accuracy, Kind, Sampling, TraceChunk, TraceInfo
from energy.windows import Window

if TYPE_CHECKING:
    from energy.board import Board

MODEL = "model"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a probe gives and what its figures are worth.

    `kind`: `measured` by an instrument, or `modelled`; `accuracy`: the instrument's, all zero for a
    model, whose range is the board's. `trigger_lines`: digital inputs sampled beside the current,
    line n in bit n of `TraceChunk.trigger`, to be wired to the board's trigger pins in order; 0
    where there are none. `measures_voltage`: else the voltage in the samples is the one that was
    set or given by `--voltage`.
    """

    kind: Kind
    accuracy: Accuracy = field(default_factory=Accuracy)
    sampling: Sampling = "mean"
    trigger_lines: int = 0
    measures_voltage: bool = True


@dataclass(frozen=True, slots=True)
class ProbeOptions:
    """What the command line says to a probe's `create`.

    `address`: what stands behind the colon of `--probe NAME:ADDRESS`, or ''; `voltage_v`: the
    source's voltage in V, None unless given; `rate_hz`: samples a second asked for, None for the
    probe's own choice; `port`: the board's port; `board`: the description the model stands for.
    """

    address: str = ""
    voltage_v: float | None = None
    rate_hz: float | None = None
    port: str = ""
    board: Board | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """An instrument that is plugged in: `--probe NAME:ADDRESS` chooses it, `title` describes it."""

    name: str
    address: str
    title: str


class Probe(Protocol):
    """One source of current and voltage samples."""

    @property
    def name(self) -> str: ...

    @property
    def capabilities(self) -> Capabilities: ...

    @property
    def rate_hz(self) -> float:
        """Samples a second; what is planned before `start`, what it is after."""
        ...

    @property
    def has_trigger(self) -> bool:
        """Whether the board's trigger pins can be seen in the trace."""
        ...

    def attach(self, session: Session) -> None:
        """Told of the open session: before `open` where the sensor is the board's own, else after it,
        as an instrument may be what supplies the board."""
        ...

    def open(self) -> None:
        """Claim the instrument; raises `ProbeError` with what to do when it cannot."""
        ...

    def start(self) -> TraceInfo:
        """Begin sampling; sample 0 is taken after the call begins.

        Returns the trace's description as known now: what a run is recovered with that is killed.
        """
        ...

    def on_event(self, event: PhaseEvent) -> Window | None:
        """Told of every phase event of the session.

        Returns the event's window on the trace's clock where the probe knows it (the model, which
        makes its trace from the events). An instrument returns None: its windows are aligned with
        the board's clock by the trigger edges, after the run.
        """
        ...

    def stop(self) -> TraceInfo:
        """End sampling; what was sampled can still be read. Returns the trace's description."""
        ...

    def read(self) -> Iterator[TraceChunk]:
        """The chunks that are there by now and were not read before, in order.

        Waits at most 50 ms for the first. Chunks may come late. An instrument that is gone raises
        `ProbeLostError` after everything it had sent was delivered, and `stop` works after that.
        """
        ...

    def close(self) -> None:
        """Release the instrument; may be called more than once, and without `open`."""
        ...


class Instrument:
    """What the instruments share: the answers that follow from `capabilities`."""

    @property
    def capabilities(self) -> Capabilities:
        raise NotImplementedError

    @property
    def has_trigger(self) -> bool:
        """Whether the board's trigger pins can be seen in the trace."""
        return self.capabilities.trigger_lines > 0

    def attach(self, session: Session) -> None:
        """An instrument of its own does not need the session."""

    def on_event(self, event: PhaseEvent) -> Window | None:
        """An instrument does not know where in its trace an event is."""
        return None
