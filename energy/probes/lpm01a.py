"""ST X-NUCLEO-LPM01A (PowerShield): supplies a board of 1.8 to 3.3 V and measures its current.

    --probe lpm01a:/dev/ttyACM0           dynamic: any current from 100 nA to 50 mA
    --probe lpm01a:/dev/ttyACM0,static    steady currents up to 200 mA

The instrument is always the board's supply: connect it by its output, not by USB. Up to 5 kS/s the
samples come as text, with an `event` for each falling edge at D7; above that, and at most at
100 kS/s, in binary. An event is one edge of one line, marked by bit 7 of the trigger for one sample;
phases cannot be read from it, so `trigger_lines` is 0.

Commands: ST UM2269 and the instrument's own `help` (see `energy.probes.lpm01a_stream`); range and
accuracy: UM2243, sections 9 and 10.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator

from energy.errors import ProbeError, ProbeLostError
from energy.probes import Capabilities, Found, Instrument, ProbeOptions
from energy.probes.lpm01a_stream import Format, Lpm01aStream
from energy.probes.serial_port import READ_WAIT_S, Pump, SerialLink, ports_of
from energy.samples import Accuracy, TraceChunk, TraceInfo

TITLE = "the X-NUCLEO-LPM01A"
BAUD_RATE = 3_686_400
USB_ID = (0x0483, 0x5740)  # of every STM32 with ST's virtual port: the name must say the rest
RATES_HZ = tuple(step * 10**power for power in range(6) for step in (1, 2, 5))[:16]
DEFAULT_RATE_HZ = 5_000
MAX_TEXT_RATE_HZ = 5_000
MIN_V, MAX_V = 1.8, 3.3
DYNAMIC, STATIC = "dynamic", "static"
LIMITS_A = {DYNAMIC: 0.05, STATIC: 0.2}
_WORDS = {DYNAMIC: "dyn", STATIC: "stat"}
_ANSWER_S = 5.0
_CALIBRATION_S = 10.0
_PROMPT = "PowerShield >"

ACCURACY = Accuracy(
    gain_error=0.02,
    offset_a=100e-9,
    voltage_gain_error=0.02,
    clock_error=100e-6,
    source=(
        "UM2243 sections 9 and 10: within 2 %, from 100 nA on; voltage set, its error assumed to be "
        "within 2 %; clock assumed within 100 ppm"
    ),
)


class Lpm01aProbe(Instrument):
    """The instrument at `device`. `voltage_v`: to be set, in V; None leaves what is set."""

    def __init__(
        self, device: str, mode: str, rate_hz: float, voltage_v: float | None, number: str = ""
    ) -> None:
        self.device = device
        self.mode = mode
        self._rate_hz = rate_hz
        self._wanted_v = voltage_v
        self._facts: dict[str, str] = {"serial_number": number} if number else {}
        self._voltage_v = voltage_v or MAX_V
        self._link: SerialLink | None = None
        self._pump: Pump | None = None
        self._stream: Lpm01aStream | None = None
        self._measuring = False

    @property
    def name(self) -> str:
        return "lpm01a"

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities("measured", ACCURACY, "point", trigger_lines=0, measures_voltage=False)

    @property
    def rate_hz(self) -> float:
        """One of `RATES_HZ`."""
        return self._rate_hz

    def open(self) -> None:
        """Claim the instrument, set it up and switch the supply on. Raises `ProbeError`."""
        self.close()
        self._link = SerialLink(self.device, BAUD_RATE, TITLE)
        try:
            self._greet()
            self._command("htc")
            version = self._command("version")
            self._facts["firmware"] = version.rpartition("version")[2].strip(" \r\n") or "unknown"
            if self._wanted_v is not None:
                self._command(f"volt {round(self._wanted_v * 1000)}m", _CALIBRATION_S)
            self._take_voltage(self._command("volt get"))
            rate = int(self._rate_hz)
            for command in (
                f"format {self._format}",
                f"freq {rate // 1000}k" if rate >= 1000 else f"freq {rate}",
                "acqtime 0",
                f"acqmode {_WORDS[self.mode]}",
                "output current",
                "funcmode optim",
                "trigsrc sw",
                "trigdelay 0",
                "pwrend on",
                "pwr on",
            ):
                self._command(command)
            try:
                self._command("eventsrc d7 fal")
            except ProbeError:
                self._facts["events"] = "not known to this firmware"
        except BaseException:
            self.close()
            raise

    def start(self) -> TraceInfo:
        """Begin sampling."""
        assert self._link is not None
        self._stream = Lpm01aStream(
            self._format, self._rate_hz, self._voltage_v, LIMITS_A[self.mode]
        )
        rest = self._command("start", rest=True)
        self._measuring = True
        self._stream.feed(rest.encode("latin-1"))
        self._pump = Pump(self._link)
        self._pump.start()
        return self._describe()

    def read(self) -> Iterator[TraceChunk]:
        """What is certain by now: samples come a block (about a thousand) late."""
        if self._pump is None or self._stream is None:
            return
        try:
            for _, data in self._pump.take(READ_WAIT_S if self._measuring else 0.0):
                self._stream.feed(data)
        except ProbeLostError:
            self._measuring = False
            self._stream.finish()
            yield from self._stream.take()
            raise
        yield from self._stream.take()
        if self._measuring and self._stream.ended:
            self._measuring = False
            said = "; ".join(self._stream.messages[-3:]) or "no reason given"
            raise ProbeLostError(
                f"{TITLE} at {self.device} ended the measurement by itself ({said}), expected it to "
                "go on; what it sent until then is kept: see that the board draws no more than "
                f"{LIMITS_A[self.mode] * 1000:g} mA"
            )

    def stop(self) -> TraceInfo:
        """End sampling; the board stays supplied until another program takes the instrument."""
        if self._link is not None and self._pump is not None and self._stream is not None:
            try:
                if self._measuring:
                    self._link.write(b"stop\n")
                until = time.monotonic() + _ANSWER_S
                while self._measuring and not self._stream.ended and time.monotonic() < until:
                    for _, data in self._pump.take(READ_WAIT_S):
                        self._stream.feed(data)
            except ProbeLostError:
                pass  # stopping, it does not matter any more
            self._measuring = False
            self._pump.stop()
            self._stream.finish()
        return self._describe()

    def close(self) -> None:
        """Give the instrument back to its buttons and release the port."""
        if self._pump is not None:
            self._pump.stop()
            self._pump = None
        if self._link is not None:
            with contextlib.suppress(ProbeLostError):
                self._link.write(b"stop\nhrc\n" if self._measuring else b"hrc\n")
            self._measuring = False
            self._link.close()
            self._link = None

    @property
    def _format(self) -> Format:
        return "ascii_dec" if self._rate_hz <= MAX_TEXT_RATE_HZ else "bin_hexa"

    def _greet(self) -> None:
        """`ProbeError` where something else answers, or nothing."""
        assert self._link is not None
        for _ in range(2):
            self._link.write(b"stop\n")
            self._link.drain()
            self._link.write(b"powershield\n")
            answer, until = b"", time.monotonic() + _ANSWER_S
            while time.monotonic() < until and not re.search(
                rb"PowerShield present[^\n]*\n", answer
            ):
                answer += self._link.read(READ_WAIT_S)
            if found := re.search(rb"PowerShield present[:\s]*([^\r\n]*)", answer):
                self._facts["board_id"] = found[1].decode("ascii", "replace").strip()
                return
        raise ProbeError(
            f"{self.device} is not {TITLE}, expected 'PowerShield present' and got {answer[:40]!r}; "
            "name its port with --probe lpm01a:PORT"
        )

    def _command(self, command: str, wait_s: float = _ANSWER_S, *, rest: bool = False) -> str:
        """The line that acknowledges `command`, or with `rest` what comes behind that line."""
        assert self._link is not None
        self._link.write(command.encode() + b"\n")
        answer, until = "", time.monotonic() + wait_s
        accepted = re.compile(rf"ack {re.escape(command)}([^\r\n]*)\r?\n(\r?\n)?")
        while time.monotonic() < until:
            answer += self._link.read(READ_WAIT_S).decode("latin-1")
            if found := accepted.search(answer):
                return answer[found.end() :] if rest else found[0].strip()
            if refused := re.search(r"error[^\n]*\n", answer, re.IGNORECASE):
                answer += self._link.read(READ_WAIT_S).decode("latin-1")
                detail = re.search(r"Error detail:([^\r\n]*)", answer)
                raise ProbeError(
                    f"{TITLE} refused '{command}' ({(detail or refused)[0].strip()}), expected it to "
                    "accept that; update its firmware (STSW-LPM01) or change the option"
                )
        raise ProbeError(
            f"{TITLE} at {self.device} did not answer '{command}' within {wait_s:g} s, expected "
            "an acknowledgement; reset it by its button and repeat"
        )

    def _take_voltage(self, answer: str) -> None:
        """`3300-03` is 3300 · 10⁻³ V, which goes into the samples."""
        found = re.search(r"(\d+)([+-]\d{2})\b", answer.partition("volt get")[2])
        if found is None:
            raise ProbeError(
                f"{TITLE} answered 'volt get' with {answer[-40:]!r}, expected its voltage such as "
                "3300-03; update its firmware (STSW-LPM01)"
            )
        self._voltage_v = int(found[1]) * 10.0 ** int(found[2])
        wanted = f"{self._wanted_v:.3f} V asked for, " if self._wanted_v else ""
        self._facts["voltage"] = (
            f"{wanted}{self._voltage_v:.3f} V set by the instrument, not measured"
        )

    def _describe(self) -> TraceInfo:
        facts = {"device": self.device, "mode": self.mode, "format": self._format, **self._facts}
        if self._stream is not None and not self._measuring:
            facts["lost_samples"] = str(self._stream.lost)
            facts["d7_events"] = str(self._stream.events)
            if self._stream.messages:
                facts["messages"] = "; ".join(self._stream.messages[:10])
        return TraceInfo(
            "measured", self._rate_hz, "point", self.name, provenance=facts, accuracy=ACCURACY
        )


def detect() -> list[Found]:
    """Those whose USB name says what they are: the numbers alone are those of any STM32."""
    return [
        Found("lpm01a", device, f"ST X-NUCLEO-LPM01A {number}".rstrip())
        for device, number, names in ports_of(*USB_ID)
        if "powershield" in names.lower() or "lpm01" in names.lower()
    ]


def create(options: ProbeOptions) -> Lpm01aProbe:
    """`options.address`: [PORT][,dynamic|,static]. Raises `ProbeError` for what cannot be set."""
    device, _, mode = options.address.partition(",")
    if device in LIMITS_A:
        device, mode = "", device
    mode = mode or DYNAMIC
    if mode not in LIMITS_A:
        raise ProbeError(
            f"the X-NUCLEO-LPM01A has no mode {mode!r}; expected dynamic or static after the port"
        )
    if not device:
        plugged_in = detect()
        if not plugged_in:
            raise ProbeError(
                "no X-NUCLEO-LPM01A was found among the USB ports, expected one; plug it in, or name "
                "its port with --probe lpm01a:PORT"
            )
        device = plugged_in[0].address
    volts = options.voltage_v
    if volts is not None and not MIN_V <= volts <= MAX_V:
        raise ProbeError(
            f"--voltage is {volts:g} V, expected {MIN_V:g} to {MAX_V:g} V, which the X-NUCLEO-LPM01A "
            "can supply"
        )
    wanted_hz = options.rate_hz or DEFAULT_RATE_HZ
    rate_hz = next((rate for rate in RATES_HZ if rate >= wanted_hz), RATES_HZ[-1])
    numbers = {port: number for port, number, _ in ports_of(*USB_ID)}
    return Lpm01aProbe(device, mode, rate_hz, volts, numbers.get(device, ""))
