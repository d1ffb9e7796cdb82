"""The board's clock against the instrument's, by the edges on the trigger lines.

The firmware shows the number of the phase it is in on its trigger pins (0 between phases) and
reports each phase with its start and stop by its own clock. The instrument samples the pins beside
the current. Both are sequences of 'entered v' and 'left v'; their times differ by an offset that is
not known, by the crystals' drift, by where in a sample an edge falls, and by edges that one side
lost or invented. The two are matched (`energy.edge_match`), and a line, or where the drift changes
a chain of lines, is fitted through the pairs.

The bound: an edge is seen within `half` a sample period (one period where samples are means, whose
instant of reading the lines is not known) of its time, and the firmware's time stamp is within
`LATENCY_S` of the pin. So at a matched edge the map is off by no more than that and the edge's
residual. In between, as both clocks are smooth, it is off by no more than at its neighbours.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from energy.clock import Alignment, ClockMap, Floats, Ints, unwrap_us
from energy.edge_match import Matcher
from energy.errors import AlignmentError
from energy.samples import Sampling, TraceChunk
from energy.session import Phase

MAX_DRIFT = 300e-6
LATENCY_S = 20e-6
MAX_EDGES = 4_000_000
_KNOT_S, _KNOT_EDGES = 10.0, 24
# Phases without a pin: what is recorded about the port, and what 0 on the pins means.
_UNSEEN = (Phase.IDLE, Phase.LOAD)
Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Edges:
    """Changes of the trigger lines: `index` of the first sample with the new value, both values."""

    index: Ints
    before: Bytes
    after: Bytes


class EdgeCollector:
    """Feed the chunks of a trace in order, then `finish`; a change across a gap is no edge."""

    def __init__(self, lines: int = 8) -> None:
        self._mask = np.uint8((1 << min(lines, 8)) - 1)
        self._parts: list[tuple[Ints, Bytes, Bytes]] = []
        self._count = 0
        self._next = -1
        self._last = np.zeros(0, dtype=np.uint8)

    def feed(self, chunk: TraceChunk) -> None:
        """Take the edges of `chunk`; raises AlignmentError where the lines chatter."""
        if len(chunk) == 0:
            return
        values = chunk.trigger & self._mask
        first = chunk.first_index
        if first == self._next:
            values = np.concatenate([self._last, values])
            first -= 1
        at = np.flatnonzero(values[1:] != values[:-1])
        if len(at):
            self._parts.append((at.astype(np.int64) + 1 + first, values[at], values[at + 1]))
            self._count += len(at)
        if self._count > MAX_EDGES:
            raise AlignmentError(
                f"the trigger lines changed more than {MAX_EDGES:,} times, expected a few a sample; "
                "they are not connected: wire them to the board's trigger pins, and the grounds"
            )
        self._last = values[-1:].copy()
        self._next = chunk.first_index + len(chunk)

    def finish(self) -> Edges:
        """All edges in order."""
        if not self._parts:
            none = np.zeros(0, dtype=np.uint8)
            return Edges(np.zeros(0, dtype=np.int64), none, none)
        return Edges(*(np.concatenate(column) for column in zip(*self._parts, strict=True)))


def board_times(start_us: Ints, stop_us: Ints) -> tuple[Floats, Floats]:
    """Start and stop of events in s of the board's clock from the first start on, unwrapped.

    `start_us`, `stop_us`: int64 (n,), in µs, of 32 bits or more.
    """
    if len(start_us) == 0:
        return np.zeros(0), np.zeros(0)
    starts = unwrap_us(start_us)
    start_s = (starts - starts[0]).astype(np.float64) * 1e-6
    return start_s, start_s + ((stop_us - start_us) % (1 << 32)).astype(np.float64) * 1e-6


def align_by_trigger(
    phases: Ints,
    start_us: Ints,
    stop_us: Ints,
    edges: Edges,
    *,
    rate_hz: float,
    sampling: Sampling,
    near_s: tuple[float, float] | None = None,
    latency_s: float = LATENCY_S,
) -> Alignment:
    """The map from the board's clock (s after the first event's start) to the trace's.

    `phases` (values of `Phase`), `start_us`, `stop_us` (board clock): int64 (n,), of the events in
    order. `near_s`: where in the trace the first event can be at all (s), if that is known. Raises
    `AlignmentError` where there are no edges or they do not fit the events.
    """
    start_s, stop_s = board_times(start_us, stop_us)
    if len(edges.index) == 0:
        raise AlignmentError(
            "the trace has no edge on its trigger lines, expected one at every phase of the board; "
            "wire the board's trigger pins to them, and the grounds"
        )
    # A line that never moves is not connected: what it would show is left out on both sides.
    alive = int(np.bitwise_or.reduce(edges.before ^ edges.after))
    half_s = (0.5 if sampling == "point" else 1.0) / rate_hz
    offset = -0.5 if sampling == "point" else 0.0
    seen_s = (edges.index.astype(np.float64) + offset) / rate_hz
    expected_s, expected_code = _expected(phases, start_s, stop_s, alive, 1.0 / rate_hz)
    before, after = (edges.before & alive).astype(np.int64), (edges.after & alive).astype(np.int64)
    observed_s = np.concatenate([seen_s[after > 0], seen_s[before > 0]])
    observed_code = np.concatenate([after[after > 0], 256 + before[before > 0]])
    if len(expected_s) < 4:
        raise AlignmentError(
            f"the session has {len(expected_s)} phases that the trigger lines could show, expected "
            "4 edges at least; use more samples, or a faster instrument"
        )
    tight_s = half_s + latency_s
    matcher = Matcher(
        expected_s, expected_code, observed_s, observed_code, tight_s, MAX_DRIFT, near_s
    )
    pairs = matcher.best()
    if pairs is None:
        raise AlignmentError(
            f"the trigger edges of the trace ({len(edges.index):,}) do not fit the board's "
            f"{len(phases):,} phase events: trace and run do not belong together, or the trigger "
            "lines are wired in another order; expected line 0 on trigger pin 0, and so on"
        )
    board_s, trace_s = expected_s[pairs.expected], observed_s[pairs.observed]
    clock = fit_clock(board_s, trace_s, tight_s)
    residual = trace_s - clock(board_s)
    error_s = tight_s + float(np.max(np.abs(residual))) + pairs.ambiguous_s
    inside = (expected_s >= board_s[0]) & (expected_s <= board_s[-1])
    window = (observed_s >= trace_s[0] - tight_s) & (observed_s <= trace_s[-1] + tight_s)
    return Alignment(
        method="trigger",
        clock=clock,
        error_s=error_s,
        edge_error_s=latency_s,
        rms_s=float(np.sqrt(np.mean(residual**2))),
        matched=len(board_s),
        expected=int(np.count_nonzero(inside)),
        extra=int(np.count_nonzero(window)) - len(board_s),
        first_s=float(board_s[0]),
        last_s=float(board_s[-1]),
        ambiguous_s=pairs.ambiguous_s,
        note=f"lines {alive:#04x} carry the phase; {pairs.ambiguous_s:.3g} s of it is that another "
        "alignment fits as well"
        if pairs.ambiguous_s
        else f"lines {alive:#04x} carry the phase",
    )


def collect_edges(chunks: Iterable[TraceChunk], lines: int = 8) -> Edges:
    """The edges of a whole trace."""
    collector = EdgeCollector(lines)
    for chunk in chunks:
        collector.feed(chunk)
    return collector.finish()


def _expected(
    phases: Ints, start_s: Floats, stop_s: Floats, alive: int, sample_s: float
) -> tuple[Floats, Ints]:
    """Times and codes (value, + 256 when left) of the edges that sampling can show, in order."""
    shown = phases & alive
    visible = (shown > 0) & ~np.isin(phases, [int(phase) for phase in _UNSEEN])
    visible &= stop_s - start_s >= sample_s
    start_s, stop_s, shown = start_s[visible], stop_s[visible], shown[visible]
    # Two spans of one value without a sample between them look like one.
    joined = (start_s[1:] - stop_s[:-1] < sample_s) & (shown[1:] == shown[:-1])
    enters, leaves = np.append(True, ~joined), np.append(~joined, True)
    times = np.concatenate([start_s[enters], stop_s[leaves]]) if len(shown) else np.zeros(0)
    codes = np.concatenate([shown[enters], 256 + shown[leaves]]) if len(shown) else np.zeros(0)
    order = np.argsort(times, kind="stable")
    return times[order], codes[order].astype(np.int64)


def fit_clock(board_s: Floats, trace_s: Floats, tight_s: float) -> ClockMap:
    """A line through the pairs, in order; a chain of lines where one leaves more than `tight_s`."""
    centre = float(np.mean(board_s))
    if board_s[-1] - board_s[0] < 1e-9:
        return ClockMap.line(1.0, float(np.mean(trace_s)) - centre, centre, centre + 1.0)
    slope, middle = np.polyfit(board_s - centre, trace_s, 1)
    slope = float(np.clip(slope, 1.0 - MAX_DRIFT, 1.0 + MAX_DRIFT))
    middle = float(np.mean(trace_s - slope * (board_s - centre)))
    line = ClockMap.line(slope, middle - slope * centre, float(board_s[0]), float(board_s[-1]))
    spans = int(min((board_s[-1] - board_s[0]) / _KNOT_S, len(board_s) / _KNOT_EDGES))
    if spans < 2 or float(np.max(np.abs(trace_s - line(board_s)))) <= tight_s:
        return line
    # Hat functions on the knots; knots between which there are no pairs are left out.
    knots = np.interp(np.linspace(0, len(board_s) - 1, spans + 1), np.arange(len(board_s)), board_s)
    knots = knots[np.append(True, np.diff(knots) > _KNOT_S / 10)]
    if len(knots) < 3:
        return line
    cell = np.clip(np.searchsorted(knots, board_s, side="right") - 1, 0, len(knots) - 2)
    share = (board_s - knots[cell]) / (knots[cell + 1] - knots[cell])
    residual = trace_s - line(board_s)
    # Normal equations of a tridiagonal system, solved densely: at most a few hundred knots.
    size = len(knots)
    matrix, right = np.zeros((size, size)), np.zeros(size)
    for a, wa in ((0, 1.0 - share), (1, share)):
        np.add.at(right, cell + a, wa * residual)
        for b, wb in ((0, 1.0 - share), (1, share)):
            np.add.at(matrix, (cell + a, cell + b), wa * wb)
    matrix += np.eye(size) * 1e-9 * len(board_s)
    return ClockMap(knots, line(knots) + np.linalg.solve(matrix, right))
