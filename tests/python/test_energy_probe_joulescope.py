"""The Joulescope probe against a fake of its maker's driver."""

from __future__ import annotations

import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy.errors import ProbeError, ProbeLostError
from energy.integrate import WindowIntegrator
from energy.probes import ProbeOptions, joulescope
from energy.probes.joulescope import JoulescopeProbe
from energy.probes.registry import has_package
from energy.samples import Flag, TraceChunk
from tests.python.instruments.fake_joulescope import FakeDriver

PATH = "u/js220/000415"
NATIVE, STEP = 1_000_000, 10
START = 5_000_000_000  # the counter runs since the instrument was plugged in


def use(monkeypatch: pytest.MonkeyPatch, driver: FakeDriver) -> FakeDriver:
    monkeypatch.setattr(joulescope, "vendor_package", lambda *_: driver)
    return driver


def started(
    monkeypatch: pytest.MonkeyPatch, path: str = PATH
) -> tuple[FakeDriver, JoulescopeProbe]:
    driver = use(monkeypatch, FakeDriver([path]))
    probe = joulescope.create(ProbeOptions())
    probe.open()
    probe.start()
    return driver, probe


def wave(n: int) -> np.ndarray:
    return np.where((np.arange(n) // 50) % 2, 0.050, 0.001)


def send(
    driver: FakeDriver, first: int, stop: int, streams: tuple[str, ...] = ("i", "v", "gpi")
) -> None:
    """Trace samples first … stop of the wave at 3 V; the first input shows its upper half."""
    at, current = START + first * STEP, wave(stop)[first:]
    if "i" in streams:
        driver.send("s/i", at, current.astype(np.float32), STEP, NATIVE)
    if "v" in streams:
        driver.send("s/v", at, np.full(stop - first, 3, np.float32), STEP, NATIVE)
    if "gpi" in streams:
        driver.send("s/gpi/0", at, np.repeat(current > 0.01, STEP), 1, NATIVE)  # at the native rate
        for line in (1, 2, 3):
            driver.send(f"s/gpi/{line}", at, np.zeros(stop - first), STEP, NATIVE)


def indices(chunks: list[TraceChunk]) -> np.ndarray:
    return np.concatenate([np.arange(c.first_index, c.first_index + len(c)) for c in chunks])


def test_a_known_wave_within_the_accuracy(monkeypatch: pytest.MonkeyPatch) -> None:
    driver, probe = started(monkeypatch)
    assert (f"{PATH}/h/fs", 100_000) in driver.published and probe.has_trigger
    chunks: list[TraceChunk] = []
    for first in range(0, 20_000, 4000):
        send(driver, first, first + 4000)
        chunks += probe.read()
    info = probe.stop()
    chunks += probe.read()
    probe.close()
    assert info.rate_hz == 100_000 and info.provenance["serial"] == "000415"
    assert driver.finalized == 1 and driver.opened == []
    assert all(not fns for fns in driver.subscribers.values())
    assert (f"{PATH}/s/i/ctrl", 0) in driver.published
    integrator = WindowIntegrator(
        np.array([0.0]), np.array([0.2]), rate_hz=info.rate_hz, sampling=info.sampling
    )
    for chunk in chunks:
        integrator.feed(chunk)
    true_j = 0.0255 * 3.0 * 0.2
    bound = info.accuracy.gain_error + info.accuracy.voltage_gain_error
    got = float(integrator.finish().energy_j[0])
    assert abs(got - true_j) <= bound * true_j and got == pytest.approx(true_j, rel=1e-5)
    trigger = np.concatenate([c.trigger for c in chunks])
    np.testing.assert_array_equal(trigger, wave(20_000) > 0.01)


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.lists(st.integers(1, 399), max_size=5), min_size=3, max_size=3))
def test_block_splits_do_not_matter(cuts: list[list[int]]) -> None:
    """Each stream is cut into blocks where it likes, and they come stream by stream."""
    with pytest.MonkeyPatch.context() as patch:
        driver, probe = started(patch)
        for own, stream in zip(cuts, ("v", "gpi", "i"), strict=True):
            edges = sorted({0, 400, *(8 * (c // 8) if stream == "gpi" else c for c in own)})
            for first, stop in pairwise(edges):
                send(driver, first, stop, (stream,))
        probe.stop()
        chunks = list(probe.read())
        probe.close()
    np.testing.assert_array_equal(indices(chunks), np.arange(400))
    current = np.concatenate([c.current_a for c in chunks])
    np.testing.assert_allclose(current, wave(400), rtol=1e-6)
    np.testing.assert_array_equal(np.concatenate([c.trigger for c in chunks]), current > 0.01)


@pytest.mark.parametrize("stream", ["i", "v", "gpi"])
def test_a_block_that_one_stream_lost_is_a_gap(
    monkeypatch: pytest.MonkeyPatch, stream: str
) -> None:
    driver, probe = started(monkeypatch)
    send(driver, 0, 800)
    send(driver, 800, 1600, tuple(s for s in ("i", "v", "gpi") if s != stream))
    send(driver, 1600, 2400)
    probe.stop()
    chunks = list(probe.read())
    np.testing.assert_array_equal(indices(chunks), np.r_[0:800, 1600:2400])


def test_a_stream_that_falls_behind_does_not_hold_the_trace_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    driver, probe = started(monkeypatch)
    send(driver, 0, 8000)
    assert sum(map(len, probe.read())) == 8000
    send(driver, 8000, 208_000, ("i", "v"))  # two seconds without the inputs
    assert list(probe.read()) == []
    send(driver, 208_000, 216_000)
    chunks = list(probe.read())
    probe.stop()
    chunks += probe.read()
    np.testing.assert_array_equal(indices(chunks), np.arange(208_000, 216_000))


def test_over_range_and_range_switches_on_a_js110(monkeypatch: pytest.MonkeyPatch) -> None:
    driver, probe = started(monkeypatch, "u/js110/000042")
    assert probe.capabilities.trigger_lines == 2
    current = np.full(400, 0.01, np.float32)
    current[100], current[200] = 12.0, np.nan
    ranges = np.repeat(np.where(np.arange(400) < 300, 3, 2).astype(np.uint8), 20)
    native = 2_000_000
    driver.send("s/i", START, current, 20, native)
    driver.send("s/v", START, np.full(400, 3, np.float32), 20, native)
    driver.send("s/i/range", START, ranges, 1, native)
    for line in (0, 1):
        driver.send(f"s/gpi/{line}", START, np.ones(400), 20, native)
    probe.stop()
    [chunk] = list(probe.read())
    assert np.flatnonzero(chunk.flags & Flag.OVER_RANGE).tolist() == [100]
    assert np.flatnonzero(chunk.flags & Flag.RANGE_SWITCH).tolist() == [300]
    assert np.isnan(chunk.current_a[200]) and set(chunk.trigger.tolist()) == {3}


def test_unplugged_delivers_what_came_then_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    driver, probe = started(monkeypatch)
    send(driver, 0, 800)
    driver.tell("@/!remove", "u/js220/another")
    driver.tell("@/!remove", PATH)
    got: list[TraceChunk] = []
    with pytest.raises(ProbeLostError, match="JS220 000415 was unplugged.*USB cable"):
        for chunk in probe.read():
            got.append(chunk)
    assert sum(map(len, got)) == 800
    assert probe.stop().rate_hz == 100_000 and list(probe.read()) == []
    probe.close()


def test_read_waits_no_longer_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    _, probe = started(monkeypatch)
    before = time.monotonic()
    assert list(probe.read()) == []
    assert time.monotonic() - before < 0.5
    probe.close()
    probe.close()


@pytest.mark.parametrize(
    ("driver", "serial", "rate_hz", "match"),
    [
        (FakeDriver([]), "", 1e5, r"no Joulescope \(plugged in: none\).*plug it in"),
        (FakeDriver([PATH, "u/js110/7"]), "", 1e5, "several Joulescopes.*000415, 7.*SERIAL"),
        (FakeDriver([PATH]), "9", 1e5, "no Joulescope 9"),
        (FakeDriver([PATH], {"open": RuntimeError("failed 21")}), "", 1e5, "in use by another"),
        (FakeDriver([PATH], {"h/fs": TimeoutError("timed out")}), "", 1e5, "did not take h/fs"),
        (FakeDriver([PATH]), "", 3e5, "cannot sample at 300000 Hz.*--rate"),
    ],
)
def test_what_keeps_it_from_opening(
    monkeypatch: pytest.MonkeyPatch, driver: FakeDriver, serial: str, rate_hz: float, match: str
) -> None:
    use(monkeypatch, driver)
    with pytest.raises(ProbeError, match=match):
        JoulescopeProbe(serial, rate_hz).open()
    assert driver.finalized == 1 and driver.opened == []


def test_detect(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, FakeDriver([PATH, "u/other/1"]))
    [found] = joulescope.detect()
    assert (found.name, found.address) == ("joulescope", "000415")
    assert found.title == "Joulescope JS220 000415"


@pytest.mark.skipif(has_package("pyjoulescope_driver"), reason="the driver is installed")
def test_without_the_driver() -> None:
    with pytest.raises(ProbeError, match=r"pip install -e '\.\[joulescope\]'"):
        JoulescopeProbe().open()
