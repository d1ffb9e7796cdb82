"""Where samples come from: one file an instrument, all with the interface `Probe`.

A probe is opened, started, read while the session runs, stopped, and read until it is empty:

    probe.open(); probe.start()
    while running: writer.write(each of probe.read())
    probe.stop()
    for chunk in probe.read(): ...
    probe.close()

There is one probe in this version, the model (`energy.probes.model`), and `choose_probe` names it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from energy.errors import EnergyError
from energy.session import PhaseEvent
from energy.trace import Kind, TraceChunk, TraceInfo
from energy.windows import Window

MODEL = "model"
_EMULATED = ("native://", "qemu://")


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a probe's figures are worth.

    `kind`: `measured` by an instrument, or `modelled`; `gain_error` (fraction of the reading) and
    `offset_a` (A): the instrument's accuracy, 0 for a model, whose range is the board's.
    """

    kind: Kind
    gain_error: float = 0.0
    offset_a: float = 0.0


class Probe(Protocol):
    """One source of current and voltage samples."""

    @property
    def name(self) -> str: ...

    @property
    def capabilities(self) -> Capabilities: ...

    def open(self) -> None:
        """Claim the instrument; raises `EnergyError` with what to do when it cannot."""
        ...

    def start(self) -> None:
        """Begin sampling; sample 0 is taken now."""
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
        """The chunks that are there by now and were not read before, in order."""
        ...

    def close(self) -> None:
        """Release the instrument; may be called more than once."""
        ...


def choose_probe(wanted: str, port: str) -> str:
    """The probe that `--probe wanted` means for `port`: `model`, or an `EnergyError`.

    `auto` never turns to the model behind the user's back where a real board is asked for.
    """
    if wanted == MODEL or (wanted == "auto" and port.startswith(_EMULATED)):
        return MODEL
    if wanted == "auto":
        raise EnergyError(
            f"no instrument driver for {port} in this version; "
            "use --probe model, whose figures are modelled from the board's work, not measured"
        )
    raise EnergyError(f"there is no probe called {wanted!r}; expected auto or {MODEL}")
