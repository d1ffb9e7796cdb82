"""The summary as a terminal shows it; every heading carries `modelled` or `measured`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from energy.units import duration, si

_GROUPS = {"fine_tuning": "fine-tuning", "evaluation": "evaluation", "other": "other"}


def render(summary: Mapping[str, Any]) -> RenderableType:
    """A table per phase and group, and sentences on what the figures are worth: 80 columns."""
    kind = summary["kind"]
    table = Table(
        title=f"Energy per phase ({kind}, {summary['board']['name']})",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("phase", no_wrap=True)
    for heading in (f"energy\n({kind})", "range", "time\non board", "mean", "spans"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, figures in summary["phases"].items():
        table.add_row(name.replace("_", " "), *_cells(figures))
    table.add_section()
    for name, label in _GROUPS.items():
        if summary["groups"][name]["count"]:
            table.add_row(label, *_cells(summary["groups"][name]))
    table.add_row("total", *_cells(summary["total"]), style="bold")
    return Group(table, *(Text(line) for line in sentences(summary)))


def _cells(figures: Mapping[str, Any]) -> list[str]:
    low_j, high_j = figures["energy_range_j"]
    known = low_j is not None and high_j is not None and low_j < high_j
    return [
        si(figures["energy_j"], "J"),
        f"{si(low_j, 'J')} … {si(high_j, 'J')}" if known else "",
        duration(figures["duration_s"]),
        si(figures["mean_a"], "A") if figures["duration_s"] > 0 else "–",
        f"{figures['count']:,}",
    ]


def sentences(summary: Mapping[str, Any]) -> list[str]:
    """What to know besides the table, a line each."""
    kind, trace, total = summary["kind"], summary["trace"], summary["total"]
    lines = []
    step_j = summary["energy_per_training_step_j"]
    if step_j is not None:
        lines.append(
            f"Fine-tuning took {si(step_j, 'J')} per training sample and epoch ({kind}; "
            f"{summary['training_steps']:,} of them)."
        )
    lines += _measured(summary) if kind == "measured" else _cross_check(trace, total)
    if kind == "modelled":
        assumed = sum(entry["assumed"] for entry in summary["board"]["quantities"].values())
        lines.append(
            f"All of this is modelled for {summary['board']['title']}, not measured: work reported "
            f"by the firmware times costs and currents, {assumed} of "
            f"{len(summary['board']['quantities'])} of which are assumptions (energy.json says "
            "which and why)."
        )
    if summary["events_lost"]:
        lines.append(
            f"{summary['events_lost']:,} phase events were lost between board and host: their work "
            "is missing, so every energy here is a lower bound. Repeat the capture."
        )
    elif not summary["complete"]:
        lines.append("The session did not run to its end: these are the figures up to there.")
    return lines


def _cross_check(trace: Mapping[str, Any], total: Mapping[str, Any]) -> list[str]:
    """The model's trace against the sum over its spans."""
    from_trace = total["from_trace"]
    if from_trace["energy_j"] is None:
        return [
            f"{from_trace['invalid_windows']:,} windows touch a gap of the trace and are invalid: "
            "their energy cannot be told from the trace."
        ]
    if not total["energy_j"] > 0:
        return []
    apart = abs(from_trace["energy_j"] - total["energy_j"]) / total["energy_j"]
    hidden = from_trace["sampling_uncertainty_j"] / total["energy_j"]
    coarse = from_trace["coarse_windows"]
    return [
        f"The recorded trace ({si(trace['rate_hz'], 'S/s')}, {trace['samples']:,} samples) "
        f"integrates to {si(from_trace['energy_j'], 'J')}, {100 * apart:.2g} % apart from the "
        f"sum over the spans; sampling can hide up to {100 * hidden:.2g} %"
        + (f" ({coarse:,} windows are shorter than two samples)." if coarse else ".")
    ]


def _measured(summary: Mapping[str, Any]) -> list[str]:
    """What a measured run's figures are worth."""
    trace, total, alignment = summary["trace"], summary["total"], summary["alignment"]
    accuracy, from_trace = summary["accuracy"], total["from_trace"]
    how = {
        "trigger": f"by {alignment['edges_matched']:,} of {alignment['edges_expected']:,} trigger "
        f"edges, drift {alignment['drift_ppm']:+.1f} ppm",
        "given": "the samples carry the board's own times",
        "host_arrival": alignment["note"],
    }[alignment["method"]]
    word = "within" if alignment["error_is_bound"] else "to about"
    lines = [
        f"Measured with {summary['probe']} at {si(trace['rate_hz'], 'S/s')}, {trace['samples']:,} "
        f"samples; the board's clock is aligned {word} {si(alignment['error_s'], 's')} ({how}).",
        f"Range: gain {100 * accuracy['gain_error']:.2g} %, offset {si(accuracy['offset_a'], 'A')} "
        f"({accuracy['source'] or 'no source given'}), sampling and alignment.",
    ]
    if summary["idle"]:
        lines.append(
            f"Idle takes {si(summary['idle']['power_w'], 'W')}; above it the phases took "
            f"{si(total['above_idle_j'], 'J')}."
        )
    if from_trace["invalid_windows"]:
        filled = from_trace["estimated"]
        lines.append(
            f"{from_trace['invalid_windows']:,} windows ({si(from_trace['invalid_s'], 's')}) touch a "
            "gap or a sample over range and are invalid: "
            + (
                "sums take the mean of their phase for them, the ranges cover it."
                if filled
                else "sums with them cannot be told (–)."
            )
        )
    return lines
