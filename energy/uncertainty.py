"""What bounds the energy of measured windows, and of groups of them.

Three sources. The instrument's accuracy: gain and offset of current and voltage, and its clock, as
its data sheet limits them; systematic. Sampling: what the intervals cut by a window's edges hide
(`energy.integrate`); independent. Alignment: the windows are integrated again, all shifted forwards
and backwards by the error of the clock map, which is systematic, and what differs from edge to edge
costs that time at the window's peak power; independent.

In a sum systematic parts add linearly (a shift of all windows with its sign: what one window loses
its neighbour gains), independent ones in quadrature.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from energy.clock import Floats
from energy.integrate import WindowFigures, WindowIntegrator
from energy.samples import Accuracy, TraceChunk, TraceInfo
from energy.saving import EnergyValue

# Where no more than this share of a group's time is lost, the rest stands for it (and says so).
ESTIMABLE_SHARE = 0.01
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class MeasuredWindows:
    """Figures of w windows and the parts of their uncertainty in J, float64 of shape (w,).

    `shift_j`: shape (2, w), change of the energy when the windows move by plus and minus the
    alignment's error. All NaN where a window is not valid.
    """

    figures: WindowFigures
    accuracy: Accuracy
    offset_j: Floats
    shift_j: Floats
    independent_j: Floats

    @property
    def gain(self) -> float:
        """The fraction that all energies of the instrument may be off by together."""
        return (
            self.accuracy.gain_error + self.accuracy.voltage_gain_error + self.accuracy.clock_error
        )

    def part(self, rows: slice) -> MeasuredWindows:
        """The windows `rows`."""
        columns = {
            field.name: getattr(self.figures, field.name)[rows] for field in fields(WindowFigures)
        }
        figures = WindowFigures(**columns)
        offset_j, shift_j = self.offset_j[rows], self.shift_j[:, rows]
        return MeasuredWindows(figures, self.accuracy, offset_j, shift_j, self.independent_j[rows])

    def each_j(self) -> Floats:
        """Half the width of every window's range."""
        shift = np.max(np.abs(self.shift_j), axis=0) if self.shift_j.size else self.offset_j
        systematic = self.gain * np.abs(self.figures.energy_j) + self.offset_j + shift
        both: Floats = systematic + self.independent_j
        return both

    def total(self, mask: Bools, phase: Ints) -> EnergyValue | None:
        """The sum over the windows of `mask`; None where too much of it is invalid.

        Invalid windows that take up to `ESTIMABLE_SHARE` of the time get the mean power of the
        valid windows of their phase, and their whole energy at peak power as uncertainty.
        """
        good = mask & self.figures.valid
        lost = mask & ~self.figures.valid & (self.figures.duration_s > 0)
        energy_j = float(np.sum(self.figures.energy_j[good]))
        offset_j = float(np.sum(self.offset_j[good]))
        shift_j = np.abs(np.sum(self.shift_j[:, good], axis=1))
        independent = float(np.sum(self.independent_j[good] ** 2))
        alignment_j = float(np.max(shift_j, initial=0.0))
        if np.any(lost):
            guess = self._estimate(good, lost, phase)
            if guess is None:
                return None
            energy_j += guess[0]
            alignment_j += guess[1]
        return EnergyValue(energy_j, self.gain, offset_j, alignment_j, float(np.sqrt(independent)))

    def _estimate(self, good: Bools, lost: Bools, phase: Ints) -> tuple[float, float] | None:
        duration_s = self.figures.duration_s
        lost_s, good_s = float(np.sum(duration_s[lost])), float(np.sum(duration_s[good]))
        if not lost_s <= ESTIMABLE_SHARE * (lost_s + good_s):
            return None
        energy_j = most_j = 0.0
        top_w = float(np.max(self._peak_w()[good], initial=0.0))
        for value in np.unique(phase[lost]):
            alike = good & (phase == value) & (duration_s > 0)
            if not np.any(alike):
                alike = good & (duration_s > 0)
            mean_w = float(np.sum(self.figures.energy_j[alike]) / np.sum(duration_s[alike]))
            span_s = float(np.sum(duration_s[lost & (phase == value)]))
            energy_j += mean_w * span_s
            most_j += max(top_w - mean_w, mean_w) * span_s
        return energy_j, most_j

    def _peak_w(self) -> Floats:
        volts = _volts(self.figures)
        peak: Floats = np.where(self.figures.valid, self.figures.peak_a, 0.0) * volts
        return np.nan_to_num(peak)


def measure_windows(
    start_s: Floats,
    stop_s: Floats,
    error_s: Floats,
    edge_error_s: float,
    info: TraceInfo,
    chunks: Iterable[TraceChunk],
) -> MeasuredWindows:
    """Integrate windows of the trace that `info` and `chunks` describe, three times in one pass.

    `start_s`, `stop_s`: float64 (w,), seconds of the trace; `error_s`: float64 (w,), how far the
    windows may lie beside their place; `edge_error_s`: what of it differs from edge to edge. A
    window is invalid if it is invalid at any of the three places.
    """
    integrator = WindowIntegrator(
        start_s,
        stop_s,
        rate_hz=info.rate_hz,
        sampling=info.sampling,
        moves_s=(error_s, -error_s),
    )
    for chunk in chunks:
        integrator.feed(chunk)
    mine = integrator.finish()
    (later_j, later), (earlier_j, earlier) = integrator.moved(0), integrator.moved(1)
    valid = mine.valid & later & earlier
    for column in (mine.energy_j, mine.charge_c, mine.mean_a, mine.peak_a, mine.uncertainty_j):
        column[~valid] = np.nan
    mine = replace(mine, valid=valid)
    shift_j = np.stack([later_j, earlier_j])
    shift_j -= mine.energy_j  # NaN where not valid
    del integrator, later_j, earlier_j
    volts = _volts(mine)
    offset_j = volts * info.accuracy.offset_a * mine.duration_s
    offset_j = offset_j + np.abs(mine.charge_c) * info.accuracy.voltage_offset_v
    edge_j = np.sqrt(2.0) * edge_error_s * np.abs(np.nan_to_num(mine.peak_a)) * volts
    return MeasuredWindows(
        figures=mine,
        accuracy=info.accuracy,
        offset_j=np.where(valid, offset_j, np.nan),
        shift_j=shift_j,
        independent_j=np.where(valid, np.hypot(mine.uncertainty_j, edge_j), np.nan),
    )


def _volts(figures: WindowFigures) -> Floats:
    """Mean voltage of each window, from its energy and charge; where there is none, of them all."""
    charge = np.where(figures.valid, figures.charge_c, 0.0)
    energy = np.where(figures.valid, figures.energy_j, 0.0)
    total = float(np.sum(charge))
    mean = float(np.sum(energy)) / total if total != 0.0 else 0.0
    volts: Floats = np.divide(energy, charge, out=np.full(len(charge), mean), where=charge > 0)
    return np.abs(volts)
