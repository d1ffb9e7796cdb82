"""The picture of a run: accuracy before and after, accuracy and loss per epoch. Legible on a phone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

BEFORE, AFTER, TRAIN = "#9aa5b1", "#1f6feb", "#f0883e"
INK, GRID = "#24292f", "#d8dee4"


def draw(path: Path, metrics: Mapping[str, Any]) -> None:
    """Draws the metrics of a complete run into a PNG, 1,080 by 1,500 pixels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 10), dpi=150, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    bars, accuracy, loss = figure.subplots(3, 1, height_ratios=[1.0, 1.6, 1.3])
    blocks = ", ".join(metrics["blocks"])
    figure.suptitle(
        f"{metrics['data']}: training {blocks}\n"
        f"{metrics['train_images']:,} images, {metrics['epochs']} epochs, int8, "
        f"{metrics['arena_bytes'] / 1000:.0f} kB arena",
        fontsize=16,
        fontweight="bold",
        color=INK,
    )
    _bars(bars, 100 * metrics["accuracy_before"], 100 * metrics["accuracy_after"])
    bars.set_xlabel(f"accuracy on {metrics['test_images']:,} test images (%)")
    _curves(accuracy, loss, metrics)
    for axes in (bars, accuracy, loss):
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.label.set_size(14)
        axes.yaxis.label.set_size(14)
        axes.tick_params(labelsize=13)
    figure.savefig(path)


def _bars(axes: Any, before: float, after: float) -> None:
    axes.barh(["after", "before"], [after, before], color=[AFTER, BEFORE], height=0.62)
    for place, value in enumerate((after, before)):
        inside = value > 25
        axes.text(
            value - 1 if inside else value + 1,
            place,
            f"{value:.1f} %",
            va="center",
            ha="right" if inside else "left",
            fontsize=17,
            fontweight="bold",
            color="white" if inside else INK,
        )
    axes.set_xlim(0, 100)


def _curves(accuracy: Any, loss: Any, metrics: Mapping[str, Any]) -> None:
    rows = metrics["per_epoch"]
    epochs = range(1, len(rows) + 1)
    train = [100 * row["train_accuracy"] for row in rows]
    accuracy.plot(epochs, train, "o-", color=TRAIN, label="training images, before each update")
    tested = [(0, 100 * metrics["accuracy_before"])]
    tested += [
        (epoch, 100 * row["test_accuracy"])
        for epoch, row in zip(epochs, rows, strict=True)
        if "test_accuracy" in row
    ]
    style = "o-" if len(tested) > 2 else "o--"
    accuracy.plot(*zip(*tested, strict=True), style, color=AFTER, label="test images")
    accuracy.set_ylabel("accuracy (%)")
    accuracy.set_ylim(0, 100)
    accuracy.legend(loc="lower right", fontsize=13, frameon=False)
    loss.plot(epochs, [row["loss"] for row in rows], "o-", color=TRAIN)
    loss.set_ylabel("training loss (nats)")
    loss.set_xlabel("epoch")
    loss.set_ylim(bottom=0)
    for axes in (accuracy, loss):
        axes.grid(color=GRID)
        axes.set_xlim(-0.2, max(1, len(rows)) + 0.2)
        axes.xaxis.get_major_locator().set_params(integer=True)
