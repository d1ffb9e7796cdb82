"""What a capture takes in memory, with all that an hour of it has: see `energy_hour` for the hour itself."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest

from energy.integrate import WindowIntegrator
from energy.session import Phase, PhaseEvent
from energy.windows import WindowLog
from tests.python.energy_hour import HOUR_WINDOWS, LIMIT_MB, HourInstrument, peak_mb

# The footer of an hour's trace describes 1,370 row groups, these here 35 and 140: 12 MB are for that.
SPARE_MB = 15


@pytest.mark.slow
def test_a_capture_with_the_windows_of_an_hour_is_flat_in_its_samples(tmp_path: Path) -> None:
    """Recorded, aligned, integrated, drawn and written, at a tenth of an hour's samples."""
    peaks = {}
    for samples in (9_000_000, 36_000_000):
        folder = tmp_path / str(samples)
        folder.mkdir()
        peaks[samples] = peak_mb("capture", folder, samples, HOUR_WINDOWS)
        for name in ("energy.json", "windows.parquet", "energy.png", "report.html"):
            assert (folder / name).stat().st_size > 0
        (folder / "trace.parquet").unlink()
    short, long = peaks.values()
    print(f"peak {short:.0f} MB, of four times the samples {long:.0f} MB")
    assert long < LIMIT_MB - SPARE_MB, f"{long:.0f} MB"
    assert long - short < 10, f"{short:.0f} MB became {long:.0f} MB"


@pytest.mark.slow
def test_recovering_the_windows_of_an_hour_takes_no_more(tmp_path: Path) -> None:
    peak_mb("capture-killed", tmp_path, 9_000_000, HOUR_WINDOWS)
    assert (tmp_path / "trace.journal").exists()
    peak = peak_mb("recover", tmp_path, 9_000_000, HOUR_WINDOWS)
    print(f"peak {peak:.0f} MB")
    assert peak < LIMIT_MB - SPARE_MB, f"{peak:.0f} MB"
    left = {path.name for path in tmp_path.iterdir()}
    written = {"trace.parquet", "windows.parquet", "energy.json", "energy.png", "report.html"}
    assert left == written


def test_windows_moved_beside_others_are_those_integrated_alone() -> None:
    """To the last bit, in any order, with windows in gaps and beyond both ends."""
    instrument = HourInstrument(40_000, 4)
    kept = [c for k, c in enumerate(instrument.read()) if k not in (3, 4)]
    rng = np.random.default_rng(5)
    start = rng.uniform(-0.02, 0.42, 300)
    stop = start + rng.choice([0.0, 1e-6, 1e-4, 0.01], 300)
    move = rng.uniform(-2e-3, 2e-3, 300)

    def integrate(begin: np.ndarray, end: np.ndarray, *moves: np.ndarray) -> WindowIntegrator:
        made = WindowIntegrator(begin, end, rate_hz=1e5, sampling="mean", moves_s=moves)
        for chunk in kept:
            made.feed(chunk)
        return made

    both, alone = integrate(start, stop, move, -move), integrate(start, stop)
    for got, expected in zip(astuple(both.finish()), astuple(alone.finish()), strict=True):
        np.testing.assert_array_equal(got, expected)
    for number, by in enumerate((move, -move)):
        energy_j, valid = both.moved(number)
        expected = integrate(start + by, stop + by).finish()
        np.testing.assert_array_equal(valid, expected.valid)
        np.testing.assert_array_equal(energy_j[valid], expected.energy_j[valid])
        assert 50 < np.count_nonzero(valid) < 250


def test_logs_that_share_columns_part_when_one_grows() -> None:
    log = WindowLog()
    for k in range(3):
        log.add_event(PhaseEvent(Phase.BACKWARD, k, k + 1, macs=k))
    placed = log.replaced(start_s=np.arange(3.0))
    log.add_event(PhaseEvent(Phase.UPDATE, 8, 9, macs=8))
    assert (len(log), len(placed)) == (4, 3)
    placed.add_event(PhaseEvent(Phase.INFER, 6, 7, macs=6))
    assert log.ints("macs").tolist() == [0, 1, 2, 8]
    assert placed.ints("macs").tolist() == [0, 1, 2, 6]
    assert placed.floats("start_s")[:3].tolist() == [0.0, 1.0, 2.0]
    assert len(placed.floats("start_s")) == 4 and np.all(np.isnan(log.floats("start_s")))
