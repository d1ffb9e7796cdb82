"""The costs of the energy model: those in the board descriptions, and against training steps that they were not made from."""

from __future__ import annotations

from pathlib import Path

import pytest

from energy.board import load_board
from host.bench.boards_bars import Step, last_step
from host.bench.boards_budget import read_budget
from host.bench.boards_costs import FITTED, work_costs
from host.bench.boards_training import Plan, on_board

DESCRIBED = {"lx7": ("terracorder", "esp32"), "m4": ("stm32l4r5",)}


def counted(board: str, blocks: str, folder: Path) -> Step:
    _, counts = on_board(board, Plan(blocks), folder, by_instruction=False)
    return last_step(board, blocks, counts)


@pytest.mark.parametrize("board", sorted(DESCRIBED))
def test_costs_are_those_described_and_hold_for_other_partitions(
    board: str, tmp_path: Path
) -> None:
    costs = work_costs([counted(board, b, tmp_path) for b in FITTED], read_budget()[board])
    for name in DESCRIBED[board]:
        described = load_board(name).costs
        for key, (value, _, _) in costs.items():
            assert described[key].value == pytest.approx(value, rel=0.02), f"{name}: {key}"
    per = {name.removeprefix("instructions_per_"): value for name, (value, _, _) in costs.items()}
    # Not among those fitted; the first trains strides that no fitted one trains alone.
    for blocks in ("block2", "block1,block2"):
        step = counted(board, blocks, tmp_path)
        macs, weight_macs, sums, _, elements, _ = step.work["backward"]
        expected = (
            (macs - weight_macs) * per["mac_backward"]
            + weight_macs * per["weight_mac_backward"]
            + sums * per["sum_backward"]
            + elements * per["element_backward"]
        )
        assert expected == pytest.approx(step.phases["backward"], rel=0.03), blocks
