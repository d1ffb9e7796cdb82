"""Activations computed again in the backward pass instead of being kept (docs/artifact.md).

A tensor computed again gets a name of its own, ``NAME:again``, so that each tensor has one lifetime. What it is computed from
is the nearest kept activation; saved activations met on the way stay for their own readers, all others are temporary.
"""

from __future__ import annotations

from dataclasses import replace

from exporter.ops import Op, Phase
from exporter.program import ProgramBuilder, forward_op

SUFFIX = ":again"


class Recomputation:
    """Which tensor holds an activation at the present point of the backward pass.

    Args:
        b: the program so far, PREFIX and TAIL done.
        again: saved activations that are not kept.
        keep: activations kept for nothing but to compute others from.
    """

    def __init__(self, b: ProgramBuilder, again: frozenset[str], keep: frozenset[str]) -> None:
        self.b = b
        part = b.partition
        self.done: list[str] = []
        """Activations computed again so far, in this order; temporary ones included."""
        self._kept = {part.boundary, *part.saved, *keep} - again
        self._saved = part.saved
        self._again: dict[str, str] = {}

    def tensor(self, x: str) -> tuple[str, list[Op]]:
        """The tensor that holds ``x``, and the ops that must run first."""
        ops: list[Op] = []
        temporary: dict[str, str] = {}
        name = self._compute(x, ops, temporary)
        return name, ops

    def _compute(self, x: str, ops: list[Op], temporary: dict[str, str]) -> str:
        if x in self._kept:
            return x
        known = self._again.get(x) or temporary.get(x)
        if known is not None:
            return known
        node = self.b.graph.producer(x)
        assert node is not None, f"{x} is not kept, and nothing computes it"
        inputs = tuple(self._compute(name, ops, temporary) for name in node.inputs)
        number = sum(name == x for name in self.done)
        again = f"{x}{SUFFIX}{number + 1 if number else ''}"
        self.b.arena(replace(self.b.tensors[x], name=again))
        ops.append(replace(forward_op(self.b, node, Phase.BACKWARD), inputs=inputs, output=again))
        self.done.append(x)
        (self._again if x in self._saved else temporary)[x] = again
        return again
