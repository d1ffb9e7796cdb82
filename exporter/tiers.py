"""Packing into several regions of memory: which region, and where in it.

Like ``allocate`` it places items one by one in an order and improves the order. An item goes to the first region, fastest first,
where it finds room. Items kept between samples fill the bottom of each region, so that the others' offsets count from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from exporter.allocate import Buffer, Overlaps, Packer


@dataclass(frozen=True)
class Item:
    """A buffer, or a persistent tensor (alive at all times), with the bytes a training sample moves in and out of it."""

    buffer: Buffer
    persistent: bool
    traffic: float


@dataclass(frozen=True)
class Placing:
    """Region and offset (within the region's transient or persistent part) of every item.

    ``overflow``: bytes by which the last region is exceeded; 0 when all fits. ``cost``: seconds a sample's traffic takes.
    """

    regions: tuple[int, ...]
    offsets: tuple[int, ...]
    transient: tuple[int, ...]
    persistent: tuple[int, ...]
    overflow: int
    cost: float

    @property
    def rank(self) -> tuple[int, float, int]:
        """Smaller is better."""
        return self.overflow, self.cost, sum(self.transient) + sum(self.persistent)


class TierPacker:
    """One set of items and the regions they go to."""

    def __init__(
        self,
        items: Sequence[Item],
        overlaps: Overlaps,
        capacities: Sequence[int],
        seconds_per_byte: Sequence[float],
    ) -> None:
        self.items = items
        self.capacities = capacities
        self.seconds = seconds_per_byte
        self.packer = Packer([item.buffer for item in items], overlaps)
        self.sizes = self.packer.sizes

    def _lowest(self, i: int, region: int, regions: list[int], offsets: list[int]) -> int:
        """Lowest offset of transient item ``i`` among those that lie in the region already."""
        forbidden = sorted(
            (offsets[j] - front, offsets[j] + back)
            for j, front, back in self.packer.neighbours[i]
            if regions[j] == region and not self.items[j].persistent
        )
        offset = 0
        for low, high in forbidden:
            if offset <= low:
                break
            offset = max(offset, high)
        return offset

    def place(self, order: Sequence[int]) -> Placing:
        """Every item in this order in the first region with room; the last region takes what is left."""
        count, last = len(self.capacities), len(self.capacities) - 1
        regions, offsets = [-1] * len(self.items), [0] * len(self.items)
        transient, persistent = [0] * count, [0] * count
        for i in order:
            size = self.sizes[i]
            for region in range(count):
                if self.items[i].persistent:
                    offset, top = persistent[region], transient[region]
                    fits = offset + size + top <= self.capacities[region]
                else:
                    offset = self._lowest(i, region, regions, offsets)
                    top = max(transient[region], offset + size)
                    fits = persistent[region] + top <= self.capacities[region]
                if not fits and region != last:
                    continue
                regions[i], offsets[i] = region, offset
                if self.items[i].persistent:
                    persistent[region] += size
                else:
                    transient[region] = top
                break
        cost = sum(
            item.traffic * self.seconds[region]
            for item, region in zip(self.items, regions, strict=True)
        )
        overflow = max(0, transient[last] + persistent[last] - self.capacities[last])
        return Placing(
            tuple(regions), tuple(offsets), tuple(transient), tuple(persistent), overflow, cost
        )

    def orders(self) -> list[list[int]]:
        """Orders to start from: hot items first, and by size and lifetime as for a single region."""
        items, sizes = self.items, self.sizes
        numbers = range(len(items))

        def span(i: int) -> int:
            return items[i].buffer.death - items[i].buffer.birth

        keys = (
            lambda i: (-items[i].traffic / max(1, sizes[i]), -sizes[i]),
            lambda i: (not items[i].persistent, -items[i].traffic / max(1, sizes[i])),
            lambda i: (not items[i].persistent, -sizes[i], -items[i].buffer.birth),
            lambda i: (not items[i].persistent, -items[i].buffer.birth, -sizes[i]),
            lambda i: (not items[i].persistent, -span(i), -sizes[i]),
            lambda i: (not items[i].persistent, -sizes[i] * (span(i) + 1), -items[i].buffer.birth),
            lambda i: (items[i].persistent, -sizes[i], items[i].buffer.birth),
        )
        return [sorted(numbers, key=key) for key in keys]


def place_in_tiers(
    items: Sequence[Item],
    overlaps: Overlaps,
    capacities: Sequence[int],
    seconds_per_byte: Sequence[float],
    iterations: int = 300,
    seed: int = 1,
) -> Placing:
    """Place the items; the same input gives the same result.

    Args:
        items: what to place.
        overlaps: permitted overlaps by item number, as for ``allocate``.
        capacities: bytes of each region, fastest first.
        seconds_per_byte: time to move a byte, of each region.
        iterations: attempts to improve.
        seed: of the attempts.
    """
    packer = TierPacker(items, overlaps, capacities, seconds_per_byte)
    found = sorted(
        ((packer.place(order), order) for order in packer.orders()), key=lambda pair: pair[0].rank
    )
    best, order = found[0]
    random = Random(seed)
    least = sum(item.traffic for item in items) * seconds_per_byte[0] * (1 + 1e-9)
    for attempt in range(iterations):
        if best.overflow == 0 and best.cost <= least:
            break
        trial = list(found[attempt % 3][1] if attempt % 4 == 3 else order)
        slow = [i for i in trial if best.regions[i] == max(best.regions)]
        for _ in range(random.randint(1, 3)):
            chosen = random.choice(slow if random.random() < 0.6 else trial)
            position = trial.index(chosen)
            trial.insert(random.randint(0, max(position - 1, 0)), trial.pop(position))
        placed = packer.place(trial)
        if placed.rank <= best.rank:
            best, order = placed, trial
    return best
