"""The costs of the energy model against training steps that they were not made from."""

from __future__ import annotations

from pathlib import Path

import pytest

from host.bench.boards_bars import Step, last_step
from host.bench.boards_budget import read_budget
from host.bench.boards_costs import FITTED, work_costs
from host.bench.boards_training import Plan, on_board


def counted(board: str, blocks: str, folder: Path) -> Step:
    _, counts = on_board(board, Plan(blocks), folder, by_instruction=False)
    return last_step(board, blocks, counts)


@pytest.mark.parametrize("board", ["lx7", "m4"])
def test_costs_hold_for_other_partitions(board: str, tmp_path: Path) -> None:
    """Of two partitions that are not among those fitted, one trains the strides that no other does."""
    costs = work_costs([counted(board, b, tmp_path) for b in FITTED], read_budget()[board])
    per = {name.removeprefix("instructions_per_"): value for name, (value, _, _) in costs.items()}
    for blocks in (*FITTED, "block2", "block1,block2"):
        step = counted(board, blocks, tmp_path)
        macs, weight_macs, sums, _, elements, _ = step.work["backward"]
        expected = (
            (macs - weight_macs) * per["mac_backward"]
            + weight_macs * per["weight_mac_backward"]
            + sums * per["sum_backward"]
            + elements * per["element_backward"]
        )
        apart = expected / step.phases["backward"] - 1
        assert abs(apart) < (1e-3 if blocks in FITTED else 0.03), f"{blocks}: {100 * apart:.2f} %"
    for name, (value, low, high) in costs.items():
        assert 0 < low <= value <= high, name
