"""Boards: instruction counts against work counts, and the figures they were made from."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from energy.battery_work import FORWARD_ELEMENTS, FORWARD_MACS, TUNINGS
from energy.board import CPUS, Board, board_names, load_board, parse_board
from energy.board_file import BoardFile, write_board
from energy.comparison import PAPER_STEP_J
from energy.errors import BoardError
from energy.probes.model import ModelProbe
from energy.session import Phase, PhaseEvent
from tests.python.energy_fakes import FakeSession

BUDGET = Path(__file__).parents[1] / "firmware" / "boards" / "budget.toml"
COUNTED = {"lx7": "terracorder", "rv32": "esp32c3", "m4": "stm32l4r5", "m7": "stm32h7a3"}


def test_each_emulated_cpu_has_a_board() -> None:
    assert set(COUNTED) == set(CPUS)
    assert {name: load_board(COUNTED[name]).cpu for name in CPUS} == {name: name for name in CPUS}
    assert load_board("esp32").cpu == "lx7"
    assert load_board("raspberry-pi").cpu == ""


@pytest.mark.parametrize("cpu", CPUS)
def test_the_work_of_a_step_gives_the_instructions_that_were_counted(cpu: str) -> None:
    """Forward pass and update: the budget's own counts. The TOML must follow when kernels change."""
    budget = tomllib.loads(BUDGET.read_text(encoding="utf-8"))[cpu]
    board = load_board(COUNTED[cpu])
    work = TUNINGS["all"]
    forward = work.passes(Phase.TRAIN_FORWARD)
    assert 2 * board.instructions(forward) == pytest.approx(
        budget["step/all/train_forward"], rel=0.05
    )
    for blocks in ("all", "block1", "block3"):
        # Steps differ by how many input gradients run twice.
        backward = TUNINGS[blocks].passes(Phase.BACKWARD, 2)
        counted = budget[f"step/{blocks}/backward"]
        assert board.instructions(backward) == pytest.approx(counted, rel=0.10), blocks
    update = PhaseEvent(Phase.UPDATE, 0, 0, elements=work.updates, updates=work.updates)
    assert board.instructions(update) == pytest.approx(budget["step/all/update"], rel=0.10)
    frozen = PhaseEvent(Phase.FROZEN_FORWARD, 0, 0, FORWARD_MACS, FORWARD_ELEMENTS)
    assert 2 * board.instructions(frozen) == pytest.approx(
        budget["step/fc/frozen_forward"], rel=0.05
    )


def test_counted_instructions_win_where_they_are_this_cpus() -> None:
    board = load_board("terracorder")
    event = PhaseEvent(Phase.INFER, 0, 0, macs=10**6, instructions=5 * 10**6)
    cpi = board.costs["cycles_per_instruction"].value
    assert board.seconds(event, cpu="lx7") == pytest.approx(5e6 * cpi / 240e6)
    assert board.seconds(event, cpu="m4") == board.seconds(replace(event, instructions=0))
    assert board.seconds(event) == board.seconds(replace(event, instructions=0))
    waiting = PhaseEvent(Phase.LOAD, 0, 0, wire_bytes=1000, instructions=10**9)
    assert board.seconds(waiting, cpu="lx7") == pytest.approx(1000 * 10.85e-6)
    assert load_board("raspberry-pi").seconds(event, cpu="") > 0


class _Emulated(FakeSession):
    def describe(self) -> dict[str, str | int]:
        return {**super().describe(), "cpu": "lx7", "instruction_ns": 64}


def test_the_probe_knows_whose_instructions_are_counted(tmp_path: Path) -> None:
    event = PhaseEvent(Phase.INFER, 0, 1, macs=10**6, instructions=24 * 10**6)
    for session, counted in ((_Emulated(tmp_path, lambda: iter(())), True), (None, False)):
        probe = ModelProbe(load_board("terracorder"))
        if session is not None:
            probe.attach(session)
        probe.open()
        probe.start()
        window = probe.on_event(event)
        assert (window.stop_s > 0.09) is counted
        assert ("counted" in str(probe.stop().provenance["work"])) is counted


def step_j(board: Board, blocks: str) -> float:
    """One image through a training step: frozen and trained layers forward, then back."""
    work = TUNINGS[blocks]
    phases = (Phase.FROZEN_FORWARD, Phase.TRAIN_FORWARD, Phase.BACKWARD)
    return sum(board.model(work.passes(phase)).energy_j for phase in phases)


def test_the_raspberry_pi_is_the_papers() -> None:
    board = load_board("raspberry-pi")
    for blocks, paper_j in PAPER_STEP_J.items():
        assert step_j(board, blocks) == pytest.approx(paper_j, rel=0.15), blocks


@pytest.mark.parametrize("name", sorted(set(board_names()) - {"raspberry-pi"}))
def test_an_inference_costs_what_such_boards_cost(name: str) -> None:
    """The best published int8 results are 77 to 440 pJ per MAC; portable code on an ESP32 a few nJ."""
    span = load_board(name).model(PhaseEvent(Phase.INFER, 0, 0, FORWARD_MACS, FORWARD_ELEMENTS))
    assert 0.2e-9 < span.energy_j / FORWARD_MACS < 3e-9
    assert span.energy_low_j <= span.energy_j <= span.energy_high_j


def test_a_description_survives_writing() -> None:
    board = load_board("terracorder")
    text = write_board(
        "again",
        BoardFile(
            'a "quoted" title \\ é\n',
            board.cpu,
            board.supply_v,
            board.clock_hz,
            board.costs,
            board.states,
            board.phases,
        ),
        "two\nlines",
    )
    again = parse_board(text, "again", "again.toml")
    assert again.quantities() == board.quantities()
    assert again.phases == board.phases
    assert again.title == 'a "quoted" title \\ é\n'
    with pytest.raises(BoardError, match="again"):
        parse_board(text, "other", "other.toml")
