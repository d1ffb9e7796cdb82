"""What `make bench-boards` measures: kernels and training steps on the emulated CPUs, against their bars."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from host.bench import boards_memory
from host.bench.boards_programs import REPO, Count, Output, build, run
from host.bench.boards_timing import estimated_cycles, load_core
from host.bench.boards_training import SHIFTS, Outcome, Plan, in_oracle, on_board, on_this_computer
from host.bench.result import Result
from host.errors import HostError

Report = Callable[[int, int, str], None]

LAYERS = {"16-16-32x32": "16→16 at 32×32", "64-64-8x8": "64→64 at 8×8"}
"""The two layers with bars."""
DIRECTIONS = {"forward": "forward", "input": "input gradient", "weight": "weight gradient"}
BARS: dict[str, dict[str, tuple[float, float]]] = {
    "m4": {"forward": (1.4, 1.2), "input": (1.4, 1.2), "weight": (1.4, 1.3)},
    "rv32": {"forward": (3.2, 3.2), "input": (3.4, 3.4), "weight": (3.4, 3.4)},
    "lx7": {"forward": (2.8, 2.8), "input": (3.0, 3.0), "weight": (3.0, 3.0)},
}
"""Most instructions per multiply-accumulate, for the layers in the order of LAYERS."""
ANCHORS: dict[str, tuple[tuple[float, float], str]] = {
    "m4": ((2.33, 1.76), "CMSIS-NN forward, GCC 12.2 -O3, DSP path, counted on this emulator"),
    "lx7": ((10.2, 7.0), "ESP-NN generic optimised forward, counted on this emulator"),
}
"""What the best known kernels take (docs/kernels.md)."""


@dataclass(frozen=True)
class Figure:
    """A measured figure without a bar."""

    name: str
    value: float
    unit: str
    note: str = ""

    def as_json(self) -> dict[str, object]:
        """The object written to ``boards.json``."""
        value = self.value if math.isfinite(self.value) else None
        return {
            "name": self.name,
            "value": value,
            "unit": self.unit,
            "bar": None,
            "reached": None,
            "note": self.note,
        }


@dataclass(frozen=True)
class Kernels:
    """The counts of kernel_bench on one board."""

    board: str
    counts: dict[str, Count]

    def per_unit(self, name: str) -> float:
        """Instructions per multiply-accumulate or element; NaN where it was not measured."""
        count = self.counts.get(name)
        return count.exact / count.units if count is not None else math.nan

    def cycles_per_unit(self, name: str) -> float:
        """Estimated cycles per multiply-accumulate or element; NaN without the plugin's counts."""
        count = self.counts.get(name)
        if count is None or count.section is None:
            return math.nan
        return estimated_cycles(load_core(self.board), count.section) / count.units

    def results(self) -> list[Result]:
        """The bars of this board; none where the issue sets none."""
        found = []
        for direction, bars in BARS.get(self.board, {}).items():
            for (layer, title), bar in zip(LAYERS.items(), bars, strict=True):
                for form in ("fast",) if direction == "forward" else ("fast", "fast-wide"):
                    if f"{layer}/{direction}/{form}" in self.counts:
                        found.append(self._result(direction, layer, title, form, bar))
        return found

    def _result(self, direction: str, layer: str, title: str, form: str, bar: float) -> Result:
        prefix = f"{layer}/{direction}"
        errors = (
            ""
            if direction == "forward"
            else ", int16 errors"
            if form.endswith("wide")
            else ", int8 errors"
        )
        portable = self.per_unit(f"{prefix}/{form.replace('fast', 'portable')}")
        fp32 = self.per_unit(f"{prefix}/fp32")
        cycles = self.cycles_per_unit(f"{prefix}/{form}")
        note = (
            f"about {cycles:.2f} cycles; portable {portable:.2f}, float32 {fp32:.2f} instructions"
        )
        return Result(
            f"{self.board}: {DIRECTIONS[direction]} {title}{errors}",
            self.per_unit(f"{prefix}/{form}"),
            "instructions/MAC",
            bar,
            "<=",
            self.anchor(direction, layer),
            note,
        )

    def anchor(self, direction: str, layer: str) -> str:
        """The best known figure for the same layer, with its source; empty where there is none."""
        if direction != "forward" or self.board not in ANCHORS:
            return ""
        figures, source = ANCHORS[self.board]
        return f"{figures[list(LAYERS).index(layer)]:g}: {source}"

    def figures(self) -> list[Figure]:
        """Every count, per unit, and its estimate in cycles."""
        found = []
        for name, count in self.counts.items():
            group, what, _ = name.split("/")
            unit = "MAC" if what in DIRECTIONS or group == "fc" else "element"
            note = f"{count.exact} instructions for {count.units}"
            found.append(
                Figure(f"{self.board}: {name}", self.per_unit(name), f"instructions/{unit}", note)
            )
            cycles = self.cycles_per_unit(name)
            if math.isfinite(cycles):
                found.append(Figure(f"{self.board}: {name}", cycles, f"cycles/{unit}", "estimated"))
        return found


