"""Checkpoint, model card and calibration file that ``host.pretrain`` writes."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from exporter.calibration import calibrate
from exporter.checkpoint_write import store_calibration
from exporter.frontends.state_dict import load_graph
from exporter.model import INPUT_SHAPE, MEAN, STD, load_resnet26
from host.datasets.base import Images, Labels
from host.pretraining import Recipe, calibration_subset

if TYPE_CHECKING:
    from host.pretrain_tasks import PretrainTask

CALIBRATION_IMAGES = 512
CALIBRATION_SEED = 2024


@dataclass(frozen=True)
class TrainedResult:
    """What a checkpoint says about itself.

    Attributes:
        task: what was trained on.
        recipe: with which options.
        epoch: finished epochs (fewer than ``recipe.epochs`` in an interim file).
        accuracy: fraction of test images, averaged weights (those in the file).
        raw_accuracy: the same for the last weights without averaging; None in an interim file.
        command: command line that made it.
        init: name of the checkpoint it started from; empty for random weights.
        remarks: anything else the card has to say; a paragraph.
    """

    task: PretrainTask
    recipe: Recipe
    epoch: int
    accuracy: float
    raw_accuracy: float | None
    command: str
    init: str = ""
    remarks: str = ""


def _write(path: Path, contents: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(contents)
    os.replace(temporary, path)


def metadata(result: TrainedResult) -> dict[str, str]:
    """Safetensors metadata: strings only; lists are JSON."""
    height, width, channels = INPUT_SHAPE
    return {
        "arch": "resnet26",
        "dataset": result.task.name,
        "num_classes": str(len(result.task.train.classes)),
        "class_names": json.dumps(result.task.train.classes),
        "input_shape_hwc": json.dumps([height, width, channels]),
        "mean": json.dumps([MEAN] * channels),
        "std": json.dumps([STD] * channels),
        "accuracy": f"{result.accuracy:.4f}",
        "test_images": str(len(result.task.test)),
        "epochs": f"{result.epoch}/{result.recipe.epochs}",
        "train_sha256": result.task.train.sha256,
        "command": result.command,
        "torch": torch.__version__,
        "licence": result.task.train.licence,
    }


def write_checkpoint(path: Path, state: dict[str, Tensor], result: TrainedResult) -> None:
    """Write ``path`` (safetensors, float32) and the model card beside it, each atomically."""
    load_resnet26(state)
    tensors = {name: value.detach().contiguous().clone() for name, value in state.items()}
    _write(path, save(tensors, metadata=metadata(result)))
    _write(path.with_suffix(".md"), model_card(path, result).encode())


def calibration_images(task: PretrainTask) -> tuple[Images, Labels]:
    """Training images for int8 calibration: uint8 [512, 32, 32, 3], equally many of each class; labels int64 [512].

    Larger images are reduced by averaging squares of pixels.
    """
    index = calibration_subset(
        task.train.images, task.train.labels, CALIBRATION_IMAGES, CALIBRATION_SEED
    )
    images = task.train.images[index]
    side = INPUT_SHAPE[0]
    factor = images.shape[1] // side
    if factor > 1:
        squares = images.reshape(len(images), side, factor, side, factor, 3)
        images = np.rint(squares.mean(axis=(2, 4))).astype(np.uint8)
    return images, task.train.labels[index]


def write_calibration(path: Path, task: PretrainTask) -> None:
    """Write :func:`calibration_images` as ``images`` and ``labels``, and where they are from as ``source``."""
    images, labels = calibration_images(task)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.stem + ".tmp.npz")
    np.savez_compressed(
        temporary,
        images=images,
        labels=labels,
        source=np.array(
            f"{task.title} training images, seed {CALIBRATION_SEED}; {task.train.licence}"
        ),
    )
    os.replace(temporary, path)


def store_ranges(path: Path, task: PretrainTask) -> None:
    """Measure activation ranges on :func:`calibration_images` and embed them in the checkpoint ``path``.

    Raises:
        ExporterError: the checkpoint cannot be read or written.
    """
    graph, _ = load_graph(path)
    images, _ = calibration_images(task)
    source = f"{len(images)} training images of {task.title}"
    store_calibration(path, calibrate(graph, images, source))


def model_card(path: Path, result: TrainedResult) -> str:
    """The card in Markdown."""
    task, recipe = result.task, result.recipe
    interim = result.epoch < recipe.epochs
    calibration = (
        f"The activation ranges that {CALIBRATION_IMAGES} training images reach (seed {CALIBRATION_SEED}) are in the "
        "metadata, so that int8 export needs no data set."
    )
    if task.ship_calibration_images:
        calibration += f" The images themselves are in `calibration-{task.name}.npz`."
    else:
        calibration += " No images are shipped, because their terms do not allow it."
    raw = (
        ""
        if result.raw_accuracy is None
        else f" (last weights without averaging: {100 * result.raw_accuracy:.2f} %)"
    )
    return f"""# {path.name}

ResNet-26 (`exporter/model.py`, 32×32 RGB, {len(task.train.classes)} classes) trained on {task.title};
float32 weights, safetensors.
{"**Interim: training is not finished.**" if interim else ""}
| | |
|---|---|
| accuracy | **{100 * result.accuracy:.2f} %** on {task.test_description}{raw} |
| training data | {len(task.train)} images: {task.train.source} (sha256 `{task.train.sha256[:16]}…`) |
| classes | {", ".join(task.train.classes)} |
| input | RGB, (pixel / 255 − {MEAN}) / {STD} |
| start | {result.init or "random weights"} |
| epochs | {result.epoch} of {recipe.epochs}, batch {recipe.batch}, seed {recipe.seed} |
| optimiser | SGD, Nesterov momentum {recipe.momentum}, weight decay {recipe.weight_decay} (not on BN and biases) |
| learning rate | linear warm-up over {100 * recipe.warmup:.0f} % of the updates to {recipe.lr}, then cosine to 0 |
| augmentation | {task.augmentation}; mixup {recipe.mixup}, label smoothing {recipe.label_smoothing} |
| arithmetic | bfloat16 autocast, float32 weights, channels-last, CPU, torch {torch.__version__} |
| weights | exponential average, decay {recipe.ema_decay} per update (BN statistics included), chosen beforehand |

Command: `{result.command}`
{chr(10) + result.remarks + chr(10) if result.remarks else ""}
The test images were looked at only to report progress and the final figure: no hyper-parameter or epoch was chosen
by them.
{calibration}

Licence and terms: {task.train.licence}
"""
