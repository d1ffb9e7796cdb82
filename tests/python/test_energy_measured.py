"""`energy.capture` with an instrument: windows, limits, and what stays when something goes wrong."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy import capture
from energy.align import align_by_trigger, board_times, collect_edges
from energy.arrival import align_by_arrival, align_by_stamps
from energy.errors import SessionError
from energy.samples import Accuracy
from energy.session import Phase
from energy.trace import TraceReader
from energy.uncertainty import measure_windows
from tests.python.energy_instrument import (
    IDLE_A,
    VOLTS,
    FakeInstrument,
    Span,
    TimedSession,
    events_of,
    timeline,
)

Measure = Callable[..., tuple[int, str]]
SPANS = timeline(16)


class EntryPoint:
    value = "test:session"

    def __init__(self, target: object) -> None:
        self._target = target

    def load(self) -> object:
        return self._target


@pytest.fixture
def measure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Measure:
    """Run the command line with an instrument and a session of this process."""

    def call(probe: FakeInstrument, session: TimedSession | None = None) -> tuple[int, str]:
        session = session or TimedSession(tmp_path, list(events_of(probe.spans, 80e-6)))
        monkeypatch.setattr(
            "energy.session.metadata.entry_points", lambda group: [EntryPoint(session.open)]
        )
        monkeypatch.setattr("energy.capture.create_probe", lambda choice, options: probe)
        monkeypatch.setattr("energy.plot.draw", lambda *_: None)
        monkeypatch.setattr("energy.recording._TAIL_S", 0.01)
        monkeypatch.setattr(sys, "argv", ["energy.capture", "--port", "x", "--probe", "ppk2"])
        monkeypatch.setenv("COLUMNS", "100")
        status = capture.end_well(capture.main)
        printed = capsys.readouterr()
        return status, " ".join((printed.out + printed.err).split())

    return call


def load(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(
        (folder / "energy.json").read_text(encoding="utf-8"), parse_constant=pytest.fail
    )
    return loaded


def true_j(spans: list[Span], phase: Phase | None = None) -> float:
    return sum(span.energy_j for span in spans if phase in (None, span.phase))


def test_every_phase_gets_its_energy(tmp_path: Path, measure: Measure) -> None:
    probe = FakeInstrument(SPANS, rate_hz=50_000.0)
    status, printed = measure(probe)
    assert status == 0, printed
    assert probe.log == ["open", "start", "stop", "close"]
    summary = load(tmp_path)
    assert summary["kind"] == "measured" and summary["complete"] is True
    assert "measured" in printed and "modelled" not in printed
    for phase in {span.phase for span in SPANS}:
        figures = summary["phases"][phase.label]
        exact = true_j(SPANS, phase)
        assert abs(figures["energy_j"] - exact) <= 1e-3 * exact
        low, high = figures["energy_range_j"]
        assert low <= exact <= high and high - low < 0.02 * exact
        assert figures["from_trace"]["invalid_windows"] == 0
    assert abs(summary["total"]["energy_j"] - true_j(SPANS)) <= 1e-3 * true_j(SPANS)
    alignment = summary["alignment"]
    assert alignment["method"] == "trigger" and alignment["error_is_bound"] is True
    assert alignment["drift_ppm"] == pytest.approx(80, abs=10)
    assert alignment["error_s"] < 3 / 50_000
    assert summary["idle"]["power_w"] == pytest.approx(VOLTS * IDLE_A, rel=1e-6)
    busy_s = sum(span.stop_s - span.start_s for span in SPANS)
    above = true_j(SPANS) - VOLTS * IDLE_A * busy_s
    assert summary["total"]["above_idle_j"] == pytest.approx(above, rel=2e-3)
    assert summary["training_samples"]["count"] == 16


def test_files_say_measured_and_belong_together(tmp_path: Path, measure: Measure) -> None:
    assert measure(FakeInstrument(SPANS))[0] == 0
    names = {p.name for p in tmp_path.iterdir()}
    assert names == {"trace.parquet", "windows.parquet", "energy.json", "report.html"}
    reader = TraceReader(tmp_path / "trace.parquet")
    windows = pq.ParquetFile(tmp_path / "windows.parquet")
    session_id = reader.info.provenance["session_id"]
    assert session_id and reader.info.kind == "measured" and reader.complete
    assert windows.metadata.metadata[b"session_id"].decode() == session_id
    assert load(tmp_path)["session_id"] == session_id
    assert "energy_j_measured" in windows.schema_arrow.names
    table = windows.read().to_pydict()
    for k, span in enumerate(SPANS):
        assert table["start_s"][k] == pytest.approx(span.start_s, abs=2e-4)
        assert table["energy_low_j_measured"][k] <= span.energy_j
        assert span.energy_j <= table["energy_high_j_measured"][k]


@pytest.mark.parametrize(("gain", "offset_a"), [(0.02, 2e-4), (-0.02, -2e-4), (0.02, -2e-4)])
def test_the_range_covers_what_the_instrument_reads_wrong(
    tmp_path: Path, measure: Measure, gain: float, offset_a: float
) -> None:
    accuracy = Accuracy(gain_error=0.0205, offset_a=2.01e-4, source="test")
    assert measure(FakeInstrument(SPANS, gain=gain, offset_a=offset_a, accuracy=accuracy))[0] == 0
    summary = load(tmp_path)
    for name, figures in [("total", summary["total"]), *summary["phases"].items()]:
        exact = true_j(SPANS) if name == "total" else true_j(SPANS, Phase[name.upper()])
        low, high = figures["energy_range_j"]
        assert low <= exact <= high
        assert high - low < 0.07 * exact
    assert summary["accuracy"]["gain_error"] == 0.0205
    # The offset is in the idle power as well, and goes with it.
    assert summary["total"]["uncertainty"]["offset_j"] > 0
    above = true_j(SPANS) - VOLTS * IDLE_A * summary["total"]["duration_s"]
    low, high = summary["total"]["above_idle_range_j"]
    assert low <= above <= high


def test_a_gap_invalidates_windows_and_a_small_one_is_estimated(
    tmp_path: Path, measure: Measure
) -> None:
    backward = [span for span in SPANS if span.phase is Phase.BACKWARD][5]
    middle = int(20_000 * (backward.start_s + backward.stop_s) / 2)
    status, printed = measure(FakeInstrument(SPANS, lost=((middle, middle + 3),)))
    assert status == 0
    summary = load(tmp_path)
    assert summary["trace"]["gaps"] == [[middle, 3]]
    figures = summary["phases"]["backward"]
    assert figures["from_trace"]["invalid_windows"] == 1
    assert figures["energy_j"] is None  # one of sixteen is more than a hundredth
    total = summary["total"]
    assert total["from_trace"]["invalid_windows"] == 1
    lost_share = (backward.stop_s - backward.start_s) / total["duration_s"]
    if lost_share <= 0.01:
        assert total["from_trace"]["estimated"] is True
        assert total["energy_range_j"][0] <= true_j(SPANS) <= total["energy_range_j"][1]
    else:
        assert total["energy_j"] is None
    assert "invalid" in printed


def test_over_range_is_flagged_and_never_summed(tmp_path: Path, measure: Measure) -> None:
    forward = [span for span in SPANS if span.phase is Phase.FROZEN_FORWARD][2]
    at = int(20_000 * (forward.start_s + forward.stop_s) / 2)
    status, printed = measure(FakeInstrument(SPANS, over=((at, at + 1),)))
    assert status == 0 and "touch a gap or a sample over range" in printed
    assert load(tmp_path)["phases"]["frozen_forward"]["from_trace"]["invalid_windows"] == 1


def test_a_pulled_instrument_ends_the_session_and_leaves_what_it_gave(
    tmp_path: Path, measure: Measure
) -> None:
    probe = FakeInstrument(SPANS, dies_at=9_000, patient=False)
    session = TimedSession(tmp_path, list(events_of(SPANS, 80e-6)), pause_s=0.01)
    status, printed = measure(probe, session)
    assert status == 1 and "error: fake stopped answering" in printed
    assert probe.log[-1] == "close"
    reader = TraceReader(tmp_path / "trace.parquet")
    assert reader.samples == 9_000 and not reader.complete


def test_a_board_that_stops_leaves_measured_windows(tmp_path: Path, measure: Measure) -> None:
    some = list(events_of(SPANS, 80e-6))[:30]
    failure = SessionError("the board stopped answering; plug it in again and repeat")
    status, printed = measure(FakeInstrument(SPANS), TimedSession(tmp_path, some, failure=failure))
    assert status == 1 and "the board stopped answering" in printed
    summary = load(tmp_path)
    assert summary["complete"] is False and summary["total"]["count"] == 30


def test_firmware_without_events_is_named_and_the_trace_stays(
    tmp_path: Path, measure: Measure
) -> None:
    status, printed = measure(FakeInstrument(SPANS), TimedSession(tmp_path, []))
    assert status == 1 and "the board sent no phase events" in printed
    assert [p.name for p in tmp_path.iterdir()] == ["trace.parquet"]


def test_without_trigger_lines_the_error_is_large_and_said(
    tmp_path: Path, measure: Measure
) -> None:
    status, printed = measure(FakeInstrument(SPANS, lines=0))
    assert status == 0
    alignment = load(tmp_path)["alignment"]
    assert alignment["method"] == "host_arrival" and alignment["error_is_bound"] is False
    assert alignment["error_s"] >= 0.01 and "no trigger lines" in alignment["note"]
    assert "arrival" in printed


def test_arrival_at_the_host_aligns_within_its_error() -> None:
    rng = np.random.default_rng(4)
    for _ in range(20):
        drift, offset_s = rng.uniform(-100e-6, 100e-6), rng.uniform(0.05, 2.0)
        stop_s = np.cumsum(rng.uniform(0.005, 0.2, 400))
        start_us = (1e6 * (stop_s - 0.004)).astype(np.int64)
        stop_us = (1e6 * stop_s).astype(np.int64)
        begin_s = (start_us - start_us[0]).astype(np.float64) * 1e-6
        # The host's clock is the board's; sample 0 was taken at 7.0 of it.
        host0 = 7.0
        events_host = host0 + offset_s + begin_s + 0.004 + rng.exponential(0.004, 400)
        sample_end_s = np.arange(1, 200, dtype=np.float64) * 0.5
        samples_host = host0 + sample_end_s * (1 + drift) + rng.uniform(0.002, 0.03, 199)
        alignment = align_by_arrival(
            start_us, stop_us, events_host, sample_end_s, samples_host, host0 - 0.01
        )
        true = (offset_s + begin_s) / (1 + drift)
        assert float(np.max(np.abs(alignment.clock(begin_s) - true))) <= alignment.error_s < 0.1


def test_samples_stamped_by_the_board_need_no_fit() -> None:
    start_us = np.array([100, 5_000], dtype=np.int64)
    alignment = align_by_stamps(start_us, start_us + 50, (1 << 32) - 900, 1e-3)
    assert float(alignment.clock(np.array([0.0]))[0]) == pytest.approx(1e-3)
    assert alignment.is_bound and alignment.error_s == 1e-3


def test_a_trace_of_another_session_is_refused(tmp_path: Path, measure: Measure) -> None:
    from energy.errors import TraceError
    from energy.finish import check_session

    assert measure(FakeInstrument(SPANS))[0] == 0
    reader = TraceReader(tmp_path / "trace.parquet")
    check_session(reader, reader.info.provenance["session_id"])
    with pytest.raises(TraceError, match="do not belong together"):
        check_session(reader, "another")


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 1000),
    first_s=st.floats(0.1, 0.5),
    drift=st.floats(-200e-6, 200e-6),
    rate_hz=st.sampled_from([50_000.0, 100_000.0]),
)
def test_aligned_windows_recover_the_energy_whatever_the_sampling_phase(
    seed: int, first_s: float, drift: float, rate_hz: float
) -> None:
    spans = timeline(24, seed, first_s)
    probe = FakeInstrument(spans, rate_hz=rate_hz)
    whole = probe.sample(0, probe.total)
    events = list(events_of(spans, drift))
    phases = np.array([int(event.phase) for event in events], dtype=np.int64)
    start_us = np.array([event.t_start_us for event in events], dtype=np.int64)
    stop_us = np.array([event.t_stop_us for event in events], dtype=np.int64)
    alignment = align_by_trigger(
        phases, start_us, stop_us, collect_edges([whole]), rate_hz=rate_hz, sampling="mean"
    )
    begin_s, end_s = board_times(start_us, stop_us)
    windows = measure_windows(
        alignment.clock(begin_s),
        alignment.clock(end_s),
        alignment.error_at(end_s),
        alignment.edge_error_s,
        probe.start(),
        [whole],
    )
    exact = np.array([span.energy_j for span in spans])
    assert bool(np.all(windows.figures.valid))
    assert bool(np.all(np.abs(windows.figures.energy_j - exact) <= windows.each_j()))
    total = windows.total(np.ones(len(spans), dtype=np.bool_), phases)
    assert total is not None
    assert abs(total.energy_j - float(np.sum(exact))) <= 1e-3 * float(np.sum(exact))
    # A bound that says nothing would hold too.
    assert total.uncertainty_j <= 0.01 * total.energy_j
