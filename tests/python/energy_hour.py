"""An hour of samples through a whole capture as fast as the machine goes, and the memory it took.

    python -m tests.python.energy_hour                      # an hour at 100 kS/s, captured to its end
    python -m tests.python.energy_hour --killed             # the same, killed at its end and recovered
    python -m tests.python.energy_hour --samples 20000000 --windows 90000

The command line of `energy.capture` runs with an instrument and a board that do not wait: time is
virtual, all else is what a capture does. A second has five training steps of five phases, so an
hour has 90,000 windows. Memory is `VmHWM` of the process that did the work: the most that was ever
resident of it, its libraries included.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from energy.probes import Capabilities, Instrument
from energy.samples import TraceChunk, TraceInfo
from energy.session import OnEvent, OnProgress, Phase, PhaseEvent
from tests.python.energy_instrument import CURRENT_A, IDLE_A, VOLTS, TimedSession

RATE_HZ = 100_000
HOUR = 3600 * RATE_HZ
LIMIT_MB = 200
HOUR_WINDOWS = 90_000
PHASES = (
    Phase.LOAD,
    Phase.FROZEN_FORWARD,
    Phase.TRAIN_FORWARD,
    Phase.BACKWARD,
    Phase.UPDATE,
)
_CHUNK = 4000
_DRIFT = 40e-6
_ROOT = Path(__file__).parents[2]


def bounds(step: int, size: int) -> np.ndarray:
    """Samples at which the phases of step `step`, `size` samples long, start and stop: int64 (10,)."""
    ends = np.random.default_rng(step).integers(400, 3600, 10).cumsum()
    return step * size + (2 * ends - ends[0]) * (size - size // 100) // (2 * ends[-1])


class HourInstrument(Instrument):
    """A hundred thousand samples for each second that never was: `total`, in `steps` steps."""

    name = "hour"
    rate_hz = float(RATE_HZ)

    def __init__(self, total: int, steps: int) -> None:
        self.at, self.steps, self.size = 0, steps, total // steps
        self.total = self.size * steps
        self._noise = np.random.default_rng(1).normal(0.0, 1e-3, 4 * self.size)
        self._volts = np.full(_CHUNK, VOLTS)
        self._step = -1

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities("measured", trigger_lines=4)

    def open(self) -> None: ...

    def close(self) -> None: ...

    def start(self) -> TraceInfo:
        return TraceInfo("measured", self.rate_hz, "mean", "hour")

    stop = start

    def read(self) -> Iterator[TraceChunk]:
        for _ in range(20):
            first = self.at
            if first == self.total:
                return
            step, within = divmod(first, self.size)
            if step != self._step:
                self._make(step)
            last = min(first + _CHUNK, (step + 1) * self.size)
            part = slice(within, within + last - first)
            volts = self._volts[: last - first]
            yield TraceChunk(first, self._current[part], volts, self._trigger[part])
            self.at = last

    def _make(self, step: int) -> None:
        """The samples of step `step`: its phases' currents with noise, and their numbers."""
        self._step = step
        size = self.size
        runs = np.diff(np.concatenate([[0], bounds(step, size) - step * size, [size]]))
        busy = [[IDLE_A, CURRENT_A[phase]] for phase in PHASES]
        level = np.array([*np.ravel(busy), IDLE_A])
        shown = [[0, 0 if phase is Phase.LOAD else int(phase)] for phase in PHASES]
        shift = step * 7919 % (3 * size)
        self._current = np.repeat(level, runs) + self._noise[shift : shift + size]
        self._trigger = np.repeat(np.array([*np.ravel(shown), 0], dtype=np.uint8), runs)


