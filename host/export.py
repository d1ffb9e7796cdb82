"""``python -m host.export``: quantize a checkpoint, choose what is trained, and write the files for board and user."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from exporter.board import board_names
from exporter.checkpoint_write import store_calibration
from exporter.errors import ExporterError
from exporter.frontends import load_graph
from exporter.partition import SHIFTS
from exporter.plan import MODES, RECOMPUTE
from host.cli import run_command
from host.errors import HostError
from host.exporting import ExportResult, export_model
from host.quantizing import DEFAULT_CHECKPOINT, Images, calibration_beside, find_ranges
from host.quantizing import Progress as Report

__all__ = ["ExportResult", "export_model", "main"]

EPILOG = """\b
Examples:
  python -m host.export --shift output
  python -m host.export --blocks block1,block3,fc --out build/export/mixed
  python -m host.export --blocks all --mode immediate
  python -m host.export --shift input --board esp32
  python -m host.export --shift input --checkpoint mine.pt --calibration train.npz
"""


@contextmanager
def progress_bars(console: Console) -> Iterator[Report]:
    """A bar for each step that is reported."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bars:
        tasks: dict[str, TaskID] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done)

        yield report


def summary_table(result: ExportResult) -> Table:
    """What was written, for people."""
    table = Table(title=f"{result.graph.name}: training {', '.join(result.blocks)} ({result.mode})")
    table.add_column("file")
    table.add_column("bytes", justify="right")
    for name in (*result.files, "export.json"):
        table.add_row(name, f"{(result.folder / name).stat().st_size:,}")
    return table


def test_images(count: int, data_dir: Path | None) -> Images:
    """The first ``count`` CIFAR-10 test images."""
    from host.datasets.cifar10 import load_cifar10

    data = load_cifar10("test", data_dir)
    return Images(data.images[:count], data.labels[:count], data.source)


@click.command(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--shift",
    type=click.Choice(sorted(SHIFTS)),
    help="What changed in the data: how the world looks to the sensor (input), the subpopulation "
    "(feature), or what the labels mean (output). Chooses the block to train.",
)
@click.option(
    "--blocks",
    help="Blocks to train instead, separated by commas (block1,block2,block3,fc), or 'all'.",
)
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    default=DEFAULT_CHECKPOINT,
    help="Trained network: .safetensors, .pt or .pth.  [default: the bundled ResNet-26 for CIFAR-10]",
)
@click.option(
    "--calibration",
    type=click.Path(path_type=Path),
    help="Training images to choose int8 ranges with: .npz with 'images' (uint8 [N, 32, 32, 3]).  "
    "[default: what comes with the checkpoint]",
)
@click.option(
    "--mode",
    type=click.Choice(MODES),
    default="accumulate",
    show_default=True,
    help="Sum gradients over a batch, update at once after each image, or the first if it fits.",
)
@click.option(
    "--board",
    metavar="NAME",
    help="Board to plan for: places tensors in its fast and slow memory and refuses what does not fit. "
    f"One of {', '.join(board_names())}.",
)
@click.option(
    "--arena",
    type=click.IntRange(min=1),
    metavar="BYTES",
    help="Memory of the board's arena, for boards that --board does not know.",
)
@click.option(
    "--recompute",
    type=click.Choice(RECOMPUTE),
    default="auto",
    show_default=True,
    help="Compute activations again in the backward pass instead of keeping them: if memory is short, never, or "
    "for the smallest arena. The trained weights are the same to the bit.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder to write.  [default: build/export/<checkpoint>-<blocks>]",
)
@click.option(
    "--evaluate",
    type=click.IntRange(min=1),
    metavar="N",
    help="Also measure float32 and int8 accuracy on N CIFAR-10 test images (slow, in NumPy).",
)
@click.option(
    "--data-dir", type=click.Path(path_type=Path), help="Folder of data sets for --evaluate."
)
@click.option(
    "--store-calibration",
    is_flag=True,
    help="Measure int8 ranges, write them into the checkpoint (.safetensors) and stop.",
)
def main(
    shift: str | None,
    blocks: str | None,
    checkpoint: Path,
    calibration: Path | None,
    mode: str,
    board: str | None,
    arena: int | None,
    recompute: str,
    out: Path | None,
    evaluate: int | None,
    data_dir: Path | None,
    store_calibration: bool,
) -> None:
    """Make the files that put a network on a board: int8 model, memory plan, .tflite and .onnx.

    Blocks that are not named stay frozen. The folder holds model.tbfa (for the board), model.tflite and model.onnx (the whole
    int8 network), frozen*.tflite (what is not trained), plan.txt and plan.png (memory and work per block) and export.json.
    """
    console = Console(stderr=True)
    try:
        if store_calibration:
            with progress_bars(console) as report:
                _store(checkpoint, calibration, report)
            console.print(f"int8 ranges written into {checkpoint}")
            return
        if (shift is None) == (blocks is None):
            raise click.UsageError("give one of --shift and --blocks, for example: --shift output")
        test = test_images(evaluate, data_dir) if evaluate else None
        with progress_bars(console) as report:
            result = export_model(
                shift=shift, blocks=blocks, checkpoint=checkpoint, calibration=calibration, mode=mode,
                arena_limit_bytes=arena, board=board, recompute=recompute, out=out, evaluate=test, progress=report,
            )  # fmt: skip
    except (ExporterError, HostError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        click.echo("stopped; nothing was written", err=True)
        sys.exit(130)
    output = Console()
    output.print(summary_table(result))
    output.print(
        f"arena {result.plan.arena_bytes:,} bytes, flash {result.plan.flash_bytes:,} bytes"
    )
    for key in ("accuracy_float32", "accuracy_int8"):
        if key in result.summary:
            output.print(
                f"{key} {100 * result.summary[key]:.2f} % on {result.summary['test_images']} images"
            )
    click.echo(f"written to {result.folder}")


def _store(checkpoint_path: Path, calibration: Path | None, report: Report) -> None:
    graph, checkpoint = load_graph(checkpoint_path)
    images = calibration or calibration_beside(checkpoint)
    if images is None:
        raise ExporterError(
            f"no calibration images lie beside {checkpoint_path}; give training images as .npz with "
            "--calibration"
        )
    store_calibration(checkpoint_path, find_ranges(graph, checkpoint, images, report))


if __name__ == "__main__":
    run_command(main)
