"""Sensors on the board: readings to samples, and the wire messages behind them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy.arrival import align_by_stamps
from energy.errors import ProbeError, SessionError
from energy.probes import ProbeOptions
from energy.probes.ina import ACCURACIES, BoardSensorProbe, create
from energy.samples import Flag, TraceChunk
from energy.session import OnReadings, Sensor, SensorReading
from host.protocol import messages as m
from host.protocol.codec import Message, Request
from host.protocol.link import DeviceError
from host.sensing import Sensing
from tests.python.energy_fakes import FakeSession, fc_session

CONVERSION_US = 2200
PERIOD_US = 2464


@dataclass
class SensorBoard(FakeSession):
    """A session whose board has sensors; `deliver` stands for the notices."""

    found: list[Sensor] = field(default_factory=lambda: [Sensor("INA226", CONVERSION_US)])
    failure_at_start: SessionError | None = None
    lost: int = 0
    on_readings: OnReadings = lambda _: None
    asked: tuple[int, int] = (-1, -1)

    def sensors(self) -> list[Sensor]:
        return self.found

    def start_sensor(self, on_readings: OnReadings, sensor: int, period_us: int) -> int:
        if self.failure_at_start is not None:
            raise self.failure_at_start
        self.on_readings, self.asked = on_readings, (sensor, period_us)
        return period_us

    def stop_sensor(self) -> int:
        return self.lost


def board(**options: object) -> SensorBoard:
    return SensorBoard(None, lambda: fc_session(1, 1, 1), **options)  # type: ignore[arg-type]


def started(session: SensorBoard, address: str = "") -> BoardSensorProbe:
    probe = create(ProbeOptions(address=address))
    probe.attach(session)
    probe.open()
    probe.start()
    return probe


def readings(
    numbers: Sequence[int],
    wave: Callable[[int], float] = lambda _: 0.05,
    origin_us: int = 1_000_000,
) -> list[SensorReading]:
    """That of period k is fetched at its end."""
    return [SensorReading(origin_us + (k + 1) * PERIOD_US, wave(k), 3.3) for k in numbers]


def index_of(chunks: list[TraceChunk]) -> list[int]:
    return [i for c in chunks for i in range(c.first_index, c.first_index + len(c))]


def test_energy_and_alignment_of_a_known_wave() -> None:
    session = board()
    probe = started(session)
    assert session.asked == (0, PERIOD_US)  # slower than the conversion, for its clock may be slow
    wave = lambda k: 0.06 if 100 <= k < 300 else 0.02  # noqa: E731
    session.on_readings(readings(range(500), wave))
    chunks = list(probe.read())
    info = probe.stop()
    assert index_of(chunks) == list(range(500))
    assert info.rate_hz == pytest.approx(1e6 / PERIOD_US) and info.sampling == "mean"
    assert not probe.has_trigger and info.kind == "measured"
    # A phase on the board's clock, by the stamps of both.
    start, stop = 1_000_000 + 100 * PERIOD_US, 1_000_000 + 300 * PERIOD_US
    clock = align_by_stamps(
        np.array([start]), np.array([stop]), int(info.provenance["board_clock_us"]), 0.003
    ).clock
    first, last = clock(np.array([0.0, (stop - start) * 1e-6])) * info.rate_hz
    assert (first, last) == (pytest.approx(100), pytest.approx(300))
    inside = slice(round(first), round(last))
    joule = np.sum(chunks[0].current_a[inside] * chunks[0].voltage_v[inside]) / info.rate_hz
    assert joule == pytest.approx(0.06 * 3.3 * 200 * PERIOD_US * 1e-6, rel=1e-9)
    assert float(info.provenance["board_clock_error_s"]) >= CONVERSION_US * 1e-6


@settings(max_examples=40, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 100), max_size=20),
    missing=st.sets(st.integers(1, 98), max_size=30),
    jitter=st.integers(0, PERIOD_US // 5),
    wraps=st.booleans(),
)
def test_whatever_is_missing_is_a_gap(
    cuts: list[int], missing: set[int], jitter: int, wraps: bool
) -> None:
    session = board()
    probe = started(session)
    numbers = [k for k in range(100) if k not in missing]
    origin_us = (1 << 32) - 50 * PERIOD_US if wraps else 7
    sent = [
        SensorReading(r.clock_us + (jitter if k % 3 else 0), r.current_a, r.voltage_v)
        for k, r in zip(numbers, readings(numbers, lambda k: k * 1e-3, origin_us), strict=True)
    ]
    chunks: list[TraceChunk] = []
    edges = [0, *sorted(cuts), len(sent)]
    for first, last in pairwise(edges):
        session.on_readings(sent[first:last])
        chunks += probe.read()
    assert index_of(chunks) == numbers
    assert np.concatenate([c.current_a for c in chunks]) == pytest.approx(np.array(numbers) * 1e-3)


def test_over_range_is_flagged() -> None:
    session = board()
    probe = started(session)
    session.on_readings(
        [SensorReading(10_000, 0.8192, 3.3, True), *readings([1], origin_us=10_000 - PERIOD_US)]
    )
    [chunk] = probe.read()
    assert list(chunk.flags) == [Flag.OVER_RANGE, 0]


def test_a_reading_that_is_far_off_its_time_is_left_out() -> None:
    session = board()
    probe = started(session)
    sent = readings(range(4))
    sent[2] = SensorReading(sent[2].clock_us + PERIOD_US * 2 // 5, 0.1, 3.3)
    session.on_readings(sent)
    assert index_of(list(probe.read())) == [0, 1, 3]
    assert probe.stop().provenance["readings_off_time"] == "1"


def test_which_sensor() -> None:
    both = [Sensor("INA226", 2200), Sensor("battery", 100_000)]
    for address, number in (("", 0), ("1", 1), ("battery", 1), ("ina226", 0)):
        session = board(found=both)
        probe = started(session, address)
        assert session.asked[0] == number
        assert probe.capabilities.accuracy is ACCURACIES[both[number].name]
    probe = create(ProbeOptions(address="INA228"))
    probe.attach(board(found=both))
    with pytest.raises(ProbeError, match="no current sensor 'INA228', expected one of INA226, bat"):
        probe.open()


def test_no_sensor() -> None:
    probe = create(ProbeOptions())
    probe.attach(board(found=[]))
    with pytest.raises(ProbeError, match="the board has no current sensor and no instrument"):
        probe.open()
    probe.attach(FakeSession(None, lambda: fc_session(1, 1, 1)))  # type: ignore[arg-type]
    with pytest.raises(ProbeError, match="this session cannot read a sensor"):
        probe.open()


def test_a_sensor_that_does_not_answer() -> None:
    with pytest.raises(
        ProbeError, match="INA226 does not start: the current sensor does not answer"
    ):
        started(board(failure_at_start=SessionError("the current sensor does not answer")))


# ---- over the wire


class FakeLink:
    """Answers the sensor requests."""

    def __init__(self, error: int = 0) -> None:
        self.on_current: Callable[[m.CurrentSamples], None] = lambda _: None
        self.requests: list[object] = []
        self._error = error

    def request(self, request: Request[Message]) -> Message:
        self.requests.append(request)
        if self._error:
            raise DeviceError("refused", self._error, 0)
        if isinstance(request, m.SensorList):
            return m.SensorListResponse((m.SensorRecord(2200, "INA226"),))
        if isinstance(request, m.SensorStart):
            return m.SensorStartResponse(max(2200, request.period_us))
        return m.SensorStopResponse(10, 3)


def test_wire_messages() -> None:
    link = FakeLink()
    got: list[SensorReading] = []
    assert Sensing.sensors(link) == [Sensor("INA226", 2200)]  # type: ignore[arg-type]
    sensing = Sensing(link, got.extend)  # type: ignore[arg-type]
    assert sensing.start(0, 1000) == 2200
    late = (1 << 32) - 1000
    link.on_current(m.CurrentSamples(0, 0, (m.CurrentRecord(late, 50_000, 3_300_000, 0),)))
    link.on_current(m.CurrentSamples(1, 0, (m.CurrentRecord(1200, -7, 3_300_000, 1),)))
    assert [r.clock_us for r in got] == [late, (1 << 32) + 1200]
    assert [r.current_a for r in got] == pytest.approx([0.05, -7e-6])
    assert [r.voltage_v for r in got] == pytest.approx([3.3, 3.3])
    assert [r.over_range for r in got] == [False, True]
    assert sensing.stop() == 3


def test_a_firmware_that_knows_of_no_sensors() -> None:
    for code in (m.WireStatus.UNKNOWN_REQUEST, m.WireStatus.NO_SENSOR):
        assert Sensing.sensors(FakeLink(int(code))) == []  # type: ignore[arg-type]
    with pytest.raises(DeviceError):
        Sensing.sensors(FakeLink(131))  # type: ignore[arg-type]
