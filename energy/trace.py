"""A current trace: samples at a fixed rate, explicit gaps, streamed to and from Parquet.

Sample `k` belongs to the time `k / rate_hz` seconds after the start of the trace:

- `sampling = "mean"`: the sample is the mean over `[k, k + 1) / rate_hz` (integrating instruments,
  and the model); the trace covers `[0, n) / rate_hz`.
- `sampling = "point"`: the sample is the value at that instant; the trace covers
  `[0, n - 1] / rate_hz` and is linear in between.

Indices are those of the instrument: an index that is not there is a gap, never closed up.
Parquet columns: `sample_index` int64, `current_a` float32 (A), `voltage_v` float32 (V),
`trigger` uint8 (bits of the trigger lines; the model puts the value of `energy.session.Phase`).
"""

from __future__ import annotations

import contextlib
import csv
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from energy.errors import TraceError

Kind = Literal["measured", "modelled"]
Sampling = Literal["mean", "point"]

FORMAT = "tbft-trace-1"
ROW_GROUP_SAMPLES = 1 << 17  # 17 bytes a sample in memory: 2.2 MB a row group
_META = b"tbft.trace"
_UNITS = {"sample_index": "1", "current_a": "A", "voltage_v": "V", "trigger": "bits"}


@dataclass(frozen=True, slots=True)
class TraceInfo:
    """What one must know to read a trace. `kind` says whether an instrument stands behind it."""

    kind: Kind
    rate_hz: float
    sampling: Sampling
    probe: str
    board: str = ""
    provenance: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (np.isfinite(self.rate_hz) and self.rate_hz > 0):
            raise TraceError(f"the sample rate is {self.rate_hz!r} Hz, expected a number above 0")


@dataclass(frozen=True, slots=True)
class Gap:
    """`count` samples from `first_index` on that the instrument did not deliver."""

    first_index: int
    count: int


@dataclass(frozen=True, slots=True)
class TraceChunk:
    """Consecutive samples from `first_index` on.

    `current_a`, `voltage_v`: float64, shape (n,), in A and V, NaN where lost or out of range;
    `trigger`: uint8, shape (n,).
    """

    first_index: int
    current_a: NDArray[np.float64]
    voltage_v: NDArray[np.float64]
    trigger: NDArray[np.uint8]

    def __post_init__(self) -> None:
        shape = self.current_a.shape
        if len(shape) != 1 or self.voltage_v.shape != shape or self.trigger.shape != shape:
            raise TraceError(
                f"a chunk has shapes {shape}, {self.voltage_v.shape}, {self.trigger.shape}; "
                "expected three of the same length"
            )

    def __len__(self) -> int:
        return int(self.current_a.shape[0])


def _schema() -> pa.Schema:
    types = {"sample_index": pa.int64(), "current_a": pa.float32(), "voltage_v": pa.float32()}
    types["trigger"] = pa.uint8()
    return pa.schema(
        [
            pa.field(name, kind, nullable=False, metadata={b"unit": _UNITS[name].encode()})
            for name, kind in types.items()
        ]
    )


