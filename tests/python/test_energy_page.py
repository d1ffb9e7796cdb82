"""The report page: its buckets against brute force, and the page itself in a browser."""

from __future__ import annotations

import json
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy.board import load_board
from energy.errors import EnergyError
from energy.page import PAGE, write_page
from energy.page.levels import NO_PHASE, decimate, phases_of
from energy.plot import draw
from energy.probes.model import ModelProbe
from energy.summary import build_summary, integrate_windows, write_summary
from energy.trace import Flag, TraceChunk, TraceInfo, TraceReader, TraceWriter
from tests.python.energy_fakes import fc_session

INFO = TraceInfo(kind="measured", rate_hz=100.0, sampling="mean", probe="test")
BROWSER = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--window-size=500,2300", "--virtual-time-budget=10000",
)  # fmt: skip


@given(st.integers(1, 300), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_buckets_keep_every_peak(total: int, limit: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    power = rng.normal(size=total)
    lost = rng.random(total) < 0.1
    power[rng.random(total) < 0.05] = np.nan
    over = rng.random(total) < 0.05
    chunks = []
    cuts = sorted({0, total, *rng.integers(0, total + 1, size=3).tolist()})
    for first, last in pairwise(cuts):
        keep = np.flatnonzero(~lost[first:last]) + first
        for k in keep:  # one sample a chunk where samples are lost: the hardest split
            flags = np.array([Flag.OVER_RANGE if over[k] else 0], dtype=np.uint8)
            one = np.ones(1)
            chunks.append(TraceChunk(int(k), power[k : k + 1], one, np.zeros(1, np.uint8), flags))
    found = decimate(INFO, chunks, total - 1, limit)
    per = -(-total // limit)
    assert len(found) <= limit and found.width_s == pytest.approx(per / 100.0)
    for b in range(len(found)):
        part = slice(b * per, min((b + 1) * per, total))
        good = power[part][~lost[part] & ~over[part] & np.isfinite(power[part])]
        if len(good):
            assert (found.low_w[b], found.high_w[b]) == (good.min(), good.max())
            assert found.mean_w[b] == pytest.approx(good.mean())
        else:
            assert np.isnan([found.low_w[b], found.mean_w[b], found.high_w[b]]).all()


def test_phase_of_a_bucket_is_the_one_that_fills_most() -> None:
    start, stop = np.array([0.0, 0.7, 2.5]), np.array([0.7, 1.4, 2.8])
    phases = phases_of(1.0, 4, start, stop, np.array([2, 3, 2]))
    assert phases.tolist() == [2, 3, 2, NO_PHASE]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder as energy.capture leaves it, of a modelled session."""
    folder = tmp_path_factory.mktemp("run")
    probe = ModelProbe(load_board("terracorder"), 1000.0)
    probe.open()
    probe.start()
    for event in fc_session(epochs=2, train=16, test=8):
        probe.on_event(event)
    info = probe.stop()
    with TraceWriter(folder / "trace.parquet", info) as writer:
        for chunk in probe.read():
            writer.write(chunk)
    probe.windows.write_parquet(folder / "windows.parquet", info.kind)
    reader = TraceReader(folder / "trace.parquet")
    figures = integrate_windows(probe.windows, info, reader.chunks())
    summary = build_summary(
        probe.windows,
        figures,
        info,
        probe.board,
        samples=reader.samples,
        gaps=reader.gaps,
        complete=True,
        session={"data": "<script>alert(1)</script>", "blocks": "fc", "epochs": 2},
        result={"accuracy_before": 0.011, "accuracy_after": 0.903},
    )
    write_summary(folder / "energy.json", summary)
    draw(folder / "energy.png", probe.windows, info.kind, "Energy", "test")
    return folder


def test_page_says_what_the_summary_says(run: Path) -> None:
    text = write_page(run).read_text(encoding="utf-8")
    assert text.count("modelled") > 5 and "measured</span>" not in text
    assert "1.1 → 90.3 %" in text
    assert "<script>alert(1)" not in text  # texts of a run cannot become code
    assert "src=" not in text.split("</head>")[1] and "http" not in text.split("</head>")[1]


def test_page_draws_and_zooms_in_a_browser(run: Path, tmp_path: Path) -> None:
    browser = (
        shutil.which("chromium")
        or shutil.which("chromium-browser")
        or shutil.which("google-chrome")
    )
    assert browser, (
        "the report page is tested in a browser; install it with: sudo apt-get install chromium"
    )
    page = write_page(run)
    probe = tmp_path / "zoom.html"
    zoom = """<script>
window.addEventListener("load", () => setTimeout(() => {
  const place = document.getElementById("trace");
  const whole = place.data[2].x.length, end = place.data[2].x[whole - 1];
  Plotly.relayout(place, { "xaxis.range[0]": end * 0.4, "xaxis.range[1]": end * 0.41 }).then(() => setTimeout(() => {
    const x = place.data[2].x;
    document.title = JSON.stringify({ whole, end, columns: x.length, first: x[0], last: x[x.length - 1], ready: place.dataset.ready,
                                      charts: document.querySelectorAll(".chart .main-svg").length });
  }, 300));
}, 500));
</script></body>"""
    probe.write_text(page.read_text(encoding="utf-8").replace("</body>", zoom), encoding="utf-8")
    shots = Path("build") / "tests"
    shots.mkdir(parents=True, exist_ok=True)
    shot = shots / "report.png"
    shot.unlink(missing_ok=True)
    common = [browser, *BROWSER, f"--user-data-dir={tmp_path / 'profile'}"]
    seen = subprocess.run(
        [*common, "--dump-dom", probe.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    title = seen.stdout.split("<title>")[1].split("</title>")[0]
    state = json.loads(title.replace("&quot;", '"'))
    assert state["ready"] == "1" and state["charts"] >= 3
    assert 0 < state["whole"] <= 2001 and 0 < state["columns"] <= 2001
    # Only the part zoomed into is drawn, in finer columns than the whole had.
    assert state["first"] >= 0.39 * state["end"] and state["last"] <= 0.42 * state["end"]
    subprocess.run(
        [*common, f"--screenshot={shot.resolve()}", page.resolve().as_uri()],
        capture_output=True,
        timeout=120,
        check=True,
    )
    assert shot.stat().st_size > 20_000
    print(f"Screenshot of the report: {shot}")


def test_trace_of_another_run_is_refused(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(run, other, ignore=shutil.ignore_patterns(PAGE))
    with TraceWriter(other / "trace.parquet", INFO) as writer:
        writer.write(TraceChunk(0, np.ones(5), np.ones(5), np.zeros(5, np.uint8)))
    with pytest.raises(EnergyError, match="does not belong to"):
        write_page(other)
    assert not (other / PAGE).exists()
    (other / "energy.json").write_text("{")
    with pytest.raises(EnergyError, match="cannot be read"):
        write_page(other)
