"""Recordings of other programs, played back: same energy, gaps kept, faults named."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy.errors import ProbeError, ProbeLostError
from energy.integrate import WindowIntegrator
from energy.probes import ProbeOptions, replay_csv
from energy.probes.replay import ReplayProbe, create
from energy.samples import Accuracy, Flag, TraceChunk, TraceInfo
from energy.trace import TraceReader, TraceWriter
from energy.trace_csv import export_csv

RATE = 10_000
VOLTS = 3.0


def wave(n: int) -> np.ndarray:
    """A square wave of 2 and 40 mA, 25 samples each."""
    return np.where((np.arange(n) // 25) % 2, 0.040, 0.002)


def ppk2_csv(path: Path, n: int, lost: range = range(0), rate: float = RATE) -> Path:
    rows = ["Timestamp(ms),Current(uA),D0-D7"]
    for k, a in enumerate(wave(n)):
        if k not in lost:
            rows.append(
                f"{k / rate * 1e3:.6f},{a * 1e6:.3f},{'10000001' if a > 0.01 else '00000000'}"
            )
    path.write_text("\n".join(rows) + "\n")
    return path


def play(probe: ReplayProbe) -> tuple[TraceInfo, list[TraceChunk]]:
    probe.open()
    probe.start()
    chunks = list(probe.read())
    info = probe.stop()
    chunks += list(probe.read())
    probe.close()
    return info, chunks


def energy(info: TraceInfo, chunks: list[TraceChunk], stop_s: float) -> float:
    integrator = WindowIntegrator(
        np.array([0.0]), np.array([stop_s]), rate_hz=info.rate_hz, sampling=info.sampling
    )
    for chunk in chunks:
        integrator.feed(chunk)
    return float(integrator.finish().energy_j[0])


def test_ppk2_csv_gives_back_the_energy_and_the_inputs(tmp_path: Path) -> None:
    path = ppk2_csv(tmp_path / "ppk.csv", 1000)
    probe = create(ProbeOptions(address=str(path), voltage_v=VOLTS))
    assert probe.has_trigger and probe.capabilities.kind == "measured"
    assert not probe.capabilities.measures_voltage and probe.capabilities.accuracy.gain_error > 0
    info, chunks = play(probe)
    assert info.rate_hz == RATE and info.provenance["replayed from"] == "ppk.csv"
    assert energy(info, chunks, 0.1) == pytest.approx(0.021 * VOLTS * 0.1, rel=1e-6)
    trigger = np.concatenate([c.trigger for c in chunks])
    np.testing.assert_array_equal(trigger, np.where(wave(1000) > 0.01, 0x81, 0))


@settings(max_examples=12, deadline=None)
@given(
    n=st.integers(60, 400),
    lost_at=st.integers(5, 50),
    lost=st.integers(0, 9),
    block=st.sampled_from([120, 333, 4096]),
)
def test_blocks_and_gaps_do_not_change_samples(
    tmp_path_factory: pytest.TempPathFactory, n: int, lost_at: int, lost: int, block: int
) -> None:
    folder = tmp_path_factory.mktemp("csv")
    path = ppk2_csv(folder / "p.csv", n, range(lost_at, lost_at + lost))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replay_csv, "BLOCK_BYTES", block)
        _, chunks = play(ReplayProbe(path, VOLTS))
    index = np.concatenate([np.arange(c.first_index, c.first_index + len(c)) for c in chunks])
    expected = np.array([k for k in range(n) if k not in range(lost_at, lost_at + lost)])
    np.testing.assert_array_equal(index, expected)
    current = np.concatenate([c.current_a for c in chunks])
    np.testing.assert_allclose(current, wave(n)[expected], rtol=1e-9)


def test_a_window_over_a_gap_has_no_energy(tmp_path: Path) -> None:
    info, chunks = play(ReplayProbe(ppk2_csv(tmp_path / "p.csv", 500, range(100, 103)), VOLTS))
    assert np.isnan(energy(info, chunks, 0.05))
    assert energy(info, chunks, 0.005) == pytest.approx(0.021 * VOLTS * 0.005, rel=1e-6)


def test_joulescope_csv(tmp_path: Path) -> None:
    path = tmp_path / "js.csv"
    rows = [f"{0.5 * k:.1f},0.4,5.0,2.0,{0.2 * k},{k}" for k in range(10)]
    path.write_text("#time,current,voltage,power,charge,energy\n" + "\n".join(rows) + "\n")
    info, chunks = play(ReplayProbe(path))
    assert info.rate_hz == 2.0 and info.probe == "joulescope"
    assert energy(info, chunks, 5.0) == pytest.approx(10.0, rel=1e-6)


@pytest.mark.parametrize("kind", ["measured", "modelled"])
def test_own_trace_keeps_kind_gaps_flags_and_accuracy(tmp_path: Path, kind: str) -> None:
    accuracy = Accuracy(0.01, 1e-6, source="somewhere")
    info = TraceInfo(kind, 1000.0, "mean", "lpm01a", accuracy=accuracy)  # type: ignore[arg-type]
    flags = np.array([0, Flag.OVER_RANGE, 0], dtype=np.uint8)
    ones = np.ones(3)
    with TraceWriter(tmp_path / "trace.parquet", info) as writer:
        writer.write(TraceChunk(0, ones, ones, np.arange(3, dtype=np.uint8), flags))
        writer.write(TraceChunk(7, ones, ones, np.arange(3, dtype=np.uint8)))
    for name in ("trace.parquet", "trace.csv"):
        if name == "trace.csv":
            export_csv(TraceReader(tmp_path / "trace.parquet"), tmp_path / name)
        got, chunks = play(ReplayProbe(tmp_path / name))
        assert got.kind == kind and got.rate_hz == 1000.0
        assert [(c.first_index, len(c)) for c in chunks] == [(0, 3), (7, 3)]
        assert chunks[0].flags.tolist() == flags.tolist() and chunks[1].trigger.tolist() == [
            0,
            1,
            2,
        ]
    assert play(ReplayProbe(tmp_path / "trace.parquet"))[0].accuracy == accuracy


def ppk2_file(path: Path, n: int, **facts: object) -> Path:
    frames = np.zeros(n, dtype=[("i", "<f4"), ("b", "<u2")])
    frames["i"] = wave(n) * 1e6
    frames["b"] = np.where(wave(n) > 0.01, 0x5556, 0x5555)  # D0 high, the others low
    frames["i"][10:12] = np.nan
    meta = {"metadata": {"samplesPerSecond": RATE}, "formatVersion": 2, **facts}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("session.raw", frames.tobytes())
        archive.writestr("metadata.json", json.dumps(meta))
    return path


def test_ppk2_file(tmp_path: Path) -> None:
    info, chunks = play(ReplayProbe(ppk2_file(tmp_path / "a.ppk2", 500), VOLTS))
    assert [(c.first_index, len(c)) for c in chunks] == [(0, 10), (12, 488)]
    current = np.concatenate([c.current_a for c in chunks])
    np.testing.assert_allclose(current, np.delete(wave(500), [10, 11]), rtol=1e-6)
    trigger = np.concatenate([c.trigger for c in chunks])
    np.testing.assert_array_equal(trigger, np.delete(wave(500) > 0.01, [10, 11]).astype(np.uint8))
    assert info.rate_hz == RATE


def test_cut_off_csv_delivers_what_is_whole_then_says_so(tmp_path: Path) -> None:
    path = ppk2_csv(tmp_path / "p.csv", 300)
    path.write_bytes(path.read_bytes()[:-12])
    probe = ReplayProbe(path, VOLTS)
    probe.open()
    probe.start()
    got: list[TraceChunk] = []
    with pytest.raises(ProbeLostError, match="cut off.*copy the file again"):
        for chunk in probe.read():
            got.append(chunk)
    assert sum(map(len, got)) == 299
    assert probe.stop().rate_hz == RATE and list(probe.read()) == []


@pytest.mark.parametrize(
    ("name", "text", "volts", "match"),
    [
        ("a.csv", "time,amps\n0,1\n", 3.0, "has the columns 'time,amps', expected"),
        ("a.csv", "Timestamp(ms),Current(uA),Foo\n0,1,2\n", 3.0, "Foo.*expected"),
        ("a.csv", "Timestamp(ms),Current(uA)\n0,1\n1,2\n", None, "no voltage.*--voltage"),
        ("a.csv", "Timestamp(ms),Current(uA)\n", 3.0, "fewer than two"),
        ("a.csv", "Timestamp(ms),Current(uA)\n0,1\n2,1\n1,1\n", 3.0, "line 4: time goes back"),
        ("a.csv", "Timestamp(ms),Current(uA)\n0,1\n0,1\n", 3.0, "line 3: time goes back or stands"),
        ("a.csv", "Timestamp(ms),Current(uA)\n0,1\n1,x\n", 3.0, "damaged.*export"),
        ("a.csv", "Timestamp(ms),Current(uA)\n0,1\n1\n2,1\n", 3.0, "damaged.*export"),
        ("a.ppk2", "PK nothing", 3.0, "cut off or no .ppk2"),
        ("a.parquet", "PAR1", None, "not a readable trace"),
        ("a.ppk", "x", None, "old .ppk format.*nRF Connect"),
        ("a.txt", "x", None, "no known kind"),
        ("a.jls", "x", None, r"pip install -e '\.\[joulescope\]'"),
    ],
)
def test_what_cannot_be_replayed_is_named(
    tmp_path: Path, name: str, text: str, volts: float | None, match: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ProbeError, match=match):
        play(ReplayProbe(path, volts))


def test_time_that_goes_back_late_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay_csv, "BLOCK_BYTES", 500)
    lines = ppk2_csv(tmp_path / "p.csv", 400).read_text().splitlines()
    lines[300] = lines[200]
    (tmp_path / "p.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(ProbeLostError, match="line 301: time goes back"):
        play(ReplayProbe(tmp_path / "p.csv", VOLTS))


def test_uneven_times_damaged_archives_missing_files_and_other_rates(tmp_path: Path) -> None:
    path = tmp_path / "u.csv"
    path.write_text("Timestamp(ms),Current(uA)\n0,1\n1,1\n2,1\n3,1\n4.5,1\n5.5,1\n")
    with pytest.raises(ProbeLostError, match="line 6: times are not even"):
        play(ReplayProbe(path, VOLTS))
    whole = ppk2_file(tmp_path / "d.ppk2", 5000)
    data = bytearray(whole.read_bytes())
    data[60] ^= 0xFF
    whole.write_bytes(data)
    with pytest.raises(ProbeLostError, match=r"d\.ppk2 is damaged"):
        play(ReplayProbe(whole, VOLTS))
    with pytest.raises(ProbeError, match="format 9"):
        play(ReplayProbe(ppk2_file(tmp_path / "v.ppk2", 50, formatVersion=9), VOLTS))
    with pytest.raises(ProbeError, match="is not a file"):
        play(ReplayProbe(tmp_path / "none.csv"))
    with pytest.raises(ProbeError, match="leave --rate out"):
        play(ReplayProbe(ppk2_csv(tmp_path / "r.csv", 50), VOLTS, 5000.0))


class FakeJls:
    """Stands for pyjls: two float signals and one digital input that begins later."""

    class Signal:
        def __init__(self, signal_id: int, name: str, offset: int, length: int) -> None:
            self.signal_id, self.name, self.sample_rate = signal_id, name, RATE
            self.sample_id_offset, self.length = offset, length

    def __init__(self, path: str) -> None:
        names = (("current", 0), ("voltage", 0), ("gpi[0]", 16))
        self.signals = {k: self.Signal(k, m, o, 1000 - o) for k, (m, o) in enumerate(names)}

    def fsr(self, signal_id: int, first: int, count: int) -> np.ndarray:
        current = wave(1000).astype(np.float32)
        current[500:503] = np.nan
        if signal_id == 2:
            return np.packbits(
                wave(1000)[16 + first : 16 + first + count] > 0.01, bitorder="little"
            )
        return (current if signal_id == 0 else np.full(1000, 3, np.float32))[first : first + count]

    def close(self) -> None: ...


def test_jls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jls").write_bytes(b"x")
    package = type("pyjls", (), {"Reader": FakeJls})
    monkeypatch.setattr("energy.probes.replay_formats.vendor_package", lambda *_: package)
    monkeypatch.setattr("energy.probes.replay_formats.BLOCK_SAMPLES", 128)
    info, chunks = play(ReplayProbe(tmp_path / "a.jls"))
    index = np.concatenate([np.arange(c.first_index, c.first_index + len(c)) for c in chunks])
    np.testing.assert_array_equal(index, np.delete(np.arange(984), [484, 485, 486]))
    current = np.concatenate([c.current_a for c in chunks])
    trigger = np.concatenate([c.trigger for c in chunks])
    np.testing.assert_allclose(current, wave(1000)[16:][index], rtol=1e-6)
    np.testing.assert_array_equal(trigger, current > 0.01)
    assert info.probe == "joulescope" and info.rate_hz == RATE
