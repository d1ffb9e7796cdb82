"""What the energy tools ask of a board session, and how they find one.

`energy` imports nothing else of this project. Whoever can talk to a board registers one function
under the entry-point group `tbft.sessions`:

    [project.entry-points."tbft.sessions"]
    board = "host.session:open_session"

    def open_session(port: str, options: Sequence[str]) -> energy.session.Session: ...
    OPTIONS_HELP = "..."  # beside it, optional: lines for `energy.capture --help`

    with open_session("native://", ["--data", "cifar-flip", "--epochs", "10"]) as session:
        info = session.describe()   # valid inside the `with`
        result = session.run(on_event, on_progress)

Errors meant for people reach the capture as `energy.errors.SessionError` (one sentence); a plug-in
translates its own. A session prints nothing: the capture shows the progress. On KeyboardInterrupt
(or any exception) `__exit__` leaves the board idle.
"""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from energy.errors import SessionError

ENTRY_POINT_GROUP = "tbft.sessions"


class Phase(enum.IntEnum):
    """What the board was doing. The values are those of the wire protocol's phase byte."""

    IDLE = 0
    LOAD = 1
    FROZEN_FORWARD = 2
    TRAIN_FORWARD = 3
    BACKWARD = 4
    UPDATE = 5
    COMMIT = 6
    SLEEP = 7
    INFER = 8

    @property
    def label(self) -> str:
        """Name for tables and files: `frozen_forward`."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class PhaseEvent:
    """One completed span of one phase, and the work done in it.

    `t_start_us <= t_stop_us` are the board's own clock in microseconds; spans of one session are
    delivered in order and do not overlap (32-bit board clocks are unwrapped by the plug-in). On
    `native://` that clock is a PC's, and only the work counts.

    `macs`: multiply-accumulates executed (forward and backward alike).
    `elements`: tensor elements passed through element-wise work (add, ReLU, pool, affine,
    softmax, requantize outside a MAC loop), and one for each weight that an update rewrites.
    `flash_bytes`: bytes written to flash in the span (weight commits, flash prefix cache).
    `wire_bytes`: bytes that crossed the port in the span.
    `sample`: 0-based index of the sample within its epoch, or -1 where none applies.
    `epoch`: 0-based epoch, or -1 outside training (evaluation before and after, loading).
    `updates`: those of `elements` that are weights rewritten.
    `instructions`: executed in the span, by the counter of an emulated CPU; 0 where none counts.
    `weight_macs`: those of `macs` that made gradients of weights; the rest of a backward span made
    gradients of inputs.
    `sums`: gradients added to the accumulators of a batch.
    `masks`: activations of frozen layers whose mask bit was kept for the backward pass.
    """

    phase: Phase
    t_start_us: int
    t_stop_us: int
    macs: int = 0
    elements: int = 0
    flash_bytes: int = 0
    wire_bytes: int = 0
    sample: int = -1
    epoch: int = -1
    updates: int = 0
    instructions: int = 0
    weight_macs: int = 0
    sums: int = 0
    masks: int = 0


OnEvent = Callable[[PhaseEvent], None]
OnProgress = Callable[[int, int, str], None]  # done, total (0 = unknown), what is being done


class Session(Protocol):
    """One board, opened, ready for one fine-tuning session."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> bool | None: ...

    def describe(self) -> Mapping[str, str | int]:
        """Facts about the board and the run.

        Required: `run_dir` (str, an existing folder that the capture may write its files into).
        Used when present, shown as they are: `board`, `clock_hz`, `firmware_version`, `model_hash`,
        `blocks`, `data`, `epochs`, `train_images`.
        """
        ...

    def run(self, on_event: OnEvent, on_progress: OnProgress) -> Mapping[str, object]:
        """Fine-tune once, as `host.tune` does, and return its metrics (as in `metrics.json`).

        `on_event` is called for every completed span, in order, from the calling thread or any one
        other thread, while the session runs; `on_progress` at will. Raises `SessionError`.

        Where the board could not keep events until they were fetched, the metrics hold their number
        as `events_lost` (int): the energies are then a lower bound, and the capture says so.
        """
        ...


@dataclass(frozen=True, slots=True)
class Sensor:
    """A current sensor on the board. `conversion_us`: the shortest time between two readings."""

    name: str
    conversion_us: int


@dataclass(frozen=True, slots=True)
class SensorReading:
    """One reading, and the board's clock (µs, unwrapped) when it was fetched, after its conversion.

    `over_range`: at the end of the sensor's range, the true current is beyond.
    """

    clock_us: int
    current_a: float
    voltage_v: float
    over_range: bool = False


OnReadings = Callable[[Sequence[SensorReading]], None]


@runtime_checkable
class SensorSession(Protocol):
    """What a session has besides where its board can measure its own current."""

    def sensors(self) -> Sequence[Sensor]:
        """Those of the board, in the order of their numbers; empty without any. `SessionError`."""
        ...

    def start_sensor(self, on_readings: OnReadings, sensor: int, period_us: int) -> int:
        """Readings of sensor number `sensor` go to `on_readings` while the session talks to the board.

        They come in order, late, from the thread that runs the session. Returns the time between
        two of them in µs, at least `period_us`. Raises `SessionError`.
        """
        ...

    def stop_sensor(self) -> int:
        """The last readings come; returns how many found no room on the board. `SessionError`."""
        ...


OpenSession = Callable[[str, Sequence[str]], Session]


@dataclass(frozen=True, slots=True)
class SessionPlugin:
    """What an entry point provides: how to open a session, and the help text of its options.

    `open_session(port, options)`: `options` are the command-line words of `host.tune` but for
    --port; raises `SessionError` for a bad option as for a port that does not answer.
    """

    open_session: OpenSession
    options_help: str


def find_plugin() -> SessionPlugin:
    """The installed session plug-in.

    Raises `SessionError` when there is none, when there is more than one, or when it cannot be
    loaded or called.
    """
    found = {entry.value: entry for entry in metadata.entry_points(group=ENTRY_POINT_GROUP)}
    if not found:
        raise SessionError(
            f"no board session is installed (entry-point group {ENTRY_POINT_GROUP!r} is empty); "
            "install this project with `pip install -e .` and try again"
        )
    if len(found) > 1:
        raise SessionError(
            f"several board sessions are installed ({', '.join(sorted(found))}), expected one; "
            "uninstall all but one"
        )
    [(value, entry)] = found.items()
    try:
        open_session = entry.load()
    except (ImportError, AttributeError) as exc:
        raise SessionError(
            f"the board session {value!r} cannot be loaded ({exc}); "
            "reinstall the project with `pip install -e .`"
        ) from exc
    if not callable(open_session):
        raise SessionError(
            f"the board session {value!r} is no function, expected open_session(port, options); "
            "see energy/session.py"
        )
    module = sys.modules.get(getattr(open_session, "__module__", ""))
    return SessionPlugin(open_session, str(getattr(module, "OPTIONS_HELP", "")))
