"""Offsets for buffers with lifetimes: a packing of rectangles (time by address) with some permitted overlaps.

Buffers are placed one by one, each at the lowest address that its already placed neighbours allow.
The result depends on the order only, so several orders are tried and the best one is then improved
by moving buffers at the top to an earlier place. Everything is deterministic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random

ALIGNMENT = 16


@dataclass(frozen=True)
class Buffer:
    """``size`` bytes alive at every time step from ``birth`` to ``death``, both included."""

    name: str
    size: int
    birth: int
    death: int


Overlaps = Mapping[tuple[int, int], int]
"""``(input, output)`` buffer numbers to D: the output may lie over the input when ``output + D <= input`` (offsets)."""


@dataclass(frozen=True)
class Packing:
    """Offsets of all buffers and the bytes they take; ``bound``: no packing can take less."""

    offsets: tuple[int, ...]
    total: int
    bound: int


def align(n: int) -> int:
    """Round up to a multiple of 16."""
    return -(-n // ALIGNMENT) * ALIGNMENT


def live_together(a: Buffer, b: Buffer) -> bool:
    """True when the buffers share a time step."""
    return a.birth <= b.death and b.birth <= a.death


def may_overlap(
    offsets: Sequence[int], buffers: Sequence[Buffer], pair: tuple[int, int], d: int
) -> bool:
    """True when a permitted pair's offsets keep the distance D, or the buffers are apart."""
    source, output = pair
    return (
        offsets[output] + d <= offsets[source]
        or offsets[output] + buffers[output].size <= offsets[source]
        or offsets[source] + buffers[source].size <= offsets[output]
    )


def violations(
    buffers: Sequence[Buffer], overlaps: Overlaps, offsets: Sequence[int]
) -> list[tuple[str, str]]:
    """Pairs of names that are alive together and share bytes without permission (all pairs are looked at)."""
    found = []
    for i, a in enumerate(buffers):
        for j in range(i):
            b = buffers[j]
            if not live_together(a, b) or a.size == 0 or b.size == 0:
                continue
            if offsets[i] + a.size <= offsets[j] or offsets[j] + b.size <= offsets[i]:
                continue
            pairs = [pair for pair in ((i, j), (j, i)) if pair in overlaps]
            if not any(may_overlap(offsets, buffers, pair, overlaps[pair]) for pair in pairs):
                found.append((a.name, b.name))
    return found


def live_profile(buffers: Sequence[Buffer], overlaps: Overlaps) -> list[int]:
    """Bytes that each time step needs at least, with its best overlap."""
    steps = max((buffer.death for buffer in buffers), default=-1) + 1
    change = [0] * (steps + 1)
    for buffer in buffers:
        change[buffer.birth] += align(buffer.size)
        change[buffer.death + 1] -= align(buffer.size)
    gain = [0] * steps
    for (source, output), d in overlaps.items():
        first, second = buffers[source], buffers[output]
        sizes = align(first.size), align(second.size)
        saved = sum(sizes) - max(sizes[1], sizes[0] + align(d))
        for time in range(max(first.birth, second.birth), min(first.death, second.death) + 1):
            # An addition may lie over both its inputs at once only where they themselves are apart.
            gain[time] = max(gain[time], saved)
    needed = list(accumulate(change[:steps]))
    return [total - saved for total, saved in zip(needed, gain, strict=True)]


