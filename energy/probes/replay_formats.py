"""Recorded files by format: what opens them, and what they are read with.

- `trace.parquet`: our own, of either kind;
- `.csv`: `energy.probes.replay_csv`;
- `.ppk2`: nRF Connect Power Profiler's own file, a zip archive with `session.raw` (6 bytes a
  sample, little endian: float32 current in µA, uint16 of eight bit pairs, D0 lowest: 1 low, 2 high,
  3 both within the sample, 0 unknown) and `metadata.json` (`formatVersion`, and in `metadata`
  `samplesPerSecond`). A lost sample is NaN. The older `.ppk` is converted by that program;
- `.jls`: Joulescope, by the vendor's package pyjls; lost samples are NaN there.
"""

from __future__ import annotations

import contextlib
import json
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from energy.errors import EnergyError, ProbeError, ProbeLostError
from energy.probes.registry import vendor_package
from energy.probes.replay_csv import CsvRecording, with_source
from energy.samples import Accuracy, Flag, TraceChunk, TraceInfo
from energy.trace import TraceReader

BLOCK_SAMPLES = 1 << 16
PPK2_VERSIONS = (1, 2)
_FRAME = np.dtype([("current_ua", "<f4"), ("pairs", "<u2")])
_GPI = tuple(f"gpi[{n}]" for n in range(8))


class Recording(Protocol):
    """An open file; `chunks` may be called again, and starts at the first sample each time."""

    info: TraceInfo
    trigger_lines: int
    measures_voltage: bool

    def chunks(self) -> Iterator[TraceChunk]:
        """The samples in order; `ProbeLostError` after those before a fault."""
        ...


def open_recording(path: Path, voltage_v: float | None) -> Recording:
    """The recording in `path`; `voltage_v`: the supply's, for files that do not hold it.

    Raises `ProbeError` for a file that is missing, of an unknown format, damaged or incomplete.
    """
    if not path.is_file():
        raise ProbeError(
            f"{path} is not a file, expected a recording to replay; check the path behind replay:"
        )
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return ParquetRecording(path)
    if suffix == ".csv":
        return CsvRecording(path, voltage_v, instrument_accuracy())
    if suffix == ".ppk2":
        return Ppk2Recording(path, voltage_v)
    if suffix == ".jls":
        return JlsRecording(path)
    if suffix == ".ppk":
        raise ProbeError(
            f"{path} is in the old .ppk format, expected .ppk2 or .csv; open it once in nRF Connect "
            "Power Profiler, which writes the .ppk2 beside it"
        )
    raise ProbeError(
        f"{path} is of no known kind, expected .parquet, .csv, .ppk2 or .jls; export it as CSV"
    )


def instrument_accuracy() -> dict[str, Accuracy]:
    """What the instruments are good for, by the probe's name."""
    from energy.probes.joulescope import ACCURACY as JOULESCOPE
    from energy.probes.ppk2 import ACCURACY as PPK2

    return {"joulescope": JOULESCOPE["js220"], "ppk2": PPK2}


class ParquetRecording:
    """Our own trace; keeps kind, rate, accuracy and instrument of the recording."""

    measures_voltage = True

    def __init__(self, path: Path) -> None:
        try:
            self._reader = TraceReader(path)
        except EnergyError as exc:
            raise ProbeError(str(exc)) from exc
        self.path = path
        self.info = with_source(self._reader.info, path)
        self.trigger_lines = 8

    def chunks(self) -> Iterator[TraceChunk]:
        """The samples in order, gaps as they were recorded."""
        try:
            yield from self._reader.chunks(BLOCK_SAMPLES)
        except EnergyError as exc:
            raise ProbeLostError(str(exc)) from exc


class Ppk2Recording:
    """A `.ppk2` file of nRF Connect Power Profiler."""

    measures_voltage = False
    trigger_lines = 8

    def __init__(self, path: Path, voltage_v: float | None) -> None:
        self.path = path
        if voltage_v is None:
            raise ProbeError(
                f"{path} holds current but no voltage, expected the supply's voltage beside it; "
                "repeat with --voltage and the volts that were set"
            )
        self._voltage_v = voltage_v
        try:
            with zipfile.ZipFile(path) as archive:
                facts = json.loads(archive.read("metadata.json"))
                size = archive.getinfo("session.raw").file_size
            rate_hz = float(facts["metadata"]["samplesPerSecond"])
            version = int(facts.get("formatVersion", 1))
        except (OSError, zipfile.BadZipFile, zlib.error) as exc:
            raise ProbeError(
                f"{path} is cut off or no .ppk2 file ({exc}), expected a whole archive; copy it again"
            ) from exc
        except (KeyError, ValueError, TypeError) as exc:
            raise ProbeError(
                f"{path} lacks what a .ppk2 file says about itself ({exc}), expected session.raw and "
                "metadata.json with samplesPerSecond; export the recording as CSV"
            ) from exc
        if version not in PPK2_VERSIONS or size % _FRAME.itemsize or size == 0:
            raise ProbeError(
                f"{path} has format {version} and {size:,} bytes of samples, expected format 1 or 2 "
                f"and a multiple of {_FRAME.itemsize} bytes; export the recording as CSV"
            )
        self.info = TraceInfo(
            kind="measured",
            rate_hz=rate_hz,
            sampling="mean",
            probe="ppk2",
            provenance={"replayed from": path.name, "voltage": f"{voltage_v} V, given"},
            accuracy=instrument_accuracy()["ppk2"],
        )

    def chunks(self) -> Iterator[TraceChunk]:
        """The samples in order; those that the instrument lost are left out."""
        at = 0
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open("session.raw") as file:
                while data := file.read(BLOCK_SAMPLES * _FRAME.itemsize):
                    frames = np.frombuffer(data, dtype=_FRAME)
                    yield from self._split(at, frames)
                    at += len(frames)
        except (OSError, zipfile.BadZipFile, zlib.error, ValueError) as exc:
            raise ProbeLostError(
                f"{self.path} is damaged after {at:,} samples ({exc}), expected a whole archive; "
                "copy it again"
            ) from exc

    def _split(self, first: int, frames: NDArray[Any]) -> Iterator[TraceChunk]:
        current = frames["current_ua"].astype(np.float64) * 1e-6
        there = np.flatnonzero(~np.isnan(current))
        high = (frames["pairs"][:, None] >> (2 * np.arange(8) + 1)) & 1
        trigger = np.packbits(high.astype(np.uint8), axis=1, bitorder="little")[:, 0]
        yield from pieces(
            first + there, current[there], np.full(len(there), self._voltage_v), trigger[there]
        )


