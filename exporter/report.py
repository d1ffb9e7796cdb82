"""A memory plan for people: ``plan.txt``, ``plan.md`` and ``plan.png``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from exporter.allocate import align
from exporter.errors import ExporterError
from exporter.ops import Phase, Role
from exporter.plan import Plan, recomputed_macs

COLUMNS = (
    "block",
    "state",
    "parameters",
    "MACs forward",
    "MACs backward",
    "flash (bytes)",
    "arena: weights + accumulators (bytes)",
    "arena: saved activations (bytes)",
)


@dataclass(frozen=True)
class BlockCost:
    """What one block costs. MACs are per sample; bytes 16-aligned as they lie in memory."""

    name: str
    trained: bool
    parameters: int
    macs_forward: int
    macs_backward: int
    flash_bytes: int
    persistent_bytes: int
    saved_bytes: int
    """Activations and masks this block's forward pass keeps for the backward pass."""

    def cells(self) -> tuple[str, ...]:
        """Cells of a table row, after ``COLUMNS``."""
        numbers = (
            self.parameters, self.macs_forward, self.macs_backward, self.flash_bytes,
            self.persistent_bytes, self.saved_bytes,
        )  # fmt: skip
        state = "trained" if self.trained else "frozen"
        return (self.name, state, *(f"{number:,}" for number in numbers))


def block_costs(plan: Plan) -> list[BlockCost]:
    """Costs of every block, front to rear."""
    program, part, held = plan.program, plan.program.partition, plan.program.held
    block_of = {node.name: node.block for node in part.graph.nodes}
    block_of_output = {node.output: node.block for node in part.graph.nodes}
    block_of_output[part.graph.input] = part.graph.blocks[0]
    costs = []
    for block in part.graph.blocks:
        ops = [op for op in program.ops if block_of.get(op.node) == block]
        tensors = [
            tensor
            for tensor in program.tensors.values()
            if block_of.get(tensor.name.rpartition(".")[0]) == block
        ]
        saved = sum(
            align(tensor.nbytes)
            for name, tensor in program.tensors.items()
            if (name in held or tensor.role is Role.MASK)
            and block_of_output.get(name.removesuffix(":mask")) == block
        )
        costs.append(
            BlockCost(
                name=block,
                trained=block in part.blocks,
                parameters=plan.block_parameters(block),
                macs_forward=sum(op.macs for op in ops if op.phase is not Phase.BACKWARD),
                macs_backward=sum(op.macs for op in ops if op.phase is Phase.BACKWARD),
                flash_bytes=sum(align(t.nbytes) for t in tensors if not t.in_arena),
                persistent_bytes=sum(align(t.nbytes) for t in tensors if t.persistent),
                saved_bytes=saved,
            )
        )
    return costs


def total_cost(costs: list[BlockCost]) -> BlockCost:
    """Sum of all blocks."""
    return BlockCost(
        "all",
        any(cost.trained for cost in costs),
        sum(cost.parameters for cost in costs),
        sum(cost.macs_forward for cost in costs),
        sum(cost.macs_backward for cost in costs),
        sum(cost.flash_bytes for cost in costs),
        sum(cost.persistent_bytes for cost in costs),
        sum(cost.saved_bytes for cost in costs),
    )


def phase_macs(plan: Plan) -> dict[Phase, int]:
    """Multiply-accumulates of each program for one training sample."""
    return {phase: sum(op.macs for op in plan.program.phase(phase)) for phase in Phase}


