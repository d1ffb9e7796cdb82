"""What a comparison looks like: a table, a picture, and the object for `compare.json`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure
from rich import box
from rich.table import Table

from energy.comparison import FULL, Outcome
from energy.errors import TraceError
from energy.units import duration, si

FORMAT = "tbft-compare-1"
_TARGET, _OTHER, _FULL = "#d55e00", "#56b4e9", "#999999"


def table(outcomes: Sequence[Outcome], kind: str, title: str) -> Table:
    """One row a method: accuracy, energy, time, `ES` with its interval, memory, the paper's `ES`."""
    out = Table(title=title, title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    out.add_column("trained", no_wrap=True)
    for heading in ("accuracy", "energy", "time", "ES", "interval", "paper", "memory"):
        out.add_column(heading, justify="right", no_wrap=True)
    for o in outcomes:
        name = f"{o.blocks} *" if o.target else "all (full)" if o.blocks == FULL else o.blocks
        out.add_row(
            name,
            f"{100 * o.accuracy_after:.2f} %",
            si(o.energy_j, "J"),
            duration(o.duration_s),
            *savings(o),
            "–" if o.paper_es is None else f"{100 * o.paper_es:.1f} %",
            f"{o.arena_bytes / 1024:.0f} KiB",
            style="bold" if o.target else "",
        )
    out.caption = f"* the target block; energy, time and ES are {kind}"
    return out


def savings(o: Outcome) -> tuple[str, str]:
    """`ES` in percent and its interval; en dashes for full fine-tuning."""
    if o.es is None or o.es_low is None or o.es_high is None:
        return "–", "–"
    return f"{100 * o.es:.1f} %", f"{100 * o.es_low:.1f} … {100 * o.es_high:.1f}"


def write_json(
    path: Path, outcomes: Sequence[Outcome], *, kind: str, shift: str, facts: dict[str, object]
) -> None:
    """Write `compare.json` whole: facts of the comparison and one object a method."""
    document = {
        "format": FORMAT,
        "kind": kind,
        "shift": shift,
        **facts,
        "methods": [
            {**asdict(o), "name": "full" if o.blocks == FULL else o.blocks, "kind": kind}
            for o in outcomes
        ],
    }
    temporary = path.with_name(f".{path.name}.part")
    try:
        temporary.write_text(
            json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8"
        )
        temporary.replace(path)
    except OSError as exc:
        temporary.unlink(missing_ok=True)
        raise TraceError(
            f"cannot write {path} ({exc.strerror or exc}); check the folder and its free space"
        ) from exc


def draw(path: Path, outcomes: Sequence[Outcome], kind: str, heading: str) -> None:
    """Accuracy against energy, and the energy saved by each method, as a PNG for a phone."""
    with mpl.rc_context({"font.size": 17, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(9.0, 12.0), dpi=120, layout="constrained")
        figure.suptitle(heading, fontsize=20, fontweight="bold")
        plane, bars = figure.subplots(2, 1, height_ratios=[1.3, 1.0])
        for o in outcomes:
            colour = _TARGET if o.target else _FULL if o.blocks == FULL else _OTHER
            low, high = o.energy_j - o.energy_low_j, o.energy_high_j - o.energy_j
            plane.errorbar(
                o.energy_j, 100 * o.accuracy_after, xerr=[[max(0.0, low)], [max(0.0, high)]],
                fmt="o", markersize=13, color=colour, ecolor="#cccccc", capsize=4,
            )  # fmt: skip
            plane.annotate(
                o.blocks,
                (o.energy_j, 100 * o.accuracy_after),
                xytext=(8, 10),
                textcoords="offset points",
            )
        plane.axhline(100 * outcomes[0].accuracy_before, color="#999999", linestyle=":")
        plane.annotate(
            "before", (1.0, 100 * outcomes[0].accuracy_before), xycoords=("axes fraction", "data"),
            xytext=(-4, 4), textcoords="offset points", ha="right", color="#777777",
        )  # fmt: skip
        plane.set_xscale("log")
        plane.set_xlabel(f"energy of fine-tuning, {kind} (J)")
        plane.set_ylabel("accuracy after (%)")
        saved = [o for o in outcomes if o.es is not None]
        for k, o in enumerate(saved):
            assert o.es is not None and o.es_low is not None and o.es_high is not None
            spread = [[100 * (o.es - o.es_low)], [100 * (o.es_high - o.es)]]
            bars.bar(
                k - 0.2, 100 * o.es, 0.4, yerr=spread, capsize=4, ecolor="#555555",
                color=_TARGET if o.target else _OTHER, label=f"here, {kind}" if k == 0 else None,
            )  # fmt: skip
            bars.bar(
                k + 0.2, 100 * (o.paper_es or 0.0), 0.4, color="#cccccc",
                label="paper, Raspberry Pi" if k == 0 else None,
            )  # fmt: skip
        bars.set_xticks(range(len(saved)), [o.blocks for o in saved])
        bars.set_ylabel("energy saved, ES (%)")
        bars.axhline(0, color="#333333", linewidth=1)
        bars.legend(frameon=False, fontsize=14)
        temporary = path.with_name(f".{path.name}.part")
        try:
            figure.savefig(temporary, format="png")
            temporary.replace(path)
        except OSError as exc:
            temporary.unlink(missing_ok=True)
            raise TraceError(
                f"cannot write {path} ({exc.strerror or exc}); check the folder and its free space"
            ) from exc
