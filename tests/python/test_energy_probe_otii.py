"""The Otii probe against a fake of its maker's client."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy.errors import ProbeError, ProbeLostError
from energy.integrate import WindowIntegrator
from energy.probes import ProbeOptions, otii, otii_recording
from energy.probes.otii import OtiiProbe
from energy.probes.otii_recording import Fetcher
from energy.probes.registry import has_package
from energy.samples import Flag, TraceChunk
from tests.python.instruments.fake_otii import (
    FakeDevice,
    FakeOtii,
    FakeRecording,
    OtiiException,
)

RATE = 4000.0


def wave(n: int) -> np.ndarray:
    return np.where((np.arange(n) // 40) % 2, 0.050, 0.001)


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> FakeOtii:
    fake = FakeOtii([FakeDevice()], FakeRecording(wave(8000), RATE, 3.28))
    monkeypatch.setattr(otii, "vendor_package", lambda *_: fake)
    monkeypatch.setattr(otii, "POLL_S", 0.002)
    return fake


def indices(chunks: list[TraceChunk]) -> np.ndarray:
    return np.concatenate([np.arange(c.first_index, c.first_index + len(c)) for c in chunks])


def test_a_known_wave_with_voltage_set_and_measured(app: FakeOtii) -> None:
    recording, device = app.recording, app.devices[0]
    edges = np.arange(40, 8000, 40)
    recording.events = [(0.25 + e / RATE, bool((e // 40) % 2)) for e in edges.tolist()]
    probe = otii.create(ProbeOptions(voltage_v=3.3))
    probe.open()
    assert device.main and device.set_v == 3.3 and device.channels == {"mc", "mv", "i1", "i2"}
    probe.start()
    chunks: list[TraceChunk] = []
    for _ in range(4):
        recording.grow(2000)
        before = time.monotonic()
        chunks += probe.read()
        assert time.monotonic() - before < 0.5
    info = probe.stop()
    chunks += probe.read()
    probe.close()
    assert app.recordings_running == 0 and app.log == ["connect", "disconnect"] and device.main
    assert info.rate_hz == RATE and info.provenance["voltage set"] == "3.3 V"
    assert info.provenance["voltage measured"] == "3.28 V on average"
    np.testing.assert_array_equal(indices(chunks), np.arange(8000))
    np.testing.assert_array_equal(np.concatenate([c.trigger for c in chunks]), wave(8000) > 0.01)
    integrator = WindowIntegrator(
        np.array([0.0]), np.array([2.0]), rate_hz=info.rate_hz, sampling=info.sampling
    )
    for chunk in chunks:
        integrator.feed(chunk)
    true_j = 0.0255 * 3.28 * 2.0
    accuracy = info.accuracy
    bound = (accuracy.gain_error + accuracy.voltage_gain_error) * true_j
    bound += accuracy.offset_a * 3.28 * 2.0
    got = float(integrator.finish().energy_j[0])
    assert abs(got - true_j) <= bound and got == pytest.approx(true_j, rel=1e-6)


@settings(max_examples=25, deadline=None)
@given(
    steps=st.lists(st.integers(1, 900), min_size=1, max_size=8),
    block=st.integers(1, 700),
    hold=st.sampled_from([0.0, 0.01, 0.1]),
)
def test_blocks_do_not_matter(steps: list[int], block: int, hold: float) -> None:
    total = sum(steps)
    recording = FakeRecording(wave(total), RATE, 3.0)
    recording.events = [(0.25 + e / RATE, bool((e // 40) % 2)) for e in range(40, total, 40)]
    fetcher = Fetcher(FakeDevice(), recording, RATE)
    chunks: list[TraceChunk] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(otii_recording, "BLOCK_SAMPLES", max(block, total // 40))
        for step in steps:
            recording.grow(step)
            chunks += fetcher.fetch(hold)
        chunks += fetcher.fetch(0.0)
        assert recording.largest <= max(block, total // 40)
    np.testing.assert_array_equal(indices(chunks), np.arange(total))
    np.testing.assert_array_equal(np.concatenate([c.current_a for c in chunks]), wave(total))
    np.testing.assert_array_equal(np.concatenate([c.trigger for c in chunks]), wave(total) > 0.01)


def test_samples_missing_by_time_are_a_gap() -> None:
    recording = FakeRecording(wave(1000), RATE, 3.0)
    recording.lost = (600, 25)
    recording.current[10] = 5.5
    recording.grow(1000)
    chunks = list(Fetcher(FakeDevice(), recording, RATE).fetch(0.0))
    np.testing.assert_array_equal(indices(chunks), np.r_[0:600, 625:1025])
    assert np.flatnonzero(chunks[0].flags & Flag.OVER_RANGE).tolist() == [10]


@pytest.mark.parametrize("how", ["unplugged", "application gone"])
def test_lost_delivers_what_was_fetched_then_says_so(app: FakeOtii, how: str) -> None:
    probe = OtiiProbe(voltage_v=3.3)
    probe.open()
    probe.start()
    app.recording.grow(4000)
    got: list[TraceChunk] = []
    while sum(map(len, got)) < 3600:
        got += probe.read()
    if how == "unplugged":
        app.devices[0].connected = False
    else:
        app.recording.broken = OtiiException("socket closed")
    with pytest.raises(ProbeLostError, match="lost while it recorded.*check cable"):
        for _ in range(100):
            for chunk in probe.read():
                got.append(chunk)
    assert sum(map(len, got)) == (4000 if how == "unplugged" else 3600)
    assert probe.stop().rate_hz == RATE and list(probe.read()) == []
    probe.close()


def test_an_ace_takes_a_rate(app: FakeOtii) -> None:
    app.devices[:] = [FakeDevice("Ace", "Ace two")]
    probe = OtiiProbe(voltage_v=3.3, rate_hz=10_000)
    probe.open()
    assert probe.rate_hz == 10_000 and probe.capabilities.accuracy.gain_error == 5e-4
    probe.close()


@pytest.mark.parametrize(
    ("change", "arguments", "match"),
    [
        ("none", {}, r"no Otii \(connected: none\).*plug it in"),
        ("two", {}, "several Otiis.*--probe otii:NAME"),
        ("", {"address": "x"}, "no Otii x"),
        ("", {}, "main output of Arc one is off.*--voltage"),
        ("", {"voltage_v": 12.0}, "0.5 to 5 V, not 12 V"),
        ("", {"voltage_v": 3.3, "rate_hz": 1000.0}, "samples at 4000 Hz, not at 1000"),
        ("refused", {}, r"does not answer \(.*refused.*start Otii 3"),
    ],
)
def test_what_keeps_it_from_opening(
    app: FakeOtii, change: str, arguments: dict[str, object], match: str
) -> None:
    if change == "none":
        app.devices.clear()
    elif change == "two":
        app.devices.append(FakeDevice(name="Arc two"))
    elif change == "refused":
        app.refuses = ConnectionRefusedError("refused")
    with pytest.raises(ProbeError, match=match):
        OtiiProbe(**arguments).open()  # type: ignore[arg-type]
    assert app.log in ([], ["connect", "disconnect"])


def test_a_recording_that_runs_already(app: FakeOtii) -> None:
    app.recordings_running = 1
    probe = OtiiProbe(voltage_v=3.3)
    probe.open()
    with pytest.raises(ProbeError, match="already running.*stop the recording"):
        probe.start()
    probe.close()


def test_detect(app: FakeOtii) -> None:
    assert [(f.name, f.address, f.title) for f in otii.detect()] == [
        ("otii", "id-Arc one", "Otii Arc Arc one")
    ]
    app.refuses = ConnectionRefusedError("refused")
    assert otii.detect() == []


@pytest.mark.skipif(has_package("otii_tcp_client"), reason="the client is installed")
def test_without_the_client() -> None:
    with pytest.raises(ProbeError, match=r"pip install -e '\.\[otii\]'"):
        OtiiProbe().open()
