"""The picture of days on duty: accuracy, fine-tunings, wakes and battery over time. Legible on a phone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from host.duty_link import KINDS
from host.duty_schedule import DAY_S
from host.protocol import messages as m
from host.tune_picture import AFTER, BEFORE, GRID, INK, TRAIN


def _times(events: Sequence[m.DutyEvent], kind: str, start_s: int) -> list[float]:
    return [(e.time_s - start_s) / DAY_S for e in events if KINDS[e.kind] == kind]


def draw(
    path: Path, metrics: Mapping[str, Any], events: Sequence[m.DutyEvent], start_s: int
) -> None:
    """Draws a complete run into a PNG, 1,080 by 1,500 pixels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 10), dpi=150, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    accuracy, what, battery = figure.subplots(3, 1, height_ratios=[1.7, 1.0, 1.0], sharex=True)
    figure.suptitle(
        f"{metrics['data']}: {metrics['days']:g} days on duty\n"
        f"training {', '.join(metrics['blocks'])}, {metrics['tunings']} fine-tunings on the board",
        fontsize=16,
        fontweight="bold",
        color=INK,
    )
    _accuracy(accuracy, metrics)
    _what_happened(what, metrics, events, start_s)
    _battery(battery, events, start_s)
    battery.set_xlabel("day (virtual time)")
    battery.set_xlim(0, metrics["days"])
    for axes in (accuracy, what, battery):
        axes.grid(color=GRID)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.label.set_size(14)
        axes.yaxis.label.set_size(14)
        axes.tick_params(labelsize=12)
    figure.savefig(path)


def _accuracy(axes: Any, metrics: Mapping[str, Any]) -> None:
    rows = metrics["per_day"]
    days = [row["day"] + 0.5 for row in rows]
    axes.plot(
        days, [100 * row["accuracy"] for row in rows], "o-", color=AFTER,
        label="each day's samples, as classified when taken",
    )  # fmt: skip
    ends = [0, metrics["days"]]
    tested = [100 * metrics["accuracy_before"], 100 * metrics["accuracy_after"]]
    axes.plot(
        ends, tested, "D", color=TRAIN, markersize=9, clip_on=False,
        label=f"{metrics['test_images']} test images, before and after",
    )  # fmt: skip
    for row in metrics["fine_tunings"]:
        axes.axvline(row["day"], color=BEFORE, linewidth=0.8, alpha=0.7)
    axes.set_ylabel("accuracy (%)")
    axes.set_ylim(0, 100)
    axes.legend(loc="lower right", fontsize=12)


def _what_happened(
    axes: Any, metrics: Mapping[str, Any], events: Sequence[m.DutyEvent], start_s: int
) -> None:
    rows = [
        ("wake", _times(events, "woke", start_s), INK),
        ("sample", _times(events, "sample", start_s), AFTER),
        ("label", _times(events, "label", start_s), AFTER),
        ("fine-tuning", _times(events, "committed", start_s), TRAIN),
        ("put off", _times(events, "skipped", start_s), BEFORE),
        ("failure", _times(events, "failed", start_s), "#cf222e"),
    ]
    shown = [row for row in rows if row[1] or row[0] != "failure"]
    for place, (_, times, colour) in enumerate(reversed(shown)):
        axes.plot(times, [place] * len(times), "|", color=colour, markersize=13)
    names = [f"{name} ({len(times):,})" for name, times, _ in reversed(shown)]
    axes.set_yticks(range(len(shown)), names)
    axes.set_ylim(-0.6, len(shown) - 0.4)
    axes.set_ylabel(f"{metrics['wakes']:,} wakes")


def _battery(axes: Any, events: Sequence[m.DutyEvent], start_s: int) -> None:
    known = [e for e in events if e.battery_mv]
    axes.plot(
        [(e.time_s - start_s) / DAY_S for e in known],
        [e.battery_mv / 1000 for e in known],
        color=INK,
        linewidth=1.2,
    )
    axes.set_ylabel("battery, replayed (V)")
