"""A trace of any length as a fixed number of buckets: least, mean and greatest power, and the phase that fills most of each.

What a page shows must not grow with the recording: an hour at 100 kS/s has 360 million samples. The greatest and the least sample of
every bucket stay, so no peak is lost however far one zooms out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from energy.trace import Flag, TraceChunk, TraceInfo

Floats = NDArray[np.float64]
NO_PHASE = 255


@dataclass(frozen=True)
class Buckets:
    """`n` buckets of `width_s` seconds from time 0 on; power in W, NaN where a bucket has no valid sample."""

    width_s: float
    low_w: Floats
    mean_w: Floats
    high_w: Floats

    def __len__(self) -> int:
        return len(self.low_w)


def decimate(info: TraceInfo, chunks: Iterable[TraceChunk], last_index: int, limit: int) -> Buckets:
    """The trace up to sample `last_index` in at most `limit` buckets of whole samples, in one pass.

    Samples that are lost or over range count for nothing.
    """
    total = last_index + 1
    per_bucket = max(1, -(-total // limit))
    count = -(-total // per_bucket) if total > 0 else 0
    low = np.full(count, np.inf)
    high = np.full(count, -np.inf)
    sums, valid = np.zeros(count), np.zeros(count, dtype=np.int64)
    for chunk in chunks:
        power = chunk.current_a * chunk.voltage_v
        good = np.isfinite(power) & ((chunk.flags & Flag.OVER_RANGE) == 0)
        index = chunk.first_index + np.flatnonzero(good)
        inside = index < total
        bucket, power = index[inside] // per_bucket, power[good][inside]
        if not len(bucket):
            continue
        starts = np.flatnonzero(np.append(True, np.diff(bucket) > 0))
        which = bucket[starts]
        low[which] = np.minimum(low[which], np.minimum.reduceat(power, starts))
        high[which] = np.maximum(high[which], np.maximum.reduceat(power, starts))
        sums[which] += np.add.reduceat(power, starts)
        valid[which] += np.diff(np.append(starts, len(bucket)))
    empty = valid == 0
    mean = np.divide(sums, valid, out=np.full(count, np.nan), where=~empty)
    low[empty], high[empty] = np.nan, np.nan
    return Buckets(per_bucket / info.rate_hz, low, mean, high)


def phases_of(
    width_s: float, count: int, start_s: Floats, stop_s: Floats, phase: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """The phase that fills most of each of `count` buckets, `NO_PHASE` where none does; windows do not overlap."""
    kinds = np.unique(phase)
    best = np.zeros(count)
    chosen = np.full(count, NO_PHASE, dtype=np.uint8)
    edges = np.arange(count + 1) * width_s
    for kind in kinds:
        own = phase == kind
        starts, stops = start_s[own], stop_s[own]
        order = np.argsort(starts, kind="stable")
        starts, stops = starts[order], stops[order]
        # Time of this phase before each edge: an integral that is a broken line through the windows' ends.
        at = np.stack([starts, stops], axis=1).ravel()
        filled = np.repeat(np.cumsum(stops - starts), 2)
        filled[::2] -= stops - starts
        share = np.diff(np.interp(edges, at, filled))
        better = share > best
        best[better], chosen[better] = share[better], kind
    return chosen
