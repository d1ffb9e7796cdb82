"""Nordic Power Profiler Kit II: 100,000 samples a second and eight logic inputs, over USB.

    --probe ppk2                          ampere meter: the board has its own supply, of --voltage
    --probe ppk2:/dev/ttyACM0,source      source meter: the instrument supplies the board

It does not measure voltage: the samples carry the one that was set, or given by --voltage. It never
supplies a board unless told to. The stream is that of the instrument: the filter by which the
maker's app smooths the samples after a change of range is not applied; they are flagged.

Written from the commands and formats that are public, not from any driver's code: USB 1915:C00A;
0x06 start, 0x07 stop, 0x0C supply on or off, 0x0D voltage (mV, big endian), 0x11 mode (1 ampere,
2 source), 0x19 calibration as text up to `END` (`docs/protocol-spec.md` of
github.com/tipoLi5890/ppk2lab; `src/constants.ts`, `src/device` of Nordic's Power Profiler app,
github.com/NordicSemiconductor/pc-nrfconnect-ppk). Samples: `energy.probes.ppk2_stream`.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from energy.errors import ProbeError, ProbeLostError
from energy.probes import Capabilities, Found, Instrument, ProbeOptions
from energy.probes.ppk2_stream import RANGES, RATE_HZ, Calibration, Ppk2Stream
from energy.probes.serial_port import READ_WAIT_S, Pump, SerialLink, ports_of
from energy.samples import Accuracy, TraceChunk, TraceInfo

TITLE = "the Nordic PPK2"
BAUD_RATE = 115_200  # means nothing over USB
USB_ID = (0x1915, 0xC00A)
MIN_SOURCE_V, MAX_SOURCE_V = 0.8, 5.0
AMPERE, SOURCE = "ampere", "source"
_START, _STOP, _SUPPLY, _VOLTAGE, _MODE, _CALIBRATION = (
    b"\x06",
    b"\x07",
    b"\x0c",
    b"\r",
    b"\x11",
    b"\x19",
)
_MODES = {AMPERE: b"\x01", SOURCE: b"\x02"}
_ANSWER_S = 1.5
_TAIL_S = 0.3

ACCURACY = Accuracy(
    gain_error=0.15,
    offset_a=0.2e-6,
    voltage_offset_v=0.05,
    clock_error=50e-6,
    source=(
        "PPK2 product brief, typical: ±15 % at 50 mA to 1 A, ±10 % below, 0.2 µA resolution; set "
        "voltage within 50 mV; clock assumed within 50 ppm"
    ),
)
_LOW_RANGES = replace(
    ACCURACY,
    gain_error=0.10,
    source=ACCURACY.source + "; no sample of this trace is in the highest range",
)


class Ppk2Probe(Instrument):
    """The instrument at `device`, as an ampere meter or, with `source`, as the board's supply.

    `voltage_v`: of the board's supply, in V; what is set with `source`.
    """

    def __init__(self, device: str, mode: str, voltage_v: float, serial_number: str = "") -> None:
        self.device = device
        self.mode = mode
        self.voltage_v = voltage_v
        self._serial_number = serial_number
        self._facts: dict[str, str] = {}
        self._calibration: Calibration | None = None
        self._link: SerialLink | None = None
        self._pump: Pump | None = None
        self._stream: Ppk2Stream | None = None
        self._measuring = False

    @property
    def name(self) -> str:
        return "ppk2"

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities("measured", ACCURACY, "mean", trigger_lines=8, measures_voltage=False)

    @property
    def rate_hz(self) -> float:
        """Always the same."""
        return RATE_HZ

    def open(self) -> None:
        """Claim the instrument, read its calibration, set mode and voltage. Raises `ProbeError`."""
        self.close()
        self._link = SerialLink(self.device, BAUD_RATE, TITLE)
        try:
            facts = self._ask()
            if self.mode == SOURCE:
                millivolt = round(self.voltage_v * 1000)
                self._link.write(_VOLTAGE + millivolt.to_bytes(2, "big"))
            self._link.write(_MODE + _MODES[self.mode])
            if self.mode == SOURCE:
                self._link.write(_SUPPLY + b"\x01")
                facts = self._ask()
                self._take_voltage(facts)
        except BaseException:
            self.close()
            raise
        self._calibration = calibration_of(facts)
        self._facts |= {
            "hardware": facts.get("HW", "unknown"),
            "calibrated": facts.get("Calibrated", "unknown"),
        }

    def start(self) -> TraceInfo:
        """Begin sampling."""
        assert self._link is not None and self._calibration is not None
        self._link.drain(0.02, 0.5)
        self._stream = Ppk2Stream(self._calibration, self.voltage_v)
        self._link.write(_START)
        self._measuring = True
        self._pump = Pump(self._link)
        self._pump.start()
        return self._describe()

    def read(self) -> Iterator[TraceChunk]:
        """What is certain by now: samples come half a second late."""
        if self._pump is None or self._stream is None:
            return
        try:
            for came_s, data in self._pump.take(READ_WAIT_S if self._measuring else 0.0):
                self._stream.feed(data, came_s)
        except ProbeLostError:
            self._measuring = False
            self._stream.finish()
            yield from self._stream.take()
            raise
        yield from self._stream.take()

    def stop(self) -> TraceInfo:
        """End sampling."""
        if self._link is not None and self._pump is not None and self._stream is not None:
            try:
                if self._measuring:
                    self._link.write(_STOP)
                    time.sleep(_TAIL_S)
            except ProbeLostError:
                pass  # read() told, or tells
            self._measuring = False
            self._pump.stop()
            try:
                for came_s, data in self._pump.take(0.0):
                    self._stream.feed(data, came_s)
            except ProbeLostError:
                pass  # stopping, it does not matter any more
            self._stream.finish()
        return self._describe()

    def close(self) -> None:
        """Stop the stream and release the port; the instrument then takes its supply away."""
        if self._pump is not None:
            self._pump.stop()
            self._pump = None
        if self._link is not None:
            try:
                if self._measuring:
                    self._link.write(_STOP)
            except ProbeLostError:
                pass  # closing
            self._measuring = False
            self._link.close()
            self._link = None

    def _ask(self) -> dict[str, str]:
        """The instrument's own description of itself; `ProbeError` where it is no PPK2."""
        assert self._link is not None
        for _ in range(2):
            self._link.write(_STOP)
            self._link.drain()
            self._link.write(_CALIBRATION)
            answer, until = b"", time.monotonic() + _ANSWER_S
            while time.monotonic() < until and b"END" not in answer:
                answer += self._link.read(READ_WAIT_S)
            facts = parse_facts(answer)
            if b"END" in answer and all(f"R{k}" in facts for k in range(RANGES)):
                return facts
        raise ProbeError(
            f"{self.device} is not {TITLE}, expected its calibration and got "
            f"{answer[:40]!r}; name its port with --probe ppk2:PORT, the first of the two it has"
        )

    def _take_voltage(self, facts: Mapping[str, str]) -> None:
        """Source meter: the voltage that the instrument says it has set is the trace's."""
        told_v = _number(facts.get("VDD", "")) / 1000
        if math.isfinite(told_v) and abs(told_v - self.voltage_v) > 1e-3:
            note = f"{self.voltage_v:.3f} V asked for, {told_v:.3f} V set by the instrument"
            self.voltage_v = told_v
        else:
            note = f"set to {self.voltage_v:.3f} V"
        self._facts["voltage"] = note + ", not measured"

    def _describe(self) -> TraceInfo:
        facts = {"device": self.device, "serial_number": self._serial_number, "mode": self.mode}
        facts |= {"voltage": f"given as {self.voltage_v:.3f} V, not measured", **self._facts}
        accuracy = ACCURACY
        if self._stream is not None and not self._measuring:
            stream = self._stream
            facts |= {
                "lost_samples": str(stream.lost),
                "discarded_bytes": str(stream.discarded_bytes),
                "unusable_samples": str(stream.invalid),
                "spike_filter": "none",
            }
            accuracy = _LOW_RANGES if stream.highest_range < RANGES - 1 else ACCURACY
        return TraceInfo(
            "measured", RATE_HZ, "mean", self.name, provenance=facts, accuracy=accuracy
        )


