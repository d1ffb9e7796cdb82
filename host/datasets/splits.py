"""The split of the Target Block Fine-Tuning paper.

Of 10,000 images of the shifted world 15 % are for validation, 15 % for testing, and 10, 20 or 30 %
for training, drawn from the remaining 70 %. The authors publish the percentages, not the seed; ours
is :data:`SPLIT_SEED`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from host.errors import HostError

FULL_SIZE = 10_000
"""Images that are split, at most."""
VALIDATION_FRACTION = 0.15
TEST_FRACTION = 0.15
SPLIT_SEED = 2024
"""Seed of the permutation that decides which image is for what. Never changes, so that test images never leak."""


@dataclass(frozen=True)
class Split:
    """Positions (int64) of the images in the set that was split; the three never overlap.

    Attributes:
        train: in the order in which they are to be taken: a smaller training set is a prefix of a larger one.
        val: ascending.
        test: ascending.
    """

    train: NDArray[np.int64]
    val: NDArray[np.int64]
    test: NDArray[np.int64]


def tbft_split(
    size: int,
    train_images: int,
    seed: int = 0,
    available: NDArray[np.int64] | None = None,
) -> Split:
    """Split ``size`` images, of which no more than 10,000 are used.

    The validation and test images depend on ``size`` alone. ``seed`` decides which of the remaining
    images are drawn for training, and in what order.

    Args:
        size: number of images in the full set.
        train_images: training images wanted.
        seed: of the draw of training images.
        available: int64 [M], positions at hand, where only part of the full set is (the bundled sample); None for all.
            What is drawn from them is what would be drawn from the full set, less what is missing.

    Raises:
        HostError: fewer training images left than wanted, or a set too small to split.
    """
    if train_images < 1:
        raise HostError(
            f"{train_images} training images were asked for, expected at least 1; give --train-images"
        )
    order = np.random.default_rng((SPLIT_SEED, size)).permutation(size)[:FULL_SIZE].astype(np.int64)
    used = len(order)
    n_val, n_test = round(used * VALIDATION_FRACTION), round(used * TEST_FRACTION)
    val, test, pool = order[:n_val], order[n_val : n_val + n_test], order[n_val + n_test :]
    pool = np.random.default_rng((SPLIT_SEED, size, seed)).permutation(pool)
    if available is not None:
        val, test, pool = (part[np.isin(part, available)] for part in (val, test, pool))
    if train_images > len(pool) or not len(val) or not len(test):
        raise HostError(
            f"{train_images} training images were asked for, expected 1 to {len(pool)}: so many are left of "
            f"{used if available is None else len(available)} images after validation and test; ask for fewer, "
            "or provide the full data set with --data-dir"
        )
    return Split(train=pool[:train_images], val=np.sort(val), test=np.sort(test))
