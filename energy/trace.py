"""A current trace in a file: streamed to Parquet while it is taken, and read back.

What a sample is stands in `energy.samples`, whose names are given again here. Parquet columns:
`sample_index` int64, `current_a` float32 (A), `voltage_v` float32 (V), `trigger` uint8 (bits of the
trigger lines; the model puts the value of `energy.session.Phase`), `flags` uint8 (`Flag`). Files of
the first format, which had no flags, can be read.

A Parquet file without its last bytes is unreadable. A trace that is recorded live is therefore also
kept in a journal (`energy.journal`) until its Parquet file is whole.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from energy.errors import TraceError
from energy.journal import TRACE_JOURNAL, TraceJournal, to_batch, trace_schema
from energy.memory import release
from energy.samples import Accuracy, Flag, Gap, Kind, Sampling, TraceChunk, TraceInfo

__all__ = [
    "FORMAT",
    "Accuracy",
    "Flag",
    "Gap",
    "Kind",
    "Sampling",
    "TraceChunk",
    "TraceInfo",
    "TraceReader",
    "TraceWriter",
]

FORMAT = "tbft-trace-2"
_READABLE = (FORMAT, "tbft-trace-1")
ROW_GROUP_SAMPLES = 1 << 18  # few, as the footer describes each; 4.7 MB in memory
CHUNK_SAMPLES = 1 << 16
_RELEASE_BATCHES = 16  # each costs a third of a batch's time, 30 MB come together without
MAX_GAPS = 10_000  # listed one by one; what is beyond them shows in the indices alone
_META = b"tbft.trace"


class TraceWriter:
    """Streams chunks into a Parquet file in bounded memory; renamed into place when closed.

    Leaving the `with` block after an exception still closes the file, marked `complete = false`:
    what was recorded stays readable. `complete=False` marks it so in any case (the session that
    the trace is of was cut off). With `journal`, every sample is on its way to the disk when
    `flush` returns, and survives the program's being killed.
    """

    def __init__(
        self, path: Path, info: TraceInfo, *, complete: bool = True, journal: bool = False
    ) -> None:
        self.complete = complete
        self.path = path
        self.info = info
        self.gaps: list[Gap] = []
        self.samples = 0
        self.lost = 0
        """Samples that are missing between the first and the last."""
        self._next = 0
        self._broken = False
        self._pending: list[pa.RecordBatch] = []
        self._pending_samples = 0
        self._temporary = path.with_name(f".{path.name}.part")
        self._journal = TraceJournal(path.with_name(TRACE_JOURNAL), info) if journal else None
        try:
            self._file = pq.ParquetWriter(
                self._temporary,
                trace_schema(),
                compression="zstd",
                write_statistics=False,
                use_dictionary=["trigger", "flags"],
                column_encoding={"sample_index": "DELTA_BINARY_PACKED"},
            )
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
        self.close(complete=self.complete and exc_type is None)

    def write(self, chunk: TraceChunk) -> None:
        """Append `chunk`; an index beyond the expected one is recorded as a gap."""
        if chunk.first_index < self._next:
            raise TraceError(
                f"samples went back from index {self._next} to {chunk.first_index}; "
                "expected them in order"
            )
        if len(chunk) == 0:
            return
        if chunk.first_index > self._next:
            missing = chunk.first_index - self._next
            self.lost += missing
            if len(self.gaps) < MAX_GAPS:
                self.gaps.append(Gap(self._next, missing))
        if self._journal is not None:
            with self._guarded():
                self._journal.write(chunk)
        at = 0
        while at < len(chunk):
            part = slice(at, at + ROW_GROUP_SAMPLES - self._pending_samples)
            columns = (chunk.current_a[part], chunk.voltage_v[part], chunk.trigger[part])
            piece = TraceChunk(chunk.first_index + at, *columns, chunk.flags[part])
            self._pending.append(to_batch(piece))  # half of what the chunk's arrays take
            self._pending_samples += len(piece)
            at += len(piece)
            if self._pending_samples >= ROW_GROUP_SAMPLES:
                self._write_row_group()
        self.samples += len(chunk)
        self._next = chunk.first_index + len(chunk)

    def flush(self) -> None:
        """Hand everything written so far to the operating system; only with a journal."""
        if self._journal is not None:
            with self._guarded():
                self._journal.flush()

    def _write_row_group(self) -> None:
        if not self._pending:
            return
        table = pa.Table.from_batches(self._pending, schema=trace_schema())
        self._pending, self._pending_samples = [], 0
        with self._guarded():
            self._file.write_table(table, ROW_GROUP_SAMPLES)
        del table
        release()  # keeps an hour's peak that of a minute

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            self._broken = True
            raise TraceError(
                f"cannot write {self.path} ({exc.strerror or exc}); free some space and repeat"
            ) from exc

    def close(self, *, complete: bool, info: TraceInfo | None = None) -> None:
        """Write the footer with `info` (the one known now), gaps and `complete`; rename into place.

        After a write that failed there is no Parquet file, for half a row group is no trace, but
        the journal stays.
        """
        if not self._broken:
            with contextlib.suppress(TraceError):
                self._write_row_group()
        if self._broken:
            with contextlib.suppress(OSError):
                self._file.close()
            self._temporary.unlink(missing_ok=True)
            if self._journal is not None:
                with contextlib.suppress(OSError):
                    self._journal.close()
            if complete:
                raise TraceError(f"cannot finish {self.path}; free some space and repeat")
            return
        self.info = info or self.info
        try:
            meta = {"format": FORMAT, "info": asdict(self.info), "complete": complete}
            meta["gaps"] = [[gap.first_index, gap.count] for gap in self.gaps]
            meta["lost"] = self.lost
            self._file.add_key_value_metadata(
                {_META: json.dumps(meta).encode(), b"kind": self.info.kind.encode()}
            )
            self._file.close()
            self._temporary.replace(self.path)
        except OSError as exc:
            self._temporary.unlink(missing_ok=True)
            raise TraceError(
                f"cannot finish {self.path} ({exc.strerror or exc}); free some space and repeat"
            ) from exc
        if self._journal is not None:
            self._journal.close()
            self._journal.path.unlink(missing_ok=True)


class TraceReader:
    """Reads a trace written by `TraceWriter`, chunk by chunk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            # Pre-buffering, the default, would keep every byte read until the reader is closed.
            self._file = pq.ParquetFile(path, buffer_size=1 << 16, pre_buffer=False)
        except (OSError, pa.ArrowInvalid) as exc:
            if path.with_name(TRACE_JOURNAL).exists():
                raise TraceError(
                    f"{path} was never finished: its capture was killed or still runs; "
                    f"recover what was recorded with `python -m energy.recover {path.parent}`"
                ) from exc
            raise TraceError(
                f"{path} is not a readable trace ({exc}): not there, cut off or of another kind; "
                "expected a trace.parquet of `python -m energy.capture`: copy it again"
            ) from exc
        meta = (self._file.metadata.metadata or {}).get(_META)
        names = self._file.schema_arrow.names
        if meta is None or names not in (trace_schema().names, trace_schema().names[:-1]):
            raise TraceError(
                f"{path} is a Parquet file but no trace of this tool; expected one written by "
                "`python -m energy.capture`"
            )
        try:
            header = json.loads(meta)
            if header["format"] not in _READABLE:
                raise ValueError(f"format {header['format']!r}")
            self.info = TraceInfo.from_facts(header["info"])
            self._has_flags = "flags" in names
            self.gaps = [Gap(int(first), int(count)) for first, count in header["gaps"]]
            self.lost = int(header.get("lost", sum(gap.count for gap in self.gaps)))
            self.complete = bool(header["complete"])
        except (ValueError, KeyError, TypeError) as exc:
            raise TraceError(
                f"{path}: the trace's description is damaged ({exc}); expected {FORMAT}; "
                "record it again"
            ) from exc
        self.samples = int(self._file.metadata.num_rows)

    def chunks(self, max_samples: int = CHUNK_SAMPLES) -> Iterator[TraceChunk]:
        """The samples in order, at most `max_samples` at once, split where the index jumps."""
        try:
            batches = self._file.iter_batches(batch_size=max_samples, use_threads=False)
            for number, batch in enumerate(batches, 1):
                yield from split_batch(batch, has_flags=self._has_flags)
                if number % _RELEASE_BATCHES == 0:
                    release()
            release()
        except (OSError, pa.ArrowInvalid) as exc:
            raise TraceError(
                f"{self.path} is damaged inside ({exc}); expected what its description promises; "
                "copy it again"
            ) from exc


def split_batch(batch: pa.RecordBatch, *, has_flags: bool) -> Iterator[TraceChunk]:
    """The samples of `batch` as chunks, split where the index jumps."""
    index = batch.column(0).to_numpy()
    if len(index) == 0:
        return
    current, voltage = (batch.column(c).to_numpy().astype(np.float64) for c in (1, 2))
    trigger = batch.column(3).to_numpy()
    flags = batch.column(4).to_numpy() if has_flags else np.zeros_like(trigger)
    cuts = (np.flatnonzero(np.diff(index) != 1) + 1).tolist()
    for first, last in zip([0, *cuts], [*cuts, len(index)], strict=True):
        part = slice(first, last)
        columns = (current[part], voltage[part], trigger[part], flags[part])
        yield TraceChunk(int(index[first]), *columns)