@dataclass(frozen=True)
class Step:
    """A training step of two samples on one board, by phase."""

    board: str
    blocks: str
    phases: dict[str, int]
    """Instructions by phase."""
    cycles: dict[str, float]
    """Estimated cycles by phase; empty without the plugin's counts."""
    work: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """By phase: MACs, those of weight gradients, sums, masks, elements, updates."""

    @property
    def budget(self) -> dict[str, int]:
        """As budget.toml has it."""
        return {f"step/{self.blocks}/{phase}": n for phase, n in self.phases.items()}

    def figures(self) -> list[Figure]:
        """Instructions and cycles of each phase and in all."""
        name = f"{self.board}: training step of 2 samples, {self.blocks}"
        found = [Figure(f"{name}, {p}", n, "instructions") for p, n in self.phases.items()]
        found.append(Figure(name, sum(self.phases.values()), "instructions"))
        if self.cycles:
            found.append(Figure(name, sum(self.cycles.values()), "cycles", "estimated"))
        return found


def measure_kernels(board: str, *, by_instruction: bool = True) -> Kernels:
    """Runs kernel_bench on a board."""
    with tempfile.TemporaryDirectory() as folder:
        output: Output = run(board, "kernel_bench", Path(folder), by_instruction=by_instruction)
    return Kernels(board, {count.name: count for count in output.counts})


def last_step(board: str, blocks: str, counts: tuple[Count, ...]) -> Step:
    """The phases of a run's last step, when the shift states have settled."""
    updates = [i for i, c in enumerate(counts) if c.name == "phase/update"]
    if len(updates) < 2:
        raise HostError(
            f"the training run on {board} made {len(updates)} updates, expected at least 2"
        )
    phases: dict[str, int] = {}
    cycles: dict[str, float] = {}
    work: dict[str, tuple[int, ...]] = {}
    core = load_core(board)
    for count in counts[updates[-2] + 1 : updates[-1] + 1]:
        phase = count.name.removeprefix("phase/")
        phases[phase] = phases.get(phase, 0) + count.instructions
        done = (count.units, *count.work)
        work[phase] = tuple(
            a + b for a, b in zip(work.get(phase, (0,) * len(done)), done, strict=True)
        )
        if count.section is not None:
            cycles[phase] = cycles.get(phase, 0.0) + estimated_cycles(core, count.section)
    return Step(board, blocks, phases, cycles, work)


def measure_training(
    boards: tuple[str, ...], blocks: str, report: Report, *, by_instruction: bool = True
) -> tuple[list[Step], Result]:
    """A short training run of these blocks everywhere: what a step takes, and whether all agree to the bit."""
    plan = Plan(blocks)
    total = len(boards) + 2
    report(0, total, f"training {blocks}: oracle")
    expected = in_oracle(plan)
    steps: list[Step] = []
    found: dict[str, Outcome] = {}
    with tempfile.TemporaryDirectory() as folder:
        report(1, total, f"training {blocks}: this computer")
        program = REPO / "build" / "native" / "board_training_step"
        found["native"] = on_this_computer(program, plan, Path(folder))
        for number, board in enumerate(boards):
            report(2 + number, total, f"training {blocks}: {board}")
            outcome, counts = on_board(board, plan, Path(folder), by_instruction=by_instruction)
            found[board] = outcome
            steps.append(last_step(board, blocks, counts))
    different = [name for name, outcome in found.items() if outcome != expected]
    shift = next(name for name, value in SHIFTS.items() if value == blocks)
    note = f"NumPy oracle, native, {', '.join(boards)}; SHA-256 {expected.weights_sha256[:16]}…" + (
        f"; different: {', '.join(different)}" if different else ""
    )
    result = Result(
        f"equal weights, losses and logits, {shift} shift ({blocks})",
        1 + len(found) - len(different),
        f"of {total}",
        total,
        ">=",
        note=note,
    )
    return steps, result


def measure_memory(board: str) -> list[Result]:
    """Flash, RAM and stack of the firmware on a board against firmware/boards/budgets.toml."""
    build(board, f"tbft_{board}")
    budget = boards_memory.read_budget()[board]
    note = "while training all blocks, and at a commit"
    return [
        Result(
            f"{board}: {key.removesuffix('_bytes').replace('_', ' ')}",
            value / 1024,
            "KiB",
            budget[key] / 1024,
            "<=",
            note=note if key.startswith("stack") else "",
        )
        for key, value in boards_memory.measure(board).items()
    ]
