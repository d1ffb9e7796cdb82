"""The tables of `make bench-boards`."""

from __future__ import annotations

import math

from rich.table import Table

from host.bench.boards_bars import ANCHORS, BARS, DIRECTIONS, LAYERS, Kernels, Step
from host.bench.boards_timing import load_core

CONVOLUTIONS = (
    "3-16-32x32",
    "16-16-32x32",
    "16-32-32x32-s2",
    "32-32-16x16",
    "32-64-16x16-s2",
    "64-64-8x8",
    "fc",
)
STAGES = ("32x32x16", "16x16x32", "8x8x64")
ROWS = ("row-16", "row-32", "row-64")


def _number(value: float, digits: int = 2) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "–"


def bar_table(kernels: Kernels) -> Table:
    """The layers with bars: fast form, bar, cycles, the other forms, float32, anchor."""
    core = load_core(kernels.board)
    title = (
        f"{kernels.board} ({core.name}): 3×3 int8 convolution, instructions per multiply-accumulate"
    )
    table = Table(title=title, title_justify="left")
    table.add_column("kernel")
    for heading in ("layer", "errors", "fast", "bar", "", "cycles ~", "portable", "plain"):
        table.add_column(
            heading,
            justify="right" if heading in ("fast", "cycles ~", "portable", "plain") else "left",
        )
    for heading in ("fp32", "fp32 cycles ~", "speed-up ~", "anchor"):
        table.add_column(heading, justify="right")
    anchors = ANCHORS.get(kernels.board)
    for direction, words in DIRECTIONS.items():
        for number, (layer, title) in enumerate(LAYERS.items()):
            bars = BARS.get(kernels.board, {}).get(direction)
            for form in ("fast", "fast-wide"):
                prefix = f"{layer}/{direction}"
                value = kernels.per_unit(f"{prefix}/{form}")
                if math.isnan(value):
                    continue
                cycles = kernels.cycles_per_unit(f"{prefix}/{form}")
                fp32_cycles = kernels.cycles_per_unit(f"{prefix}/fp32")
                bar = bars[number] if bars else math.nan
                mark = (
                    ""
                    if bars is None
                    else "[green]reached[/]"
                    if value <= bar
                    else "[bold red]missed[/]"
                )
                wide = form.endswith("wide")
                table.add_row(
                    words,
                    title,
                    "" if direction == "forward" else "int16" if wide else "int8",
                    _number(value),
                    f"≤ {bar:g}" if bars else "–",
                    mark,
                    _number(cycles),
                    _number(kernels.per_unit(f"{prefix}/{form.replace('fast', 'portable')}")),
                    _number(kernels.per_unit(f"{prefix}/plain")),
                    _number(kernels.per_unit(f"{prefix}/fp32")),
                    _number(fp32_cycles),
                    f"{_number(fp32_cycles / cycles, 1)}×",
                    f"{anchors[0][number]:g}" if anchors and direction == "forward" else "",
                )
    if anchors:
        table.caption = f"anchor: {anchors[1]}"
    return table


def layer_table(kernels: Kernels) -> Table:
    """Every convolution of the network: instructions per multiply-accumulate, fast form."""
    title = (
        f"{kernels.board}: every layer, fast form, instructions per multiply-accumulate (cycles ~)"
    )
    table = Table(title=title, title_justify="left")
    table.add_column("layer")
    columns = (
        ("forward", "forward/fast"),
        ("input gradient", "input/fast"),
        ("of int16 errors", "input/fast-wide"),
        ("weight gradient", "weight/fast"),
        ("of int16 errors", "weight/fast-wide"),
    )
    for heading, _ in columns:
        table.add_column(heading, justify="right")
    for layer in CONVOLUTIONS:
        cells = []
        for _, what in columns:
            value = kernels.per_unit(f"{layer}/{what}")
            cycles = kernels.cycles_per_unit(f"{layer}/{what}")
            cells.append("–" if math.isnan(value) else f"{value:.2f} ({_number(cycles)})")
        table.add_row(layer, *cells)
    return table


def element_table(kernels: Kernels) -> Table:
    """What is not a convolution: instructions per element."""
    title = f"{kernels.board}: other kernels, fast form, instructions per element (cycles ~)"
    table = Table(title=title, title_justify="left")
    table.add_column("kernel")
    for stage, row in zip(STAGES, ROWS, strict=True):
        table.add_column(f"{stage} or {row}", justify="right")
    names = dict.fromkeys(
        name.partition("/")[2]
        for name in kernels.counts
        if name.partition("/")[0] in (*STAGES, *ROWS) and name.split("/")[-1].startswith("fast")
    )
    for what in names:
        groups = STAGES if f"{STAGES[0]}/{what}" in kernels.counts else ROWS
        cells = [
            f"{kernels.per_unit(f'{g}/{what}'):.1f} ({_number(kernels.cycles_per_unit(f'{g}/{what}'), 1)})"
            for g in groups
        ]
        table.add_row(what.replace("/fast-wide", ", int16 errors").replace("/fast", ""), *cells)
    return table


def step_table(steps: list[Step]) -> Table:
    """Training steps: millions of instructions by phase."""
    title = "Training step of two samples, millions of instructions (cycles ~)"
    table = Table(title=title, title_justify="left")
    table.add_column("board")
    table.add_column("trained")
    phases = list(dict.fromkeys(phase for step in steps for phase in step.phases))
    for phase in (*phases, "all"):
        table.add_column(phase, justify="right")
    for step in steps:
        cells = []
        for phase in phases:
            count = step.phases.get(phase)
            cycles = step.cycles.get(phase, math.nan)
            cells.append(
                "–" if count is None else f"{count / 1e6:.1f} ({_number(cycles / 1e6, 1)})"
            )
        total = sum(step.cycles.values()) if step.cycles else math.nan
        cells.append(f"{sum(step.phases.values()) / 1e6:.1f} ({_number(total / 1e6, 1)})")
        table.add_row(step.board, step.blocks, *cells)
    return table
