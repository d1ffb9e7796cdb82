"""The same training gives the same weights, losses and logits, to the bit, in the NumPy oracle, on this computer and on every
emulated CPU; and no phase of it takes more instructions than its budget."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from host.bench import boards_budget
from host.bench.boards_bars import last_step
from host.bench.boards_programs import BOARDS
from host.bench.boards_training import SHIFTS, Outcome, Plan, in_oracle, on_board, on_this_computer
from tests import native

pytestmark = pytest.mark.timeout(1200)

# Updates after every sample, too, for the kinds of shift that train most and least.
IMMEDIATE = ("feature", "output")


@cache
def expected(shift: str, mode: str) -> Outcome:
    return in_oracle(Plan(SHIFTS[shift], mode))


def assert_equal(found: Outcome, wanted: Outcome) -> None:
    """By parts, so that a failure says how far they agree."""
    assert found.samples == wanted.samples, "losses or predictions differ"
    assert found.weights_sha256 == wanted.weights_sha256
    assert found.logits == wanted.logits


@pytest.mark.parametrize("shift", SHIFTS)
def test_this_computer(shift: str, native_build: native.NativeBuild, tmp_path: Path) -> None:
    program = native_build.folder / "board_training_step"
    assert_equal(
        on_this_computer(program, Plan(SHIFTS[shift]), tmp_path), expected(shift, "accumulate")
    )


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("shift", SHIFTS)
def test_emulated_boards(shift: str, board: str, tmp_path: Path) -> None:
    found, counts = on_board(board, Plan(SHIFTS[shift]), tmp_path)
    assert_equal(found, expected(shift, "accumulate"))
    step = last_step(board, SHIFTS[shift], counts)
    complaints = boards_budget.exceeded(step.budget, boards_budget.read_budget().get(board, {}))
    assert not complaints, f"{board}:\n" + "\n".join(complaints)


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("shift", IMMEDIATE)
def test_updates_after_every_sample(shift: str, board: str, tmp_path: Path) -> None:
    plan = Plan(SHIFTS[shift], "immediate")
    found, _ = on_board(board, plan, tmp_path)
    assert_equal(found, expected(shift, "immediate"))


def test_training_changes_the_weights() -> None:
    """Otherwise equal hashes would say nothing: more steps, other weights; other blocks, other weights."""
    hashes = {expected(shift, "accumulate").weights_sha256 for shift in SHIFTS}
    hashes.add(in_oracle(Plan("fc", steps=3)).weights_sha256)
    assert len(hashes) == len(SHIFTS) + 1
