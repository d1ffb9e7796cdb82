"""The board's own current sensors, over the link."""

from __future__ import annotations

from energy.session import OnReadings, Sensor, SensorReading
from host.protocol import messages as m
from host.protocol.link import DeviceError, Link

_CLOCK = 1 << 32
_OVER_RANGE = 1
_NO_SENSORS = (m.WireStatus.UNKNOWN_REQUEST, m.WireStatus.NO_SENSOR)


class Sensing:
    """Readings of one sensor to `on_readings`, while the link is used for other things."""

    def __init__(self, link: Link, on_readings: OnReadings) -> None:
        self._link = link
        self._on_readings = on_readings
        self._now_us = -1

    @staticmethod
    def sensors(link: Link) -> list[Sensor]:
        """Those of the board. Raises HostError."""
        try:
            records = link.request(m.SensorList()).sensors
        except DeviceError as exc:
            if exc.code in _NO_SENSORS:
                return []
            raise
        return [Sensor(record.name, record.conversion_us) for record in records]

    def start(self, sensor: int, period_us: int) -> int:
        """Starts sampling; returns the time between two readings in µs. Raises HostError."""
        self._now_us = -1
        self._link.on_current = self._receive
        return self._link.request(m.SensorStart(sensor, period_us)).period_us

    def stop(self) -> int:
        """Ends sampling; returns the readings that were lost. Raises HostError."""
        try:
            return self._link.request(m.SensorStop()).lost
        finally:
            self._link.on_current = lambda _: None

    def _receive(self, message: m.CurrentSamples) -> None:
        readings = []
        for record in message.samples:
            if self._now_us < 0:
                self._now_us = record.clock_us
            # The next time with these low 32 bits: readings come in order.
            self._now_us += (record.clock_us - self._now_us) % _CLOCK
            over = bool(record.flags & _OVER_RANGE)
            amperes, volts = record.current_ua * 1e-6, record.voltage_uv * 1e-6
            readings.append(SensorReading(self._now_us, amperes, volts, over))
        self._on_readings(readings)
