"""Clocks: a map from the board's time to the trace's, with what it is worth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from energy.errors import AlignmentError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Method = Literal["trigger", "host_arrival", "given"]
_WRAP = 1 << 32
# How far a board's time stamp may lie before the one ahead of it without meaning a wrap.
_BACKWARDS_US = 60_000_000


def unwrap_us(times_us: Ints) -> Ints:
    """Board times in µs in order of their events, made continuous over wraps of 32 bits.

    Times that are continuous already stay as they are. Two events must be less than 71 minutes
    apart; one may lie up to a minute before the one ahead of it (spans that contain others).
    """
    low = np.asarray(times_us, dtype=np.int64)
    if len(low) == 0:
        return low.copy()
    step = np.diff(low) % _WRAP
    step = np.where(step > _WRAP - _BACKWARDS_US, step - _WRAP, step)
    return np.concatenate([low[:1], low[0] + np.cumsum(step)])


@dataclass(frozen=True)
class ClockMap:
    """Trace time in s as a piecewise linear function of board time in s, through two knots or more.

    Beyond the outer knots the line through the two nearest goes on.
    """

    board_s: Floats
    trace_s: Floats

    def __post_init__(self) -> None:
        rising = np.all(np.diff(self.board_s) > 0) and np.all(np.diff(self.trace_s) > 0)
        if len(self.board_s) < 2 or len(self.board_s) != len(self.trace_s) or not bool(rising):
            raise AlignmentError(
                "the board's clock does not run forwards against the trace's; expected events and "
                "trace of one session"
            )

    @classmethod
    def line(cls, slope: float, offset_s: float, first_s: float, last_s: float) -> ClockMap:
        """`trace = slope * board + offset_s`, with knots at the board times `first_s < last_s`."""
        board_s = np.array([first_s, max(last_s, first_s + 1e-3)])
        return cls(board_s, slope * board_s + offset_s)

    def __call__(self, board_s: Floats) -> Floats:
        """Trace times in s of the board times `board_s`, of any shape."""
        mapped = np.interp(board_s, self.board_s, self.trace_s)
        for at, other in ((0, 1), (-1, -2)):
            rise = self.trace_s[at] - self.trace_s[other]
            slope = rise / (self.board_s[at] - self.board_s[other])
            beyond = board_s < self.board_s[0] if at == 0 else board_s > self.board_s[-1]
            line = self.trace_s[at] + slope * (board_s - self.board_s[at])
            mapped = np.where(beyond, line, mapped)
        return np.asarray(mapped, dtype=np.float64)

    @property
    def rate(self) -> float:
        """Mean trace seconds per board second."""
        rise = float(self.trace_s[-1] - self.trace_s[0])
        return rise / float(self.board_s[-1] - self.board_s[0])


@dataclass(frozen=True)
class Alignment:
    """A clock map and how good it is.

    `error_s`: each edge of a window lies within this of its place in the trace; a bound for
    `trigger`, an estimate for `host_arrival` (`is_bound` says which). `edge_error_s`: the part of
    it that differs from edge to edge; the rest shifts all windows alike. `rms_s`: of the residuals.
    `matched` of `expected` edges were found, `extra` were in the trace besides. `first_s`,
    `last_s`: board times between which there were edges. `ambiguous_s`: the shift of a second
    alignment that fits as well, 0 if there is none; `error_s` contains it.
    """

    method: Method
    clock: ClockMap
    error_s: float
    edge_error_s: float
    rms_s: float
    matched: int
    expected: int
    extra: int
    first_s: float
    last_s: float
    ambiguous_s: float = 0.0
    note: str = ""

    @property
    def is_bound(self) -> bool:
        """Whether `error_s` is a bound or an estimate."""
        return self.method != "host_arrival"

    @property
    def drift_ppm(self) -> float:
        """How much faster the trace's clock runs than the board's, in millionths."""
        return 1e6 * (self.clock.rate - 1.0)

    def error_at(self, board_s: Floats) -> Floats:
        """Error in s at board times `board_s`: grows outside the edges that were matched."""
        span = max(self.last_s - self.first_s, 1e-9)
        outside = np.maximum(self.first_s - board_s, board_s - self.last_s)
        grown: Floats = self.error_s * (1.0 + 2.0 * np.maximum(outside, 0.0) / span)
        return grown

    def facts(self) -> dict[str, object]:
        """The block `alignment` of `energy.json`; times in s."""
        return {
            "method": self.method,
            "error_s": self.error_s,
            "error_is_bound": self.is_bound,
            "rms_s": self.rms_s,
            "drift_ppm": self.drift_ppm,
            "edges_matched": self.matched,
            "edges_expected": self.expected,
            "edges_extra": self.extra,
            "ambiguous_s": self.ambiguous_s,
            "knots": len(self.clock.board_s),
            "note": self.note,
        }