def parse_facts(answer: bytes) -> dict[str, str]:
    """The lines `key: value` of the answer to 0x19, whatever else is there."""
    found = re.findall(r"^\s*(\w+):[ \t]*([^\r\n]*?)\s*$", answer.decode("ascii", "replace"), re.M)
    return dict(found)


def calibration_of(facts: Mapping[str, str]) -> Calibration:
    """NaN for what is missing or no number; a shunt of 0 Ω is none."""
    columns = {
        name: np.array([_number(facts.get(f"{name.upper()}{k}", "")) for k in range(RANGES)])
        for name in ("r", "gs", "gi", "o", "s", "i", "ug")
    }
    columns["r"][~(columns["r"] > 0)] = np.nan
    return Calibration(**columns)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def detect() -> list[Found]:
    """Every PPK2 that is plugged in. Of the two ports of one, the first is the one that measures."""
    found: dict[str, Found] = {}
    for device, number, _ in ports_of(*USB_ID):
        found.setdefault(number or device, Found("ppk2", device, f"Nordic PPK2 {number}".rstrip()))
    return list(found.values())


def create(options: ProbeOptions) -> Ppk2Probe:
    """`options.address`: [PORT][,ampere|,source]. Raises `ProbeError` without port or voltage."""
    device, _, mode = options.address.partition(",")
    if device in _MODES:
        device, mode = "", device
    mode = mode or AMPERE
    if mode not in _MODES:
        raise ProbeError(f"the PPK2 has no mode {mode!r}; expected ampere or source after the port")
    numbers = {port: number for port, number, _ in ports_of(*USB_ID)}
    if not device:
        plugged_in = detect()
        if not plugged_in:
            raise ProbeError(
                "no PPK2 is plugged in, expected one at a USB port; plug it in, or name its port "
                "with --probe ppk2:PORT"
            )
        device = plugged_in[0].address
    volts = options.voltage_v
    if volts is None:
        raise ProbeError(
            "the PPK2 does not measure voltage, expected that of the board's supply; give it in V "
            "with --voltage"
        )
    low, high = (MIN_SOURCE_V, MAX_SOURCE_V) if mode == SOURCE else (0.0, MAX_SOURCE_V)
    if not low <= volts <= high or volts <= 0:
        raise ProbeError(
            f"--voltage is {volts:g} V, expected {MIN_SOURCE_V:g} to {MAX_SOURCE_V:g} V, which the "
            "PPK2 takes"
        )
    return Ppk2Probe(device, mode, volts, numbers.get(device, ""))
