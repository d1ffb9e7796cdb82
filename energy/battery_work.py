"""Energies that the battery model starts from: of a run, of a comparison, or of stated work."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from energy.battery_model import Joules
from energy.board import Board
from energy.errors import EnergyError
from energy.session import Phase, PhaseEvent

FORWARD_MACS, FORWARD_ELEMENTS = 54_837_888, 133_184
"""A forward pass of ResNet-26 at 32x32, as the firmware reports it (phase infer)."""


@dataclass(frozen=True)
class Tuning:
    """Work of a fine-tuning: MACs and elements of a sample's pass through the frozen layers; MACs, masks and
    elements through the trained ones; MACs, those of weight gradients, sums and elements of its backward
    pass; weights rewritten by an update, bytes of a commit."""

    frozen: tuple[int, int]
    forward: tuple[int, int, int]
    backward: tuple[int, int, int, int]
    updates: int
    flash_bytes: int

    def passes(self, phase: Phase, count: int = 1) -> PhaseEvent:
        """So many samples' passes of one of the three phases, in one event."""
        if phase is Phase.BACKWARD:
            macs, weight_macs, sums, elements = (n * count for n in self.backward)
            return PhaseEvent(
                phase, 0, 0, macs=macs, elements=elements, weight_macs=weight_macs, sums=sums
            )
        if phase is Phase.FROZEN_FORWARD:
            return PhaseEvent(phase, 0, 0, self.frozen[0] * count, self.frozen[1] * count)
        macs, masks, elements = (n * count for n in self.forward)
        return PhaseEvent(phase, 0, 0, macs=macs, elements=elements, masks=masks)


TUNINGS = {
    "fc": Tuning((54_837_248, 133_184), (640, 0, 0), (1_280, 640, 650, 10), 650, 936),
    "block3": Tuning((37_117_952, 110_592), (17_719_936, 4_096, 22_592), (37_773_833, 17_694_720, 277_280, 69_642), 277_280, 279_948),
    "block2": Tuning((19_382_272, 65_536), (35_455_616, 40_960, 67_648), (58_207_146, 17_694_720, 69_488, 243_722), 69_488, 70_868),
    "block1": Tuning((0, 0), (54_837_888, 114_688, 133_184), (80_731_834, 19_316_736, 19_072, 346_122), 19_072, 19_980),
    "all": Tuning((0, 0), (54_837_888, 4_096, 133_184), (116_055_542, 54_706_816, 366_490, 411_658), 366_312, 370_932),
}  # fmt: skip
"""ResNet-26 at 32x32, as the firmware reports it: `python -m energy.capture --data gaussian_noise:5
--blocks BLOCKS --train-images 160 --epochs 1 --batch 8 --no-cache --commit`, divided by 160 samples and
20 updates."""


@dataclass(frozen=True)
class Energies:
    """What a device's activities take, at the board's supply. `kind`: of the figures' origin."""

    inference: Joules
    tunings: dict[str, Joules]
    commits: dict[str, Joules]
    origin: str
    kind: str = "modelled"


def energies_of_work(
    board: Board,
    *,
    samples: int,
    epochs: int,
    batch: int,
    cached: bool = True,
    inference_macs: int = FORWARD_MACS,
    inference_elements: int = FORWARD_ELEMENTS,
) -> Energies:
    """Of the work of `TUNINGS` on `board`; `cached`: frozen layers run once for each sample."""
    inference = _joules(board, PhaseEvent(Phase.INFER, 0, 0, inference_macs, inference_elements))
    tunings, commits = {}, {}
    for name, work in TUNINGS.items():
        passes = samples * epochs
        frozen = samples if cached else passes
        updates = work.updates * epochs * math.ceil(samples / batch)
        tunings[name] = _sum(
            _joules(board, work.passes(Phase.FROZEN_FORWARD, frozen)),
            _joules(board, work.passes(Phase.TRAIN_FORWARD, passes)),
            _joules(board, work.passes(Phase.BACKWARD, passes)),
            _joules(board, PhaseEvent(Phase.UPDATE, 0, 0, elements=updates, updates=updates)),
        )
        commits[name] = _joules(board, PhaseEvent(Phase.COMMIT, 0, 0, flash_bytes=work.flash_bytes))
    return Energies(
        inference,
        tunings,
        commits,
        f"work of ResNet-26 at 32x32 on {board.title}: {samples} samples, {epochs} epochs, updates every {batch}, "
        f"frozen layers run {'once a sample' if cached else 'in every epoch'}",
    )


