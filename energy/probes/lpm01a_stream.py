"""What the X-NUCLEO-LPM01A sends while it measures: bytes in, samples with true indices out.

The formats are those of the instrument's own help text (its command `help`; printed in
`benchmark/runner/power_manager/power_manager_lpm.py` of github.com/mlcommons/tiny) and of ST's UM2269:

- `ascii_dec`: lines. `6409-07` is 6409 · 10⁻⁷ A; `TimeStamp: 000s 010ms, buff 03%`; `event 1 ris`
  for an edge at D7; everything else is a message.
- `bin_hexa`: two bytes a sample, big endian: `52A0` is 0x2A0 · 16⁻⁵ A. A first byte of 0xF0 or more,
  which no exponent reaches, begins metadata that end with FF FF: F0 F3, milliseconds (4 bytes), fill of
  its buffer in %; F0 F4 the end; others carry a text.

The samples have no numbers. But every thousandth or so is preceded by the time, so what is missing
shows a block late, and not where in the block: the block then goes, whole, as a gap. Samples are
held back until the time after them is known.
"""

from __future__ import annotations

import re
from typing import Literal

import numpy as np

from energy.samples import Flag, TraceChunk

Format = Literal["ascii_dec", "bin_hexa"]
EVENT_BIT = 0x80  # D7
_META = 0xF0
_TIME, _END, _OVERCURRENT = 0xF3, 0xF4, 0xF5
_TIME_BYTES = 9
_MAX_TEXT = 256
_AT_ONCE = 2048
_VALUE = re.compile(rb"(\d{4})([+-]\d{2})")
_STAMP = re.compile(rb"TimeStamp:\s*(\d+)s\s*(\d+)ms")
_EVENT = re.compile(rb"event\s+\d+")
_FINISHED = b"Acquisition completed"


class Lpm01aStream:
    """Feed what was read, take chunks. `finish` lets go of what is held.

    `limit_a`: a current above it is beyond the instrument's range; `voltage_v` goes into the samples.
    """

    def __init__(self, form: Format, rate_hz: float, voltage_v: float, limit_a: float) -> None:
        self.rate_hz = rate_hz
        self.voltage_v = voltage_v
        self.limit_a = limit_a
        self.ended = False
        self.lost = 0
        """Samples that were lost, or came in a block in which some were lost."""
        self.events = 0
        """Edges at D7."""
        self.messages: list[str] = []
        """What the instrument said in words."""
        self._binary = form == "bin_hexa"
        self._bytes = b""
        self._begun = False
        self._index = 0  # of the first sample held
        self._values: list[float] = []
        self._marks: list[int] = []  # samples held ahead of which D7 changed
        self._over = False
        self._origin_s: float | None = None
        self._out: list[TraceChunk] = []

    def feed(self, data: bytes) -> None:
        """The bytes after those before, however they were split."""
        self._bytes += data
        if self._binary:
            self._feed_binary()
        else:
            *lines, self._bytes = self._bytes.split(b"\n")
            for line in lines:
                self._take_line(line.strip())

    def take(self) -> list[TraceChunk]:
        """The chunks that are certain by now."""
        out, self._out = self._out, []
        return out

    def finish(self) -> None:
        """Nothing more comes."""
        if not self._binary and not self.ended and self._bytes:
            self._take_line(self._bytes.strip())
        self._bytes = b""
        self._release()

    # ---- the two formats

    def _feed_binary(self) -> None:
        if not self._begun:
            # What is left of the answer to `start` lies before the first time.
            begin = self._bytes.find(bytes([_META, _TIME]))
            self._bytes = self._bytes[begin:] if begin >= 0 else self._bytes[-1:]
            self._begun = begin >= 0
        data, at = self._bytes, 0
        while self._begun and not self.ended:
            words = np.frombuffer(data, ">u2", min((len(data) - at) // 2, _AT_ONCE), at)
            high = np.flatnonzero(words >= _META << 8)
            count = int(high[0]) if len(high) else len(words)
            exponents = (words[:count] >> 12).astype(np.float64)
            self._values += ((words[:count] & 0xFFF) * 16.0**-exponents).tolist()
            at += 2 * count
            size = self._take_metadata(data, at) if len(high) else 0
            if size == 0 and count < _AT_ONCE:
                break
            at += size
        self._bytes = data[at:]

    def _take_metadata(self, data: bytes, at: int) -> int:
        """Length of the metadata at `at`; 0 where they are not whole yet."""
        kind = data[at + 1]
        if kind == _TIME:
            if len(data) - at < _TIME_BYTES:
                return 0
            self._take_time(int.from_bytes(data[at + 2 : at + 6], "big") / 1000)
            return _TIME_BYTES
        end = data.find(b"\xff\xff", at + 2, at + 2 + _MAX_TEXT)
        if end < 0:
            # No end within reach: these are no metadata. One word is skipped; the time will tell.
            return 0 if len(data) - at < 2 + _MAX_TEXT else 2
        text = data[at + 2 : end].decode("ascii", "replace").strip("\0\r\n ")
        self._say(text, over=kind == _OVERCURRENT)
        self.ended = kind == _END
        return end + 2 - at

    def _take_line(self, line: bytes) -> None:
        if self.ended or not line:
            return
        if value := _VALUE.fullmatch(line):
            self._values.append(int(value[1]) * 10.0 ** int(value[2]))
        elif stamp := _STAMP.match(line):
            self._take_time(int(stamp[1]) + int(stamp[2]) / 1000)
        elif _EVENT.match(line):
            self.events += 1
            self._marks.append(len(self._values))
        elif _FINISHED in line or line == b"end":
            self.ended = True
        else:
            self._say(line.decode("ascii", "replace"))

    def _say(self, text: str, *, over: bool = False) -> None:
        self._over |= over or "overcurrent" in text.lower()
        if (text or over) and len(self.messages) < 100:
            self.messages.append(text or "overcurrent")

    # ---- indices

    def _take_time(self, time_s: float) -> None:
        """The next sample is taken at `time_s` of the instrument's clock, in whole milliseconds."""
        held = len(self._values)
        if self._origin_s is None:
            self._origin_s = time_s - (self._index + held) / self.rate_hz
        missing = (time_s - self._origin_s) * self.rate_hz - (self._index + held)
        # The time is cut to a millisecond, both here and at the origin.
        if abs(missing) <= 1.5e-3 * self.rate_hz + 1:
            self._release()
            return
        if missing < 0:
            # More samples than time: the clock began anew, or a loss went unseen before.
            self._release()
            self._origin_s = time_s - self._index / self.rate_hz
            return
        self.lost += held + round(missing)
        self._index += held + round(missing)
        self._values, self._marks, self._over = [], [], False

    def _release(self) -> None:
        if not self._values:
            return
        current = np.array(self._values)
        flags = np.zeros(len(current), dtype=np.uint8)
        over = np.ones_like(current, dtype=bool) if self._over else np.abs(current) > self.limit_a
        flags[over] = Flag.OVER_RANGE
        trigger = np.zeros(len(current), dtype=np.uint8)
        trigger[[mark for mark in self._marks if mark < len(current)]] = EVENT_BIT
        late = [mark - len(current) for mark in self._marks if mark >= len(current)]
        voltage = np.full(len(current), self.voltage_v)
        self._out.append(TraceChunk(self._index, current, voltage, trigger, flags))
        self._index += len(current)
        self._values, self._marks, self._over = [], late, False
