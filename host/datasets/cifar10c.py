"""CIFAR-10-C: the published files where they are, else generated from the CIFAR-10 test images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from host.datasets.base import Dataset
from host.datasets.cifar10 import load_cifar10, search_dirs
from host.datasets.cifar10_files import CLASSES
from host.datasets.corruptions import CORRUPTIONS, corrupt
from host.errors import HostError

TEST_IMAGES = 10_000
FOLDER = "CIFAR-10-C"
LICENCE = "CIFAR-10-C by Dan Hendrycks and Thomas Dietterich (ICLR 2019), CC BY 4.0, from CIFAR-10"

Indices = NDArray[np.int64]


def load_cifar10c(
    name: str,
    severity: int,
    needed: Callable[[Indices], Indices] | None = None,
    data_dir: Path | None = None,
    source: str = "auto",
    seed: int = 0,
) -> Dataset:
    """Corrupted test images.

    The published ``CIFAR-10-C/NAME.npy`` and ``labels.npy`` are used where a searched folder has
    them, unless ``source`` is "sample"; otherwise the images are generated, see
    :mod:`host.datasets.corruptions`.

    Args:
        name: a corruption.
        severity: 1 to 5.
        needed: given the positions at hand (int64 [N]), those wanted; None for all. Only these are generated.
        data_dir: folder to look in first.
        source: where the clean images may come from, see :func:`load_cifar10`.
        seed: of the generator.

    Raises:
        HostError: unknown corruption or severity, or data missing or damaged.
    """
    if name not in CORRUPTIONS or severity not in range(1, 6):
        raise HostError(
            f"there is no corruption '{name}' of severity {severity}, expected severity 1 to 5 of one of "
            f"{', '.join(CORRUPTIONS)}"
        )
    if source != "sample":
        for base in search_dirs(data_dir):
            for folder in (base / FOLDER, base):
                if (folder / f"{name}.npy").is_file() and (folder / "labels.npy").is_file():
                    published = read_published(folder, name, severity)
                    index = published.index if needed is None else needed(published.index)
                    return published.subset(index)
    clean = load_cifar10("test", data_dir, source)
    if needed is not None:
        clean = clean.subset(np.searchsorted(clean.index, needed(clean.index)))
    remark = CORRUPTIONS[name].remark
    made = f"{name} severity {severity} generated (seed {seed}{'; ' + remark if remark else ''})"
    return replace(
        clean,
        images=corrupt(clean.images, name, severity, clean.index, seed),
        source=f"{made} from {clean.source}",
    )


def read_published(folder: Path, name: str, severity: int) -> Dataset:
    """One severity of a published corruption: rows (severity - 1) * 10,000 onwards of ``NAME.npy``.

    Raises:
        HostError: the files are damaged or of another shape.
    """
    part = slice((severity - 1) * TEST_IMAGES, severity * TEST_IMAGES)
    shape = (5 * TEST_IMAGES, 32, 32, 3)
    try:
        images = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        labels = np.load(folder / "labels.npy", allow_pickle=False)
        if images.dtype != np.uint8 or images.shape != shape or labels.shape != shape[:1]:
            raise ValueError(f"{images.dtype} {list(images.shape)} and {len(labels)} labels")
        chosen = np.array(images[part]), labels[part].astype(np.int64)
    except (OSError, ValueError, EOFError) as error:
        raise HostError(
            f"{folder / name}.npy and labels.npy are not CIFAR-10-C as published ({error}), expected "
            f"uint8 {list(shape)} with as many labels; fetch them again"
        ) from error
    source = f"published CIFAR-10-C files, {name} severity {severity}"
    return Dataset(*chosen, CLASSES, source, LICENCE)