def _joules(board: Board, event: PhaseEvent) -> Joules:
    span = board.model(event)
    return Joules(span.energy_j, span.energy_low_j, span.energy_high_j)


def _sum(*parts: Joules) -> Joules:
    return Joules(
        sum(p.value for p in parts), sum(p.low for p in parts), sum(p.high for p in parts)
    )


def energies_of_run(path: Path, otherwise: Energies) -> Energies:
    """Of the run folder `path` (or its energy.json): one inference, and the run's whole fine-tuning.

    What the run has not (no evaluation, no commit) is taken from `otherwise`. Its fine-tuning has
    its commit inside, where it made one.
    """
    file = path / "energy.json" if path.is_dir() else path
    found = _read(file)
    if found.get("complete") is False:
        raise EnergyError(
            f"the run {path} is not complete, so its energy is a lower bound; expected one that ran to its end"
        )
    blocks = str(_get(found, file, "session").get("blocks", "run"))
    name = "all" if blocks.count(",") >= 3 else blocks
    tuning = _figures(_get(_get(found, file, "groups"), file, "fine_tuning"), file)
    phases = _get(found, file, "phases")
    infer = phases.get("infer")
    inference = otherwise.inference
    if isinstance(infer, Mapping) and infer.get("count"):
        inference = _figures(infer, file).scaled(1.0 / int(infer["count"]))
    nothing = Joules(0.0, 0.0, 0.0)
    commit = nothing if "commit" in phases else otherwise.commits.get(name, nothing)
    return Energies(
        inference,
        {**otherwise.tunings, name: tuning},
        {**otherwise.commits, name: commit},
        f"{file} (fine-tuning {name})",
        str(found.get("kind", "modelled")),
    )


def energies_of_comparison(path: Path, otherwise: Energies) -> Energies:
    """Of compare.json (or its folder): the fine-tuning of each method; the rest of `otherwise`."""
    file = path / "compare.json" if path.is_dir() else path
    found = _read(file)
    methods = found.get("methods")
    if not isinstance(methods, list) or not methods:
        raise EnergyError(f"{file} has no methods; expected what energy.compare writes")
    tunings = dict(otherwise.tunings)
    for method in methods:
        if not isinstance(method, Mapping) or "blocks" not in method:
            raise EnergyError(
                f"{file} has a method without blocks; expected what energy.compare writes"
            )
        tunings[str(method["blocks"])] = _joules_of(method, "energy_low_j", "energy_high_j", file)
    origin = f"{file}; inference: {otherwise.origin}"
    kind = str(found.get("kind", "modelled"))
    return Energies(otherwise.inference, tunings, otherwise.commits, origin, kind)


def _read(file: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise EnergyError(
            f"{file} cannot be read ({exc}); expected a run folder of energy.capture or energy.compare"
        ) from exc
    if not isinstance(found, dict):
        raise EnergyError(
            f"{file} holds no object; expected what energy.capture or energy.compare wrote"
        )
    return found


def _get(found: Mapping[str, Any], file: Path, name: str) -> Mapping[str, Any]:
    part = found.get(name)
    if not isinstance(part, Mapping):
        raise EnergyError(f"{file} has no {name!r}; expected the energy.json of energy.capture")
    return part


def _figures(figures: Mapping[str, Any], file: Path) -> Joules:
    low, high = figures.get("energy_range_j") or (None, None)
    return _joules_of({**figures, "low": low, "high": high}, "low", "high", file)


def _joules_of(found: Mapping[str, Any], low: str, high: str, file: Path) -> Joules:
    value = found.get("energy_j")
    if not isinstance(value, (int, float)) or not math.isfinite(value) or not value > 0:
        raise EnergyError(
            f"{file} has {value!r} for an energy, expected more than 0 J; capture it again"
        )
    bounds = [found.get(name) for name in (low, high)]
    known = [float(b) if isinstance(b, (int, float)) else float(value) for b in bounds]
    return Joules(float(value), min(known[0], float(value)), max(known[1], float(value)))
