"""Picture of the arena: which tensor lies where while a training sample is worked on."""

from __future__ import annotations

from io import BytesIO
from itertools import accumulate

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from exporter.ops import Phase
from exporter.plan import Plan

KINDS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "weights": ("trained weights and biases", "#1f4e79", ("weights", "bias")),
    "accumulators": ("gradient accumulators", "#7ba7cc", ("accumulator", "row_exponents")),
    "saved": ("activations kept for the backward pass", "#2e8b57", ("saved",)),
    "recomputed": ("activations computed again", "#1fa187", ("recomputed",)),
    "activation": ("other activations", "#a9d8b8", ("activation",)),
    "mask": ("activation masks (1 bit)", "#f2c14e", ("mask",)),
    "error": ("errors (gradients of activations)", "#d1495b", ("error",)),
    "scratch": ("scratch", "#8d8d8d", ("scratch",)),
}
"""Kind to legend text, colour and the timeline roles it covers."""

PHASE_NAMES = {
    Phase.PREFIX: "frozen prefix",
    Phase.TAIL: "forward",
    Phase.BACKWARD: "backward",
}


def region_starts(plan: Plan) -> list[int]:
    """Where each region's bytes begin in the picture: one above the other."""
    return [0, *accumulate(use.bytes for use in plan.regions)][: len(plan.regions)]


def _name_regions(axes: Axes, plan: Plan) -> None:
    """Lines between the regions of a board, and their names inside, at the right."""
    if plan.board is None or len(plan.regions) == 1:
        return
    for start, region in zip(region_starts(plan), plan.board.regions, strict=False):
        if start:
            axes.axhline(start / 1024, color="black", linewidth=1.4)
        axes.annotate(
            region.name,
            (1.0, start / 1024),
            xycoords=("axes fraction", "data"),
            xytext=(-4, 3),
            textcoords="offset points",
            ha="right",
            va="bottom",
            fontsize=11,
            bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1.5},
        )


def _draw_rectangles(axes: Axes, plan: Plan) -> list[Patch]:
    """Draw every lifetime; returns the legend."""
    legend: list[Patch] = []
    starts = region_starts(plan)
    for text, colour, roles in KINDS.values():
        patches = [
            Rectangle(
                (life.birth, (starts[life.region] + life.offset) / 1024),
                life.death - life.birth + 1,
                life.size / 1024,
            )
            for life in plan.timeline
            if life.role in roles
        ]
        if patches:
            # Overlaid tensors (an output over its dying input) stay visible through each other.
            axes.add_collection(
                PatchCollection(
                    patches, facecolor=colour, edgecolor="white", linewidth=0.4, alpha=0.9
                )
            )
            legend.append(Patch(facecolor=colour, label=text))
    return legend


def _name_phase(axes: Axes, name: str, at: float, align: str) -> None:
    axes.annotate(
        name,
        (at, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(0, 4),
        textcoords="offset points",
        ha=align,
        va="bottom",
        fontsize=12,
    )


def _draw_phases(axes: Axes, plan: Plan) -> None:
    """Separate and name the three programs above the picture."""
    total = len(plan.program.ops)
    start = 0
    narrow: list[str] = []
    for phase in Phase:
        count = len(plan.program.phase(phase))
        if count == 0:
            continue
        if start:
            axes.axvline(start, color="black", linewidth=1.0, linestyle="--")
        if count < 0.16 * total:
            narrow.append(PHASE_NAMES[phase])
        else:
            _name_phase(axes, PHASE_NAMES[phase], start + count / 2, "center")
        start += count
    # Phases too short for a name of their own share one at the right; they come last.
    if narrow:
        _name_phase(axes, " | ".join(narrow), total, "right")


def arena_picture(plan: Plan) -> bytes:
    """PNG of the arena: operations from left to right, addresses in KiB from bottom to top, coloured by role."""
    part = plan.program.partition
    figure = Figure(figsize=(8, 9), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    legend = _draw_rectangles(axes, plan)
    _draw_phases(axes, plan)
    _name_regions(axes, plan)
    total_kib = plan.arena_bytes / 1024
    axes.axhline(total_kib, color="black", linewidth=1.0)
    axes.set_xlim(0, len(plan.program.ops))
    axes.set_ylim(0, total_kib * 1.02)
    axes.set_xlabel("operation of one training sample (index)", fontsize=13)
    axes.set_ylabel("address in the arena (KiB)", fontsize=13)
    axes.tick_params(labelsize=12)
    axes.spines[["top", "right"]].set_visible(False)
    updates = "sample" if plan.program.immediate else "batch"
    figure.suptitle(
        f"Arena of {part.graph.name}, training {', '.join(part.blocks)}\n"
        f"{total_kib:.1f} KiB, updates after every {updates}",
        fontsize=15,
    )
    figure.legend(handles=legend, loc="outside lower center", ncols=2, fontsize=11, frameon=False)
    stream = BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()
