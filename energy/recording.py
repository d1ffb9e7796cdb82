"""One session while it is recorded: its events in a journal, and an instrument's samples in another.

A thread of its own takes the samples from the instrument and writes them; the session's thread is
never kept waiting by either, and nothing is kept in memory that grows with the samples.
"""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from energy.clock import Floats
from energy.errors import EnergyError, TraceError
from energy.journal import EVENT_JOURNAL, EventJournal
from energy.measured import Arrivals
from energy.memory import release
from energy.probes import Probe
from energy.samples import Flag, TraceChunk, TraceInfo
from energy.session import PhaseEvent
from energy.trace import TraceWriter
from energy.windows import Window, WindowLog

TRACE = "trace.parquet"
_FLUSH_S = 0.25
_IDLE_S = 0.005
_ARRIVAL_S = 0.5  # one arrival of samples is kept for so long
_TAIL_S = 0.25  # sampled after the last event: it may come late, and the clocks are not aligned yet


class Recorder:
    """Takes the samples of `probe`, which was started, until `finish`; look at the figures at will."""

    def __init__(self, probe: Probe, path: Path, info: TraceInfo, started_s: float) -> None:
        self.started_s = started_s
        self.failure: EnergyError | None = None
        self.samples = 0
        self.over_range = 0
        self.energy_j = 0.0
        self.current_a = float("nan")
        self.power_w = float("nan")
        self._probe = probe
        self._info = info
        self._ends, self._arrivals = array("d"), array("d")
        self._writer = TraceWriter(path, info, journal=True)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="energy-recorder", daemon=True)
        self._thread.start()

    @property
    def gaps(self) -> int:
        """Samples that the instrument did not deliver."""
        return self._writer.lost

    def arrivals(self) -> tuple[Floats, Floats]:
        """Trace time of the end of some chunks and when they came, s: two of shape (m,)."""
        return np.array(self._ends), np.array(self._arrivals)

    def _run(self) -> None:
        flushed_s = time.monotonic()
        try:
            while not self._stop.is_set():
                if not self._take():
                    self._stop.wait(_IDLE_S)
                if time.monotonic() - flushed_s >= _FLUSH_S:
                    self._writer.flush()
                    flushed_s = time.monotonic()
        except EnergyError as exc:
            self.failure = exc
        except OSError as exc:
            self.failure = TraceError(
                f"the instrument cannot be read any more ({exc}); check its cable and repeat"
            )

    def _take(self) -> bool:
        some = False
        for chunk in self._probe.read():
            if len(chunk) == 0:
                continue
            self._writer.write(chunk)
            self._note(chunk)
            some = True
        return some

    def _note(self, chunk: TraceChunk) -> None:
        now_s = time.monotonic()
        if not self._arrivals or now_s - self._arrivals[-1] >= _ARRIVAL_S:
            self._ends.append((chunk.first_index + len(chunk)) / self._info.rate_hz)
            self._arrivals.append(now_s)
        good = np.isfinite(chunk.current_a) & np.isfinite(chunk.voltage_v)
        self.samples += len(chunk)
        self.over_range += int(np.count_nonzero(chunk.flags & Flag.OVER_RANGE))
        if np.any(good):
            power = chunk.current_a[good] * chunk.voltage_v[good]
            self.energy_j += float(np.sum(power)) / self._info.rate_hz
            self.current_a = float(np.mean(chunk.current_a[good]))
            self.power_w = float(np.mean(power))

    def finish(self, provenance: Mapping[str, str], *, complete: bool) -> TraceInfo:
        """Stop the instrument, take what it has left, and close the file.

        What went wrong, also on the way, is in `failure`; what was recorded until then is kept.
        """
        if self.failure is None and complete:
            self._stop.wait(_TAIL_S)
        self._stop.set()
        self._thread.join()
        info = self._info
        try:
            info = self._probe.stop()
            while self.failure is None and self._take():
                pass
        except EnergyError as exc:
            self.failure = self.failure or exc
        info = with_provenance(info, provenance)
        self._writer.close(complete=complete and self.failure is None, info=info)
        return info


class Recording:
    """A session's events, journalled as they come; with an instrument, its samples too."""

    def __init__(self, probe: Probe, folder: Path, run: Mapping[str, object]) -> None:
        self.probe = probe
        self.folder = folder
        self.log = WindowLog()
        self.recorder: Recorder | None = None
        self._arrived = array("d")
        self._facts = run
        self._journal: EventJournal | None = None

    def start(self, session_id: str) -> None:
        """Begin sampling and journalling. `session_id` goes into every file of the run."""
        release()  # what opening the board took, 50 MB, before it counts for hours
        kind = self.probe.capabilities.kind
        started_s = time.monotonic()
        info = with_provenance(self.probe.start(), {"session_id": session_id})
        path = self.folder / EVENT_JOURNAL
        head = {"session_id": session_id, "kind": kind, "started_s": started_s, **self._facts}
        self._journal = EventJournal(path, head)
        if kind == "measured":
            self.recorder = Recorder(self.probe, self.folder / TRACE, info, started_s)

    def on_event(self, event: PhaseEvent) -> Window:
        """Keep `event`; raises what happened to the instrument, so that the session ends."""
        now_s = time.monotonic()
        if self._journal is not None:
            self._journal.write(event, now_s)
        window = self.probe.on_event(event)
        if window is None:  # the model keeps its own
            window = self.log.add_event(event)
            self._arrived.append(now_s)
        self.check()
        return window

    @property
    def events(self) -> int:
        """Phase events so far."""
        return 0 if self._journal is None else self._journal.events

    def check(self) -> None:
        """Raise what happened to the instrument, if anything did."""
        if self.recorder is not None and self.recorder.failure is not None:
            raise self.recorder.failure

    def arrivals(self) -> Arrivals | None:
        """When events and samples came; None without an instrument."""
        if self.recorder is None:
            return None
        return Arrivals(np.array(self._arrived), *self.recorder.arrivals(), self.recorder.started_s)

    def end(self, provenance: Mapping[str, str], *, complete: bool) -> None:
        """No more events: stop the instrument and close the files. The journal of events stays."""
        try:
            if self.recorder is not None:
                self.recorder.finish(provenance, complete=complete)
        finally:
            if self._journal is not None:
                self._journal.close()

    def discard(self) -> None:
        """The run's files are whole: the journal of events is not needed any more."""
        if self._journal is not None:
            self._journal.path.unlink(missing_ok=True)


def with_provenance(info: TraceInfo, more: Mapping[str, str]) -> TraceInfo:
    """`info` with `more` added to its provenance."""
    facts = {name: getattr(info, name) for name in ("kind", "rate_hz", "sampling", "probe")}
    return TraceInfo(
        **facts,
        board=info.board,
        provenance={**info.provenance, **more},
        accuracy=info.accuracy,
    )
