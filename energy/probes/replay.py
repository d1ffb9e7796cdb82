"""A recorded file in place of an instrument: `--probe replay:FILE`.

What the file was, measured or modelled, its replay is. `read` delivers as fast as it is asked:
the recording is over, and has no time of its own to keep.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from energy.errors import ProbeError
from energy.probes import Capabilities, Instrument, ProbeOptions
from energy.probes.replay_formats import Recording, open_recording
from energy.samples import TraceChunk, TraceInfo

READ_SAMPLES = 1 << 17


def create(options: ProbeOptions) -> ReplayProbe:
    """The replay of the file `options.address`; opens nothing."""
    return ReplayProbe(Path(options.address).expanduser(), options.voltage_v, options.rate_hz)


class ReplayProbe(Instrument):
    """Plays `path` back. `voltage_v`: the supply's, where the file holds none.

    `rate_hz`: what was asked for; a file keeps its own, and another one is refused.
    """

    name = "replay"

    def __init__(
        self, path: Path, voltage_v: float | None = None, rate_hz: float | None = None
    ) -> None:
        self.path = path
        self._voltage_v = voltage_v
        self._asked_hz = rate_hz
        self._opened: Recording | None = None
        self._chunks: Iterator[TraceChunk] | None = None
        self._stopped = False

    @property
    def recording(self) -> Recording:
        """The file, opened when it is first asked for; raises `ProbeError`."""
        if self._opened is None:
            self._opened = open_recording(self.path, self._voltage_v)
        return self._opened

    @property
    def capabilities(self) -> Capabilities:
        """Those of the instrument that recorded the file; raises `ProbeError`."""
        info = self.recording.info
        return Capabilities(
            kind=info.kind,
            accuracy=info.accuracy,
            sampling=info.sampling,
            trigger_lines=self.recording.trigger_lines,
            measures_voltage=self.recording.measures_voltage,
        )

    @property
    def rate_hz(self) -> float:
        """Samples a second in the file."""
        return self.recording.info.rate_hz

    def open(self) -> None:
        """Open the file and look at its beginning; raises `ProbeError`."""
        if self._asked_hz is not None and abs(self._asked_hz / self.rate_hz - 1.0) > 1e-6:
            raise ProbeError(
                f"{self.path} was recorded at {self.rate_hz:.7g} samples a second, not at "
                f"{self._asked_hz:.7g}; a recording keeps its rate: leave --rate out"
            )

    def start(self) -> TraceInfo:
        """Begin at the file's first sample."""
        self._stopped = False
        self._chunks = self.recording.chunks()
        return self.recording.info

    def stop(self) -> TraceInfo:
        """From now on `read` delivers all that is left."""
        self._stopped = True
        return self.recording.info

    def read(self) -> Iterator[TraceChunk]:
        """Some samples, or after `stop` all others; `ProbeLostError` where the file breaks off."""
        if self._chunks is None:
            return
        delivered = 0
        for chunk in self._chunks:
            yield chunk
            delivered += len(chunk)
            if delivered >= READ_SAMPLES and not self._stopped:
                return

    def close(self) -> None:
        """Let go of the file."""
        if self._chunks is not None:
            self._chunks = None
        self._opened = None
