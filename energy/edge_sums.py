"""The edges of many windows, each met once as the trace goes by: integrals at a stop less those at its start.

Only what a window is at the end is kept, one number of each kind a window: an hour of training steps
has hundreds of thousands, and each is integrated at three places.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Window edges are computed in floating point: a millionth of a sample is taken as none.
EPSILON = 1e-6


@dataclass(frozen=True)
class Stretch:
    """n sample intervals from `first` on, power `p0` → `p1` and current `i0` → `i1`, linear within.

    `energy`, `charge`, `lost`: their integrals (lost intervals' number) up to each interval, (n + 1,);
    `bad`: bool (n,), what is lost; `near`: (n,), how far power is from the neighbours'.
    """

    first: int
    dt: float
    p0: Floats
    p1: Floats
    i0: Floats
    i1: Floats
    bad: NDArray[np.bool_]
    near: Floats
    energy: Floats
    charge: Floats
    lost: Floats


class EdgeOrder:
    """Edges `at`, float64 (w,) in samples, by time; `take` gives those that have come, each once."""

    def __init__(self, at: Floats) -> None:
        self.at = at
        # Half as long as NumPy's own, and none where windows come in order.
        ordered = bool(np.all(at[1:] >= at[:-1]))
        self._order = None if ordered else np.argsort(at, kind="stable").astype(np.int32)
        self._done = 0

    def take(self, until: float, *, inclusive: bool = False) -> NDArray[np.integer]:
        """The windows whose edges are before `until` (or at it) and were not taken yet."""
        to = int(np.searchsorted(self.at, until, "right" if inclusive else "left", self._order))
        first, self._done = self._done, max(to, self._done)
        if self._order is None:
            return np.arange(first, self._done)
        return self._order[first : self._done]


class EdgeSums:
    """Energy and lost share of w windows `[start, stop)`, float64 (w,) in samples; NaN where not told.

    With `detail` also charge, and the bound on what sampling hides at the edges.
    """

    def __init__(self, start: Floats, stop: Floats, *, mean: bool, detail: bool) -> None:
        self.start, self.stop = start, stop
        self.energy, self.lost = np.zeros(start.shape), np.zeros(start.shape)
        self.charge = np.zeros(start.shape if detail else 0)
        self.bound = np.zeros(start.shape if detail else 0)
        self._mean, self._detail = mean, detail
        # A window's start is met before its stop, or in the same stretch, where starts are first.
        self._edges = ((EdgeOrder(start), -1.0), (EdgeOrder(stop), 1.0))

    def advance(self, part: Stretch) -> None:
        """Take what the edges within `part` say."""
        n = len(part.p0)
        for edges, sign in self._edges:
            which = edges.take(part.first + n)
            if not len(which):
                continue
            x = edges.at[which] - part.first
            k = np.clip(x.astype(np.int64), 0, n - 1)
            f = np.clip(x - k, 0.0, 1.0)
            cut = ~part.bad[k] * part.dt * f
            self.energy[which] += sign * (
                part.energy[k] + cut * (part.p0[k] + 0.5 * f * (part.p1[k] - part.p0[k]))
            )
            # Before sample 0 there is nothing: such edges make their windows invalid.
            lost = part.lost[k] + f * part.bad[k]
            self.lost[which] += sign * np.where(x < -EPSILON, np.nan, lost)
            if self._detail:
                self.charge[which] += sign * (
                    part.charge[k] + cut * (part.i0[k] + 0.5 * f * (part.i1[k] - part.i0[k]))
                )
                # The part of the cut interval that is inside the window: f before a stop.
                inside = f if sign > 0 else 1.0 - f
                share = inside if self._mean else np.full(f.shape, 0.5)
                self.bound[which] += share * part.dt * part.near[k]

    def skip(self, first: int, until: float, energy: float, charge: float, lost: float) -> None:
        """No samples from `first` to `until`: the integrals stand still, the lost share grows."""
        for edges, sign in self._edges:
            which = edges.take(until)
            x = edges.at[which] - first
            self._stand(which, sign, energy, charge)
            grown = lost + np.maximum(x, 0.0)
            self.lost[which] += sign * np.where(x < -EPSILON, np.nan, grown)

    def finish(self, end: int, energy: float, charge: float, lost: float) -> None:
        """The trace ends before sample `end`: edges there belong to it, windows beyond are lost."""
        for edges, sign in self._edges:
            which = edges.take(end + EPSILON, inclusive=True)
            self._stand(which, sign, energy, charge)
            self.lost[which] += sign * lost
        self.lost[self._edges[1][0].take(np.inf, inclusive=True)] = np.nan

    def _stand(self, which: NDArray[np.integer], sign: float, energy: float, charge: float) -> None:
        self.energy[which] += sign * energy
        if self._detail:
            self.charge[which] += sign * charge

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Windows of which nothing is lost; bool (w,)."""
        valid: NDArray[np.bool_] = self.lost <= EPSILON  # False for NaN
        return valid
