"""Fitting a board description to one measured run.

Parameters, each from the spans that show it, by least squares made robust (`proportional`):

- `supply_v`: energy = supply × charge, over all spans;
- current of each power state: charge = current × duration, over the spans of its phases;
- cycles per instruction: duration × clock = cycles × instructions, over all spans of computing.
  `instructions` are those counted, where the run has them from this board's CPU, else those that
  the description makes of the work;
- instructions of work: by what factor forward, backward and update differ from that common one.
  All costs of one way share the factor: in one network they come in nearly fixed proportion, so that
  one run cannot tell them apart;
- seconds per flash byte and per wire byte: what commits and loads take.

A phase that the run has not (or in too few spans) leaves its parameters as they were.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from energy.board import COMPUTING, Board
from energy.board_file import Quantity
from energy.calibration_run import Run
from energy.errors import EnergyError
from energy.session import Phase, PhaseEvent

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

FITS_WITHIN = 0.10
"""A phase's energy and the run's have to be met this well for the model to fit."""
MIN_SPANS = 3
_HUBER = 1.345  # standard deviations: 95 % efficient on Gaussian noise
_OUTLYING = 5.0
_WAYS = {
    "forward": (Phase.FROZEN_FORWARD, Phase.TRAIN_FORWARD, Phase.INFER),
    "backward": (Phase.BACKWARD,),
    "update": (Phase.UPDATE,),
}


@dataclass(frozen=True)
class Fit:
    """`value ± error` (one standard error) from so many `spans`; what it was `before`."""

    value: float
    error: float
    spans: int
    outliers: int
    before: float = math.nan


@dataclass(frozen=True)
class Residual:
    """A phase: what was measured, and by what fraction of it the fitted model is off."""

    spans: int
    duration_s: float
    duration_deviation: float
    energy_j: float
    energy_deviation: float
    span_rms: float


@dataclass(frozen=True)
class Calibration:
    """The fitted board, what was fitted, and how well it gives the run back."""

    run: str
    board: Board
    fits_by_name: dict[str, Fit]
    residuals: dict[Phase, Residual]
    energy_deviation: float
    kept: list[str] = field(default_factory=list)
    skipped: int = 0

    @property
    def fits(self) -> bool:
        """Whether the run and each of its phases is given within `FITS_WITHIN`."""
        off = [self.energy_deviation, *(r.energy_deviation for r in self.residuals.values())]
        return all(abs(value) <= FITS_WITHIN for value in off)


def proportional(x: Floats, y: Floats) -> Fit:
    """`k` of y = k·x by least squares with Huber weights; x > 0, both of shape (n,), n >= 1.

    Noise is taken to grow with the root of x (a long span averages more), the scale from the median
    absolute deviation, so that spans in which something else happened do not pull.
    """
    root = np.sqrt(x)
    k = float(np.median(y / x))
    weight = np.ones_like(x)
    scale = 0.0
    for _ in range(50):
        deviation = (y - k * x) / root
        scale = float(1.4826 * np.median(np.abs(deviation)))
        if not scale > 0:
            break
        weight = np.minimum(1.0, _HUBER * scale / np.maximum(np.abs(deviation), 1e-300))
        better = float(np.sum(weight * y) / np.sum(weight * x))
        done = abs(better - k) <= 1e-12 * abs(k)
        k = better
        if done:
            break
    deviation = (y - k * x) / root
    variance = float(np.sum(weight * deviation**2)) / max(1, len(x) - 1)
    outliers = int(np.count_nonzero(np.abs(deviation) > _OUTLYING * scale)) if scale > 0 else 0
    return Fit(k, math.sqrt(variance / float(np.sum(weight * x))), len(x), outliers)


def calibrate(run: Run, board: Board, name: str) -> Calibration:
    """Fit `board` to `run`, which is called `name` in the sources of the numbers.

    Raises `EnergyError` where the run has no span that can be used.
    """
    if not np.any(run.usable):
        raise EnergyError(
            f"the run {name} has no span longer than two samples with a valid energy, expected some of each phase; "
            "capture it with more samples a second, or with the trigger lines connected"
        )
    fits: dict[str, Fit] = {}
    kept: list[str] = []

    def fit(key: str, before: Quantity, x: Floats, y: Floats, mask: Bools) -> Quantity:
        mask = mask & run.usable & (x > 0) & (y > 0)
        if np.count_nonzero(mask) < (MIN_SPANS if key != "cost.seconds_per_flash_byte" else 1):
            kept.append(key)
            return before
        found = replace(proportional(x[mask], y[mask]), before=before.value)
        fits[key] = found
        return _quantity(found, name)

    everything = np.ones(len(run.events), dtype=np.bool_)
    supply = fit("supply_v", board.supply_v, run.charge_c, run.energy_j, everything)
    states = {
        state: fit(
            f"state.{state}",
            before,
            run.duration_s,
            run.charge_c,
            _among(run, (p for p in Phase if board.phases[p] == state)),
        )
        for state, before in board.states.items()
    }
    costs = dict(board.costs)
    counted = np.array([_instructions(board, event, run.cpu) for event in run.events])
    cycles = run.duration_s * board.clock_hz.value
    computing = _among(run, (p for way in _WAYS.values() for p in way))
    key = "cost.cycles_per_instruction"
    costs["cycles_per_instruction"] = fit(key, board.costs[key[5:]], counted, cycles, computing)
    common = costs["cycles_per_instruction"].value
    made = np.array([board.instructions(event) for event in run.events])
    for way, phases in _WAYS.items():
        names = [key for key in costs if key.startswith("instructions_per_") and key.endswith(way)]
        mask = _among(run, phases) & run.usable & (made > 0)
        if np.count_nonzero(mask) < MIN_SPANS:
            kept += [f"cost.{key}" for key in names]
            continue
        factor = proportional(made[mask] * common, cycles[mask])
        for key in names:
            before = board.costs[key]
            scaled = Fit(
                before.value * factor.value,
                before.value * factor.error,
                factor.spans,
                factor.outliers,
                before.value,
            )
            fits[f"cost.{key}"] = scaled
            costs[key] = _quantity(scaled, name)
    for key, phase in (("flash", Phase.COMMIT), ("wire", Phase.LOAD)):
        key = f"seconds_per_{key}_byte"
        moved = np.array([getattr(event, f"{key.split('_')[2]}_bytes") for event in run.events])
        costs[key] = fit(
            f"cost.{key}",
            board.costs[key],
            moved.astype(np.float64),
            run.duration_s,
            _among(run, (phase,)),
        )
    fitted = replace(board, supply_v=supply, costs=costs, states=states)
    residuals = _residuals(run, fitted)
    measured = sum(r.energy_j for r in residuals.values())
    off = sum(r.energy_j * r.energy_deviation for r in residuals.values())
    return Calibration(
        run=name,
        board=fitted,
        fits_by_name=fits,
        residuals=residuals,
        energy_deviation=off / measured,
        kept=kept,
        skipped=int(np.count_nonzero(~run.usable)),
    )


def _instructions(board: Board, event: PhaseEvent, cpu: str) -> float:
    if cpu and cpu == board.cpu and event.instructions > 0 and event.phase in COMPUTING:
        return float(event.instructions)
    return board.instructions(event)


def _among(run: Run, phases: Iterable[Phase]) -> Bools:
    return np.isin(run.phases, [int(phase) for phase in phases])


def _quantity(fit: Fit, run: str) -> Quantity:
    """Two standard errors to either side bound it."""
    low = max(fit.value - 2 * fit.error, 0.01 * fit.value)
    source = (
        f"calibrated from {run}: {fit.spans} spans, robust least squares, standard error {fit.error:.2g}, "
        f"bounds two of them; was {fit.before:.4g}"
    )
    return Quantity(fit.value, low, fit.value + 2 * fit.error, source, False, "")


def _residuals(run: Run, board: Board) -> dict[Phase, Residual]:
    """Phases whose duration the model knows; the time of idle and sleep is nobody's work."""
    spans = [board.model(event, run.cpu) for event in run.events]
    duration_s = np.array([span.duration_s for span in spans])
    energy_j = np.array([span.energy_j for span in spans])
    found: dict[Phase, Residual] = {}
    for phase in Phase:
        mask = run.usable & (run.phases == int(phase))
        if phase in (Phase.IDLE, Phase.SLEEP):
            mask &= duration_s > 0
        if not np.any(mask):
            continue
        took_s, took_j = float(np.sum(run.duration_s[mask])), float(np.sum(run.energy_j[mask]))
        apart = energy_j[mask] / run.energy_j[mask] - 1.0
        found[phase] = Residual(
            spans=int(np.count_nonzero(mask)),
            duration_s=took_s,
            duration_deviation=float(np.sum(duration_s[mask])) / took_s - 1.0,
            energy_j=took_j,
            energy_deviation=float(np.sum(energy_j[mask])) / took_j - 1.0,
            span_rms=float(np.sqrt(np.mean(apart**2))),
        )
    if not found:
        raise EnergyError(
            "the run has no span of work, expected phases of a fine-tuning session; capture one"
        )
    return found
