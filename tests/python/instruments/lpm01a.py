"""An emulated X-NUCLEO-LPM01A: its commands, its acknowledgements, its two data formats."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from tests.python.instruments.pty_port import PtyInstrument

PROMPT = "PowerShield > "
BLOCK = 1000  # samples between two times


def stamp(form: str, time_s: float) -> bytes:
    """The time, as it comes in the stream of samples."""
    ms = int(time_s * 1000 + 1e-6)
    if form == "bin_hexa":
        return b"\xf0\xf3" + ms.to_bytes(4, "big") + b"\x05\xff\xff"
    return f"\r\nTimeStamp: {ms // 1000:03d}s {ms % 1000:03d}ms, buff 05%\r\n".encode()


def sample(form: str, current_a: float) -> bytes:
    """One sample, as exact as the format allows."""
    if form == "bin_hexa":
        exponent = 14
        while exponent > 0 and current_a * 16.0**exponent > 0xFFF:
            exponent -= 1
        return (exponent << 12 | min(round(current_a * 16.0**exponent), 0xFFF)).to_bytes(2, "big")
    power = -9 if current_a <= 0 else max(-9, math.floor(math.log10(current_a)) - 3)
    mantissa = round(current_a / 10.0**power)
    if mantissa > 9999:
        mantissa, power = round(mantissa / 10), power + 1
    return f"{mantissa:04d}{power:+03d}\r\n".encode()


def encode(
    form: str,
    wave: Callable[[int], float],
    first: int,
    last: int,
    rate_hz: float,
    drop: tuple[int, int] = (0, 0),
    edges: tuple[int, ...] = (),
) -> bytes:
    """Samples [first, last) with the times between them; [drop) never leave the instrument."""
    out = bytearray()
    for k in range(first, last):
        if k % BLOCK == 0:
            out += stamp(form, k / rate_hz)
        if k in edges and form == "ascii_dec":
            out += b"event 1 ris\r\n"
        if not drop[0] <= k < drop[1]:
            out += sample(form, wave(k))
    return bytes(out)


class EmulatedLpm01a(PtyInstrument):
    """`wave(k)`: current in A of sample k. `voltage`: what it sets instead of what was asked for."""

    def __init__(
        self,
        wave: Callable[[int], float],
        *,
        drop: tuple[int, int] = (0, 0),
        edges: tuple[int, ...] = (),
        voltage: str = "",
        samples: int = 1 << 40,
        present: bool = True,
        knows_events: bool = True,
    ) -> None:
        super().__init__()
        self.commands: list[str] = []
        self.sent = 0
        self._wave, self._drop, self._edges, self._limit = wave, drop, edges, samples
        self._false_voltage = voltage
        self._voltage = "3300-03"
        self._present, self._knows_events = present, knows_events
        self._form, self._rate_hz = "ascii_dec", 100.0
        self._line = b""
        self._began: float | None = None

    def received(self, data: bytes) -> None:
        """Whole lines are commands."""
        *lines, self._line = (self._line + data).split(b"\n")
        for line in lines:
            self._command(line.decode().strip())

    def _command(self, command: str) -> None:
        self.commands.append(command)
        word, _, argument = command.partition(" ")
        if not self._present:
            self.send(b"OK\r\n")
            return
        if word == "powershield":
            self._say("PowerShield present: 0123456789ABCDEF01234567")
            return
        if word == "stop":
            if self._began is not None:
                self._began = None
                self.send(b"\xf0\xf4\xff\xff" if self._form == "bin_hexa" else b"end\r\n")
                self._say("Acquisition completed")
            return
        if word == "eventsrc" and not self._knows_events:
            self._say("error eventsrc")
            self.send(b"Error detail: Command unknown\r\n")
            return
        more = ""
        if word == "version":
            more = " 1.0.6"
        elif command == "volt get":
            more = f" {self._false_voltage or self._voltage}"
        elif word == "volt":
            self._voltage = f"{argument.rstrip('m')}-03"
        elif word == "format":
            self._form = argument
        elif word == "freq":
            self._rate_hz = float(argument.replace("k", "000"))
        self._say(f"ack {command}{more}")
        if word == "start":
            self._began, self.sent = time.monotonic(), 0

    def _say(self, text: str) -> None:
        self.send(f"\r\n{PROMPT}{text}\r\n\r\n".encode())

    def tick(self) -> None:
        """Sends what is due."""
        if self._began is None:
            return
        due = min(int((time.monotonic() - self._began) * self._rate_hz), self._limit)
        if due > self.sent:
            args = (self._form, self._wave, self.sent, due, self._rate_hz, self._drop, self._edges)
            self.send(encode(*args))
            self.sent = due
