"""``python -m host.bench.boards``: instructions on the emulated CPUs, beside their bars, into ``build/bench/boards.json``."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
from rich.console import Console

from host.bench.boards_bars import (
    Figure,
    Kernels,
    Step,
    measure_kernels,
    measure_memory,
    measure_training,
)
from host.bench.boards_budget import BUDGET_FILE, budgeted, read_budget, write_budget
from host.bench.boards_costs import cost_table, work_costs
from host.bench.boards_programs import BOARDS, plugin
from host.bench.boards_tables import bar_table, element_table, layer_table, step_table
from host.bench.boards_timing import load_core
from host.bench.boards_training import SHIFTS
from host.bench.engine import bench_folder
from host.bench.result import Result
from host.cli import progress_bars, run_command

PARTS = ("kernels", "training", "memory")
MISSED_STATUS = 3
WIDTH = 150
"""Columns of the tables where the output is no terminal."""

EPILOG = """\b
Example:
  python -m host.bench.boards                          all boards and parts, some minutes
  python -m host.bench.boards --board m4 --part kernels
  python -m host.bench.boards --write-budget           after a deliberate change of a kernel
"""


@click.command(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--board",
    "boards",
    multiple=True,
    type=click.Choice(BOARDS),
    help="Only this board; may be repeated.",
)
@click.option(
    "--part",
    "parts",
    multiple=True,
    type=click.Choice(PARTS),
    help="Only this part; may be repeated.",
)
@click.option(
    "--write-budget",
    is_flag=True,
    help="Make what is counted the budget that the tests hold kernels to.",
)
def main(boards: tuple[str, ...], parts: tuple[str, ...], write_budget: bool) -> int:
    """Count the instructions of kernels and training steps on the emulated CPUs, and the memory that the firmware takes,
    and compare with the bars.

    The exit status is 0 when every bar was reached, and 3 when one was missed.
    """
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    chosen = boards or BOARDS
    results: list[Result] = []
    figures: list[Figure] = []
    steps: list[Step] = []
    found: dict[str, dict[str, int]] = {board: {} for board in chosen}
    if plugin() is None:
        console.print(
            "QEMU's plugin header is missing (make toolchain brings it): counts are the emulator's own, without cycles."
        )
    if "kernels" in (parts or PARTS):
        for kernels in _kernels(chosen, console):
            results += kernels.results()
            figures += kernels.figures()
            found[kernels.board].update(budgeted(kernels.counts.values()))
    if "training" in (parts or PARTS):
        steps, agreements = _training(chosen, console)
        results += agreements
        for step in steps:
            figures += step.figures()
            found[step.board].update(step.budget)
    if "memory" in (parts or PARTS):
        with progress_bars(console) as report:
            for number, board in enumerate(chosen):
                report(number, len(chosen), f"measuring memory: {board}")
                results += measure_memory(board)
    _print_bars(results, console)
    path = _write(results, figures)
    console.print(f"Written to {path}")
    if write_budget:
        _write_budget(found, console)
    if steps:
        _print_costs(chosen, steps, found, console)
    return 0 if all(result.reached for result in results) else MISSED_STATUS


def _kernels(boards: Sequence[str], console: Console) -> list[Kernels]:
    found = []
    with progress_bars(console) as report:
        for number, board in enumerate(boards):
            report(number, len(boards), f"building and counting kernels: {board}")
            found.append(measure_kernels(board))
        report(len(boards), len(boards), "counting kernels")
    for kernels in found:
        console.print(bar_table(kernels))
        console.print(layer_table(kernels))
        console.print(element_table(kernels))
        core = load_core(kernels.board)
        console.print(
            f"Cycles are estimated. {core.source}. Assumed: {core.assumption}.\n", highlight=False
        )
    return found


def _training(boards: Sequence[str], console: Console) -> tuple[list[Step], list[Result]]:
    steps: list[Step] = []
    results: list[Result] = []
    with progress_bars(console) as report:
        for blocks in SHIFTS.values():
            measured, result = measure_training(tuple(boards), blocks, report)
            steps += measured
            results.append(result)
    console.print(step_table(sorted(steps, key=lambda s: list(boards).index(s.board))))
    return steps, results


def _print_costs(
    boards: Sequence[str],
    steps: Sequence[Step],
    found: Mapping[str, Mapping[str, int]],
    console: Console,
) -> None:
    """Costs for energy/boards, from the steps and the kernels counted now, or else those of the budget."""
    budget = read_budget()
    for board in boards:
        kernels = {**budget.get(board, {}), **found[board]}
        try:
            costs = work_costs([step for step in steps if step.board == board], kernels)
        except (KeyError, ArithmeticError) as error:
            console.print(f"{board}: no costs for energy/boards, for want of {error}")
        else:
            console.print(cost_table(board, costs))


def _print_bars(results: list[Result], console: Console) -> None:
    for result in results:
        mark = "[green]reached[/]" if result.reached else "[bold red]missed[/] "
        sense = "≥" if result.sense == ">=" else "≤"
        console.print(
            f"{mark} {result.name}: {_short(result.value)} {result.unit} "
            f"(bar {sense} {_short(result.bar)}) {result.note}",
            highlight=False,
            soft_wrap=True,
        )


def _short(value: float) -> str:
    """Three digits behind the point where they say something."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3f}".rstrip("0").rstrip(".")


def _write(results: list[Result], figures: list[Figure]) -> Path:
    folder = bench_folder()
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "boards.json"
    entries = [r.as_json() for r in results] + [f.as_json() for f in figures]
    temporary = target.with_suffix(".tmp")
    temporary.write_text(json.dumps(entries, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(temporary, target)
    return target


def _write_budget(found: dict[str, dict[str, int]], console: Console) -> None:
    write_budget(found)
    console.print(f"The budget is now what was counted: {BUDGET_FILE}")


if __name__ == "__main__":
    run_command(main)
