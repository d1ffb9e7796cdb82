"""Fine-tuning methods side by side: what each reached, what it cost, and `ES` against full fine-tuning.

The figures are those of `energy.json` files, one a run. Runs of one method are repeats: energies and times are their means, and
their spread is part of the interval.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from energy.errors import EnergyError
from energy.saving import EnergyValue, energy_saving

FULL = "all"
TARGETS = {"input": "block1", "feature": "block3", "output": "fc"}
"""Block that each kind of shift calls for (docs/architecture.md); its whole-network rival is `FULL`."""
DATA = {"input": "gaussian_noise:5", "feature": "living14-tiny", "output": "cifar-flip"}
"""Data set that stands for each shift unless another one is named."""
METHODS = ("block1", "block2", "block3", "fc", FULL)

PAPER_STEP_J = {"block1": 0.090, "block2": 0.066, "block3": 0.058, "fc": 0.034, FULL: 0.106}
"""Energy of a training step at 32 px on a Raspberry Pi, J: Huang, Millar et al., EuroMLSys 2024, energy table."""


_PARTS = ("gain", "offset_j", "alignment_j", "independent_j")


@dataclass(frozen=True)
class Run:
    """One session of one method. Energies in J of the fine-tuning phases with their range, accuracies as fractions."""

    blocks: str
    kind: str
    accuracy_before: float
    accuracy_after: float
    energy_j: float
    energy_low_j: float
    energy_high_j: float
    duration_s: float
    arena_bytes: int
    macs: int
    folder: str
    complete: bool
    measured: EnergyValue | None = None
    """The energy with the parts of its uncertainty; None where it is modelled."""


def run_of(blocks: str, summary: Mapping[str, object], folder: str) -> Run:
    """What a comparison needs of one `energy.json`.

    Raises:
        EnergyError: a figure is missing: the run was cut off, or its windows are invalid.
    """
    try:
        tuning = _table(_table(summary["groups"])["fine_tuning"])
        metrics = _table(summary["metrics"])
        energy, low, high = _number(tuning["energy_j"]), *_pair(tuning["energy_range_j"])
        return Run(
            blocks=blocks,
            kind=str(summary["kind"]),
            accuracy_before=_number(metrics["accuracy_before"]),
            accuracy_after=_number(metrics["accuracy_after"]),
            energy_j=energy,
            energy_low_j=low,
            energy_high_j=high,
            duration_s=_number(tuning["duration_s"]),
            arena_bytes=int(_number(metrics["arena_bytes"])),
            macs=int(_number(tuning["macs"])),
            folder=folder,
            complete=bool(summary["complete"]),
            measured=_value(tuning) if summary["kind"] == "measured" else None,
        )
    except (KeyError, TypeError, ValueError) as exc:
        raise EnergyError(
            f"the run of {blocks} in {folder} has no {exc} to compare, expected a complete one with valid windows; "
            "look at its report and repeat it"
        ) from exc


def _table(value: object) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise TypeError("table")
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("figure")
    return float(value)


def _pair(value: object) -> tuple[float, float]:
    if not isinstance(value, Sequence) or len(value) != 2:
        raise TypeError("range")
    return _number(value[0]), _number(value[1])


def _value(figures: Mapping[str, object]) -> EnergyValue:
    parts = _table(figures["uncertainty"])
    return EnergyValue(
        energy_j=_number(figures["energy_j"]),
        **{name: _number(parts[name]) for name in _PARTS},
    )


@dataclass(frozen=True)
class Outcome:
    """One method of a comparison: means over its repeats. `es` with its interval against full fine-tuning, None for that itself."""

    blocks: str
    target: bool
    repeats: int
    accuracy_before: float
    accuracy_after: float
    energy_j: float
    energy_low_j: float
    energy_high_j: float
    duration_s: float
    arena_bytes: int
    macs: int
    es: float | None
    es_low: float | None
    es_high: float | None
    paper_es: float | None
    folders: tuple[str, ...]


def saving_interval(full: Sequence[Run], block: Sequence[Run]) -> tuple[float, float, float]:
    """`ES` of the means, its low and its high end.

    Measured: `energy_saving` of both, whose gain is one instrument's. Modelled: a board's assumed costs are the same for both
    methods, so the ends of both ranges are taken together. The spread of repeats is independent and is added, two standard errors
    of each side.

    Raises:
        EnergyError: full fine-tuning took no energy.
    """
    pairs = [
        (_mean(full, part), _mean(block, part))
        for part in ("energy_j", "energy_low_j", "energy_high_j")
    ]
    measured = [run.measured is not None for run in (*full, *block)]
    if any(f <= 0 for f, _ in (pairs[:1] if all(measured) else pairs)):
        raise EnergyError(
            "full fine-tuning took no energy in this comparison, so no share of it can be saved; "
            "expected at least one epoch of training"
        )
    if all(measured):
        saving = energy_saving(_mean_value(full), _mean_value(block))
        if not math.isfinite(saving.low):
            raise EnergyError(
                f"the instrument's limits are as large as the {pairs[0][0]:.3g} J that full fine-tuning took, so nothing can be said of a "
                "share of it; train longer, or use a finer range"
            )
        savings = [saving.value, saving.low, saving.high]
    else:
        savings = [(f - b) / f for f, b in pairs]
    energy = pairs[0][0]
    spread = 2.0 * math.hypot(
        _standard_error(block) / energy, _standard_error(full) * pairs[0][1] / energy**2
    )
    return savings[0], min(savings) - spread, max(savings) + spread


def _mean_value(runs: Sequence[Run]) -> EnergyValue:
    """Of repeats: what is systematic stays, what differs from run to run averages out."""
    values = [run.measured for run in runs if run.measured is not None]
    return EnergyValue(
        energy_j=statistics.fmean(v.energy_j for v in values),
        gain=max(v.gain for v in values),
        offset_j=statistics.fmean(v.offset_j for v in values),
        alignment_j=math.hypot(*(v.alignment_j for v in values)) / len(values),
        independent_j=math.hypot(*(v.independent_j for v in values)) / len(values),
    )


def _mean(runs: Sequence[Run], part: str) -> float:
    return statistics.fmean(float(getattr(run, part)) for run in runs)


def _standard_error(runs: Sequence[Run]) -> float:
    if len(runs) < 2:
        return 0.0
    return statistics.stdev(run.energy_j for run in runs) / math.sqrt(len(runs))


def compare(runs: Sequence[Run], shift: str) -> list[Outcome]:
    """One outcome a method, in the order of `METHODS`, from all their runs.

    Raises:
        EnergyError: full fine-tuning is missing, or modelled and measured runs are mixed.
    """
    kinds = {run.kind for run in runs}
    if len(kinds) > 1:
        raise EnergyError(
            "measured and modelled runs cannot be compared, expected one kind; repeat the comparison with one probe"
        )
    by_method = {name: [run for run in runs if run.blocks == name] for name in METHODS}
    full = by_method[FULL]
    if not full:
        raise EnergyError(
            "a comparison needs a run of full fine-tuning (all), none is there; repeat it with all"
        )
    outcomes = []
    for name, own in by_method.items():
        if not own:
            continue
        es: tuple[float | None, float | None, float | None] = (None, None, None)
        if name != FULL:
            es = saving_interval(full, own)
        outcomes.append(
            Outcome(
                blocks=name,
                target=name == TARGETS[shift],
                repeats=len(own),
                accuracy_before=_mean(own, "accuracy_before"),
                accuracy_after=_mean(own, "accuracy_after"),
                energy_j=_mean(own, "energy_j"),
                energy_low_j=_mean(own, "energy_low_j"),
                energy_high_j=_mean(own, "energy_high_j"),
                duration_s=_mean(own, "duration_s"),
                arena_bytes=max(run.arena_bytes for run in own),
                macs=own[0].macs,
                es=es[0],
                es_low=es[1],
                es_high=es[2],
                paper_es=None if name == FULL else 1 - PAPER_STEP_J[name] / PAPER_STEP_J[FULL],
                folders=tuple(run.folder for run in own),
            )
        )
    return outcomes
