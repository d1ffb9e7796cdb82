"""Subpopulation shift: a model knows superclasses from some of their subclasses and meets others after deployment.

The loader reads any folder in the ImageNet layout, ``<split>/<wnid>/*.JPEG``; a class table says which wnids form a
superclass, and which of them the source model has seen. Two tables are in ``subpopulations.json``:

- ``living17``: the 17 superclasses of Living17 (Santurkar, Tsipras and Madry, BREEDS, 2020), two source and two target
  subclasses each. The assignment is the published random one: superclasses at level 5 below
  "living thing" of the authors' hierarchy, in the order of their identifiers, each drawing four of
  its sorted leaves from NumPy's legacy generator seeded with 2, the first two for the source.
- ``living14-tiny``: 14 superclasses of Tiny ImageNet classes, in the same manner, with one to three subclasses a side.

The images are ImageNet's: for research and teaching only, and never part of this project.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from host.datasets.base import Dataset
from host.datasets.cifar10 import search_dirs
from host.errors import HostError

LICENCE = (
    "ImageNet images, for non-commercial research and educational use only under the terms of "
    "ImageNet; not redistributed"
)
_ENDINGS = {".jpeg", ".jpg", ".png"}


@dataclass(frozen=True)
class ClassTable:
    """Superclasses with their subclasses.

    Attributes:
        name: of the benchmark, and of the folder its images are looked for in.
        superclasses: names by label.
        source: wnids by label that the source model is trained on.
        target: wnids by label met after deployment.
    """

    name: str
    superclasses: tuple[str, ...]
    source: tuple[tuple[str, ...], ...]
    target: tuple[tuple[str, ...], ...]

    def wnids(self, population: str) -> list[tuple[str, int]]:
        """(wnid, label) of the "source" or "target" population, by label."""
        if population not in ("source", "target"):
            raise HostError(f"there is no population '{population}', expected source or target")
        groups = self.source if population == "source" else self.target
        return [(wnid, label) for label, group in enumerate(groups) for wnid in group]


@cache
def class_tables() -> dict[str, ClassTable]:
    """The class tables by name."""
    path = Path(__file__).with_name("subpopulations.json")
    tables = json.loads(path.read_text("utf-8"))
    return {
        name: ClassTable(
            name,
            tuple(rows),
            tuple(tuple(row["source"]) for row in rows.values()),
            tuple(tuple(row["target"]) for row in rows.values()),
        )
        for name, rows in tables.items()
    }


@dataclass(frozen=True)
class ImageFiles:
    """Images found but not yet read: positions are those of the files in sorted order, class after class."""

    table: ClassTable
    root: Path
    paths: tuple[Path, ...]
    labels: NDArray[np.int64]
    source: str

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, indices: NDArray[np.int64], side: int = 32) -> Dataset:
        """Read the images at ``indices``, cropped to the central square and reduced to ``side`` x ``side`` pixels.

        Grey-scale images become RGB; reduction is Pillow's area-averaging (antialiased) box filter.

        Raises:
            HostError: a file is damaged.
        """
        images = np.empty((len(indices), side, side, 3), np.uint8)
        for row, i in enumerate(indices):
            images[row] = read_square(self.paths[i], side)
        return Dataset(
            images,
            self.labels[indices],
            self.table.superclasses,
            self.source,
            LICENCE,
            np.asarray(indices, np.int64),
        )


def read_square(path: Path, side: int) -> NDArray[np.uint8]:
    """uint8 [side, side, 3]: the central square of an image file, area-averaged.

    Raises:
        HostError: the file is missing or not an image.
    """
    try:
        with Image.open(path) as opened:
            image = opened.convert("RGB")
    except (OSError, UnidentifiedImageError) as error:
        raise HostError(
            f"{path} cannot be read as an image ({error}); unpack the data set again"
        ) from error
    short = min(image.size)
    left, top = (image.width - short) // 2, (image.height - short) // 2
    box = (left, top, left + short, top + short)
    return np.asarray(image.resize((side, side), Image.Resampling.BOX, box=box))


def find_images(
    name: str, population: str, split: str = "train", data_dir: Path | None = None
) -> ImageFiles:
    """List the images of a population.

    Args:
        name: "living17" or "living14-tiny".
        population: "source" or "target".
        split: sub-folder, "train" or "val".
        data_dir: folder that holds a folder ``name`` (or "imagenet"), or is itself in the ImageNet layout.

    Raises:
        HostError: unknown table, or the images are not there.
    """
    tables = class_tables()
    if name not in tables:
        raise HostError(f"there is no class table '{name}', expected one of {', '.join(tables)}")
    table = tables[name]
    wanted = table.wnids(population)
    searched = search_dirs(data_dir)
    for base in searched:
        for root in (base / name, base / "imagenet", base):
            if not (root / split / wanted[0][0]).is_dir():
                continue
            paths: list[Path] = []
            labels: list[int] = []
            for wnid, label in wanted:
                folder = root / split / wnid
                files = sorted(p for p in folder.glob("*") if p.suffix.lower() in _ENDINGS)
                if not files:
                    raise HostError(
                        f"{folder} has no images, expected JPEG files of {table.superclasses[label]} "
                        f"for {name}; unpack the data set again"
                    )
                paths += files
                labels += [label] * len(files)
            source = f"{name}, {population} subclasses, {split} images in {root.name}/"
            return ImageFiles(table, root, tuple(paths), np.array(labels, np.int64), source)
    raise HostError(
        f"no {name} images in {', '.join(str(base) for base in searched)}, expected folders "
        f"{name}/{split}/{wanted[0][0]} and so on; unpack the data set there or name its folder with --data-dir"
    )


def load_population(
    name: str,
    population: str,
    split: str = "train",
    data_dir: Path | None = None,
    side: int = 32,
) -> Dataset:
    """All images of a population, see :func:`find_images` and :meth:`ImageFiles.read`."""
    files = find_images(name, population, split, data_dir)
    return files.read(np.arange(len(files)), side)
