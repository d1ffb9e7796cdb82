"""The order in which training images are used (docs/protocol.md): the same for every engine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def epoch_order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    """Permutation of `count` images, int64 [count], for epoch `epoch` (from 0) of a run."""
    return np.random.default_rng([seed, epoch]).permutation(count)
