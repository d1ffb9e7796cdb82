"""Fine-tuning accuracies on the int8 engine, and in float32 with the same data order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from exporter.frontends import load_graph
from host.bench.result import Result
from host.device import Device
from host.export_folder import default_checkpoint
from host.float_reference import fine_tune_float
from host.tuning import TuneOptions, Tuning

Report = Callable[[int, int, str], None]


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
    case: Case, report: Report, epochs: int = 10, train_images: int = 1000
) -> list[Result]:
    """Accuracy on the engine against the bar, and its distance to float32 against one point."""
    options = TuneOptions(
        data=case.data,
        shift=case.shift,
        epochs=epochs,
        train_images=train_images,
        data_source="auto",
        runs=Path("build") / "bench" / "runs",
    )
    tuning = Tuning(options, report)
    tuning.prepare()
    with Device.open(options.port) as device:
        metrics = tuning.run(device)
    graph, _ = load_graph(default_checkpoint(tuning.task.name))
    floating = fine_tune_float(
        graph,
        tuning.export.blocks,
        tuning.task.train,
        tuning.task.test,
        epochs=epochs,
        batch=options.batch,
        lr=tuning.lr,
        schedule=options.schedule,
        seed=options.seed,
        progress=lambda done, total: report(done, total, "float32 PyTorch"),
    )
    before, after = (100.0 * float(str(metrics[f"accuracy_{k}"])) for k in ("before", "after"))
    note = (
        f"before {before:.2f} %; {metrics['train_images']} training and {metrics['test_images']} test "
        f"images, lr {tuning.lr:g}, data: {tuning.task.source}"
    )
    reference = 100.0 * floating.accuracy_after
    return [
        Result(f"{case.name}: accuracy after", after, "%", case.bar, ">=", case.reference, note),
        Result(
            f"{case.name}: int8 engine minus float32",
            after - reference,
            "points",
            -1.0,
            ">=",
            f"float32 PyTorch {reference:.2f} %",
        ),
    ]
