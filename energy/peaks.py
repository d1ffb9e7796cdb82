"""Peak current of windows as the trace goes by; looks at those only that are under way."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from energy.edge_sums import EPSILON, EdgeOrder

Floats = NDArray[np.float64]
Numbers = NDArray[np.integer]


class Peaks:
    """Greatest current in each of w windows `[start, stop)`, float64 (w,) in samples, in any order."""

    def __init__(self, start: Floats, stop: Floats, *, mean: bool) -> None:
        self.peak = np.full(start.shape, -np.inf)
        """A, shape (w,); minus infinity where no sample was seen."""
        self._start, self._stop, self._mean = start, stop, mean
        self._starts = EdgeOrder(start)
        self._open: Numbers = np.zeros(0, dtype=np.int64)

    def feed(self, first: int, current: Floats) -> None:
        """The samples from `first` on, A, shape (n,); minus infinity where lost. In order."""
        end = first + len(current)
        # A window that counts the samples at its edges counts the one before its start at most.
        begun = np.concatenate([self._open, self._starts.take(end + 1)])
        low, high = self._ranges(begun)
        self._open = begun[high > end]
        inside = (low < end) & (high > first)
        if not np.any(inside):
            return
        which = begun[inside]
        pairs = np.stack(
            [np.maximum(low[inside], first) - first, np.minimum(high[inside], end) - first], axis=1
        )
        # reduceat needs indices below the length: one more element that never wins.
        peaks = np.maximum.reduceat(np.append(current, -np.inf), pairs.ravel())[::2]
        self.peak[which] = np.maximum(self.peak[which], peaks)

    def _ranges(self, which: Numbers) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Samples [low, high) that count for the windows `which`: those inside, else those touched."""
        start, stop = self._start[which], self._stop[which]
        low = np.ceil(start - EPSILON).astype(np.int64)
        high = np.floor(stop + EPSILON).astype(np.int64) + (0 if self._mean else 1)
        none = high <= low
        low[none] = np.floor(start[none] + EPSILON).astype(np.int64)
        high[none] = low[none] + (1 if self._mean else 2)
        touched = np.ceil(stop[none] - EPSILON).astype(np.int64) + (0 if self._mean else 1)
        high[none] = np.maximum(high[none], touched)
        return low, high
