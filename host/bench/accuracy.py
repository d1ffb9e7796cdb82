"""Fine-tuning accuracies on the int8 engine, and in float32 with the same data order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean

from exporter.frontends import load_graph
from host.bench.result import Result
from host.datasets.registry import load_task
from host.device import Device
from host.export_folder import default_checkpoint
from host.float_reference import fine_tune_float
from host.tuning import TuneOptions, Tuning

Report = Callable[[int, int, str], None]

SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Case:
    """One fine-tuning run that has a bar. Accuracies in percent, ``bar`` for the accuracy after."""

    name: str
    data: str
    shift: str
    bar: float
    reference: str


CASES = (
    Case("CIFAR-Flip, fc", "cifar-flip", "output", 88.0, "paper 84.43, simulation 88.4"),
    Case(
        "CIFAR-10-C Gaussian noise 5, block1",
        "cifar-10-c:gaussian_noise:5",
        "input",
        70.0,
        "simulation 71.3",
    ),
    Case("Living14-Tiny, block3", "living14-tiny", "feature", 52.0, "float32 trial 53.2"),
)


def run_case(
    case: Case,
    report: Report,
    epochs: int = 10,
    train_images: int = 1000,
    seeds: Sequence[int] = SEEDS,
) -> list[Result]:
    """Accuracy on the engine against the bar, and its distance to float32 against one point: means over the seeds.

    A seed draws the images and their order (the order only, where the bundled sample has no more images than are asked for).
    Single runs end up to two points apart in float32 as in int8, so that one seed would tell luck from a fault no better
    than a coin.
    """
    tunings = [_tuning(case, seed, epochs, train_images, report) for seed in seeds]
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as workers:
        references = [
            workers.submit(
                _in_float, case, seed, epochs, train_images, tuning.export.blocks, tuning.lr
            )
            for seed, tuning in zip(seeds, tunings, strict=True)
        ]
        try:
            runs = [_on_engine(tuning) for tuning in tunings]
        except BaseException:
            # Nobody waits for minutes of float32 to hear that the board failed.
            workers.shutdown(wait=False, cancel_futures=True)
            raise
        for done, _ in enumerate(as_completed(references)):
            report(done + 1, len(references), "float32 PyTorch")
        floating = [100.0 * reference.result() for reference in references]
    before, after = (
        [100.0 * float(str(metrics[f"accuracy_{k}"])) for metrics in runs]
        for k in ("before", "after")
    )
    note = (
        f"before {fmean(before):.2f} %; seeds {_list(seeds, 'd')}: {_list(after, '.2f')} %; {runs[0]['train_images']} training and "
        f"{runs[0]['test_images']} test images, lr {tunings[0].lr:g}, data: {tunings[0].task.source}"
    )
    apart = [own - other for own, other in zip(after, floating, strict=True)]
    return [
        Result(
            f"{case.name}: accuracy after", fmean(after), "%", case.bar, ">=", case.reference, note
        ),
        Result(
            f"{case.name}: int8 engine minus float32",
            fmean(apart),
            "points",
            -1.0,
            ">=",
            f"float32 PyTorch {fmean(floating):.2f} %",
            f"seeds {_list(seeds, 'd')}: {_list(apart, '+.2f')} points",
        ),
    ]


def _list(values: Sequence[float], form: str) -> str:
    return ", ".join(format(value, form) for value in values)


def _tuning(case: Case, seed: int, epochs: int, train_images: int, report: Report) -> Tuning:
    options = TuneOptions(
        data=case.data,
        shift=case.shift,
        epochs=epochs,
        train_images=train_images,
        seed=seed,
        data_source="auto",
        runs=Path("build") / "bench" / "runs",
    )
    tuning = Tuning(options, report)
    tuning.prepare()
    return tuning


def _on_engine(tuning: Tuning) -> Mapping[str, object]:
    with Device.open(tuning.options.port) as device:
        return tuning.run(device)


def _in_float(
    case: Case, seed: int, epochs: int, train_images: int, blocks: tuple[str, ...], lr: float
) -> float:
    """Accuracy after the same fine-tuning in float32, a fraction; in a process of its own, on one thread.

    More threads sum in another order, and a run's end moves by a point with that.
    """
    import torch

    torch.set_num_threads(1)
    options = TuneOptions()
    task = load_task(case.data, train_images=train_images, seed=seed, data_source="auto")
    graph, _ = load_graph(default_checkpoint(task.name))
    found = fine_tune_float(
        graph,
        blocks,
        task.train,
        task.test,
        epochs=epochs,
        batch=options.batch,
        lr=lr,
        schedule=options.schedule,
        seed=seed,
    )
    return found.accuracy_after
