"""A capture that is killed loses nothing, and an hour of samples takes no more memory than a minute."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from energy.errors import TraceError
from energy.journal import EVENT_JOURNAL, TRACE_JOURNAL, EventJournal, read_events
from energy.recover import recover
from energy.session import Phase, PhaseEvent
from energy.trace import TraceReader
from tests.python.energy_instrument import FakeInstrument, timeline

# A capture in a process of its own, that says how far it is and then goes on and on.
PROGRAM = """
import sys, time
from pathlib import Path
from energy import capture
from tests.python.energy_instrument import FakeInstrument, TimedSession, events_of, timeline
kind, folder, spans = sys.argv[1], Path(sys.argv[2]), timeline(12)

def forever():
    for k, event in enumerate(events_of(spans, 80e-6)):
        yield event
    time.sleep(0.6)
    print("READY", flush=True)
    time.sleep(60)

class Entry:
    value = "test:session"
    def load(self):
        return TimedSession(folder, forever()).open

import energy.session
energy.session.metadata.entry_points = lambda group: [Entry()]
if kind == "measured":
    capture.create_probe = lambda choice, options: FakeInstrument(spans, patient=False)
sys.argv = ["capture", "--port", "x", "--probe", "model" if kind == "modelled" else "ppk2"]
sys.exit(capture.end_well(capture.main))
"""


def kill_in_the_middle(kind: str, folder: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, kind, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    try:
        assert any("READY" in line for line in process.stdout)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait(10) == -signal.SIGKILL
    finally:
        process.kill()
        process.stdout.close()


def test_a_killed_measurement_is_recovered_to_the_last_sample(tmp_path: Path) -> None:
    kill_in_the_middle("measured", tmp_path)
    assert {p.name for p in tmp_path.iterdir()} >= {TRACE_JOURNAL, EVENT_JOURNAL}
    with pytest.raises(TraceError, match=r"python -m energy\.recover"):
        TraceReader(tmp_path / "trace.parquet")
    spans = timeline(12)
    summary = recover(tmp_path, Console(quiet=True))
    reader = TraceReader(tmp_path / "trace.parquet")
    assert reader.samples == FakeInstrument(spans).total and not reader.complete
    alignment = summary["alignment"]
    assert isinstance(alignment, dict) and alignment["method"] == "trigger"
    total = summary["total"]
    assert isinstance(total, dict) and summary["complete"] is False
    exact = sum(span.energy_j for span in spans)
    assert total["count"] == len(spans) and abs(total["energy_j"] - exact) < 2e-3 * exact
    left = {p.name for p in tmp_path.iterdir()}
    pictures = {"energy.png", "report.html"}
    assert left == {"trace.parquet", "windows.parquet", "energy.json"} | pictures
    with pytest.raises(TraceError, match="no unfinished recording"):
        recover(tmp_path, Console(quiet=True))


def test_a_killed_model_run_is_recovered_to_the_last_event(tmp_path: Path) -> None:
    kill_in_the_middle("modelled", tmp_path)
    summary = recover(tmp_path, Console(quiet=True))
    assert summary["kind"] == "modelled" and summary["complete"] is False
    total = summary["total"]
    assert isinstance(total, dict) and total["count"] == len(timeline(12))
    stored = json.loads((tmp_path / "energy.json").read_text(encoding="utf-8"))
    assert stored["total"]["macs"] == 1000 * len(timeline(12))


def test_a_journal_that_breaks_off_anywhere_keeps_what_is_whole(tmp_path: Path) -> None:
    from energy.journal import TraceJournal
    from energy.recover import recover_trace

    probe = FakeInstrument(timeline(3))
    path = tmp_path / TRACE_JOURNAL
    journal = TraceJournal(path, probe.start())
    for first in range(0, 5000, 500):
        journal.write(probe.sample(first, first + 500))
        journal.flush()
    journal.close()
    whole = path.read_bytes()
    rng = np.random.default_rng(1)
    kept = []
    for cut in sorted(rng.integers(1500, len(whole), 12)):
        path.write_bytes(whole[: int(cut)])
        kept.append(recover_trace(path, tmp_path / "trace.parquet"))
        reader = TraceReader(tmp_path / "trace.parquet")
        got = np.concatenate([c.current_a for c in reader.chunks()]) if kept[-1] else np.zeros(0)
        np.testing.assert_allclose(got, probe.sample(0, kept[-1]).current_a, rtol=1e-6)
    assert kept == sorted(kept) and kept[-1] % 500 == 0 and kept[-1] >= 4000
    path.write_bytes(whole[:40])
    with pytest.raises(TraceError, match="nothing to recover"):
        recover_trace(path, tmp_path / "trace.parquet")


def test_events_come_back_without_the_line_that_broke_off(tmp_path: Path) -> None:
    path = tmp_path / EVENT_JOURNAL
    journal = EventJournal(path, {"session_id": "abc"})
    events = [PhaseEvent(Phase.BACKWARD, 10 * k, 10 * k + 5, macs=k, updates=3) for k in range(9)]
    for event in events:
        journal.write(event, 1.5)
    journal.close()
    path.write_bytes(path.read_bytes()[:-7])
    run, found = read_events(path)
    assert run == {"session_id": "abc"} and [event for event, _ in found] == events[:-1]
    with pytest.raises(TraceError, match=r"energy\.recover"):
        EventJournal(path, {})
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join([*lines[:3], "[6,\n", *lines[3:]]), encoding="utf-8")
    _, found = read_events(path)
    assert [next(found)[0] for _ in range(2)] == events[:2]
    with pytest.raises(TraceError, match="damaged inside"):
        next(found)
    path.write_text("nonsense", encoding="utf-8")
    with pytest.raises(TraceError, match="no journal"):
        read_events(path)


MEMORY = """
import sys, time
from pathlib import Path
import numpy as np
import energy.capture
from energy.align import collect_edges
from energy.recording import Recorder
from energy.samples import TraceChunk, TraceInfo
from energy.trace import TraceReader
from energy.uncertainty import measure_windows