class Packer:
    """Precomputed neighbourhoods of one set of buffers."""

    def __init__(self, buffers: Sequence[Buffer], overlaps: Overlaps) -> None:
        self.buffers = buffers
        self.sizes = [align(buffer.size) for buffer in buffers]
        count = len(buffers)
        # neighbours[i] has (j, front, back): with j placed, i may not start in the open interval
        # (start_j - front, start_j + back). In general front is i's size and back is j's; an
        # output that may lie over its input has to keep the distance D only.
        self.neighbours: list[list[tuple[int, int, int]]] = [[] for _ in range(count)]
        for i in range(count):
            for j in range(i):
                if not live_together(buffers[i], buffers[j]):
                    continue
                front_i, front_j = self.sizes[i], self.sizes[j]
                if (j, i) in overlaps:
                    front_i = min(front_i, align(overlaps[j, i]))
                if (i, j) in overlaps:
                    front_j = min(front_j, align(overlaps[i, j]))
                # Offset of i is forbidden in the open interval (offset_j - front_i, offset_j + back).
                self.neighbours[i].append((j, front_i, self._back(i, j, overlaps)))
                self.neighbours[j].append((i, front_j, self._back(j, i, overlaps)))
        self.bound = max(live_profile(buffers, overlaps), default=0)

    def _back(self, i: int, j: int, overlaps: Overlaps) -> int:
        """How far behind j's start i must begin when it does not lie in front of j."""
        size = self.sizes[j]
        return min(size, align(overlaps[i, j])) if (i, j) in overlaps else size

    def place(self, order: Sequence[int], limit: int) -> list[int] | None:
        """Lowest offsets in this order; None as soon as ``limit`` bytes would be reached."""
        offsets = [-1] * len(self.buffers)
        for i in order:
            forbidden = sorted(
                (offsets[j] - front, offsets[j] + back)
                for j, front, back in self.neighbours[i]
                if offsets[j] >= 0
            )
            offset = 0
            for low, high in forbidden:
                if offset <= low:
                    break
                if offset < high:
                    offset = high
            if offset + self.sizes[i] >= limit:
                return None
            offsets[i] = offset
        return offsets

    def total(self, offsets: Sequence[int]) -> int:
        """Bytes up to the highest end."""
        return max((o + s for o, s in zip(offsets, self.sizes, strict=True)), default=0)


def _orders(buffers: Sequence[Buffer]) -> list[list[int]]:
    numbers = range(len(buffers))
    keys = (
        lambda i: (-buffers[i].birth, -buffers[i].size),
        lambda i: (-buffers[i].size, -buffers[i].birth),
        lambda i: (-buffers[i].size, buffers[i].birth),
        lambda i: (-(buffers[i].death - buffers[i].birth), -buffers[i].size),
        lambda i: (-buffers[i].size * (buffers[i].death - buffers[i].birth + 1), -buffers[i].birth),
        lambda i: (buffers[i].birth, -buffers[i].size),
        lambda i: (-buffers[i].death, -buffers[i].size),
    )
    return [sorted(numbers, key=key) for key in keys]


def allocate(
    buffers: Sequence[Buffer], overlaps: Overlaps, iterations: int = 1500, seed: int = 1
) -> Packing:
    """Pack the buffers; the same input gives the same packing.

    Args:
        buffers: sizes and lifetimes, in bytes and time steps.
        overlaps: permitted overlaps, D in bytes.
        iterations: attempts to improve on the best of the fixed orders; it stops early at the lower bound.
        seed: of the attempts.
    """
    if not buffers:
        return Packing((), 0, 0)
    packer = Packer(buffers, overlaps)
    unlimited = sum(packer.sizes) + sum(align(d) for d in overlaps.values()) + 1
    candidates: list[tuple[int, list[int], list[int]]] = []
    for order in _orders(buffers):
        offsets = packer.place(order, unlimited)
        assert offsets is not None
        candidates.append((packer.total(offsets), order, offsets))
    candidates.sort(key=lambda c: c[0])
    best, order, offsets = candidates[0]
    random = Random(seed)
    for attempt in range(iterations):
        if best <= packer.bound:
            break
        _, base, _ = candidates[attempt % 3] if attempt % 4 == 3 else (best, order, offsets)
        trial = list(base)
        top = [i for i in trial if offsets[i] + packer.sizes[i] == best]
        for _ in range(random.randint(1, 3)):
            chosen = random.choice(top) if random.random() < 0.5 else random.choice(trial)
            position = trial.index(chosen)
            trial.pop(position)
            trial.insert(random.randint(0, max(position - 1, 0)), chosen)
        placed = packer.place(trial, best + 1)
        if placed is None:
            continue
        total = packer.total(placed)
        if total <= best:
            best, order, offsets = total, trial, placed
    return Packing(tuple(offsets), best, packer.bound)
