"""``python -m host.pretrain``: train ResNet-26 in PyTorch and write the checkpoint that ``host.export`` reads.

Training is resumable: after every epoch the whole state lies in ``RUN/state.pt``, and the same command
continues from there.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors import SafetensorError
from safetensors.torch import load_file

from exporter.errors import ExporterError
from exporter.model import ResNet26, load_resnet26
from host.cli import run_command
from host.errors import HostError
from host.pretrain_tasks import TASKS, PretrainTask, load_pretrain_task
from host.pretrained_files import TrainedResult, store_ranges, write_calibration, write_checkpoint
from host.pretraining import Recipe, Trainer, evaluate


def start_from(model: ResNet26, path: Path) -> None:
    """Copy every tensor but the classifier's from the checkpoint ``path`` (safetensors) into ``model``.

    Raises:
        HostError: the file is missing, damaged or of another network.
    """
    try:
        state = load_file(path)
        kept = {
            k: v for k, v in load_resnet26(state).state_dict().items() if not k.startswith("fc.")
        }
    except (OSError, SafetensorError, ExporterError) as error:
        raise HostError(
            f"{path} cannot be used to start from ({error}), expected a ResNet-26 checkpoint (.safetensors); name "
            "another with --init, or leave it out"
        ) from error
    model.load_state_dict(kept, strict=False)


def run(
    task: PretrainTask,
    recipe: Recipe,
    run_dir: Path,
    output: Path,
    command: str,
    compile_step: bool,
    evaluate_every: int,
    console: Console,
    init: Path | None = None,
) -> float:
    """Train to the end of the recipe and write checkpoint, card and calibration file; test accuracy (fraction).

    With ``init`` everything but the classifier starts from that checkpoint.

    Raises:
        HostError: the training state on disk does not fit, or the loss diverged.
    """
    torch.manual_seed(recipe.seed)
    model = ResNet26(num_classes=len(task.train.classes))
    start = ""
    if init is not None:
        start_from(model, init)
        start = f"`{init.name}` without its classifier"
    trainer = Trainer(
        model,
        task.train.images,
        task.train.labels,
        recipe,
        task.augment,
        run_dir / "state.pt",
        compile_step,
    )
    if trainer.resume():
        console.print(f"continuing {run_dir} after epoch {trainer.epoch}")
    log = run_dir / "log.csv"
    run_dir.mkdir(parents=True, exist_ok=True)
    if not log.exists():
        log.write_text("epoch,loss,train_accuracy,test_accuracy,seconds\n", encoding="ascii")

    def ship(epoch: int) -> float:
        ema = load_resnet26(trainer.ema)
        accuracy = evaluate(ema, task.test.images, task.test.labels)
        raw = (
            evaluate(model, task.test.images, task.test.labels) if epoch == recipe.epochs else None
        )
        result = TrainedResult(task, recipe, epoch, accuracy, raw, command, start)
        write_checkpoint(output, trainer.ema, result)
        return accuracy

    accuracy = 0.0
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("training", total=recipe.epochs * trainer.steps_per_epoch)
        progress.update(bar, completed=trainer.epoch * trainer.steps_per_epoch)
        while trainer.epoch < recipe.epochs:
            started = time.monotonic()
            loss, train_accuracy = trainer.train_epoch(lambda: progress.advance(bar))
            seconds = time.monotonic() - started
            test = ""
            if trainer.epoch % evaluate_every == 0 or trainer.epoch == recipe.epochs:
                accuracy = ship(trainer.epoch)
                test = f"{accuracy:.4f}"
            with log.open("a", encoding="ascii") as file:
                file.write(
                    f"{trainer.epoch},{loss:.4f},{train_accuracy:.4f},{test},{seconds:.1f}\n"
                )
            console.print(
                f"epoch {trainer.epoch}/{recipe.epochs} loss {loss:.4f} train {train_accuracy:.4f}"
                f"{' test ' + test if test else ''} ({seconds:.0f} s)"
            )
    if not accuracy:
        accuracy = ship(trainer.epoch)
    store_ranges(output, task)
    if task.ship_calibration_images:
        write_calibration(output.parent / f"calibration-{task.name}.npz", task)
    return accuracy


def _finite(
    _context: click.Context, _parameter: click.Parameter, value: float | None
) -> float | None:
    if value is not None and not value < 1e6:  # nan and inf among them
        raise click.BadParameter(f"{value} is not a positive number below a million")
    return value


@click.command(context_settings={"show_default": True, "help_option_names": ["-h", "--help"]})
@click.option(
    "--data", type=click.Choice(sorted(TASKS)), default="cifar10", help="What to train on."
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=None,
    help="Folder that holds the data set.",
)
@click.option(
    "--epochs",
    type=click.IntRange(1),
    default=None,
    help="Passes over the data [default: by data set].",
)
@click.option(
    "--lr",
    type=click.FloatRange(0, min_open=True),
    default=None,
    callback=_finite,
    help="Peak learning rate.",
)
@click.option("--seed", type=int, default=1, help="Seed of initialisation, order and augmentation.")
@click.option(
    "--run",
    "run_dir",
    type=click.Path(path_type=Path),
    default=None,
    help="Folder of state and log.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=None,
    help="Checkpoint to write (.safetensors).",
)
@click.option(
    "--init",
    type=click.Path(path_type=Path),
    default=None,
    help="Checkpoint to start from, without its fc.",
)
@click.option("--threads", type=click.IntRange(1), default=None, help="CPU threads [default: all].")
@click.option(
    "--compile/--no-compile",
    "compile_step",
    default=False,
    help="Use torch.compile (needs a C++ compiler).",
)
@click.option(
    "--evaluate-every", type=click.IntRange(1), default=10, help="Epochs between test evaluations."
)
def main(
    data: str,
    data_dir: Path | None,
    epochs: int | None,
    lr: float | None,
    seed: int,
    run_dir: Path | None,
    out: Path | None,
    init: Path | None,
    threads: int | None,
    compile_step: bool,
    evaluate_every: int,
) -> None:
    """Train ResNet-26 and write a checkpoint for host.export.

    About 1.3 minutes an epoch for CIFAR-10 on two CPU cores (bfloat16). Stop with Ctrl-C whenever you like: the same
    command continues after the last finished epoch.
    """
    console = Console(highlight=False)
    command = "python -m host.pretrain " + " ".join(sys.argv[1:])
    try:
        if threads is not None:
            torch.set_num_threads(threads)
        task = load_pretrain_task(data, data_dir)
        recipe = task.recipe(epochs=epochs, lr=lr, seed=seed)
        run_dir = run_dir or Path("runs") / f"pretrain-{data}"
        out = out or run_dir / f"resnet26-{data}.safetensors"
        console.print(
            f"{len(task.train)} training images, {len(task.test)} test images: {task.train.source}"
        )
        console.print(str(recipe))
        accuracy = run(
            task, recipe, run_dir, out, command.strip(), compile_step, evaluate_every, console, init
        )
        console.print(f"accuracy {accuracy:.4f} on {len(task.test)} test images; wrote {out}")
    except (HostError, ExporterError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        click.echo("stopped; the same command continues after the last finished epoch", err=True)
        sys.exit(130)


if __name__ == "__main__":
    run_command(main)