class TraceWriter:
    """Streams chunks into a Parquet file in bounded memory; renamed into place when closed.

    Leaving the `with` block after an exception still closes the file, marked `complete = false`:
    what was recorded stays readable. `complete=False` marks it so in any case (the session that
    the trace is of was cut off).
    """

    def __init__(self, path: Path, info: TraceInfo, *, complete: bool = True) -> None:
        self._complete = complete
        self.path = path
        self.info = info
        self.gaps: list[Gap] = []
        self.samples = 0
        self._next = 0
        self._broken = False
        self._temporary = path.with_name(f".{path.name}.part")
        try:
            self._file = pq.ParquetWriter(self._temporary, _schema(), compression="zstd")
        except OSError as exc:
            raise TraceError(
                f"cannot write {path} ({exc.strerror or exc}); check the folder and its free space"
            ) from exc

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close(complete=self._complete and exc_type is None)

    def write(self, chunk: TraceChunk) -> None:
        """Append `chunk`; an index beyond the expected one is recorded as a gap."""
        if chunk.first_index < self._next:
            raise TraceError(
                f"samples went back from index {self._next} to {chunk.first_index}; "
                "expected them in order"
            )
        if chunk.first_index > self._next:
            self.gaps.append(Gap(self._next, chunk.first_index - self._next))
        for at in range(0, len(chunk), ROW_GROUP_SAMPLES):
            part = slice(at, at + ROW_GROUP_SAMPLES)
            index = np.arange(at, min(at + ROW_GROUP_SAMPLES, len(chunk)), dtype=np.int64)
            batch = pa.record_batch(
                [
                    pa.array(index + chunk.first_index),
                    pa.array(chunk.current_a[part].astype(np.float32)),
                    pa.array(chunk.voltage_v[part].astype(np.float32)),
                    pa.array(chunk.trigger[part]),
                ],
                schema=_schema(),
            )
            try:
                self._file.write_batch(batch)
            except OSError as exc:
                self._broken = True
                raise TraceError(
                    f"cannot write {self.path} ({exc.strerror or exc}); free some space and repeat"
                ) from exc
        self.samples += len(chunk)
        self._next = chunk.first_index + len(chunk)

    def close(self, *, complete: bool) -> None:
        """Write the footer with `TraceInfo`, gaps and `complete`, and rename into place.

        After a write that failed nothing is left: half a row group is no trace.
        """
        if self._broken:
            with contextlib.suppress(OSError):
                self._file.close()
            self._temporary.unlink(missing_ok=True)
            return
        meta = {"format": FORMAT, "info": asdict(self.info), "complete": complete}
        meta["gaps"] = [[gap.first_index, gap.count] for gap in self.gaps]
        self._file.add_key_value_metadata(
            {_META: json.dumps(meta).encode(), b"kind": self.info.kind.encode()}
        )
        try:
            self._file.close()
            self._temporary.replace(self.path)
        except OSError as exc:
            self._temporary.unlink(missing_ok=True)
            raise TraceError(
                f"cannot finish {self.path} ({exc.strerror or exc}); free some space and repeat"
            ) from exc


class TraceReader:
    """Reads a trace written by `TraceWriter`, chunk by chunk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = pq.ParquetFile(path)
        except (OSError, pa.ArrowInvalid) as exc:
            raise TraceError(
                f"{path} is not a readable trace ({exc}); expected a trace.parquet of "
                "`python -m energy.capture`"
            ) from exc
        meta = (self._file.metadata.metadata or {}).get(_META)
        if meta is None or self._file.schema_arrow.names != _schema().names:
            raise TraceError(
                f"{path} is a Parquet file but no trace of this tool; expected one written by "
                "`python -m energy.capture`"
            )
        try:
            header = json.loads(meta)
            if header["format"] != FORMAT:
                raise ValueError(f"format {header['format']!r}")
            self.info = TraceInfo(**header["info"])
            self.gaps = [Gap(int(first), int(count)) for first, count in header["gaps"]]
            self.complete = bool(header["complete"])
        except (ValueError, KeyError, TypeError) as exc:
            raise TraceError(
                f"{path}: the trace's description is damaged ({exc}); expected {FORMAT}; "
                "record it again"
            ) from exc
        self.samples = int(self._file.metadata.num_rows)

    def chunks(self, max_samples: int = ROW_GROUP_SAMPLES) -> Iterator[TraceChunk]:
        """The samples in order, at most `max_samples` at once, split where the index jumps."""
        for batch in self._file.iter_batches(batch_size=max_samples):
            index = batch.column(0).to_numpy()
            current, voltage = (batch.column(c).to_numpy().astype(np.float64) for c in (1, 2))
            trigger = batch.column(3).to_numpy()
            cuts = (np.flatnonzero(np.diff(index) != 1) + 1).tolist()
            for first, last in zip([0, *cuts], [*cuts, len(index)], strict=True):
                part = slice(first, last)
                yield TraceChunk(int(index[first]), current[part], voltage[part], trigger[part])


def export_csv(reader: TraceReader, path: Path) -> None:
    """Write the trace as CSV; each column's name carries its unit and `modelled` or `measured`.

    Lost samples have no row, as in the Parquet file: the time column jumps.
    """
    kind = reader.info.kind
    temporary = path.with_name(f".{path.name}.part")
    header = ["sample_index", f"time_s_{kind}", f"current_a_{kind}", f"voltage_v_{kind}", "trigger"]
    try:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(header)
            for chunk in reader.chunks():
                index = np.arange(chunk.first_index, chunk.first_index + len(chunk))
                columns = (index, index / reader.info.rate_hz, chunk.current_a, chunk.voltage_v)
                for k, t, i, v, bits in zip(
                    *(column.tolist() for column in columns), chunk.trigger.tolist(), strict=True
                ):
                    writer.writerow((k, f"{t:.9g}", f"{i:.7g}", f"{v:.7g}", bits))
        temporary.replace(path)
    except OSError as exc:
        temporary.unlink(missing_ok=True)
        raise TraceError(
            f"cannot write {path} ({exc.strerror or exc}); check the folder and its free space"
        ) from exc
