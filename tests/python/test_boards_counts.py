"""From the plugin's file to classes, cycles, bars and budgets: what needs no emulator."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from host.bench import boards_budget
from host.bench.boards_bars import BARS, LAYERS, Figure, Kernels
from host.bench.boards_counts import Executed, Instruction, Section, read_sections
from host.bench.boards_programs import BOARDS, Count
from host.bench.boards_timing import estimated_cycles, instruction_classes, load_core
from host.errors import HostError

WHOLE = """\
I 0 100 2 ldr r0, [r1]
I 3 102 2 adds r0, #1
S 0 12
C 3 6 0
C 0 6 0
I 4 104 2 bne #0x100
S 1 18
C 0 6 0
C 3 6 0
C 4 6 5
"""


def section(*executed: tuple[str, int, int], size: int = 2) -> Section:
    """Instructions one behind the other: text, count, taken."""
    parts = [
        Executed(Instruction(0x100 + size * i, size, text), count, taken)
        for i, (text, count, taken) in enumerate(executed)
    ]
    return Section(sum(p.count for p in parts), tuple(parts))


def test_sections_are_read_by_address(tmp_path: Path) -> None:
    path = tmp_path / "counts"
    path.write_text(WHOLE)
    first, second = read_sections(path)
    assert (first.total, second.total) == (12, 18)
    assert [e.instruction.address for e in second.executed] == [0x100, 0x102, 0x104]
    assert second.executed[2] == Executed(Instruction(0x104, 2, "bne #0x100"), 6, 5)


@pytest.mark.parametrize(
    "text",
    [WHOLE[:-10], WHOLE.replace("S 1 18", "S 1 19"), "X 1\n", "C 0 1 0\n", "S 0 1\nC 9 1 0\n"],
)
def test_damaged_files_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "counts"
    path.write_text(text)
    with pytest.raises(HostError, match="run the program again"):
        read_sections(path)


@pytest.mark.parametrize(
    ("board", "text", "name", "results", "operands", "registers"),
    [
        ("m4", "ldr r3, [r0], #4", "load", {"r3"}, {"r0"}, 0),
        ("m4", "ldrd r3, r4, [r0, #8]", "load multiple", {"r3", "r4"}, {"r0"}, 0),
        ("m4", "ldm.w r0!, {r1, r2, r4-r7}", "load multiple", {"r1", "r2", "r4", "r7"}, {"r0"}, 6),
        ("m4", "pop.w {r4, r5, pc}", "load multiple", {"r4", "r5", "pc"}, set(), 3),
        ("m4", "str.w r3, [r0, #8]", "store", set(), {"r3", "r0"}, 0),
        ("m4", "smlad r1, r2, r3, r1", "multiply-accumulate", {"r1"}, {"r2", "r3", "r1"}, 0),
        ("m4", "sxtb16 r1, r2, ror #8", "arithmetic", {"r1"}, {"r2"}, 0),
        ("m4", "bne #0x100", "branch", set(), set(), 0),
        ("m4", "bic r1, r2, #3", "arithmetic", {"r1"}, {"r2"}, 0),
        ("m4", "cmp r1, r2", "arithmetic", set(), {"r1", "r2"}, 0),
        ("m4", "vfma.f32 s0, s1, s2", "float", {"s0"}, {"s0", "s1", "s2"}, 0),
        (
            "rv32",
            "00050313          mv                      t1,a0",
            "arithmetic",
            {"t1"},
            {"a0"},
            0,
        ),
        ("rv32", "4108              lw                      a0,0(a0)", "load", {"a0"}, {"a0"}, 0),
        (
            "rv32",
            "00b30023          sb                      a1,0(t1)",
            "store",
            set(),
            {"a1", "t1"},
            0,
        ),
        (
            "rv32",
            "02b50533          mul                     a0,a0,a1",
            "multiply",
            {"a0"},
            {"a0", "a1"},
            0,
        ),
        (
            "rv32",
            "00060a63          beqz                    a2,20   # 0x80000ca0",
            "branch",
            set(),
            {"a2"},
            0,
        ),
        ("lx7", "l32i\ta2, a3, 4", "load", {"a2"}, {"a3"}, 0),
        (
            "lx7",
            "mula.dd.ll.ldinc\tm0, a3, m1, m2",
            "multiply-accumulate",
            {"m0"},
            {"a3", "m1", "m2"},
            0,
        ),
        ("lx7", "madd.s\tf0, f1, f2", "float", {"f0"}, {"f0", "f1", "f2"}, 0),
        ("lx7", "loopnez\ta4, 0x100", "loop", set(), {"a4"}, 0),
        ("lx7", "ball\ta4, a5, 0x100", "branch", set(), {"a4", "a5"}, 0),
    ],
)
def test_disassembly_is_understood(
    board: str, text: str, name: str, results: set[str], operands: set[str], registers: int
) -> None:
    found = load_core(board).decode(Instruction(0, 4, text))
    assert (found.cost.name, set(found.results), set(found.operands), found.registers) == (
        name,
        results,
        operands,
        registers,
    )


@pytest.mark.parametrize(
    ("board", "executed", "cycles"),
    [
        # The Cortex-M4's table: a load takes 2, right behind another 1; multiples 1 + N; branches taken 1 + 2.
        ("m4", [("ldr r0, [r1]", 1, 0), ("ldr r2, [r1, #4]", 1, 0), ("adds r0, r2, r0", 1, 0)], 4),
        ("m4", [("ldm r0, {r1, r2, r3}", 1, 0)], 4),
        ("m4", [("smlad r1, r2, r3, r1", 10, 0)], 10),
        ("m4", [("subs r0, #1", 10, 0), ("bne #0x100", 10, 9)], 10 * 2 + 9 * 2),
        # Two at a time, but not both loads, nor one that needs the other's result.
        ("m7", [("add r0, r1, r2", 1, 0), ("add r3, r4, r5", 1, 0)], 1),
        ("m7", [("add r0, r1, r2", 1, 0), ("add r3, r0, r5", 1, 0)], 2),
        ("m7", [("ldr r0, [r1]", 1, 0), ("ldr r2, [r1]", 1, 0)], 2),
        # A loaded value used at once costs a cycle.
        ("rv32", [("4108 lw a0,0(a1)", 1, 0), ("0505 addi a0,a0,1", 1, 0)], 3),
        (
            "rv32",
            [("4108 lw a0,0(a1)", 1, 0), ("0505 addi a2,a2,1", 1, 0), ("0505 addi a0,a0,1", 1, 0)],
            3,
        ),
        # One sum, 4 cycles a turn: seen only where the loop's turns are put one behind the other.
        ("lx7", [("lsi f1, a2, 0", 100, 0), ("madd.s f0, f1, f1", 100, 99)], 400),
        # Back edges of a hardware loop cost nothing.
        ("lx7", [("addi a2, a2, 1", 100, 0), ("addi a3, a3, 1", 100, 99)], 200),
    ],
)
def test_cycles_follow_the_table(
    board: str, executed: list[tuple[str, int, int]], cycles: float
) -> None:
    assert estimated_cycles(load_core(board), section(*executed)) == pytest.approx(cycles)


def test_classes_add_up() -> None:
    found = instruction_classes(
        load_core("m4"), section(("ldr r0, [r1]", 5, 0), ("adds r0, #1", 7, 0))
    )
    assert found == {"arithmetic": 7, "load": 5}


@pytest.mark.parametrize("board", BOARDS)
def test_every_core_names_its_source(board: str) -> None:
    core = load_core(board)
    assert core.source and core.assumption and core.issue in (1, 2)


def test_board_without_a_table_is_refused() -> None:
    with pytest.raises(HostError, match=r"has no table for board m55; add \[m55\]"):
        load_core("m55")


def test_bars_are_those_of_the_issue() -> None:
    counts = {
        f"{layer}/{direction}/{form}": Count(f"{layer}/{direction}/{form}", 1000, instructions)
        for layer in LAYERS
        for direction in ("forward", "input", "weight")
        for form, instructions in (("fast", 1400), ("fast-wide", 1401))
    }
    results = Kernels("m4", counts).results()
    found = {r.name: (r.bar, r.reached) for r in results}
    assert found["m4: forward 16→16 at 32×32"] == (1.4, True)
    assert found["m4: forward 64→64 at 8×8"] == (1.2, False)
    assert found["m4: weight gradient 64→64 at 8×8, int8 errors"] == (1.3, False)
    assert found["m4: input gradient 16→16 at 32×32, int16 errors"] == (1.4, False)
    assert set(BARS) == {"m4", "rv32", "lx7"}
    assert not Kernels("m7", counts).results()


def test_figures_without_a_bar_say_so() -> None:
    assert Figure("x", math.nan, "cycles").as_json()["value"] is None
    assert Figure("x", 2.0, "cycles").as_json() == {
        "name": "x",
        "value": 2.0,
        "unit": "cycles",
        "bar": None,
        "reached": None,
        "note": "",
    }


def test_budget_allows_two_percent() -> None:
    assert not boards_budget.exceeded({"a/b/fast": 1020}, {"a/b/fast": 1000})
    assert (
        "2.1 % over the budget of 1000"
        in boards_budget.exceeded({"a/b/fast": 1021}, {"a/b/fast": 1000})[0]
    )
    assert "no budget" in boards_budget.exceeded({"new/b/fast": 1}, {})[0]


def test_budget_is_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / "budget.toml"
    boards_budget.write_budget({"m4": {"a/b/fast": 1}, "rv32": {"a/b/fast": 2}}, path)
    boards_budget.write_budget({"m4": {"c/d/fast": 3}}, path)
    assert boards_budget.read_budget(path) == {
        "m4": {"a/b/fast": 1, "c/d/fast": 3},
        "rv32": {"a/b/fast": 2},
    }
    assert boards_budget.read_budget(tmp_path / "none.toml") == {}


def test_only_what_the_firmware_calls_has_a_budget() -> None:
    counts = [
        Count(f"layer/forward/{form}", 1, 1)
        for form in ("fast", "fast-wide", "portable", "plain", "fp32")
    ]
    assert set(boards_budget.budgeted(counts)) == {"layer/forward/fast", "layer/forward/fast-wide"}
