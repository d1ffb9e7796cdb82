"""The sample stream of the PPK2: bytes in, samples with true indices out.

A sample is a little-endian 32-bit word, 100,000 a second (Nordic's Power Profiler app,
`src/device/serialDevice.ts` of github.com/NordicSemiconductor/pc-nrfconnect-ppk; described again in
`docs/protocol-spec.md` of github.com/tipoLi5890/ppk2lab):

    bits 0–13 ADC, 14–16 range (0–4), 17 unused, 18–23 counter, 24–31 logic inputs D0–D7

The counter tells lost samples modulo 64 only. How many times 64 went with them is told by the time:
samples cannot reach the host before they were taken, so the lowest lateness of a stretch of reads
is steady, and rises by what was lost. Samples are therefore held back for half a second.

Bytes that are lost shift every word after them. Where the counter does not go on, the stream is
searched byte by byte for `RUN` words that count; what lies before them is a gap.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from energy.samples import Flag, TraceChunk

RATE_HZ = 100_000.0
RANGES = 5
FULL_SCALE = 0x3FFF
MAX_CURRENT_A = 1.0  # of the instrument (PPK2 product brief)
RUN = 8
SETTLE_S = 0.5
_COUNTS = 64
_SUSPECT = 3
_MAX_HELD_S = 3.0
_UNSEEN_LOSS_S = 0.02  # below this, lateness may be the computer's
_VOLTS_PER_COUNT = 1.8 / 163_840
_ADC_FACTOR = 4

Words = NDArray[np.uint32]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """The instrument's coefficients, float64, shape (5,) each, one a range; NaN where it has none.

    In amperes, with `x = (4 · ADC − o) · 1.8 / 163840 / r` of a range:
    `ug · (x · (gs · x + gi) + s · voltage + i)`. `r` in Ω.
    """

    r: Floats
    gs: Floats
    gi: Floats
    o: Floats
    s: Floats
    i: Floats
    ug: Floats

    def current_a(
        self, adc: NDArray[np.int64], span: NDArray[np.int64], voltage_v: float
    ) -> Floats:
        """Currents of ADC values (n,) in ranges `span` (n,), 0–4."""
        volts = (adc * _ADC_FACTOR - self.o[span]) * _VOLTS_PER_COUNT
        x = volts / self.r[span]
        linear = x * (self.gs[span] * x + self.gi[span])
        return np.asarray(self.ug[span] * (linear + self.s[span] * voltage_v + self.i[span]))


@dataclass
class _Piece:
    """Words of one read that follow each other, the first of them number `index`."""

    index: int
    words: Words
    came_s: float
    gap: bool

    @property
    def end(self) -> int:
        return self.index + len(self.words)


class Ppk2Stream:
    """Feed what was read with the time it came; take chunks. `finish` lets go of what is held."""

    def __init__(self, calibration: Calibration, voltage_v: float) -> None:
        self.calibration = calibration
        self.voltage_v = voltage_v
        self.discarded_bytes = 0
        """Bytes that belong to no sample."""
        self.lost = 0
        """Samples lost, as far as counter and time tell."""
        self.invalid = 0
        """Samples of a range that does not exist or has no calibration."""
        self.highest_range = 0
        self._bytes = b""
        self._expected: int | None = None  # the counter of the next word
        self._searching = True
        self._index = 0
        self._gap = False
        self._dropped = 0  # bytes of this search
        self._suspects: Words = np.zeros(0, dtype=np.uint32)
        self._came_s = 0.0
        self._check_s = -math.inf
        self._last = False
        self._held: list[_Piece] = []
        self._gap_s = -math.inf
        self._lows: deque[float] = deque(maxlen=4)
        self._last_range = -1
        self._out: list[TraceChunk] = []

    def feed(self, data: bytes, came_s: float) -> None:
        """`data`: the bytes after those before, however they were split; `came_s`: when, in s."""
        self._bytes += data
        self._came_s = came_s
        while self._step(came_s):
            pass
        if not self._held or came_s < self._check_s:
            return
        first_s = self._held[0].came_s
        if came_s - max(first_s, self._gap_s) < SETTLE_S and came_s - first_s < _MAX_HELD_S:
            return
        more = self._unseen(self._held)
        # A busy computer is late too, but not for long: what looks like a loss must stay.
        if more[-1] == 0 or came_s - first_s >= _MAX_HELD_S:
            self._settle(more)
        self._check_s = came_s + SETTLE_S / 2

    def take(self) -> list[TraceChunk]:
        """The chunks that are certain by now."""
        out, self._out = self._out, []
        return out

    def finish(self) -> None:
        """Nothing more comes."""
        self._last = True
        while self._step(self._came_s):
            pass
        self.discarded_bytes += len(self._bytes)
        self._bytes = b""
        if self._held:
            self._settle(self._unseen(self._held, brief=True))

    # ---- words

    def _step(self, came_s: float) -> bool:
        """Decode up to the next break; whether there may be more to do with what is there."""
        if self._searching and not self._find_run(came_s):
            return False
        words = np.frombuffer(self._bytes, "<u4", len(self._bytes) // 4)
        if len(words) == 0:
            return False
        counters = ((words >> 18) & (_COUNTS - 1)).astype(np.int64)
        if self._expected is None:
            self._expected, self._gap, self._dropped = int(counters[0]), False, 0
        if self._gap:
            # At least what was dropped: a whole word is a sample.
            lost = (int(counters[0]) - self._expected - self._dropped // 4) % _COUNTS
            lost += self._dropped // 4
            self._index += lost
            self.lost += lost
            self._expected, self._dropped = int(counters[0]), 0
        first = self._expected
        breaks = np.flatnonzero((counters - first - np.arange(len(words))) % _COUNTS)
        end = int(breaks[0]) if len(breaks) else len(words)
        # Of words that were shifted, one in 64 counts on by chance: the last ones wait.
        sure = max(0, end - _SUSPECT) if len(breaks) or not self._last else end
        if sure:
            self._hold(words[:sure], came_s)
            self._expected = (first + sure) % _COUNTS
        if not len(breaks):
            self._bytes = self._bytes[4 * sure :]
            return False
        self._suspects = words[sure:end].astype(np.uint32)
        self._expected = (first + end) % _COUNTS
        self._bytes = self._bytes[4 * end :]
        self._searching = True
        return True

    def _hold(self, words: Words, came_s: float) -> None:
        self._held.append(_Piece(self._index, words.astype(np.uint32), came_s, self._gap))
        if self._gap:
            self._gap_s = came_s
        self._gap = False
        self._index += len(words)

    def _end_search(self, came_s: float) -> None:
        """Where whole words went, those before are as good as any; else they go too."""
        if self._dropped % 4 == 0 and len(self._suspects):
            self._hold(self._suspects, came_s)
        else:
            self._index += len(self._suspects)
            self.lost += len(self._suspects)
        self._suspects = self._suspects[:0]
        self._searching = False
        self._gap = True

    def _find_run(self, came_s: float) -> bool:
        """Drop bytes until `RUN` words count; False where that needs more bytes than there are."""
        tries = len(self._bytes) - 4 * RUN + 1
        for at in range(tries):
            words = np.frombuffer(self._bytes, "<u4", RUN, at)
            steps = np.diff((words >> 18) & (_COUNTS - 1)) & (_COUNTS - 1)
            if np.all(steps == 1):
                self._drop(at)
                self._end_search(came_s)
                return True
        if tries > 0:
            self._drop(tries)
        return False

    def _drop(self, count: int) -> None:
        self._bytes = self._bytes[count:]
        self.discarded_bytes += count
        self._dropped += count

    # ---- indices

    def _unseen(self, held: Sequence[_Piece], *, brief: bool = False) -> NDArray[np.int64]:
        """Samples lost ahead of each piece, shape (pieces,), beyond what the counter says: by time.

        `brief`: nothing more comes, too soon to tell a loss without any other sign from lateness.
        """
        late = np.array([piece.came_s - piece.end / RATE_HZ for piece in held])
        lowest_after = np.minimum.accumulate(late[::-1])[::-1]
        gaps = [at for at, piece in enumerate(held) if piece.gap]
        base, spread = math.inf, 0.0
        if self._lows:
            base, spread = min(self._lows), max(self._lows) - min(self._lows)
        elif gaps and gaps[0] > 0:
            base = float(np.min(late[: gaps[0]]))
        more = np.zeros(len(held), dtype=np.int64)
        if math.isfinite(base):
            for at in gaps:
                rise_s = float(lowest_after[at]) - int(more[at]) / RATE_HZ - base - spread
                wraps = math.floor(rise_s * RATE_HZ / _COUNTS + 0.5)
                more[at:] += max(0, wraps) * _COUNTS
            late = late - more / RATE_HZ
            rise_s = float(np.min(late[len(late) // 2 :])) - base - spread
            if rise_s >= _UNSEEN_LOSS_S and not brief:
                # A whole number of times 64 was lost, which the counter does not show.
                early = np.flatnonzero(late <= base + spread + _UNSEEN_LOSS_S / 2)
                at = int(early[-1]) + 1 if len(early) else 0
                more[at:] += math.floor(rise_s * RATE_HZ / _COUNTS + 0.5) * _COUNTS
        return more

    def _settle(self, more: NDArray[np.int64]) -> None:
        """Fix the indices of what is held, `more` being lost ahead of each piece; convert it."""
        held, self._held = self._held, []
        late = [piece.came_s - piece.end / RATE_HZ for piece in held]
        self._lows.append(float(np.min(np.array(late) - more / RATE_HZ)))
        index = np.array([piece.index for piece in held]) + more
        ends = index + [len(piece.words) for piece in held]
        cuts = (np.flatnonzero(index[1:] != ends[:-1]) + 1).tolist()
        for first, last in zip([0, *cuts], [*cuts, len(held)], strict=True):
            words = np.concatenate([piece.words for piece in held[first:last]])
            self._convert(words, int(index[first]))
        self._index += int(more[-1])
        self.lost += int(more[-1])

    def _convert(self, words: Words, index: int) -> None:
        adc = (words & FULL_SCALE).astype(np.int64)
        span = ((words >> 14) & 7).astype(np.int64)
        known = span < RANGES
        current = self.calibration.current_a(adc, np.minimum(span, RANGES - 1), self.voltage_v)
        current = np.where(known, current, np.nan)
        flags = np.zeros(len(words), dtype=np.uint8)
        over = (adc >= FULL_SCALE) | (np.abs(current) > MAX_CURRENT_A)
        flags[over] |= np.uint8(Flag.OVER_RANGE)
        before = np.concatenate(
            [[self._last_range if self._last_range >= 0 else span[0]], span[:-1]]
        )
        flags[span != before] |= np.uint8(Flag.RANGE_SWITCH)
        self._last_range = int(span[-1])
        self.highest_range = max(self.highest_range, int(np.max(np.where(known, span, 0))))
        self.invalid += int(np.count_nonzero(~np.isfinite(current)))
        voltage = np.full(len(words), self.voltage_v)
        self._out.append(TraceChunk(index, current, voltage, (words >> 24).astype(np.uint8), flags))
