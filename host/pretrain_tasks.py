"""What ``host.pretrain`` can train on: data, augmentation and recipe for each name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from host.augment import resized_crop
from host.datasets.base import Dataset
from host.datasets.cifar10 import load_cifar10
from host.datasets.subpopulation import load_population
from host.errors import HostError
from host.pretraining import Augment, Recipe, crop_and_flip


@dataclass(frozen=True)
class PretrainTask:
    """One thing to train on.

    Attributes:
        name: short name, part of file names.
        title: name for people.
        train: training images.
        test: images the reported accuracy is measured on; never trained on.
        augment: see :data:`host.pretraining.Augment`.
        base_recipe: recipe before command-line options.
        test_description: what the test images are.
        ship_calibration_images: whether training images may be stored beside the checkpoint.
        augmentation: the augmentation in words, for the model card.
    """

    name: str
    title: str
    train: Dataset
    test: Dataset
    augment: Augment
    base_recipe: Recipe
    test_description: str
    ship_calibration_images: bool
    augmentation: str

    def recipe(self, epochs: int | None, lr: float | None, seed: int) -> Recipe:
        """The base recipe with the options given (None keeps the default)."""
        recipe = replace(self.base_recipe, seed=seed)
        if epochs is not None:
            recipe = replace(recipe, epochs=epochs)
        if lr is not None:
            recipe = replace(recipe, lr=lr)
        return recipe


def _cifar10(data_dir: Path | None) -> PretrainTask:
    return PretrainTask(
        name="cifar10",
        title="CIFAR-10",
        train=load_cifar10("train", data_dir=data_dir),
        test=load_cifar10("test", data_dir=data_dir),
        augment=crop_and_flip,
        base_recipe=Recipe(),
        test_description="the 10,000 clean CIFAR-10 test images",
        ship_calibration_images=True,
        augmentation="random crop (zero padding 4), alternating horizontal flip",
    )


def _living14(data_dir: Path | None) -> PretrainTask:
    name = "living14-tiny"
    return PretrainTask(
        name=name,
        title="the source subclasses of Living14-Tiny",
        train=load_population(name, "source", "train", data_dir, side=64),
        test=load_population(name, "source", "val", data_dir),
        augment=partial(resized_crop, hole=0),
        base_recipe=Recipe(epochs=25, lr=0.1, ema_decay=0.99),
        test_description="1,250 validation images of the source subclasses, reduced to 32×32",
        ship_calibration_images=False,
        augmentation=(
            "random resized crop (half to all of the 64×64 image) to 32×32, horizontal flip, brightness, contrast "
            "and saturation ±25 %"
        ),
    )


TASKS: dict[str, Callable[[Path | None], PretrainTask]] = {
    "cifar10": _cifar10,
    "living14-tiny": _living14,
}


def load_pretrain_task(name: str, data_dir: Path | None) -> PretrainTask:
    """The task called ``name``.

    Raises:
        HostError: no such task, or its data cannot be found.
    """
    if name not in TASKS:
        raise HostError(
            f"there is nothing to pretrain on called '{name}', expected one of {', '.join(sorted(TASKS))}"
        )
    return TASKS[name](data_dir)