class Flood:
    def __init__(self, total):
        self.at, self.total, self.rng = 0, total, np.random.default_rng(1)
        self.noise = self.rng.normal(0.05, 0.01, 4000)
    def read(self):
        for _ in range(20):
            if self.at >= self.total:
                return
            trigger = np.full(4000, (self.at // 4000) % 7, dtype=np.uint8)
            yield TraceChunk(self.at, self.noise, np.full(4000, 3.3), trigger)
            self.at += 4000
    def stop(self):
        return info

info = TraceInfo("measured", 100_000.0, "mean", "flood")
path = Path(sys.argv[2]) / "trace.parquet"
recorder = Recorder(Flood(int(sys.argv[1])), path, info, time.monotonic())
recorder.finish({}, complete=True)
assert recorder.failure is None, recorder.failure
reader = TraceReader(path)
assert reader.samples == int(sys.argv[1])
edges = collect_edges(reader.chunks())
start = edges.index[:-1] / info.rate_hz
measure_windows(start, start + 0.03, np.full(len(start), 1e-4), 1e-5, info, reader.chunks())
status = Path("/proc/self/status").read_text()  # ru_maxrss is the parent's where that is larger
print(int(status.split("VmHWM:")[1].split()[0]) // 1024)
"""


def peak_mb(samples: int, folder: Path) -> int:
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(samples), str(folder)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    return int(done.stdout.split()[-1])


def test_memory_does_not_grow_with_the_samples(tmp_path: Path) -> None:
    """Recorded, aligned and integrated at full speed: 20 s and 100 s of 100,000 samples a second."""
    short, long = peak_mb(2_000_000, tmp_path / "a"), peak_mb(10_000_000, tmp_path / "b")
    assert long < 200, f"{long} MB"
    assert long - short < 25, f"{short} MB became {long} MB"