def summary_lines(plan: Plan) -> list[str]:
    """The plan in sentences."""
    part = plan.program.partition
    macs = phase_macs(plan)
    total = sum(macs.values())
    cached = macs[Phase.TAIL] + macs[Phase.BACKWARD]
    boundary = plan.program.tensors[part.boundary]
    updates = (
        "immediately after every sample (batch of one, no accumulators)"
        if plan.program.immediate
        else "once per batch (int16 accumulators)"
    )
    lines = [
        f"{part.graph.name}, training {', '.join(part.blocks)}; weights change {updates}.",
        f"Arena: {plan.arena_bytes:,} bytes ({plan.arena_bytes / 1024:.1f} KiB), of which "
        f"{plan.persistent_bytes:,} hold trained weights and accumulators; "
        f"the lower bound for this order of operations is {plan.bound_bytes:,}.",
        *region_lines(plan),
        f"Flash: {plan.flash_bytes:,} bytes of constants; frozen weights are read there in place and take no "
        "arena.",
        f"One training sample: {total:,} MACs (frozen prefix {macs[Phase.PREFIX]:,}, forward behind "
        f"it {macs[Phase.TAIL]:,}, backward {macs[Phase.BACKWARD]:,}).",
    ]
    again = recomputed_macs(plan.program)
    if plan.program.recomputed:
        names = [name for name in plan.program.recomputed if name in part.saved]
        lines.append(
            f"Not kept for the backward pass but computed again there: {', '.join(names)}; that is {again:,} "
            f"of the MACs, {100 * again / (total - again):.1f} % more than with all of them kept."
        )
    if part.prefix:
        lines.append(
            f"With the prefix cached ({boundary.nbytes:,} bytes a sample, '{part.boundary}'), later "
            f"epochs take {cached:,} MACs a sample, {total / cached:.1f} times fewer."
        )
    return lines


def region_lines(plan: Plan) -> list[str]:
    """What a plan takes of each region of its board's memory; nothing where the board is not known."""
    if plan.board is None or not plan.board.name:
        return []
    total = sum(plan.traffic) or 1.0
    lines = [f"Board {plan.board.name}, {plan.board.title}; its memory from fast to slow:"]
    for index, region in enumerate(plan.board.regions):
        if index >= len(plan.regions):
            lines.append(f"  {region.name}: unused, {region.bytes:,} bytes.")
            continue
        use = plan.regions[index]
        lines.append(
            f"  {region.name}: {use.bytes:,} of {region.bytes:,} bytes ({use.persistent_bytes:,} of them trained "
            f"weights and accumulators), {100 * plan.traffic[index] / total:.1f} % of what a sample reads and writes."
        )
    return lines


def plan_text(plan: Plan, width: int = 120) -> str:
    """Summary and table as plain text."""
    table = Table(box=box.SIMPLE_HEAD, show_footer=False)
    costs = block_costs(plan)
    for index, column in enumerate(COLUMNS):
        table.add_column(column, justify="left" if index < 2 else "right", overflow="fold")
    for cost in costs:
        table.add_row(*cost.cells())
    table.add_section()
    table.add_row(*_total_cells(costs))
    stream = StringIO()
    console = Console(file=stream, width=width, color_system=None)
    for line in summary_lines(plan):
        console.print(line, highlight=False)
    console.print(table)
    return stream.getvalue()


def _total_cells(costs: list[BlockCost]) -> tuple[str, ...]:
    cells = total_cost(costs).cells()
    return ("all", "", *cells[2:])


def plan_markdown(plan: Plan) -> str:
    """Summary and table as Markdown."""
    costs = block_costs(plan)
    rows = [cost.cells() for cost in costs] + [_total_cells(costs)]
    lines = ["# Memory plan", ""]
    lines += [f"{line}\n" for line in summary_lines(plan)]
    lines.append("| " + " | ".join(COLUMNS) + " |")
    lines.append("|---|---|" + "---:|" * (len(COLUMNS) - 2))
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    lines += ["", "![Arena over time](plan.png)", ""]
    return "\n".join(lines)


def write_plan(plan: Plan, folder: Path) -> list[Path]:
    """Write ``plan.txt``, ``plan.md`` and ``plan.png`` into a folder; each appears whole or not at all.

    Raises:
        ExporterError: the folder cannot be written.
    """
    from exporter.arena_picture import arena_picture

    contents = {
        "plan.txt": plan_text(plan).encode(),
        "plan.md": plan_markdown(plan).encode(),
        "plan.png": arena_picture(plan),
    }
    paths = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in contents.items():
            path = folder / name
            temporary = folder / f".{name}.part"
            temporary.write_bytes(data)
            os.replace(temporary, path)
            paths.append(path)
    except OSError as error:
        raise ExporterError(
            f"cannot write the plan into {folder} ({error.strerror}); choose a folder with room "
            "and write permission"
        ) from error
    return paths
