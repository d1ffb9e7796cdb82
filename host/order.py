"""The order in which training images are used and the learning rate of each epoch: the same for every engine."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def epoch_order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    """Permutation of `count` images, int64 [count], for epoch `epoch` (from 0) of a run."""
    return np.random.default_rng([seed, epoch]).permutation(count)


SCHEDULES = ("cosine", "constant")


def epoch_rate(lr: float, schedule: str, epoch: int, epochs: int) -> float:
    """Learning rate of epoch `epoch` (from 0) of `epochs`: `lr` throughout, or a half cosine that starts
    at `lr` and would reach 0 after the last epoch. Falling, it ends the jitter of single updates, the
    stochastic rounding's included, before the weights are kept."""
    if schedule == "constant":
        return lr
    return lr * 0.5 * (1.0 + math.cos(math.pi * epoch / epochs))
