"""The picture of a battery's life: where the charge goes, over time and in each what-if."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from energy.battery_model import (
    HOURS_A_YEAR,
    PARTS,
    SELF_DISCHARGE,
    Battery,
    Life,
)
from energy.errors import EnergyError

COLOURS = {
    "sleep": "#999999",
    "waking": "#56b4e9",
    "inference": "#009e73",
    "fine-tuning": "#d55e00",
    "commit": "#cc79a7",
    "radio": "#0072b2",
    SELF_DISCHARGE: "#e0e0e0",
}
_POINTS = 200


def draw(
    path: Path, battery: Battery, rows: Sequence[tuple[str, Life]], heading: str, subheading: str
) -> None:
    """`rows`: the plan first, then the what-ifs, each with its life. Writes the PNG `path`."""
    with mpl.rc_context({"font.size": 17, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(9.0, 17.0), dpi=120, layout="constrained")
        over_time, bars = figure.subplots(2, 1, height_ratios=[1.0, 1.75])
        layout = figure.get_layout_engine()
        if layout is not None:
            layout.set(rect=(0.0, 0.0, 1.0, 0.92))  # type: ignore[call-arg]
        figure.text(0.5, 0.99, heading, ha="center", va="top", fontsize=24, fontweight="bold")
        figure.text(0.5, 0.965, subheading, ha="center", va="top", fontsize=16, color="#555555")
        names = (*PARTS, SELF_DISCHARGE)
        shown = [n for n in names if any(life.charges_ah[n] > 0 for _, life in rows)]

        base = rows[0][1]
        hours = np.linspace(0.0, base.years * HOURS_A_YEAR, _POINTS)
        total_a = sum(base.currents.values())
        left = np.array([battery.left_ah(total_a, h) for h in hours])
        used = {n: base.currents[n] * hours for n in PARTS}
        used[SELF_DISCHARGE] = np.maximum(battery.usable_ah - left - total_a * hours, 0.0)
        over_time.stackplot(
            hours / HOURS_A_YEAR, [used[n] for n in shown], colors=[COLOURS[n] for n in shown]
        )
        over_time.set_xlim(0.0, base.years)
        over_time.set_ylim(0.0, battery.usable_ah * 1.02)
        over_time.set_title("Charge taken, as planned", loc="left")
        over_time.set_xlabel("Time (years, modelled)")
        over_time.set_ylabel("Charge (A h, modelled)")

        at = np.arange(len(rows))
        before = np.zeros(len(rows))
        for name in shown:
            share = np.array([100.0 * life.charges_ah[name] / _whole(life) for _, life in rows])
            bars.barh(at, share, left=before, color=COLOURS[name], height=0.78)
            before += share
        for row, (_, life) in enumerate(rows):
            bars.text(
                101.5,
                row,
                _years(life.years),
                va="center",
                fontweight="bold" if row == 0 else "normal",
            )
        bars.set_yticks(at, [name for name, _ in rows], fontsize=15)
        bars.invert_yaxis()
        bars.set_xlim(0.0, 122.0)
        bars.set_xticks([0, 25, 50, 75, 100])
        bars.set_title("Where the charge goes, and life", loc="left")
        bars.set_xlabel("Share of the battery's charge (%, modelled)")
        handles = [Patch(color=COLOURS[n], label=n) for n in shown]
        figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
        temporary = path.with_name(f".{path.name}.part")
        try:
            figure.savefig(temporary, format="png", metadata={"Description": "kind=modelled"})
            temporary.replace(path)
        except OSError as exc:
            temporary.unlink(missing_ok=True)
            raise EnergyError(
                f"cannot write {path} ({exc.strerror or exc}); check the folder and its free space"
            ) from exc


def _whole(life: Life) -> float:
    return sum(life.charges_ah.values())


def _years(years: float) -> str:
    return f"{years:.1f} y" if years >= 1 else f"{years * 365.25:.0f} d"
