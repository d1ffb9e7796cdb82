"""Alignment without trigger lines: when events and samples reached the host.

Both arrive late, by an amount that is never negative and sometimes small. The line below all
arrivals is the clock plus the shortest delay. How long the shortest delay is nobody can see: the
error given here is an estimate, tens of milliseconds. It does for sums over seconds, not for the
windows of single phases.
"""

from __future__ import annotations

import numpy as np

from energy.align import MAX_DRIFT, board_times
from energy.clock import Alignment, ClockMap, Floats, Ints
from energy.errors import AlignmentError

_FLOOR_S = 0.01
_BIN_S = 2.0


def align_by_arrival(
    start_us: Ints,
    stop_us: Ints,
    arrived_s: Floats,
    sample_end_s: Floats,
    sample_arrived_s: Floats,
    started_s: float,
    note: str = "",
) -> Alignment:
    """The map from the board's clock (s after the first event's start) to the trace's.

    `start_us`, `stop_us`: int64 (n,), board clock; `arrived_s`: float64 (n,), when the events came;
    `sample_end_s`, `sample_arrived_s`: float64 (m,), trace time of the end of some chunks and when
    they came; `started_s`: when sampling was asked for; arrivals by the host's monotonic clock.
    """
    begin_s, end_s = board_times(start_us, stop_us)
    if len(end_s) == 0 or len(sample_end_s) == 0:
        raise AlignmentError(
            "without phase events and samples there is nothing to align; expected both from one run"
        )
    board_slope, board_offset, board_late = lower_line(end_s, arrived_s)
    trace_slope, trace_offset, trace_late = lower_line(sample_end_s, sample_arrived_s)
    # Sample 0 was not taken before it was asked for.
    unseen_s = float(np.clip(trace_offset - started_s, 0.0, 0.2))
    clock = ClockMap.line(
        board_slope / trace_slope,
        (board_offset - (trace_offset - 0.5 * unseen_s)) / trace_slope,
        float(begin_s[0]),
        float(end_s[-1]),
    )
    error_s = _FLOOR_S + board_late + trace_late + 0.5 * unseen_s
    return Alignment(
        method="host_arrival",
        clock=clock,
        error_s=error_s,
        edge_error_s=2e-6,
        rms_s=board_late,
        matched=0,
        expected=0,
        extra=0,
        first_s=float(begin_s[0]),
        last_s=float(end_s[-1]),
        note=note or "no trigger lines; by the arrival of events and samples at the host",
    )


def lower_line(clock_s: Floats, host_s: Floats) -> tuple[float, float, float]:
    """Slope and offset of a line that all points lie on or above, and their median height above it.

    The slope is that of the lowest points of stretches of `_BIN_S`, within `MAX_DRIFT` of 1.
    """
    bins = ((clock_s - clock_s[0]) / _BIN_S).astype(np.int64)
    late = host_s - clock_s
    order = np.lexsort((late, bins))
    lowest = order[np.append(True, np.diff(bins[order]) != 0)]
    slope = 1.0
    if len(lowest) >= 8:
        slope += float(np.polyfit(clock_s[lowest] - clock_s[0], late[lowest], 1)[0])
        slope = float(np.clip(slope, 1.0 - MAX_DRIFT, 1.0 + MAX_DRIFT))
    above = host_s - slope * clock_s
    offset = float(np.min(above))
    return slope, offset, float(np.median(above) - offset)


def align_by_stamps(start_us: Ints, stop_us: Ints, origin_us: int, error_s: float) -> Alignment:
    """For samples that the board itself took and stamped: sample 0 at `origin_us` of its clock."""
    begin_s, end_s = board_times(start_us, stop_us)
    if len(end_s) == 0:
        raise AlignmentError("without phase events there is nothing to align")
    ahead = (int(start_us[0]) - origin_us) % (1 << 32)
    ahead -= (1 << 32) if ahead >= 1 << 31 else 0
    clock = ClockMap.line(1.0, ahead * 1e-6, float(begin_s[0]), float(end_s[-1]))
    first_s, last_s = float(begin_s[0]), float(end_s[-1])
    note = "samples carry the board's own time stamps"
    return Alignment("given", clock, error_s, 2e-6, 0.0, 0, 0, 0, first_s, last_s, note=note)
