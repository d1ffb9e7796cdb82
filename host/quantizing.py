"""From a checkpoint to its int8 graph: where activation ranges and calibration images come from."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from exporter.calibration import Ranges, calibrate, stored_ranges
from exporter.errors import ExporterError
from exporter.frontends import Checkpoint, load_graph
from exporter.graph import Graph
from exporter.quantize import quantize
from exporter.trained import exact_int8

CHECKPOINTS = Path(__file__).resolve().parent.parent / "checkpoints"
DEFAULT_CHECKPOINT = CHECKPOINTS / "resnet26-cifar10.safetensors"

Progress = Callable[[str, int, int], None]
"""Called with (what is being done, steps done, steps)."""


@dataclass(frozen=True)
class Images:
    """8-bit images (N, H, W, C) with labels (N,), and where they come from."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    source: str


def quantized_graph(
    checkpoint_path: Path,
    calibration: Path | None = None,
    progress: Progress | None = None,
) -> tuple[Graph, Graph, Checkpoint, str]:
    """Int8 and float graph of a checkpoint, the checkpoint, and a phrase on where the activation ranges come from.

    The ranges are, in this order: measured on ``calibration`` where it is given; the exact integers that ``write_trained`` left beside
    the checkpoint; those in the checkpoint's metadata; measured on ``calibration-<data set>.npz`` beside the checkpoint.

    Raises:
        ExporterError: the checkpoint or the calibration images do not fit, or there is nothing to calibrate with.
    """
    graph, checkpoint = load_graph(checkpoint_path)
    if calibration is None:
        exact = exact_int8(graph, checkpoint)
        if exact is not None:
            return exact, graph, checkpoint, "exact integers stored beside the checkpoint"
    ranges = find_ranges(graph, checkpoint, calibration, progress)
    return quantize(graph, ranges.ranges), graph, checkpoint, ranges.source


def find_ranges(
    graph: Graph,
    checkpoint: Checkpoint,
    calibration: Path | None = None,
    progress: Progress | None = None,
) -> Ranges:
    """Activation ranges of a float graph, see ``quantized_graph``."""
    if calibration is None:
        stored = stored_ranges(graph)
        if stored is not None:
            return stored
        calibration = calibration_beside(checkpoint)
    if calibration is None:
        raise ExporterError(
            f"the checkpoint {checkpoint.path} holds no activation ranges and no calibration images lie "
            "beside it; give training images as .npz with --calibration"
        )
    images = read_images(calibration)

    def report(done: int, total: int) -> None:
        if progress:
            progress("calibrating", done, total)

    return calibrate(graph, images.images, images.source, report)


def calibration_beside(checkpoint: Checkpoint) -> Path | None:
    """The file of calibration images that belongs to a checkpoint by its data set's name, if it is there."""
    name = checkpoint.metadata.get("dataset")
    path = checkpoint.path.with_name(f"calibration-{name}.npz")
    return path if name and path.exists() else None


def read_images(path: Path) -> Images:
    """Images of an ``.npz`` file with ``images`` uint8 (N, H, W, C) and, optionally, ``labels`` and ``source``.

    Raises:
        ExporterError: the file is missing, damaged or lacks ``images``.
    """
    try:
        with np.load(path, allow_pickle=False) as content:
            images = content["images"]
            count = len(images)
            labels = content["labels"] if "labels" in content else np.zeros(count, dtype=np.int64)
            labels = labels.astype(np.int64)
            source = str(content["source"]) if "source" in content else path.name
    except FileNotFoundError as error:
        raise ExporterError(
            f"the calibration images {path} do not exist; give an .npz file with an array 'images'"
        ) from error
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise ExporterError(
            f"the calibration images {path} cannot be read, expected an .npz file with an array 'images' "
            "(uint8 [N, H, W, 3]); make it with numpy.savez"
        ) from error
    if len(labels) != len(images):
        raise ExporterError(
            f"the calibration images {path} have {len(labels)} labels for {len(images)} images, expected "
            "as many; write the file again"
        )
    return Images(images, labels, source)
