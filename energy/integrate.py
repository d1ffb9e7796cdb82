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

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from energy.errors import TraceError
from energy.samples import Flag, Sampling, TraceChunk
from energy.saving import EnergyValue, Saving, energy_saving

__all__ = ["EnergyValue", "Saving", "WindowFigures", "WindowIntegrator", "energy_saving"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

# Window edges are computed in floating point: a millionth of a sample is taken as none.
_EPSILON = 1e-6
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

    `start_s`, `stop_s`: float64 (w,), seconds after sample 0 of the trace, start <= stop.
    """

    def __init__(
        self, start_s: Floats, stop_s: Floats, *, rate_hz: float, sampling: Sampling
    ) -> None:
        if start_s.shape != stop_s.shape or start_s.ndim != 1:
            raise TraceError("windows need as many starts as stops")
        if not bool(np.all(start_s <= stop_s)):  # also false for NaN
            raise TraceError("a window stops before it starts, or has a time that is no number")
        self._mean = sampling == "mean"
        self._dt = 1.0 / rate_hz
        self._start, self._stop = start_s * rate_hz, stop_s * rate_hz  # in samples
        edges = np.concatenate([self._start, self._stop])
        self._order = np.argsort(edges, kind="stable")
        self._edges = edges[self._order]
        self._at = 0  # edges before this one are done
        # Integrals up to each edge, and the sampling bound at it; NaN until reached.
        self._edge_energy = np.full(edges.shape, np.nan)
        self._edge_charge = np.full(edges.shape, np.nan)
        self._edge_bad = np.full(edges.shape, np.nan)
        self._edge_bound = np.zeros(edges.shape)
        self._energy = self._charge = self._bad = 0.0
        self._peak = np.full(start_s.shape, -np.inf)
        self._low, self._high = self._peak_ranges()
        self._position = 0  # intervals before this index are integrated
        self._next = 0  # index of the sample expected next
        self._tail_p, self._tail_i = np.empty(0), np.empty(0)  # see feed()
        self._tail_bad = np.empty(0, dtype=np.bool_)

    def _peak_ranges(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Samples [low, high) that count for a window's peak: those inside, else those touched."""
        low = np.ceil(self._start - _EPSILON).astype(np.int64)
        high = np.floor(self._stop + _EPSILON).astype(np.int64) + (0 if self._mean else 1)
        none = high <= low
        low[none] = np.floor(self._start[none] + _EPSILON).astype(np.int64)
        high[none] = low[none] + (1 if self._mean else 2)
        touched = np.ceil(self._stop[none] - _EPSILON).astype(np.int64) + (0 if self._mean else 1)
        high[none] = np.maximum(high[none], touched)
        return low, high

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
        self._update_peaks(chunk.first_index, np.where(bad, -np.inf, chunk.current_a))
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
        n, dt = len(p0), self._dt
        lost_share = lost.astype(np.float64)

        def running(base: float, a: Floats, z: Floats) -> Floats:
            return base + dt * np.concatenate([[0.0], np.cumsum((a + z) * 0.5)])

        energy = running(self._energy, np.where(lost, 0.0, p0), np.where(lost, 0.0, p1))
        charge = running(self._charge, np.where(lost, 0.0, i0), np.where(lost, 0.0, i1))
        bad = self._bad + np.concatenate([[0.0], np.cumsum(lost_share)])
        to = int(np.searchsorted(self._edges, self._position + n, side="left"))
        if to > self._at:
            which = self._order[self._at : to]
            x = self._edges[self._at : to] - self._position
            k = np.clip(x.astype(np.int64), 0, n - 1)
            f = np.clip(x - k, 0.0, 1.0)
            ok = ~lost[k]
            self._edge_energy[which] = energy[k] + ok * dt * f * (p0[k] + 0.5 * f * (p1 - p0)[k])
            self._edge_charge[which] = charge[k] + ok * dt * f * (i0[k] + 0.5 * f * (i1 - i0)[k])
            self._edge_bad[which] = bad[k] + f * lost_share[k]
            # The part of the cut interval that is inside the window: f before a stop.
            stops = which >= len(self._start)
            share = np.where(stops, f, 1.0 - f) if self._mean else np.full(f.shape, 0.5)
            self._edge_bound[which] = share * dt * near[k]
            # Before sample 0 there is nothing: such edges make their windows invalid.
            self._edge_bad[which[x < -_EPSILON]] = np.nan
            self._at = to
        self._energy, self._charge = float(energy[-1]), float(charge[-1])
        self._bad = float(bad[-1])
        self._position += n

    def _skip_to(self, index: int) -> None:
        """No samples up to `index`: the integrals stand still, the lost share grows."""
        n = index - self._position
        if n > 0:
            to = int(np.searchsorted(self._edges, index, side="left"))
            which = self._order[self._at : to]
            x = self._edges[self._at : to] - self._position
            self._edge_energy[which] = self._energy
            self._edge_charge[which] = self._charge
            self._edge_bad[which] = self._bad + np.maximum(x, 0.0)
            self._edge_bad[which[x < -_EPSILON]] = np.nan
            self._at = to
            self._bad += float(n)
            self._position = index

    def _end_run(self) -> None:
        if len(self._tail_p):
            self._integrate(self._tail_p, self._tail_i, self._tail_bad, last=True)
        self._tail_p, self._tail_i = np.empty(0), np.empty(0)
        self._tail_bad = np.empty(0, dtype=np.bool_)

    def _update_peaks(self, first: int, current: Floats) -> None:
        inside = np.flatnonzero((self._low < first + len(current)) & (self._high > first))
        if len(inside) == 0:
            return
        low = np.maximum(self._low[inside], first) - first
        high = np.minimum(self._high[inside], first + len(current)) - first
        pairs = np.stack([low, high], axis=1).ravel()
        # reduceat needs indices below the length: one more element that never wins.
        peaks = np.maximum.reduceat(np.append(current, -np.inf), pairs)[::2]
        self._peak[inside] = np.maximum(self._peak[inside], peaks)

    def finish(self) -> WindowFigures:
        """Figures of all windows, in the order they were given."""
        self._end_run()
        # Edges exactly at the end of the trace belong to it.
        to = int(np.searchsorted(self._edges, self._position + _EPSILON, side="right"))
        which = self._order[self._at : to]
        self._edge_energy[which], self._edge_charge[which] = self._energy, self._charge
        self._edge_bad[which] = self._bad
        self._at = to
        w = len(self._start)
        lost = self._edge_bad[w:] - self._edge_bad[:w]
        valid = lost <= _EPSILON  # False for NaN
        duration = (self._stop - self._start) * self._dt
        energy = np.where(valid, self._edge_energy[w:] - self._edge_energy[:w], np.nan)
        charge = np.where(valid, self._edge_charge[w:] - self._edge_charge[:w], np.nan)
        coarse = self._stop - self._start < COARSE_SAMPLES - _EPSILON
        bound = self._edge_bound[:w] + self._edge_bound[w:]
        bound = np.where(coarse, np.maximum(bound, np.abs(energy)), bound)
        long_enough = duration > 0
        mean = np.divide(charge, duration, out=np.zeros(w), where=long_enough)
        return WindowFigures(
            energy_j=energy,
            charge_c=charge,
            mean_a=np.where(valid, mean, np.nan),
            peak_a=np.where(valid & long_enough, self._peak, np.nan),
            duration_s=duration,
            uncertainty_j=np.where(valid, bound, np.nan),
            valid=valid,
            coarse=coarse,
        )

    @property
    def total_energy_j(self) -> float:
        """Integral over everything fed so far that is not lost (call after `finish`)."""
        return self._energy
