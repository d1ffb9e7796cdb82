"""From samples to joules: energy, charge, mean and peak current of windows of a trace.

One pass over the chunks, in memory that depends on the number of windows only. Energy is the
integral of current times voltage; at a window's edge the part of the sample interval inside it is
taken. A window that touches a gap, a lost sample (NaN), one over the instrument's range, or time
outside the trace is invalid and has no energy (NaN): it is never made smaller.

Each figure has a bound on what sampling can hide at the two edges (`uncertainty_j`): the interval
that an edge cuts may owe its difference from its neighbours to either side of the edge. The bound
holds where power is steady within the window's first and last two samples. A window shorter than
two sample periods is `coarse`, and its bound is at least its whole energy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from energy.edge_sums import EPSILON, EdgeSums, Stretch
from energy.errors import TraceError
from energy.peaks import Peaks
from energy.samples import Flag, Sampling, TraceChunk
from energy.saving import EnergyValue, Saving, energy_saving

__all__ = ["EnergyValue", "Saving", "WindowFigures", "WindowIntegrator", "energy_saving"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

COARSE_SAMPLES = 2.0


@dataclass(frozen=True)
class WindowFigures:
    """Figures of w windows, each array of shape (w,); all but `duration_s` NaN where not valid."""

    energy_j: Floats
    charge_c: Floats
    mean_a: Floats
    peak_a: Floats
    duration_s: Floats
    uncertainty_j: Floats
    valid: Bools
    coarse: Bools


class WindowIntegrator:
    """Feed chunks in order, then `finish`. Windows may overlap and come in any order.

    `start_s`, `stop_s`: float64 (w,), seconds after sample 0 of the trace, start <= stop. `moves_s`:
    float64 (w,) each; the windows moved by so many seconds are integrated beside them (`moved`).
    """

    def __init__(
        self,
        start_s: Floats,
        stop_s: Floats,
        *,
        rate_hz: float,
        sampling: Sampling,
        moves_s: Sequence[Floats] = (),
    ) -> None:
        if start_s.shape != stop_s.shape or start_s.ndim != 1:
            raise TraceError("windows need as many starts as stops")
        self._mean = sampling == "mean"
        self._dt = 1.0 / rate_hz
        self._windows = self._sums(start_s * rate_hz, stop_s * rate_hz, detail=True)
        self._moved = [
            self._sums((start_s + move_s) * rate_hz, (stop_s + move_s) * rate_hz, detail=False)
            for move_s in moves_s
        ]
        self._energy = self._charge = self._bad = 0.0
        self._peaks = Peaks(self._windows.start, self._windows.stop, mean=self._mean)
        self._position = 0  # intervals before this index are integrated
        self._next = 0  # index of the sample expected next
        self._tail_p, self._tail_i = np.empty(0), np.empty(0)  # see feed()
        self._tail_bad = np.empty(0, dtype=np.bool_)

    def _sums(self, start: Floats, stop: Floats, *, detail: bool) -> EdgeSums:
        if not bool(np.all(start <= stop)):  # also false for NaN
            raise TraceError("a window stops before it starts, or has a time that is no number")
        return EdgeSums(start, stop, mean=self._mean, detail=detail)

    def feed(self, chunk: TraceChunk) -> None:
        """Integrate `chunk`, except what needs the sample after it."""
        if len(chunk) == 0:
            return
        if chunk.first_index < self._next:
            raise TraceError(
                f"samples went back from index {self._next} to {chunk.first_index}; "
                "expected them in order"
            )
        if chunk.first_index > self._next:
            self._end_run()
            self._skip_to(chunk.first_index)
        bad = ~(np.isfinite(chunk.current_a) & np.isfinite(chunk.voltage_v))
        bad |= (chunk.flags & Flag.OVER_RANGE) != 0
        current = np.where(bad, 0.0, chunk.current_a)
        power = np.where(bad, 0.0, chunk.current_a * chunk.voltage_v)
        self._peaks.feed(chunk.first_index, np.where(bad, -np.inf, chunk.current_a))
        self._next = chunk.first_index + len(chunk)
        # The tail holds the sample before the first interval still to be integrated ("mean": for
        # its neighbour's power) and the samples of that interval that have arrived.
        p = np.concatenate([self._tail_p, power])
        i = np.concatenate([self._tail_i, current])
        b = np.concatenate([self._tail_bad, bad])
        self._integrate(p, i, b, last=False)
        keep = slice(-2, None) if self._mean else slice(-1, None)
        self._tail_p, self._tail_i, self._tail_bad = p[keep], i[keep], b[keep]

    def _integrate(self, p: Floats, i: Floats, b: Bools, *, last: bool) -> None:
        """Integrate the intervals that the samples of one run complete; `last`: no more follow."""
        first_sample = self._next - len(p)
        begin = self._position - first_sample
        if self._mean:
            end = len(p) if last else len(p) - 1
            jump = np.abs(np.diff(p))
            near = np.maximum(np.append(jump, 0.0), np.append(0.0, jump))[begin:end]
            p0 = p1 = p[begin:end]
            i0 = i1 = i[begin:end]
            lost = b[begin:end]
        else:
            end = len(p) - 1
            p0, p1 = p[begin:end], p[begin + 1 : end + 1]
            i0, i1 = i[begin:end], i[begin + 1 : end + 1]
            lost = b[begin:end] | b[begin + 1 : end + 1]
            near = np.abs(p1 - p0)
        if end > begin:
            self._advance(p0, p1, i0, i1, lost, near)

    def _advance(
        self, p0: Floats, p1: Floats, i0: Floats, i1: Floats, lost: Bools, near: Floats
    ) -> None:
        """Add n intervals from `_position` on, power p0→p1 and current i0→i1, linear within."""
        dt = self._dt
        lost_share = lost.astype(np.float64)

        def running(base: float, a: Floats, z: Floats) -> Floats:
            return base + dt * np.concatenate([[0.0], np.cumsum((a + z) * 0.5)])

        energy = running(self._energy, np.where(lost, 0.0, p0), np.where(lost, 0.0, p1))
        charge = running(self._charge, np.where(lost, 0.0, i0), np.where(lost, 0.0, i1))
        bad = self._bad + np.concatenate([[0.0], np.cumsum(lost_share)])
        part = Stretch(self._position, dt, p0, p1, i0, i1, lost, near, energy, charge, bad)
        for sums in (self._windows, *self._moved):
            sums.advance(part)
        self._energy, self._charge = float(energy[-1]), float(charge[-1])
        self._bad = float(bad[-1])
        self._position += len(p0)

    def _skip_to(self, index: int) -> None:
        """No samples up to `index`: the integrals stand still, the lost share grows."""
        if index > self._position:
            for sums in (self._windows, *self._moved):
                sums.skip(self._position, index, self._energy, self._charge, self._bad)
            self._bad += float(index - self._position)
            self._position = index

    def _end_run(self) -> None:
        if len(self._tail_p):
            self._integrate(self._tail_p, self._tail_i, self._tail_bad, last=True)
        self._tail_p, self._tail_i = np.empty(0), np.empty(0)
        self._tail_bad = np.empty(0, dtype=np.bool_)

    def finish(self) -> WindowFigures:
        """Figures of all windows, in the order they were given."""
        self._end_run()
        for sums in (self._windows, *self._moved):
            sums.finish(self._position, self._energy, self._charge, self._bad)
        mine = self._windows
        valid, lost = mine.valid, ~mine.valid
        duration = (mine.stop - mine.start) * self._dt
        coarse = mine.stop - mine.start < COARSE_SAMPLES - EPSILON
        bound = np.where(coarse, np.maximum(mine.bound, np.abs(mine.energy)), mine.bound)
        long_enough = duration > 0
        mean = np.divide(mine.charge, duration, out=np.zeros(len(duration)), where=long_enough)
        peak = self._peaks.peak
        peak[~long_enough] = np.nan
        for column in (mine.energy, mine.charge, mean, peak, bound):
            column[lost] = np.nan
        return WindowFigures(
            energy_j=mine.energy,
            charge_c=mine.charge,
            mean_a=mean,
            peak_a=peak,
            duration_s=duration,
            uncertainty_j=bound,
            valid=valid,
            coarse=coarse,
        )

    def moved(self, number: int) -> tuple[Floats, Bools]:
        """Energy in J of the windows moved by `moves_s[number]`, and where it is valid (after `finish`)."""
        sums = self._moved[number]
        return sums.energy, sums.valid

    @property
    def total_energy_j(self) -> float:
        """Integral over everything fed so far that is not lost (call after `finish`)."""
        return self._energy