@dataclass
class HourSession(TimedSession):
    """The board: tells of each step when the instrument has sampled it; waits then, or ends."""

    instrument: HourInstrument | None = None
    forever: bool = False

    def run(self, on_event: OnEvent, on_progress: OnProgress) -> Mapping[str, object]:
        assert self.instrument is not None
        size, steps = self.instrument.size, self.instrument.steps
        for step in range(steps):
            while self.instrument.at < (step + 1) * size:
                time.sleep(1e-3)
                on_progress(step, steps, "training")
            board_us = np.rint(bounds(step, size) * (1e6 / RATE_HZ / (1 + _DRIFT))).astype(int)
            starts, stops = board_us[::2].tolist(), board_us[1::2].tolist()
            for phase, start, stop in zip(PHASES, starts, stops, strict=True):
                sample = -1 if phase is Phase.LOAD else step % 1000
                work = {"macs": 1000, "sample": sample, "epoch": step // 1000}
                on_event(PhaseEvent(phase, start % (1 << 32), stop % (1 << 32), **work))
        if self.forever:
            time.sleep(1.0)  # four times as long as samples may be on their way to the disk
            print("READY", flush=True)
            time.sleep(600)
        return {"accuracy_before": 0.1, "accuracy_after": 0.9}


def own_peak_mb() -> float:
    """The most memory this process ever had resident, MB; `ru_maxrss` may be its parent's."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6


def _work(kind: str, folder: Path, samples: int, windows: int) -> None:
    """One process of it: `capture`, `capture-killed`, or `recover`; prints its peak at the end."""
    if kind == "recover":
        from energy import recover

        sys.argv = ["recover", str(folder)]
        status = recover.end_well(recover.main)
    else:
        import energy.session
        from energy import capture

        instrument = HourInstrument(samples, windows // len(PHASES))
        session = HourSession(folder, [], instrument=instrument, forever=kind == "capture-killed")

        class Entry:
            value = "hour:session"

            def load(self) -> object:
                return session.open

        energy.session.metadata.entry_points = lambda group: [Entry()]  # type: ignore
        capture.create_probe = lambda choice, options: instrument  # type: ignore
        sys.argv = ["capture", "--port", "x", "--probe", "ppk2"]
        status = capture.end_well(capture.main)
    print(f"PEAK {own_peak_mb():.1f}", flush=True)
    sys.exit(status)


def peak_mb(kind: str, folder: Path, samples: int, windows: int) -> float:
    """Run `kind` in a process of its own; the most memory it took, MB. A killed one takes 0."""
    command = [sys.executable, "-m", "tests.python.energy_hour", "--work", kind]
    command += ["--folder", str(folder), "--samples", str(samples), "--windows", str(windows)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=_ROOT) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("READY"):
                os.kill(process.pid, signal.SIGKILL)
    text = "".join(lines)
    if kind == "capture-killed":
        assert process.returncode == -signal.SIGKILL, text
        return 0.0
    assert process.returncode == 0, text
    return float(text.split("PEAK")[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--samples", type=int, default=HOUR, help="at 100 kS/s (default: an hour)")
    parser.add_argument("--windows", type=int, help="(default: 25 a second)")
    parser.add_argument("--killed", action="store_true", help="kill the capture and recover it")
    parser.add_argument("--folder", type=Path, help="for the run's files (default: deleted again)")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    samples = asked.samples
    windows = asked.windows or samples * HOUR_WINDOWS // HOUR
    if asked.work:
        _work(asked.work, asked.folder, samples, windows)
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="energy-hour-"))
    try:
        began_s = time.monotonic()
        if asked.killed:
            peak_mb("capture-killed", folder, samples, windows)
        what = "recover" if asked.killed else "capture"
        peak = peak_mb(what, folder, samples, windows)
        print(
            f"{what}: {samples:,} samples, {windows:,} windows in {time.monotonic() - began_s:.0f} s, "
            f"peak {peak:.0f} MB resident (limit {LIMIT_MB})"
        )
        for file in sorted(folder.iterdir()):
            print(f"  {file.name}: {file.stat().st_size / 1e6:.1f} MB")
    finally:
        if not asked.folder:
            shutil.rmtree(folder)
    sys.exit(peak >= LIMIT_MB)


if __name__ == "__main__":
    main()