class JlsRecording:
    """A `.jls` file of Joulescope, by the vendor's package pyjls."""

    measures_voltage = True

    def __init__(self, path: Path) -> None:
        self.path = path
        self._pyjls = vendor_package("pyjls", "joulescope", "a Joulescope .jls file")
        with self._open() as reader:
            signals = {s.name: s for s in reader.signals.values()}
            missing = [name for name in ("current", "voltage") if name not in signals]
            if missing:
                raise ProbeError(
                    f"{path} has no signal {' and no signal '.join(missing)}, expected current and "
                    "voltage; record both"
                )
            rates = {name: float(s.sample_rate) for name, s in signals.items() if name in _READ}
            if len(set(rates.values())) > 1:
                raise ProbeError(
                    f"{path} has signals of different rates ({rates}), expected one; record them "
                    "at one rate"
                )
            self._signals = {name: signals[name] for name in rates}
            starts = [int(getattr(s, "sample_id_offset", 0)) for s in self._signals.values()]
            ends = [
                int(getattr(s, "sample_id_offset", 0)) + int(s.length)
                for s in self._signals.values()
            ]
            self._start, self._count = max(starts), min(ends) - max(starts)
            if self._count <= 0:
                raise ProbeError(
                    f"{path} has no sample that all its signals share; record it again"
                )
        lines = [_GPI.index(name) for name in self._signals if name in _GPI]
        self.trigger_lines = max((n + 1 for n in lines), default=0)
        self.info = TraceInfo(
            kind="measured",
            rate_hz=rates["current"],
            sampling="mean",
            probe="joulescope",
            provenance={"replayed from": path.name},
            accuracy=instrument_accuracy()["joulescope"],
        )

    def chunks(self) -> Iterator[TraceChunk]:
        """The samples in order; those that the instrument lost are left out."""
        with self._open() as reader:
            for at in range(0, self._count, BLOCK_SAMPLES):
                count = min(BLOCK_SAMPLES, self._count - at)
                values = {name: self._read(reader, name, at, count) for name in self._signals}
                current = values["current"].astype(np.float64)
                voltage = values["voltage"].astype(np.float64)
                trigger = np.zeros(count, dtype=np.uint8)
                for line, name in enumerate(_GPI):
                    if name in values:
                        trigger |= (values[name] << line).astype(np.uint8)
                there = np.flatnonzero(~np.isnan(current) & ~np.isnan(voltage))
                yield from pieces(at + there, current[there], voltage[there], trigger[there])

    def _read(self, reader: Any, name: str, at: int, count: int) -> NDArray[Any]:
        signal = self._signals[name]
        first = self._start - int(getattr(signal, "sample_id_offset", 0)) + at
        data = np.asarray(self._guarded(lambda: reader.fsr(signal.signal_id, first, count)))
        if name in _GPI:  # one bit a sample, lowest first
            data = np.unpackbits(data.view(np.uint8), bitorder="little")[:count]
        if len(data) != count:
            raise ProbeLostError(
                f"{self.path} is cut off in {name}: {len(data):,} of {count:,} samples at "
                f"{first:,}; copy it again"
            )
        return data

    @contextlib.contextmanager
    def _open(self) -> Iterator[Any]:
        reader = self._guarded(lambda: self._pyjls.Reader(str(self.path)))
        try:
            yield reader
        finally:
            reader.close()

    def _guarded(self, call: Any) -> Any:
        try:
            return call()
        except (RuntimeError, OSError, ValueError) as exc:
            raise ProbeLostError(
                f"{self.path} cannot be read by pyjls ({exc}), expected a whole .jls file of format "
                "2; open it once in the Joulescope UI, which repairs it, or copy it again"
            ) from exc


_READ = ("current", "voltage", *_GPI)


def pieces(
    index: NDArray[np.int64],
    current: NDArray[np.float64],
    voltage: NDArray[np.float64],
    trigger: NDArray[np.uint8],
    flags: NDArray[np.uint8] | None = None,
) -> Iterator[TraceChunk]:
    """Samples (n,) in A and V as chunks, split where `index` jumps; infinite ones are over range."""
    if len(index) == 0:
        return
    marks = np.zeros(len(index), dtype=np.uint8) if flags is None else flags
    marks = marks | np.where(np.isinf(current), np.uint8(Flag.OVER_RANGE), np.uint8(0))
    cuts = (np.flatnonzero(np.diff(index) != 1) + 1).tolist()
    for first, stop in zip([0, *cuts], [*cuts, len(index)], strict=True):
        part = slice(first, stop)
        yield TraceChunk(
            int(index[first]), current[part], voltage[part], trigger[part], marks[part]
        )
