"""The PPK2: its stream whatever happens to it, and the whole probe against an emulated one on a pty."""

from __future__ import annotations

import os
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from energy.errors import ProbeError, ProbeLostError
from energy.probes import ProbeOptions
from energy.probes.ppk2 import (
    SOURCE,
    Ppk2Probe,
    calibration_of,
    create,
    parse_facts,
)
from energy.probes.ppk2_stream import RATE_HZ, Ppk2Stream
from energy.samples import Flag, TraceChunk
from tests.python.instruments.ppk2 import EmulatedPpk2, encode, facts_text

CALIBRATION = calibration_of(parse_facts(facts_text(3300)))


def stream() -> Ppk2Stream:
    return Ppk2Stream(CALIBRATION, 3.3)


def samples(chunks: list[TraceChunk]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Indices and currents of all samples."""
    index = [chunk.first_index + np.arange(len(chunk)) for chunk in chunks]
    none_i, none_a = np.zeros(0, np.int64), np.zeros(0)
    return np.concatenate([none_i, *index]), np.concatenate(
        [none_a, *(c.current_a for c in chunks)]
    )


def play(
    numbers: NDArray[np.int64], words: NDArray[np.uint32], read: int = 1000, late_s: float = 0.001
) -> list[TraceChunk]:
    """The words of samples `numbers`, in reads of `read` words, `late_s` after they were taken."""
    subject = stream()
    out = []
    for at in range(0, len(words), read):
        part = slice(at, at + read)
        came_s = float(numbers[part][-1] + 1) / RATE_HZ + late_s
        subject.feed(words[part].astype("<u4").tobytes(), came_s)
        out += subject.take()
    subject.finish()
    return out + subject.take()


@settings(max_examples=40, deadline=None)
@given(cuts=st.lists(st.integers(0, 1200), max_size=60), seed=st.integers(0, 1000))
def test_however_reads_are_split(cuts: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    current = 10.0 ** rng.uniform(-6, -0.5, 300)
    data = encode(current, rng.integers(0, 256, 300, dtype=np.uint8)).astype("<u4").tobytes()
    whole, split = stream(), stream()
    whole.feed(data, 0.0)
    for first, last in pairwise([0, *sorted(cuts), len(data)]):
        split.feed(data[first:last], 0.0)
    whole.finish()
    split.finish()
    [expected] = whole.take()
    index, amperes = samples(split.take())
    assert np.array_equal(index, np.arange(300))
    assert np.array_equal(amperes, expected.current_a)
    assert split.lost == split.discarded_bytes == 0


@settings(max_examples=40, deadline=None)
@given(first=st.integers(40, 200), count=st.integers(1, 60), seed=st.integers(0, 1000))
def test_bytes_that_are_lost_become_a_gap_and_shift_nothing(
    first: int, count: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    current = 10.0 ** rng.uniform(-5, -1, 300)
    data = encode(current).astype("<u4").tobytes()
    damaged = data[: 4 * first - 1] + data[4 * first - 1 + count :]
    subject = stream()
    subject.feed(damaged, 0.0)
    subject.finish()
    index, amperes = samples(subject.take())
    expected = stream()
    expected.feed(data, 0.0)
    expected.finish()
    [truth] = expected.take()
    assert np.array_equal(amperes, truth.current_a[index])
    assert len(index) >= 300 - count // 4 - 5  # the words around it, and three that may be chance
    assert len(index) < 300


@pytest.mark.parametrize("count", [1, 20, 63, 64, 65, 100, 640, 5000])
def test_lost_samples_are_counted_beyond_the_counter(count: int) -> None:
    numbers = np.delete(np.arange(200_000), slice(120_500, 120_500 + count))
    current = np.full(len(numbers), 0.02)
    words = encode(current)
    counter = (numbers % 64).astype(np.uint32)
    words = (words & ~np.uint32(63 << 18)) | (counter << 18)
    index, _ = samples(play(numbers, words))
    if count in (64, 640):
        # Neither the counter nor so small a delay shows it: no sample is misplaced by more.
        assert np.max(np.abs(index - numbers)) == count
        return
    assert np.array_equal(index, numbers)


def test_a_loss_that_the_counter_cannot_show_is_found_by_time() -> None:
    numbers = np.delete(np.arange(600_000), slice(120_500, 126_900))
    words = encode(np.full(len(numbers), 0.02))  # 6400 = 100 · 64: the counter goes on
    index, _ = samples(play(numbers, words))
    after = numbers >= 127_900
    assert np.array_equal(index[after], numbers[after])
    assert index[-1] == 599_999


def test_clock_drift_and_a_slow_computer_lose_nothing() -> None:
    rng = np.random.default_rng(1)
    words = encode(np.full(300_000, 0.01))
    subject = stream()
    out: list[TraceChunk] = []
    came_s = 0.0
    for at in range(0, len(words), 1000):
        came_s = max(came_s, (at + 1000) / RATE_HZ * (1 + 80e-6) + rng.exponential(0.003))
        if at == 150_000:
            came_s += 0.4  # it was busy; the instrument was not
        subject.feed(words[at : at + 1000].astype("<u4").tobytes(), came_s)
        out += subject.take()
    subject.finish()
    index, _ = samples(out + subject.take())
    assert np.array_equal(index, np.arange(300_000))


def test_flags() -> None:
    current = np.array([1e-6, 1e-6, 1e-4, 1e-2, 1e-2, 1e-6, 1.4, 0.1])
    [chunk] = play(np.arange(8), encode(current))
    assert chunk.current_a == pytest.approx(current, rel=5e-3, abs=2e-7)
    switched = [0, 0, 1, 1, 0, 1, 1, 0]
    assert list(chunk.flags & Flag.RANGE_SWITCH) == [Flag.RANGE_SWITCH * s for s in switched]
    assert list(chunk.flags & Flag.OVER_RANGE) == [0, 0, 0, 0, 0, 0, 1, 0]


def test_a_saturated_converter_and_a_range_that_is_none_are_no_readings() -> None:
    words = encode(np.full(20, 1e-3))
    words[3] |= 0x3FFF
    words[5] = (words[5] & ~np.uint32(7 << 14)) | np.uint32(6 << 14)
    [chunk] = play(np.arange(20), words)
    assert chunk.flags[3] & Flag.OVER_RANGE
    assert np.isnan(chunk.current_a[5])
    assert np.count_nonzero(np.isnan(chunk.current_a)) == 1


def test_a_coefficient_that_is_missing_is_never_made_up() -> None:
    text = b"\n".join(line for line in facts_text(3300).split(b"\n") if not line.startswith(b"O3"))
    subject = Ppk2Stream(calibration_of(parse_facts(text)), 3.3)
    subject.feed(encode(np.array([1e-3, 2e-2] * 8)).astype("<u4").tobytes(), 0.0)
    subject.finish()
    [chunk] = subject.take()
    assert np.array_equal(np.isnan(chunk.current_a), [False, True] * 8)


# ---- the probe, over a tty


def wave(numbers: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """30 mA, and 60 mA in each second half of 10 ms, which line 1 shows."""
    high = numbers % 1000 >= 500
    return np.where(high, 0.06, 0.03), np.where(high, 2, 0).astype(np.uint8)


def record(probe: Ppk2Probe, instrument: EmulatedPpk2, count: int) -> list[TraceChunk]:
    """`count` samples at least, however busy the computer is."""
    chunks: list[TraceChunk] = []
    probe.start()
    until = time.monotonic() + 30
    while instrument.sent < count and time.monotonic() < until:
        chunks += probe.read()
    probe.stop()
    chunks += probe.read()
    return chunks


def test_energy_of_a_known_wave() -> None:
    with EmulatedPpk2(wave, pace=1.0001, drop=(30_000, 30_020)) as instrument:
        probe = Ppk2Probe(instrument.device, SOURCE, 3.3)
        probe.open()
        try:
            chunks = record(probe, instrument, 80_000)
            info = probe.stop()
        finally:
            probe.close()
    index, amperes = samples(chunks)
    # The counter is right; how often 64 went with the 20 is the computer's load to tell.
    wraps = int(info.provenance["lost_samples"]) - 20
    index = np.where(index >= 30_000, index - wraps, index)
    assert wraps % 64 == 0 and len(index) > 31_000
    assert np.array_equal(np.delete(np.arange(index[-1] + 1), slice(30_000, 30_020)), index)
    expected, logic = wave(index)
    assert amperes == pytest.approx(expected, rel=2e-3)
    assert np.array_equal(np.concatenate([chunk.trigger for chunk in chunks]), logic)
    first = slice(0, 30_000)
    joule = float(np.sum(amperes[first] * chunks[0].voltage_v[0])) / RATE_HZ
    assert joule == pytest.approx(0.045 * 3.3 * 0.3, rel=1e-3)
    assert info.provenance["voltage"] == "set to 3.300 V, not measured"
    assert info.accuracy.gain_error == 0.15
    assert instrument.commands[-1] == b"\x07"
    assert b"\x0c\x01" in instrument.commands


def test_ampere_meter_supplies_nothing() -> None:
    low = lambda k: (np.full(len(k), 1e-3), np.zeros(len(k), np.uint8))  # noqa: E731
    with EmulatedPpk2(low) as instrument:
        probe = create(ProbeOptions(address=instrument.device, voltage_v=3.7))
        probe.open()
        chunks = record(probe, instrument, 5_000)
        info = probe.stop()
        probe.close()
    assert b"\x0c\x01" not in instrument.commands and b"\x11\x01" in instrument.commands
    assert set(np.concatenate([chunk.voltage_v for chunk in chunks])) == {3.7}
    assert info.accuracy.gain_error == 0.10  # never in the highest range
    assert info.provenance["voltage"] == "given as 3.700 V, not measured"


def test_a_source_voltage_other_than_the_one_set() -> None:
    with EmulatedPpk2(wave, vdd_mv=3250) as instrument:
        probe = Ppk2Probe(instrument.device, SOURCE, 3.3)
        probe.open()
        chunks = record(probe, instrument, 5_000)
        info = probe.stop()
        probe.close()
    assert set(np.concatenate([chunk.voltage_v for chunk in chunks])) == {3.25}
    assert "3.300 V asked for, 3.250 V set" in info.provenance["voltage"]


def test_disconnection_keeps_what_came() -> None:
    with EmulatedPpk2(wave, samples=20_000) as instrument:
        probe = Ppk2Probe(instrument.device, SOURCE, 3.3)
        probe.open()
        probe.start()
        chunks: list[TraceChunk] = []
        until = time.monotonic() + 10
        while instrument.sent < 20_000 and time.monotonic() < until:
            chunks += probe.read()
        time.sleep(0.2)
        instrument.unplug()
        with pytest.raises(ProbeLostError, match=r"is gone .* check its cable"):
            while time.monotonic() < until:
                for chunk in probe.read():
                    chunks.append(chunk)
        probe.stop()
        assert list(probe.read()) == []
        probe.close()
    index, _ = samples(chunks)
    assert np.array_equal(index, np.arange(20_000))


def test_something_else_at_the_port() -> None:
    with EmulatedPpk2(wave, facts=b"login: ") as other:
        probe = Ppk2Probe(other.device, SOURCE, 3.3)
        with pytest.raises(ProbeError, match=r"is not the Nordic PPK2.*b'login: '"):
            probe.open()
    assert b"\x0c\x01" not in other.commands


def test_an_instrument_in_use() -> None:
    with EmulatedPpk2(wave) as instrument:
        first, second = (Ppk2Probe(instrument.device, SOURCE, 3.3) for _ in range(2))
        first.open()
        with pytest.raises(ProbeError, match="in use by another program"):
            second.open()
        first.close()
        second.open()
        second.close()


def test_no_right_to_the_device_names_the_group(monkeypatch: pytest.MonkeyPatch) -> None:
    import grp

    with EmulatedPpk2(wave) as instrument:
        group = grp.getgrnam("dialout") if _has_group("dialout") else grp.getgrgid(1)
        if os.geteuid() == 0:
            os.chown(instrument.device, -1, group.gr_gid)
        Path(instrument.device).chmod(0o660)
        group = grp.getgrgid(Path(instrument.device).stat().st_gid)
        real = os.open

        def refuse(path: str, *more: int) -> int:
            if path == instrument.device:
                raise PermissionError(13, "Permission denied", path)
            return real(path, *more)

        monkeypatch.setattr(os, "open", refuse)
        with pytest.raises(ProbeError, match=f"belongs to the group {group.gr_name}: join it"):
            Ppk2Probe(instrument.device, SOURCE, 3.3).open()


def _has_group(name: str) -> bool:
    import grp

    return any(group.gr_name == name for group in grp.getgrall())


def test_no_such_port() -> None:
    with pytest.raises(ProbeError, match="there is no /dev/ttyNONE, expected the Nordic PPK2"):
        Ppk2Probe("/dev/ttyNONE", SOURCE, 3.3).open()


@pytest.mark.parametrize(
    ("address", "volts", "message"),
    [
        ("/dev/x", None, "--voltage"),
        ("/dev/x,source", 6.0, "0.8 to 5 V"),
        ("/dev/x,both", 3.3, "no mode 'both'"),
        ("", 3.3, "no PPK2 is plugged in"),
    ],
)
def test_options_that_cannot_be(
    address: str, volts: float | None, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("energy.probes.ppk2.ports_of", lambda *_: [])
    with pytest.raises(ProbeError, match=message):
        create(ProbeOptions(address=address, voltage_v=volts))


def test_the_first_of_its_two_ports_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from energy.probes import ppk2

    both = [("/dev/ttyACM0", "F00D", "PPK2"), ("/dev/ttyACM1", "F00D", "PPK2")]
    monkeypatch.setattr(ppk2, "ports_of", lambda *_: both)
    [found] = ppk2.detect()
    assert (found.address, found.title) == ("/dev/ttyACM0", "Nordic PPK2 F00D")
