"""Recorded samples in CSV files: what instruments' programs export, and our own `trace.csv`.

Columns are known by name, units included; a file with any other column is refused, so that no
unit is guessed. Known are

- nRF Connect Power Profiler (PPK2): `Timestamp(ms)`, `Current(uA)`, and where exported `D0-D7`
  (eight digits, D0 first), `D0` … `D7`, or `Bits` of older versions (a binary number, D7 first).
  Its exporter leaves lost samples out;
- Joulescope: `#time,current,voltage` in s, A and V, with or without `power,charge,energy`, which
  are not used: energy is integrated here;
- `trace.csv` of `energy.capture --csv`.

The rate follows from the times. A time that jumps by whole samples is a gap. Files are read in
blocks, in memory that does not grow with them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from energy.errors import ProbeError, ProbeLostError
from energy.samples import Accuracy, Flag, Kind, TraceChunk, TraceInfo

BLOCK_BYTES = 1 << 20
_RATE_ROWS = 100_000
_UNEVEN = 0.25  # of a sample period that a time stamp may be off its place
_NEAR_SAMPLES = 1000  # jumps up to here are checked for being whole; beyond, the rate's error shows

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Column:
    """What a column holds: `role`, and the factor that makes it s, A or V."""

    role: str
    scale: float = 1.0


_PPK2 = {
    "timestamp(ms)": Column("time", 1e-3),
    "current(ua)": Column("current", 1e-6),
    "d0-d7": Column("digits"),
    "bits": Column("binary"),
    **{f"d{n}": Column(f"line{n}") for n in range(8)},
}
_JOULESCOPE = {
    "#time": Column("time"),
    "time": Column("time"),
    "current": Column("current"),
    "voltage": Column("voltage"),
    **{name: Column("unused") for name in ("power", "charge", "energy")},
}
_OURS = {
    "sample_index": Column("index"),
    "trigger": Column("trigger"),
    "flags": Column("flags"),
    **{
        f"{name}_{kind}": Column(role)
        for kind in ("measured", "modelled")
        for name, role in (("time_s", "time"), ("current_a", "current"), ("voltage_v", "voltage"))
    },
}
_LAYOUTS = {"ppk2": _PPK2, "joulescope": _JOULESCOPE, "trace.csv": _OURS}


class CsvRecording:
    """One CSV file. `voltage_v`: the supply's, where the file does not hold it.

    Raises `ProbeError` where the file cannot be used, and from `chunks`, after everything before
    the fault, `ProbeLostError`.
    """

    def __init__(self, path: Path, voltage_v: float | None, accuracy: dict[str, Accuracy]) -> None:
        self.path = path
        self._names, self._columns, layout = self._header()
        self._roles = {column.role for column in self._columns.values()}
        self.measures_voltage = "voltage" in self._roles
        if not self.measures_voltage and voltage_v is None:
            raise ProbeError(
                f"{path} holds current but no voltage, expected the supply's voltage beside it; "
                "repeat with --voltage and the volts that were set"
            )
        self._voltage_v = voltage_v or 0.0
        kind: Kind = "modelled" if "current_a_modelled" in self._names else "measured"
        self.trigger_lines = 8 if self._roles & {"digits", "binary", "trigger"} else 0
        lines = [int(role[4:]) for role in self._roles if role.startswith("line")]
        self.trigger_lines = max([self.trigger_lines, *(n + 1 for n in lines)])
        provenance = {"replayed from": path.name}
        if not self.measures_voltage:
            provenance["voltage"] = f"{self._voltage_v} V, given"
        self.info = TraceInfo(
            kind=kind,
            rate_hz=self._rate(),
            sampling="mean",
            probe=layout,
            provenance=provenance,
            accuracy=accuracy.get(layout, Accuracy()),
        )

    def chunks(self) -> Iterator[TraceChunk]:
        """The samples in order; index 0 is the first row."""
        last_s, last_index, line = np.nan, -1, 2
        for table in self._tables():
            data = {name: table.column(name).to_numpy() for name in self._names}
            by_role = {self._columns[name].role: data[name] for name in self._names}
            if "index" in by_role:
                index = by_role["index"].astype(np.int64)
                steps = np.diff(index, prepend=last_index)
                self._refuse(steps <= 0, line, f"sample_index goes back after {last_index}")
            else:
                times = self._floats("time", data)
                steps = self._steps(times, last_s, line)
                index = last_index + np.cumsum(steps)
                last_s = float(times[-1])
            last_index = int(index[-1])
            line += len(index)
            yield from self._split(index, data, by_role)
        self._check_end()

    def _split(
        self,
        index: NDArray[np.int64],
        data: dict[str, NDArray[Any]],
        by_role: dict[str, NDArray[Any]],
    ) -> Iterator[TraceChunk]:
        current = self._floats("current", data)
        if self.measures_voltage:
            voltage = self._floats("voltage", data)
        else:
            voltage = np.full(len(index), self._voltage_v)
        trigger = self._trigger(by_role, len(index))
        flags = by_role.get("flags", np.zeros(len(index))).astype(np.uint8)
        flags[np.isinf(current)] |= np.uint8(Flag.OVER_RANGE)
        cuts = (np.flatnonzero(np.diff(index) != 1) + 1).tolist()
        for first, stop in zip([0, *cuts], [*cuts, len(index)], strict=True):
            part = slice(first, stop)
            columns = (current[part], voltage[part], trigger[part], flags[part])
            yield TraceChunk(int(index[first]), *columns)

    def _trigger(self, by_role: dict[str, NDArray[Any]], rows: int) -> NDArray[np.uint8]:
        bits = np.zeros(rows, dtype=np.uint8)
        for role, values in by_role.items():
            if role == "trigger":
                bits |= values.astype(np.uint8)
            elif role.startswith("line"):
                bits |= ((values != 0).astype(np.uint8) << int(role[4:])).astype(np.uint8)
            elif role in ("digits", "binary"):
                bits |= self._digits(values, first_is_d0=role == "digits")
        return bits

    def _digits(self, values: NDArray[Any], *, first_is_d0: bool) -> NDArray[np.uint8]:
        raw = np.char.rjust(np.asarray(values, dtype="S8"), 8, b"0")
        digits = np.frombuffer(raw.astype("S8").tobytes(), dtype=np.uint8).reshape(-1, 8)
        if not bool(np.all((digits == ord("0")) | (digits == ord("1")))):
            raise ProbeLostError(
                f"{self.path} has digital inputs that are not eight digits 0 or 1; export it again"
            )
        order = "little" if first_is_d0 else "big"
        return np.packbits(digits - ord("0"), axis=1, bitorder=order)[:, 0]  # type: ignore[call-overload, no-any-return]

    def _floats(self, role: str, data: dict[str, NDArray[Any]]) -> Floats:
        for name in self._names:
            column = self._columns[name]
            if column.role == role:
                scaled: Floats = data[name].astype(np.float64) * column.scale
                return scaled
        raise KeyError(role)

    def _steps(self, times: Floats, last_s: float, line: int) -> NDArray[np.int64]:
        before = np.concatenate([[last_s], times[:-1]])
        samples = (times - before) * self.info.rate_hz
        if np.isnan(last_s):
            samples[0] = 1.0
        self._refuse(~(samples > 0), line, "time goes back or stands still")
        steps = np.rint(samples)
        uneven = (np.abs(samples - steps) > _UNEVEN) & (samples < _NEAR_SAMPLES)
        self._refuse(
            uneven | (steps < 1),
            line,
            f"times are not even at {self.info.rate_hz:.7g} samples a second",
        )
        whole: NDArray[np.int64] = steps.astype(np.int64)
        return whole

    def _refuse(self, bad: NDArray[np.bool_], line: int, what: str) -> None:
        if bool(bad.any()):
            raise ProbeLostError(
                f"{self.path}, line {line + int(np.argmax(bad))}: {what}, expected samples in order "
                "at one rate; export the recording again"
            )

    def _rate(self) -> float:
        tables = self._tables()
        try:
            table = next(tables)
        except StopIteration:
            raise ProbeError(
                f"{self.path} holds fewer than two whole samples; export the recording again"
            ) from None
        data = {name: table.column(name).to_numpy() for name in self._names}
        times = self._floats("time", data)[:_RATE_ROWS]
        periods = np.diff(times)
        if len(periods) == 0 or not bool(np.all(periods > 0)):
            bad = 3 + int(np.argmax(~(periods > 0))) if len(periods) else 2
            raise ProbeError(
                f"{self.path}, line {bad}: time goes back or stands still, expected at least two "
                "samples in order; export the recording again"
            )
        if "index" in self._roles:
            index = data["sample_index"][:_RATE_ROWS]
            span = float(times[-1] - times[0])
            return _round_rate(float(index[-1] - index[0]) / span)
        middle = float(np.median(periods))
        near = periods[np.abs(periods / middle - 1.0) < 0.5]
        return _round_rate(1.0 / float(near.mean()))

    def _header(self) -> tuple[list[str], dict[str, Column], str]:
        try:
            with self.path.open("rb") as file:
                first = file.readline(4096).decode("utf-8-sig", errors="replace").strip()
        except OSError as exc:
            raise ProbeError(
                f"{self.path} cannot be read ({exc.strerror or exc}), expected a recorded file; "
                "check the path behind replay:"
            ) from exc
        names = [name.strip().strip('"').lower() for name in first.split(",")]
        for layout, known in _LAYOUTS.items():
            roles = [known[name].role for name in names if name in known]
            if len(roles) == len(names) == len(set(names)) and {"time", "current"} <= set(roles):
                return names, {name: known[name] for name in names}, layout
        raise ProbeError(
            f"{self.path} has the columns {first[:120]!r}, expected those of nRF Connect Power "
            "Profiler (Timestamp(ms),Current(uA)[,D0-D7]), of Joulescope (#time,current,voltage) or "
            "of trace.csv; export time and current with these names"
        )

    def _tables(self) -> Iterator[pa.Table]:
        """Whole lines only, block by block; only blocks that hold rows."""
        whole = self._whole_bytes()
        texts = {
            n: pa.string() for n in self._names if self._columns[n].role in ("digits", "binary")
        }
        types = {n: texts.get(n, pa.float64()) for n in self._names}
        try:
            with pa.memory_map(str(self.path)) as file:
                reader = pa_csv.open_csv(
                    pa.BufferReader(file.read_buffer(whole)),
                    read_options=pa_csv.ReadOptions(
                        column_names=self._names,
                        skip_rows=1,
                        block_size=BLOCK_BYTES,
                        use_threads=False,
                    ),
                    convert_options=pa_csv.ConvertOptions(column_types=types),
                )
                for batch in reader:
                    if batch.num_rows:
                        yield pa.Table.from_batches([batch])
        except (OSError, pa.ArrowInvalid) as exc:
            if "Empty CSV" in str(exc):
                return
            detail = str(exc).splitlines()[0]
            raise ProbeLostError(
                f"{self.path} is damaged ({detail}), expected the same columns in every line; "
                "export the recording again"
            ) from exc

    def _whole_bytes(self) -> int:
        """Bytes up to the last line end: what stands behind it may be half a number."""
        size = self.path.stat().st_size
        with self.path.open("rb") as file:
            at = size
            while at > 0:
                start = max(0, at - 65536)
                file.seek(start)
                found = file.read(at - start).rfind(b"\n")
                if found >= 0:
                    return start + found + 1
                at = start
        return 0

    def _check_end(self) -> None:
        if self._whole_bytes() < self.path.stat().st_size:
            raise ProbeLostError(
                f"{self.path} is cut off: its last line has no end, expected a line end after every "
                "sample; all before it was read: copy the file again"
            )


def _round_rate(rate_hz: float) -> float:
    """The whole number of samples a second that `rate_hz` is but for the rounding of the times."""
    whole = round(rate_hz)
    return float(whole) if whole and abs(rate_hz / whole - 1.0) < 1e-4 else rate_hz


def with_source(info: TraceInfo, path: Path) -> TraceInfo:
    """`info` with the name of the file that it was replayed from."""
    return replace(info, provenance={**info.provenance, "replayed from": path.name})
