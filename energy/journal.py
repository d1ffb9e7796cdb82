"""What is written while a capture runs, so that a killed one loses nothing.

`trace.journal`: the samples, as an Arrow IPC stream that is readable up to wherever it breaks off.
`events.journal`: a line of JSON for the run, then one for each phase event, as it comes.
Both are deleted when the run's files are whole; `python -m energy.recover RUN` makes those files
from the journals otherwise.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from energy.errors import TraceError
from energy.samples import TraceChunk, TraceInfo
from energy.session import Phase, PhaseEvent

TRACE_JOURNAL = "trace.journal"
EVENT_JOURNAL = "events.journal"
BATCH_SAMPLES = 1 << 15
_INFO = b"tbft.trace.info"
_EVENTS_FORMAT = "tbft-events-1"
_COLUMNS = tuple(field.name for field in fields(PhaseEvent))
_UNITS = {"sample_index": "1", "current_a": "A", "voltage_v": "V", "trigger": "bits"}
_UNITS["flags"] = "bits"


def trace_schema() -> pa.Schema:
    """Columns of a trace, each with its unit in the field's metadata."""
    types = {"sample_index": pa.int64(), "current_a": pa.float32(), "voltage_v": pa.float32()}
    types |= {"trigger": pa.uint8(), "flags": pa.uint8()}
    return pa.schema(
        [
            pa.field(name, kind, nullable=False, metadata={b"unit": _UNITS[name].encode()})
            for name, kind in types.items()
        ]
    )


def to_batch(chunk: TraceChunk) -> pa.RecordBatch:
    """`chunk` as rows of `trace_schema`."""
    index = np.arange(len(chunk), dtype=np.int64) + chunk.first_index
    columns = [
        pa.array(index),
        pa.array(chunk.current_a.astype(np.float32)),
        pa.array(chunk.voltage_v.astype(np.float32)),
        pa.array(chunk.trigger),
        pa.array(chunk.flags),
    ]
    return pa.record_batch(columns, schema=trace_schema())


class TraceJournal:
    """Samples on their way to the disk; raises OSError where they cannot be written."""

    def __init__(self, path: Path, info: TraceInfo) -> None:
        self.path = path
        if path.exists():
            raise TraceError(
                f"{path} holds a recording that was never finished; "
                f"recover it with `python -m energy.recover {path.parent}` first"
            )
        schema = trace_schema().with_metadata({_INFO: json.dumps(asdict(info)).encode()})
        try:
            self._sink = pa.OSFile(str(path), "wb")
        except OSError as exc:
            raise TraceError(
                f"cannot write {path} ({exc.strerror or exc}); check the folder and its free space"
            ) from exc
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        self._stream = pa.ipc.new_stream(self._sink, schema, options=options)
        self._batches: list[pa.RecordBatch] = []
        self._samples = 0

    def write(self, chunk: TraceChunk) -> None:
        """Append `chunk`; on the disk after `flush`, or when enough has come together."""
        self._batches.append(to_batch(chunk))
        self._samples += len(chunk)
        if self._samples >= BATCH_SAMPLES:
            self.flush()

    def flush(self) -> None:
        """Hand what is left to the operating system."""
        if not self._batches:
            return
        table = pa.Table.from_batches(self._batches)
        self._batches, self._samples = [], 0
        for batch in table.combine_chunks().to_batches(max_chunksize=BATCH_SAMPLES):
            self._stream.write_batch(batch)

    def close(self) -> None:
        """Finish the stream; the file stays."""
        self.flush()
        self._stream.close()
        self._sink.close()


class TraceJournalReader:
    """What a journal holds, up to where it breaks off (`whole` is then False)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._stream = pa.ipc.open_stream(pa.OSFile(str(path), "rb"))
            self.info = TraceInfo.from_facts(json.loads(self._stream.schema.metadata[_INFO]))
        except (OSError, pa.ArrowInvalid, ValueError, KeyError, TypeError) as exc:
            raise TraceError(
                f"{path} is no journal of a trace, or broke off before its first sample ({exc}); "
                "there is nothing to recover from it: repeat the capture"
            ) from exc
        self.whole = False

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The batches that arrived whole."""
        while True:
            try:
                yield self._stream.read_next_batch()
            except StopIteration:
                self.whole = True
                return
            except (OSError, pa.ArrowInvalid):
                return


class EventJournal:
    """Phase events as they come; each line is handed to the operating system at once."""

    def __init__(self, path: Path, run: Mapping[str, object]) -> None:
        self.path = path
        self.events = 0
        try:
            self._file = path.open("x", buffering=1, encoding="utf-8")
        except FileExistsError as exc:
            raise TraceError(
                f"{path} holds a recording that was never finished; "
                f"recover it with `python -m energy.recover {path.parent}` first"
            ) from exc
        head = {"format": _EVENTS_FORMAT, "columns": [*_COLUMNS, "host_s"], **run}
        self._file.write(json.dumps(head) + "\n")

    def write(self, event: PhaseEvent, host_s: float) -> None:
        """Append `event`, which arrived at `host_s` of the host's monotonic clock."""
        self.events += 1
        row = [int(getattr(event, name)) for name in _COLUMNS] + [round(host_s, 6)]
        self._file.write(json.dumps(row, separators=(",", ":")) + "\n")

    def close(self) -> None:
        """The file stays."""
        self._file.close()


def read_events(path: Path) -> tuple[dict[str, Any], Iterator[tuple[PhaseEvent, float]]]:
    """The run's line and its events with their arrival; a last line that broke off is left out.

    The events are read as they are asked for: an hour has a hundred thousand, at half a kilobyte
    each as objects. Raises `TraceError`, then too.
    """
    lines = _lines(path)
    with _readable(path):
        run = json.loads(next(lines, ""))
        if run.pop("format") != _EVENTS_FORMAT:
            raise ValueError("another format")
        if run.pop("columns") != [*_COLUMNS, "host_s"]:
            raise ValueError("other columns")
    return run, _events(path, lines)


def _lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        for number, line in enumerate(file):
            if line.endswith("\n") or number == 0:
                yield line


def _events(path: Path, lines: Iterator[str]) -> Iterator[tuple[PhaseEvent, float]]:
    while True:
        with _readable(path):
            line = next(lines, "")
            if not line:
                return
            row = json.loads(line)
            event = PhaseEvent(Phase(row[0]), *row[1:-1]), float(row[-1])
        yield event


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as exc:
        raise TraceError(
            f"{path} is no journal of phase events, or is damaged inside ({exc}); "
            "expected the one that a killed capture leaves"
        ) from exc
