"""The X-NUCLEO-LPM01A: its stream whatever happens to it, and the probe against an emulated one."""

from __future__ import annotations

import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from energy.errors import ProbeError, ProbeLostError
from energy.probes import ProbeOptions
from energy.probes.lpm01a import Lpm01aProbe, create
from energy.probes.lpm01a_stream import EVENT_BIT, Format, Lpm01aStream
from energy.samples import Flag, TraceChunk
from tests.python.instruments.lpm01a import EmulatedLpm01a, encode

FORMATS: tuple[Format, ...] = ("ascii_dec", "bin_hexa")


def wave(k: int) -> float:
    """20 mA, 40 mA in each second half of 100 samples."""
    return 0.04 if k % 100 >= 50 else 0.02


def samples(chunks: list[TraceChunk]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Indices and currents of all samples."""
    index = [chunk.first_index + np.arange(len(chunk)) for chunk in chunks]
    none_i, none_a = np.zeros(0, np.int64), np.zeros(0)
    return np.concatenate([none_i, *index]), np.concatenate(
        [none_a, *(c.current_a for c in chunks)]
    )


def decode(
    form: Format, data: bytes, rate_hz: float = 5000.0, cuts: tuple[int, ...] = ()
) -> Lpm01aStream:
    subject = Lpm01aStream(form, rate_hz, 3.3, 0.05)
    for first, last in pairwise([0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]):
        subject.feed(data[first:last])
    subject.finish()
    return subject


def test_the_examples_of_the_manual() -> None:
    subject = decode("ascii_dec", b"6409-07\r\n2972-05\r\n0000-10\r\n")
    assert samples(subject.take())[1] == pytest.approx([640.9e-6, 29.72e-3, 0.0])
    subject = decode("bin_hexa", b"\r\n\xf0\xf3\0\0\0\0\0\xff\xff\x52\xa0")
    assert samples(subject.take())[1] == pytest.approx([640.9e-6], rel=1e-3)


@pytest.mark.parametrize("form", FORMATS)
@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, 20_000), max_size=50), seed=st.integers(0, 99))
def test_however_reads_are_split(form: Format, cuts: list[int], seed: int) -> None:
    truth = 10.0 ** np.random.default_rng(seed).uniform(-7, -1.4, 1500)
    data = encode(form, lambda k: float(truth[k]), 0, 1500, 5000.0)
    index, amperes = samples(decode(form, data, cuts=tuple(cuts)).take())
    assert np.array_equal(index, np.arange(1500))
    assert amperes == pytest.approx(truth, rel=5e-3)


@pytest.mark.parametrize("form", FORMATS)
def test_a_split_at_every_byte(form: Format) -> None:
    data = encode(form, wave, 0, 1010, 5000.0, edges=(3, 7))
    whole, single = decode(form, data), decode(form, data, cuts=tuple(range(len(data))))
    one, other = whole.take(), single.take()
    assert np.array_equal(samples(one)[1], samples(other)[1])
    assert np.array_equal(
        np.concatenate([c.trigger for c in one]), np.concatenate([c.trigger for c in other])
    )


@pytest.mark.parametrize("form", FORMATS)
def test_a_block_with_lost_samples_is_a_gap(form: Format) -> None:
    data = encode(form, wave, 0, 5500, 5000.0, drop=(2300, 2340))
    subject = decode(form, data)
    index, amperes = samples(subject.take())
    assert np.array_equal(index, np.delete(np.arange(5500), slice(2000, 3000)))
    assert amperes == pytest.approx([wave(int(k)) for k in index], rel=2e-3)
    assert subject.lost == 1000


def test_an_overcurrent_is_flagged_never_clipped() -> None:
    data = encode("bin_hexa", lambda k: 0.055 if k == 5 else 0.02, 0, 1000, 5000.0)
    [chunk] = decode("bin_hexa", data).take()
    assert list(np.flatnonzero(chunk.flags & Flag.OVER_RANGE)) == [5]
    assert chunk.current_a[5] == pytest.approx(0.055, rel=2e-3)
    subject = decode(
        "bin_hexa",
        data + b"\xf0\xf5overcurrent\xff\xff" + encode("bin_hexa", wave, 1000, 1010, 5e3),
    )
    assert all(np.all(chunk.flags == Flag.OVER_RANGE) for chunk in subject.take()[:1])
    assert subject.messages == ["overcurrent"]


def test_damage_without_end_does_not_stop_the_stream() -> None:
    data = encode("bin_hexa", wave, 0, 4000, 5000.0)
    broken = data[:3000] + b"\xf7\x00" + data[3000:]
    index, _ = samples(decode("bin_hexa", broken).take())
    assert len(index) >= 2000
    assert index[-1] <= 4001


# ---- the probe, over a tty


def record(probe: Lpm01aProbe, instrument: EmulatedLpm01a, count: int) -> list[TraceChunk]:
    """`count` samples at least, however busy the computer is."""
    chunks: list[TraceChunk] = []
    probe.start()
    until = time.monotonic() + 30
    while instrument.sent < count and time.monotonic() < until:
        chunks += probe.read()
    probe.stop()
    chunks += probe.read()
    return chunks


@pytest.mark.parametrize("rate_hz", [5_000, 20_000])
def test_energy_of_a_known_wave(rate_hz: int) -> None:
    with EmulatedLpm01a(wave, drop=(1200, 1400), edges=(100, 300)) as instrument:
        probe = create(ProbeOptions(address=instrument.device, voltage_v=3.0, rate_hz=rate_hz))
        probe.open()
        chunks = record(probe, instrument, 3500)
        info = probe.stop()
        probe.close()
    index, amperes = samples(chunks)
    assert probe.rate_hz == rate_hz and len(index) >= 2000
    assert np.array_equal(index[:1000], np.arange(1000)) and index[1000] == 2000
    joule = float(np.sum(amperes[:1000] * chunks[0].voltage_v[0])) / rate_hz
    assert joule == pytest.approx(0.03 * 3.0 * 1000 / rate_hz, rel=1e-3)
    assert info.provenance["lost_samples"] == "1000"
    assert info.provenance["voltage"].startswith("3.000 V asked for, 3.000 V set")
    assert info.provenance["firmware"] == "1.0.6"
    if rate_hz == 5_000:
        assert list(np.flatnonzero(chunks[0].trigger == EVENT_BIT)) == [100, 300]
        assert info.provenance["d7_events"] == "2"
    assert instrument.commands[-1] == "hrc"


def test_a_source_voltage_other_than_the_one_set() -> None:
    with EmulatedLpm01a(wave, voltage="3266-03", knows_events=False) as instrument:
        probe = create(ProbeOptions(address=instrument.device, voltage_v=3.3))
        probe.open()
        chunks = record(probe, instrument, 300)
        info = probe.stop()
        probe.close()
    assert np.concatenate([chunk.voltage_v for chunk in chunks]) == pytest.approx(3.266)
    assert "3.300 V asked for, 3.266 V set" in info.provenance["voltage"]
    assert info.provenance["events"] == "not known to this firmware"


def test_disconnection_keeps_what_came() -> None:
    with EmulatedLpm01a(wave, samples=1500) as instrument:
        probe = create(ProbeOptions(address=instrument.device))
        probe.open()
        probe.start()
        chunks: list[TraceChunk] = []
        until = time.monotonic() + 10
        while instrument.sent < 1500 and time.monotonic() < until:
            chunks += probe.read()
        time.sleep(0.2)
        instrument.unplug()
        with pytest.raises(ProbeLostError, match="is gone"):
            while time.monotonic() < until:
                for chunk in probe.read():
                    chunks.append(chunk)
        probe.stop()
        probe.close()
    assert np.array_equal(samples(chunks)[0], np.arange(1500))


def test_something_else_at_the_port() -> None:
    with EmulatedLpm01a(wave, present=False) as other:
        probe = create(ProbeOptions(address=other.device))
        with pytest.raises(ProbeError, match=r"is not the X-NUCLEO-LPM01A.*got b'"):
            probe.open()
    assert "pwr on" not in other.commands


def test_an_instrument_in_use() -> None:
    with EmulatedLpm01a(wave) as instrument:
        first, second = (create(ProbeOptions(address=instrument.device)) for _ in range(2))
        first.open()
        with pytest.raises(ProbeError, match="in use by another program"):
            second.open()
        first.close()


@pytest.mark.parametrize(
    ("address", "volts", "message"),
    [
        ("/dev/x", 5.0, "1.8 to 3.3 V"),
        ("/dev/x,fast", 3.3, "no mode 'fast'"),
        ("", 3.3, "no X-NUCLEO-LPM01A was found"),
    ],
)
def test_options_that_cannot_be(
    address: str, volts: float, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("energy.probes.lpm01a.ports_of", lambda *_: [])
    with pytest.raises(ProbeError, match=message):
        create(ProbeOptions(address=address, voltage_v=volts))


def test_any_stm32_is_not_taken_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from energy.probes import lpm01a

    ports = [
        ("/dev/ttyACM0", "1", "STM32 Virtual COM Port"),
        ("/dev/ttyACM1", "2", "PowerShield VCP"),
    ]
    monkeypatch.setattr(lpm01a, "ports_of", lambda *_: ports)
    assert [found.address for found in lpm01a.detect()] == ["/dev/ttyACM1"]
