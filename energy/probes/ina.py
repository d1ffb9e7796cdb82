"""Current sensors on the board: INA219, INA226, INA228, PowerFeather's charger; --port alone suffices.

    --probe ina            the board's first sensor
    --probe ina:INA226     that one, by name or number

The firmware reads the sensor and stamps every reading with the clock that also stamps its phases:
the alignment is exact but for the conversion. A reading is the mean over the conversion before it;
sample k of the trace is the reading that was fetched at the end of its period. What was fetched late
or found no room is a gap. The INA chips convert current and voltage in turn, so a mean covers about
half its period.

Accuracy: INA219 SBOS448G section 7.5 (gain range /8), INA226 SBOS547B section 6.5, INA228 SBOSA20
section 6.5, at 25 °C; with the firmware's shunt of 0.1 Ω, for which 1 % is assumed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import numpy as np

from energy.errors import EnergyError, ProbeError
from energy.measured import BOARD_CLOCK, BOARD_CLOCK_ERROR
from energy.probes import Capabilities, Instrument, ProbeOptions
from energy.samples import Accuracy, Flag, TraceChunk, TraceInfo
from energy.session import Sensor, SensorReading, SensorSession, Session

SHUNT_OHM = 0.1
_SHUNT_ERROR = 0.01
_SLOWER_PERCENT = (
    112  # a sensor's own clock may be 10 % slow (INA219, INA226: 1.1 ms are up to 1.21 ms)
)
_PATIENCE = 0.25  # of a period: how much later than due a reading may be and still be its sample


def _ina(
    gain: float, offset_v: float, volt_gain: float, volt_offset_v: float, source: str
) -> Accuracy:
    text = f"{source}; shunt {SHUNT_OHM} Ω, assumed within 1 %"
    return Accuracy(gain + _SHUNT_ERROR, offset_v / SHUNT_OHM, volt_gain, volt_offset_v, 0.0, text)


_CHARGER = (
    "BQ25628E data sheet SLUSFA4: steps of {step} mA; its accuracy could not be looked up, 5 % and a "
    "step are assumed"
)
ACCURACIES = {
    "INA219": _ina(0.005, 200e-6, 0.005, 4e-3, "INA219 data sheet SBOS448G section 7.5"),
    "INA226": _ina(0.001, 10e-6, 0.001, 7.5e-3, "INA226 data sheet SBOS547B section 6.5"),
    "INA228": _ina(0.0005, 1e-6, 0.0005, 2.5e-3, "INA228 data sheet SBOSA20 section 6.5"),
    "battery": Accuracy(0.05, 4e-3, 0.01, 2e-3, 0.0, _CHARGER.format(step=4)),
    "supply": Accuracy(0.05, 2e-3, 0.01, 4e-3, 0.0, _CHARGER.format(step=2)),
}
UNKNOWN = Accuracy(
    0.05, 5e-3, 0.05, 0.0, 0.0, "a sensor that is not known here: 5 % and 5 mA are assumed"
)


class BoardSensorProbe(Instrument):
    """Sensor `wanted` (name, number, or '' for the first) of the board whose session is attached."""

    def __init__(self, wanted: str = "", rate_hz: float | None = None) -> None:
        self._wanted = wanted
        self._wanted_hz = rate_hz
        self._session: Session | None = None
        self._sensors: SensorSession | None = None
        self._sensor = Sensor(wanted or "sensor", 1_000)
        self._number = 0
        self._period_us = 0
        self._running = False
        self._lock = threading.Lock()
        self._new: list[SensorReading] = []
        self._origin_us: int | None = None
        self._next = 0
        self._lost = 0
        self._crowded = 0

    @property
    def name(self) -> str:
        return "ina"

    @property
    def capabilities(self) -> Capabilities:
        accuracy = ACCURACIES.get(self._sensor.name, UNKNOWN)
        return Capabilities("measured", accuracy, "mean", trigger_lines=0)

    @property
    def rate_hz(self) -> float:
        """Readings a second."""
        return 1e6 / (self._period_us or self._period())

    def attach(self, session: Session) -> None:
        """The session to the board whose sensor it is."""
        self._session = session

    def open(self) -> None:
        """Find the sensor. Raises `ProbeError` where the board has none of that name."""
        if not isinstance(self._session, SensorSession):
            raise ProbeError(
                "this session cannot read a sensor on the board, expected one that can; choose an "
                "instrument with --probe, or --probe model for a modelled current"
            )
        try:
            found = list(self._session.sensors())
        except EnergyError as exc:
            raise ProbeError(f"the board's current sensors cannot be listed: {exc}") from exc
        if not found:
            raise ProbeError(
                "the board has no current sensor and no instrument was chosen, expected one of them; "
                "wire an INA219, INA226 or INA228 (docs/boards.md), or plug an instrument in and "
                "choose it with --probe"
            )
        names = [sensor.name for sensor in found]
        wanted = self._wanted.upper()
        chosen = [
            number for number, name in enumerate(names) if wanted in ("", str(number), name.upper())
        ]
        if not chosen:
            raise ProbeError(
                f"the board has no current sensor {self._wanted!r}, expected one of "
                f"{', '.join(names)}; name it with --probe ina:NAME"
            )
        self._sensors, self._number, self._sensor = self._session, chosen[0], found[chosen[0]]

    def start(self) -> TraceInfo:
        """Begin sampling."""
        assert self._sensors is not None
        with self._lock:
            self._new, self._origin_us, self._next = [], None, 0
        period_us = self._period()
        try:
            self._period_us = self._sensors.start_sensor(self._receive, self._number, period_us)
        except EnergyError as exc:
            raise ProbeError(f"the sensor {self._sensor.name} does not start: {exc}") from exc
        self._running = True
        return self._describe()

    def read(self) -> Iterator[TraceChunk]:
        """The readings that came since."""
        with self._lock:
            new, self._new = self._new, []
        if new:
            yield from self._chunks(new)

    def stop(self) -> TraceInfo:
        """End sampling; the board's port being gone, what came until then is the trace."""
        if self._running and self._sensors is not None:
            self._running = False
            try:
                self._lost = self._sensors.stop_sensor()
            except EnergyError:
                self._lost = -1  # the session tells why; nobody can count any more
        return self._describe()

    def close(self) -> None:
        """The session closes the port; sampling ends with it."""
        self._running = False

    def _period(self) -> int:
        least = -(-self._sensor.conversion_us * _SLOWER_PERCENT // 100)
        asked = round(1e6 / self._wanted_hz) if self._wanted_hz else 0
        return max(least, asked)

    def _receive(self, readings: Sequence[SensorReading]) -> None:
        with self._lock:
            self._new += readings
            if self._origin_us is None and readings:
                self._origin_us = readings[0].clock_us - self._period_us

    def _chunks(self, readings: Sequence[SensorReading]) -> Iterator[TraceChunk]:
        """Each reading as the sample whose period ends with it; two in one period are one too many."""
        assert self._origin_us is not None
        clock = np.array([reading.clock_us for reading in readings], dtype=np.int64)
        index = np.rint((clock - self._origin_us) / self._period_us).astype(np.int64) - 1
        keep = np.diff(index, prepend=self._next - 1) > 0
        # Far from where it is due, its conversion belongs to two samples.
        due = self._origin_us + (index + 1) * self._period_us
        keep &= np.abs(clock - due) <= _PATIENCE * self._period_us
        self._crowded += int(np.count_nonzero(~keep))
        index = index[keep]
        if len(index) == 0:
            return
        self._next = int(index[-1]) + 1
        taken = [reading for reading, kept in zip(readings, keep, strict=True) if kept]
        current = np.array([reading.current_a for reading in taken])
        voltage = np.array([reading.voltage_v for reading in taken])
        over = np.array([reading.over_range for reading in taken])
        flags = np.where(over, np.uint8(Flag.OVER_RANGE), np.uint8(0)).astype(np.uint8)
        trigger = np.zeros(len(taken), dtype=np.uint8)
        cuts = (np.flatnonzero(np.diff(index) != 1) + 1).tolist()
        for first, last in zip([0, *cuts], [*cuts, len(index)], strict=True):
            part = slice(first, last)
            yield TraceChunk(
                int(index[first]), current[part], voltage[part], trigger[part], flags[part]
            )

    def _describe(self) -> TraceInfo:
        period_us = self._period_us or self._period()
        facts = {
            "sensor": self._sensor.name,
            "conversion_us": str(self._sensor.conversion_us),
            "clock": "the board's own",
        }
        if self._origin_us is not None:
            error_us = self._sensor.conversion_us + _PATIENCE * period_us
            facts[BOARD_CLOCK] = str(self._origin_us)
            facts[BOARD_CLOCK_ERROR] = f"{error_us * 1e-6:.6g}"
        if not self._running:
            facts["lost_on_board"] = str(self._lost) if self._lost >= 0 else "unknown"
            facts["readings_off_time"] = str(self._crowded)
        accuracy = ACCURACIES.get(self._sensor.name, UNKNOWN)
        return TraceInfo(
            "measured", 1e6 / period_us, "mean", self.name, provenance=facts, accuracy=accuracy
        )


def create(options: ProbeOptions) -> BoardSensorProbe:
    """`options.address`: the sensor's name or number, or ''."""
    return BoardSensorProbe(options.address, options.rate_hz)
