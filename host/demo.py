"""`make demo`: exports a network, fine-tunes its last layer on this computer's firmware, and records
the energy that a board would take; with the bundled checkpoint and images only."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from energy.board import load_board
from energy.capture import capture
from energy.page import PAGE
from host.cli import progress_bars, run_command
from host.exporting import export_model
from host.transport import DEFAULT_PORT
from host.tune import result_table
from host.tuning import METRICS, PICTURE

EXPORT = Path("build") / "demo"
BOARD = "terracorder"
EMULATED, FEW = "qemu://", 48


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--port",
    default=DEFAULT_PORT,
    show_default=True,
    help="The board, such as qemu://lx7 for an emulated one.",
)
@click.option("--epochs", type=click.IntRange(min=1), default=10, show_default=True)
@click.option(
    "--train-images",
    type=click.IntRange(min=1),
    help="[default: 1000; 48 on an emulated CPU, which takes a second or so an image]",
)
@click.option(
    "--test-images", type=click.IntRange(min=1), help="[default: all; 48 on an emulated CPU]"
)
@click.option("--seed", type=click.IntRange(0, 0xFFFFFFFF), default=0, show_default=True)
def main(
    port: str, epochs: int, train_images: int | None, test_images: int | None, seed: int
) -> None:
    """Show the whole tool on this computer: export, fine-tune, energy.

    The labels of CIFAR-10 are turned round (k becomes 9 - k), which the trained network gets all
    wrong; training its last layer in int8, as a board would, teaches it the new ones.
    """
    console = Console()
    started = time.monotonic()
    if port.startswith(EMULATED):
        train_images, test_images = train_images or FEW, test_images or FEW
    console.rule("1  Export: a ResNet-26 in int8, its last layer trainable")
    with progress_bars(console) as report:
        result = export_model(
            shift="output",
            out=EXPORT,
            progress=lambda what, done, total: report(done, total, what),
        )
    console.print(f"{result.artifact}: {result.plan.arena_bytes:,} bytes of arena on the board")
    console.rule("2  Fine-tune on the firmware, with the current it takes")
    options = (
        *("--artifact", str(EXPORT), "--data", "cifar-flip", "--data-source", "sample"),
        *("--epochs", str(epochs), "--train-images", str(train_images or 1000)),
        *(("--test-images", str(test_images)) if test_images else ()),
        *("--seed", str(seed)),
    )
    energy = capture(port, load_board(BOARD), options).summary
    console.rule("3  Result")
    session: Any = energy["session"]
    folder = Path(session["run_dir"])
    metrics = json.loads((folder / METRICS).read_text(encoding="utf-8"))
    console.print(_table(metrics, energy))
    console.print(f"Picture of the training: {folder / PICTURE}", soft_wrap=True)
    console.print(f"Picture of the energy:   {folder / 'energy.png'}", soft_wrap=True)
    console.print(f"Report to look at:       {folder / PAGE}", soft_wrap=True)
    console.print(f"The demo took {time.monotonic() - started:.0f} s.")


def _table(metrics: dict[str, Any], energy: dict[str, Any]) -> Table:
    """The result of `host.tune` with the energy below."""
    table = result_table(metrics)
    step_j = energy.get("energy_per_training_step_j")
    if isinstance(step_j, int | float):
        title = str(energy["board"]["title"]) if isinstance(energy.get("board"), dict) else BOARD
        table.add_row("energy per image and epoch (modelled)", f"{1e3 * step_j:.3g} mJ")
        table.add_row("modelled for", title.split(" (")[0])
    return table


if __name__ == "__main__":
    run_command(main)
