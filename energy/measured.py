"""From a measured trace and the board's events to windows with energies.

Windows come from the board's events, laid onto the trace by the alignment; idle, which is taken
off for 'above idle', from the board's idle phases and from the time between phases.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from energy.align import align_by_trigger, board_times, collect_edges
from energy.arrival import align_by_arrival, align_by_stamps
from energy.clock import Alignment, Floats
from energy.errors import AlignmentError, EnergyError
from energy.memory import release
from energy.session import Phase
from energy.trace import TraceReader
from energy.uncertainty import MeasuredWindows, measure_windows
from energy.windows import WindowLog

# Time between two phases is idle from so many samples on.
_IDLE_SAMPLES = 8
BOARD_CLOCK, BOARD_CLOCK_ERROR = "board_clock_us", "board_clock_error_s"
"""Provenance of samples that the board stamped: its time at sample 0, and how good that is."""


@dataclass(frozen=True)
class Arrivals:
    """When events (n,) and some samples (m,) reached the host, by its monotonic clock."""

    events_s: Floats
    sample_end_s: Floats
    samples_s: Floats
    started_s: float


@dataclass(frozen=True)
class Idle:
    """Power while nothing was done: `power_w` ± `uncertainty_w` (without what is systematic)."""

    power_w: float
    uncertainty_w: float
    duration_s: float


@dataclass(frozen=True)
class Measurement:
    """A run's windows on the trace's clock (`log`), their figures, alignment and idle power."""

    log: WindowLog
    windows: MeasuredWindows
    alignment: Alignment
    idle: Idle | None


def measure(
    log: WindowLog, trace: TraceReader, lines: int, arrivals: Arrivals | None
) -> Measurement:
    """Windows and energies of the events in `log`.

    `lines`: trigger lines that the trace has; `arrivals`: for where the edges do not help, None if
    they are not known. Raises `AlignmentError` where events and trace cannot be brought together.
    """
    if len(log) == 0:
        raise EnergyError(
            "the board sent no phase events, so the trace cannot be divided into phases; expected "
            "a firmware that reports them: update it and repeat. trace.parquet holds what was recorded"
        )
    alignment = find_alignment(log, trace, lines, arrivals)
    release()  # the edges
    start_us, stop_us = log.ints("board_start_us"), log.ints("board_stop_us")
    begin_s, end_s = board_times(start_us, stop_us)
    start_s, stop_s = alignment.clock(begin_s), alignment.clock(end_s)
    error_s = np.maximum(alignment.error_at(begin_s), alignment.error_at(end_s))
    idle_start, idle_stop = _idle_spans(start_s, stop_s, alignment.error_s, trace.info.rate_hz)
    both = measure_windows(
        np.concatenate([start_s, idle_start]),
        np.concatenate([stop_s, idle_stop]),
        np.concatenate([error_s, np.zeros(len(idle_start))]),
        alignment.edge_error_s,
        trace.info,
        trace.chunks(),
    )
    count = len(log)
    windows = both.part(slice(0, count))
    half_j = windows.each_j()
    energy_j = windows.figures.energy_j
    placed = log.replaced(
        start_s=start_s,
        stop_s=stop_s,
        current_a=windows.figures.mean_a,
        energy_j=energy_j,
        energy_low_j=energy_j - half_j,
        energy_high_j=energy_j + half_j,
    )
    in_idle = np.append(log.ints("phase") == Phase.IDLE, np.ones(len(idle_start), dtype=np.bool_))
    return Measurement(placed, windows, alignment, _idle(both, in_idle))


def find_alignment(
    log: WindowLog, trace: TraceReader, lines: int, arrivals: Arrivals | None
) -> Alignment:
    """By the board's own stamps, else by trigger edges, else by arrival at the host."""
    start_us, stop_us = log.ints("board_start_us"), log.ints("board_stop_us")
    origin = trace.info.provenance.get(BOARD_CLOCK, "")
    if origin:
        stated = trace.info.provenance.get(BOARD_CLOCK_ERROR, "")
        error_s = float(stated) if stated else 1.0 / trace.info.rate_hz
        return align_by_stamps(start_us, stop_us, int(origin), error_s)
    why = "the instrument has no trigger lines"
    if lines > 0:
        try:
            return align_by_trigger(
                log.ints("phase"),
                start_us,
                stop_us,
                collect_edges(trace.chunks(), lines),
                rate_hz=trace.info.rate_hz,
                sampling=trace.info.sampling,
            )
        except AlignmentError as exc:
            why = str(exc)
            if arrivals is None:
                raise
    if arrivals is None:
        raise AlignmentError(
            f"{why}, and when its samples reached this computer is not known, so events and trace "
            "cannot be brought together; expected a trace with the board's trigger pins"
        )
    return align_by_arrival(
        start_us,
        stop_us,
        arrivals.events_s,
        arrivals.sample_end_s,
        arrivals.samples_s,
        arrivals.started_s,
        note=f"by arrival at the host, as {why}",
    )


def _idle_spans(
    start_s: Floats, stop_s: Floats, error_s: float, rate_hz: float
) -> tuple[Floats, Floats]:
    """Stretches between phases, less the alignment's error and a sample at either end."""
    edge_s = error_s + 1.0 / rate_hz
    ends = np.maximum.accumulate(stop_s) if len(stop_s) else stop_s
    first, last = ends[:-1] + edge_s, start_s[1:] - edge_s
    wide = last - first >= _IDLE_SAMPLES / rate_hz
    return first[wide], last[wide]


def _idle(windows: MeasuredWindows, mask: NDArray[np.bool_]) -> Idle | None:
    good = mask & windows.figures.valid & ~windows.figures.coarse
    duration_s = float(np.sum(windows.figures.duration_s[good]))
    if not duration_s > 0:
        return None
    energy_j = float(np.sum(windows.figures.energy_j[good]))
    random_j = float(np.sqrt(np.sum(windows.independent_j[good] ** 2)))
    return Idle(energy_j / duration_s, random_j / duration_s, duration_s)
