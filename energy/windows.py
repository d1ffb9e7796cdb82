"""Windows: the spans of a session on the clock of its trace, with the work done in each.

Kept as columns of plain arrays: a session of 10 epochs of 1,000 samples has about 40,000 windows,
a long one a million, at 70 bytes each.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from energy.errors import TraceError
from energy.session import Phase, PhaseEvent
from energy.trace import Kind

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Window:
    """One span on the trace's clock, in seconds after sample 0, and its energy in J.

    `energy_j` with its range `energy_low_j … energy_high_j` is what a model says of the span; an
    instrument's windows have NaN there, and in their times, until trace and events are brought
    together. `board_start_us`, `board_stop_us`: by the board's own clock.
    """

    phase: Phase
    start_s: float
    stop_s: float
    current_a: float
    energy_j: float
    energy_low_j: float
    energy_high_j: float
    macs: int
    elements: int
    flash_bytes: int
    wire_bytes: int
    sample: int
    epoch: int
    updates: int = 0
    instructions: int = 0
    board_start_us: int = 0
    board_stop_us: int = 0
    weight_macs: int = 0
    sums: int = 0
    masks: int = 0


_FLOATS = ("start_s", "stop_s", "current_a", "energy_j", "energy_low_j", "energy_high_j")
_INTS = (
    *("phase", "macs", "elements", "flash_bytes", "wire_bytes", "sample", "epoch"),
    *("updates", "instructions", "board_start_us", "board_stop_us", "weight_macs", "sums"),
    "masks",
)
_ROWS_AT_ONCE = 1 << 16
_PHASE_TYPE = pa.dictionary(pa.int32(), pa.string())
_UNITS = {"start_s": "s", "stop_s": "s", "current_a": "A", "macs": "1", "elements": "1"}
_UNITS |= {"weight_macs": "1", "sums": "1", "masks": "1"}
_UNITS |= {"energy_j": "J", "energy_low_j": "J", "energy_high_j": "J"}
_UNITS |= {"board_start_us": "us", "board_stop_us": "us"}
_UNITS |= {"updates": "1", "instructions": "1", "flash_bytes": "B", "wire_bytes": "B"}


class WindowLog:
    """Windows in the order they ended; `column(name)` gives one as an array of shape (w,)."""

    def __init__(self) -> None:
        self._floats = {name: array("d") for name in _FLOATS}
        self._ints = {name: array("q") for name in _INTS}
        self._shared = False  # whether another log has the same integer columns

    def __len__(self) -> int:
        return len(self._ints["phase"])

    def append(self, window: Window) -> None:
        """Add `window`."""
        if self._shared:
            self._ints = {name: ints[:] for name, ints in self._ints.items()}
            self._shared = False
        for name, floats in self._floats.items():
            floats.append(getattr(window, name))
        for name, ints in self._ints.items():
            ints.append(int(getattr(window, name)))

    def floats(self, name: str) -> Floats:
        """A copy of the float64 column `name`."""
        return np.array(self._floats[name], dtype=np.float64)

    def ints(self, name: str) -> Ints:
        """A copy of the int64 column `name` (`phase` holds values of `Phase`)."""
        return np.array(self._ints[name], dtype=np.int64)

    def add_event(self, event: PhaseEvent) -> Window:
        """Add `event` as a window whose place in the trace is not known yet."""
        nan = float("nan")
        window = Window(
            event.phase, nan, nan, nan, nan, nan, nan,
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
        )  # fmt: skip
        self.append(window)
        return window

    def replaced(self, **columns: Floats) -> WindowLog:
        """A copy with other float64 columns, each of shape (w,)."""
        copy = WindowLog()
        self._shared = copy._shared = True  # two copies of an hour's windows are 8 MB too many
        copy._ints = self._ints
        copy._floats = {
            name: _array("d", columns[name]) if name in columns else values[:]
            for name, values in self._floats.items()
        }
        return copy

    def selected(self, mask: NDArray[np.bool_]) -> WindowLog:
        """A copy with the windows of `mask`, bool (w,)."""
        copy = WindowLog()
        copy._floats = {name: _array("d", self.floats(name)[mask]) for name in _FLOATS}
        copy._ints = {name: _array("q", self.ints(name)[mask]) for name in _INTS}
        return copy

    def write_parquet(self, path: Path, kind: Kind, session_id: str = "") -> None:
        """Write all columns; the file's metadata and the names of energies carry `kind`.

        `session_id` says which trace they belong to.
        """
        names = ["phase", *_FLOATS, *(name for name in _INTS if name != "phase")]
        fields = []
        for name in names:
            kept = pa.float64() if name in _FLOATS else pa.int64()
            shown = f"{name}_{kind}" if name.startswith(("energy", "current")) else name
            unit = {"unit": _UNITS.get(name, "")}
            fields.append(pa.field(shown, _PHASE_TYPE if name == "phase" else kept, metadata=unit))
        meta = {"kind": kind, "format": "tbft-windows-1", "session_id": session_id}
        schema = pa.schema(fields, metadata=meta)
        temporary = path.with_name(f".{path.name}.part")
        try:
            with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
                for first in range(0, max(len(self), 1), _ROWS_AT_ONCE):
                    part = slice(first, first + _ROWS_AT_ONCE)
                    columns = [self._column(name, part) for name in names]
                    writer.write_table(pa.Table.from_arrays(columns, schema=schema))
            temporary.replace(path)
        except OSError as exc:
            temporary.unlink(missing_ok=True)
            raise TraceError(
                f"cannot write {path} ({exc.strerror or exc}); check the folder and its free space"
            ) from exc

    def _column(self, name: str, part: slice) -> pa.Array:
        """The rows `part` of the column `name` as they stand in the file."""
        if name in _FLOATS:
            return pa.array(np.array(self._floats[name][part]))
        ints = np.array(self._ints[name][part])
        if name != "phase":
            return pa.array(ints)
        labels = pa.array([phase.label for phase in Phase])  # the values of `Phase` count from 0
        return pa.DictionaryArray.from_arrays(pa.array(ints.astype(np.int32)), labels)


def _array(kind: str, values: NDArray[np.generic]) -> array[Any]:
    """`values` without a Python object for each of them on the way."""
    made = array(kind)
    made.frombytes(values.tobytes())
    return made
