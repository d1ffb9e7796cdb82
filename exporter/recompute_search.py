"""Which activations to compute again: least work for the bytes that must go."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import inf

from exporter.allocate import align, live_profile
from exporter.backward import BackwardOptions, build_program
from exporter.layout import buffers_of
from exporter.ops import Opcode, Phase
from exporter.partition import Partition
from exporter.program import Program, start_program

SEGMENTS = 4
"""Stretches between cuts of the network that one move may drop at once."""
_Move = tuple[str, int]
"""An activation dropped, or the cut in front of a stretch and the number of its segments."""
_FREE_MACS = 10_000
"""Added to the work of a move, so that element-wise work does not count as free."""


@dataclass(frozen=True)
class Choice:
    """Saved activations computed again, and activations kept for that (``BackwardOptions``)."""

    again: frozenset[str] = frozenset()
    keep: frozenset[str] = frozenset()


def recomputed_macs(program: Program) -> int:
    """Multiply-accumulates that a training sample takes for activations computed again."""
    ops = program.phase(Phase.BACKWARD)
    return sum(op.macs for op in ops if op.opcode < Opcode.MASK)


@dataclass(frozen=True)
class _Found:
    """A choice with what its program needs: bytes at each op, and the work added."""

    choice: Choice
    profile: tuple[int, ...]
    macs: int

    @property
    def peak(self) -> int:
        return max(self.profile)

    def excess(self, limit: int) -> int:
        """Bytes times ops above the limit: falls also where several peaks of one height stand."""
        return sum(max(0, needed - limit) for needed in self.profile)


class RecomputeSearch:
    """Greedy search from keeping everything; the same partition gives the same choices."""

    def __init__(self, partition: Partition, immediate: bool) -> None:
        self.partition = partition
        self.immediate = immediate
        self.start = start_program(partition, immediate)
        self.persistent_bytes = sum(
            align(tensor.nbytes) for tensor in self.start.tensors.values() if tensor.persistent
        )
        self._known: dict[Choice, _Found] = {}
        self._worth: dict[_Move, float] = {}

    def evaluate(self, choice: Choice) -> _Found:
        """What a choice needs, with the order of the backward pass that usually takes least."""
        if choice not in self._known:
            options = BackwardOptions(lazy=True, again=choice.again, keep=choice.keep)
            program = build_program(self.partition, self.immediate, options, self.start)
            profile = live_profile(*buffers_of(program))
            self._known[choice] = _Found(choice, tuple(profile), recomputed_macs(program))
        return self._known[choice]

    @cached_property
    def _droppable(self) -> tuple[str, ...]:
        """Saved activations worth computing again, in the order of the graph."""
        part, graph = self.partition, self.partition.graph
        fixed = {part.boundary, graph.input, graph.nodes[-1].inputs[0]}
        largest = max((self.start.tensors[name].nbytes for name in part.saved), default=0)
        return tuple(
            name
            for name in graph.shapes
            if name in part.saved - fixed and self.start.tensors[name].nbytes * 16 >= largest
        )

    @cached_property
    def _cuts(self) -> tuple[tuple[str, frozenset[str]], ...]:
        """Activations from which alone the rest follows, each with the droppable ones up to the next."""
        part, nodes = self.partition, self.partition.graph.nodes
        first = len(part.prefix)
        names: list[tuple[int, str]] = [(first, part.boundary)]
        for cut in range(first + 1, len(nodes)):
            written = {part.boundary, *(node.output for node in nodes[first:cut])}
            crossing = {name for node in nodes[cut:] for name in node.inputs} & written
            if len(crossing) == 1:
                names.append((cut, crossing.pop()))
        ends = [cut for cut, _ in names[1:]] + [len(nodes)]
        found = []
        for (cut, name), end in zip(names, ends, strict=True):
            inside = {node.output for node in nodes[cut:end]} & set(self._droppable)
            found.append((name, frozenset(inside)))
        return tuple(found)

    def _moves(self, choice: Choice) -> Iterator[tuple[_Move, Choice]]:
        for name in self._droppable:
            if name not in choice.again:
                yield (name, 0), Choice(choice.again | {name}, choice.keep - {name})
        for index, (name, _) in enumerate(self._cuts):
            for end in range(index + 2, min(index + SEGMENTS, len(self._cuts)) + 1):
                stretch = self._cuts[index:end]
                dropped = frozenset().union(*(inside for _, inside in stretch))
                keep = choice.keep - {cut for cut, _ in stretch[1:]}
                if name not in self.partition.saved | {self.partition.boundary}:
                    keep |= {name}
                moved = Choice((choice.again | dropped) - {name}, keep)
                if moved != choice:
                    yield (name, end - index), moved

    def step(self, now: _Found, limit: int) -> _Found | None:
        """The move that takes most of what is above the limit (bytes) for its work, or None.

        Moves are tried in the order of what they were worth last; as that rarely grows, the search stops at the first
        that is worth more than the others were.
        """
        excess = now.excess(limit)
        best: tuple[float, _Found] | None = None
        moves = sorted(self._moves(now.choice), key=lambda move: -self._worth.get(move[0], inf))
        for key, choice in moves:
            if best is not None and best[0] >= self._worth.get(key, inf):
                break
            found = self.evaluate(choice)
            gain = excess - found.excess(limit)
            worth = gain / (max(0, found.macs - now.macs) + _FREE_MACS)
            self._worth[key] = worth
            if gain > 0 and (best is None or worth > best[0]):
                best = worth, found
        return None if best is None else best[1]

    def within(self, limit: int) -> Choice | None:
        """A choice whose transient bytes need not exceed ``limit``, or None."""
        now: _Found | None = self.evaluate(Choice())
        while now is not None and now.peak > limit:
            now = self.step(now, limit)
        return None if now is None else now.choice

    def lowest(self) -> Choice:
        """The choice with the lowest peak that is found."""
        best = now = self.evaluate(Choice())
        share = 0.9
        while share < 0.999:
            found = self.step(now, int(best.peak * share))
            if found is None:
                share = 1 - (1 - share) / 3
                now = best
                continue
            now = found
            if now.peak < best.peak:
                best = now
        return best.choice
