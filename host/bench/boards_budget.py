"""The committed budget of instructions (tests/firmware/boards/budget.toml): what every fast kernel and training step may take."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

from host.bench.boards_programs import PROGRAMS, Count

BUDGET_FILE = PROGRAMS / "budget.toml"
TOLERANCE = 0.02
"""A count may exceed its budget by this much."""

_HEAD = """\
# Instructions on the emulated CPUs, by the emulator's virtual time: the fast form of each kernel on each layer, and each
# phase of a training step of two samples. tests/firmware/test_boards_kernels.py and tests/integration/test_boards_bit_exact.py
# fail where a count exceeds its budget by more than 2 %. After a deliberate change, and when kernels became faster:
#
#     .venv/bin/python -m host.bench.boards --write-budget
"""


def budgeted(counts: Iterable[Count]) -> dict[str, int]:
    """The kernel counts that have a budget: those of what the firmware calls."""
    return {c.name: c.instructions for c in counts if c.name.split("/")[-1].startswith("fast")}


def read_budget(path: Path = BUDGET_FILE) -> dict[str, dict[str, int]]:
    """Budgets by board and name; empty where there is no file."""
    if not path.exists():
        return {}
    content: dict[str, dict[str, int]] = tomllib.loads(path.read_text(encoding="utf-8"))
    return content


def write_budget(found: Mapping[str, Mapping[str, int]], path: Path = BUDGET_FILE) -> None:
    """Makes these counts the budget. Boards and names that are not among them keep theirs."""
    merged = {**read_budget(path)}
    for board, counts in found.items():
        merged[board] = {**merged.get(board, {}), **counts}
    parts = [_HEAD]
    for board in sorted(merged):
        parts.append(f"\n[{board}]\n")
        parts += [f'"{name}" = {merged[board][name]}\n' for name in sorted(merged[board])]
    temporary = path.with_suffix(".tmp")
    temporary.write_text("".join(parts), encoding="utf-8")
    os.replace(temporary, path)


def exceeded(found: Mapping[str, int], budget: Mapping[str, int]) -> list[str]:
    """One sentence for each count that is over its budget or has none."""
    complaints = []
    for name, count in found.items():
        allowed = budget.get(name)
        if allowed is None:
            complaints.append(
                f"{name}: {count} instructions, and no budget; add it with: python -m host.bench.boards --write-budget"
            )
        elif not count <= allowed * (1 + TOLERANCE):
            complaints.append(
                f"{name}: {count} instructions, {100 * (count / allowed - 1):.1f} % over the budget of {allowed}"
            )
    return complaints
