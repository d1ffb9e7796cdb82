"""What a unit of work costs on an emulated CPU, for the board descriptions of the energy model (energy/boards).

A phase event on `native://` knows MACs, sums, elements and updates, not instructions. The costs that turn one into the other are made
here from what the same phases took on the emulated CPU: element-wise kernels by their own counts, the rest by what is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from rich.table import Table

from host.bench.boards_bars import Step

ELEMENT_FORWARD, ELEMENT_BACKWARD = "32x32x16/add/fast", "32x32x16/error-sum/fast"
"""Kernels whose cost per element stands for all element-wise work of a pass."""
MASK = "32x32x16/mask/fast"
ELEMENTS = 32 * 32 * 16
SUM, SUM_FIRST = "row-64/accumulate/fast", "row-64/accumulate-first/fast"
SUM_ELEMENTS = 9 * 64
FITTED = ("all", "block1", "block3")
"""Partitions whose backward passes are fitted together."""


def work_costs(
    steps: Sequence[Step], kernels: Mapping[str, int]
) -> dict[str, tuple[float, float, float]]:
    """Instructions per unit by the names of energy/boards: value, least and greatest.

    `steps` of one board, all of `FITTED` among them; `kernels`: instructions of its kernels as budget.toml names them.
    The costs of input gradients, weight gradients and sums are those with which the three backward passes come out as
    they were counted. They stand for whole passes: the same pass's affines, and layers of other shapes, are in them. The
    other end of each is what comes out (least squares) when a sum costs what its kernel takes alone.

    Raises:
        ArithmeticError: the counts of the three are no different mixtures, so that a cost comes out at 0 or less.
    """
    by_blocks = {step.blocks: step for step in steps}
    per_element = {
        "forward": kernels[ELEMENT_FORWARD] / ELEMENTS,
        "backward": kernels[ELEMENT_BACKWARD] / ELEMENTS,
    }
    per_mask = kernels[MASK] / ELEMENTS
    whole = by_blocks["all"]

    def forward(phase: str, step: Step) -> float:
        macs, _, _, masks, elements, _ = step.work[phase]
        other = elements * per_element["forward"] + masks * per_mask
        return (step.phases[phase] - other) / macs

    forwards = [forward("train_forward", by_blocks[b]) for b in ("all", "block1", "block3")]
    forwards.append(forward("frozen_forward", by_blocks["block3"]))
    per_sum = kernels[SUM] / SUM_ELEMENTS
    work, left = [], []
    for blocks in FITTED:
        step = by_blocks[blocks]
        macs, weight_macs, sums, _, elements, _ = step.work["backward"]
        work.append((macs - weight_macs, weight_macs, sums))
        left.append(step.phases["backward"] - elements * per_element["backward"])
    matrix, rest = np.array(work, dtype=np.float64), np.array(left)
    found = np.linalg.lstsq(matrix, rest, rcond=None)[0]
    if np.linalg.matrix_rank(matrix) < len(FITTED) or not np.all(found > 0):
        raise ArithmeticError(
            f"costs of {found} come out of the counts of {FITTED}; expected all above 0"
        )
    rest -= matrix[:, 2] * per_sum
    others = np.linalg.lstsq(matrix[:, :2] / rest[:, None], np.ones(len(rest)), rcond=None)[0]
    updates = [
        s.phases["update"] / s.work["update"][5]
        for s in by_blocks.values()
        if s.work["update"][5] > 1000
    ]
    return {
        "instructions_per_mac_forward": _bounded(forwards[0], forwards),
        "instructions_per_mac_backward": _bounded(found[0], [others[0]]),
        "instructions_per_weight_mac_backward": _bounded(found[1], [others[1]]),
        "instructions_per_sum_backward": _bounded(
            found[2], [per_sum, kernels[SUM_FIRST] / SUM_ELEMENTS]
        ),
        "instructions_per_mask_forward": _bounded(per_mask, []),
        "instructions_per_element_forward": _bounded(per_element["forward"], []),
        "instructions_per_element_backward": _bounded(per_element["backward"], []),
        "instructions_per_update": _bounded(
            whole.phases["update"] / whole.work["update"][5], updates
        ),
    }


def _bounded(value: float, others: Sequence[float]) -> tuple[float, float, float]:
    return float(value), float(min(value, *others, value)), float(max(value, *others, value))


def cost_table(board: str, costs: Mapping[str, tuple[float, float, float]]) -> Table:
    """The costs of one CPU."""
    table = Table(
        title=f"{board}: instructions per unit of work, for energy/boards", title_justify="left"
    )
    for name in ("cost", "value", "min", "max"):
        table.add_column(name, justify="left" if name == "cost" else "right")
    for name, figures in costs.items():
        table.add_row(name, *(f"{figure:.4g}" for figure in figures))
    return table
