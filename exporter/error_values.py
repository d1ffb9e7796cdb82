"""Error values: what ops of the backward pass read and write before buffers are chosen.

A value is written once. Contributions to one tensor's error are added in the order of docs/numerics.md (later consumers first), as
soon as that order allows. ``assign_buffers`` then gives values their tensors, shared where an op may work in place.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from exporter.ops import Op, Opcode, Phase
from exporter.program import ProgramBuilder

ACTIVATION_OPS = (Opcode.RELU_BWD, Opcode.MASK_BWD)


@dataclass(frozen=True)
class Value:
    """An error with the shape of graph tensor ``tensor``; ``wide``: int16 instead of int8."""

    number: int
    tensor: str
    wide: bool


@dataclass
class Step:
    """An op whose error operands are values; they come in front of the op's own inputs."""

    op: Op
    reads: tuple[Value, ...]
    writes: Value | None


@dataclass
class ErrorValues:
    """Steps so far, and the contributions to every tensor's error."""

    b: ProgramBuilder
    steps: list[Step] = field(default_factory=list)
    sums: dict[str, Value] = field(default_factory=dict)
    """Tensor to the sum of the contributions added so far."""
    waiting: dict[tuple[str, int], list[Value]] = field(default_factory=dict)
    """Contributions that came before those of later consumers, by tensor and consumer."""
    expected: dict[str, list[int]] = field(default_factory=dict)
    """Tensor to the node indices whose contributions are still to be added, next one last."""
    count: int = 0

    def __post_init__(self) -> None:
        for index, node in enumerate(self.b.graph.nodes):
            for name in node.inputs:
                self.expected.setdefault(name, []).append(index)

    def step(self, op: Op, reads: tuple[Value, ...], tensor: str, wide: bool) -> Value:
        """Append an op that writes a new value."""
        value = Value(self.count, tensor, wide)
        self.count += 1
        self.steps.append(Step(op, reads, value))
        return value

    def consume(self, op: Op, reads: tuple[Value, ...]) -> None:
        """Append an op that writes no error."""
        self.steps.append(Step(op, reads, None))

    def give(self, tensor: str, consumer: int, value: Value) -> None:
        """Take a consumer's contribution to a tensor's error."""
        self.waiting.setdefault((tensor, consumer), []).append(value)
        while (part := self._take(tensor)) is not None:
            if tensor not in self.sums:
                self.sums[tensor] = part
                continue
            op = Op(Opcode.ERROR_ADD, Phase.BACKWARD, tensor, (), None)
            self.sums[tensor] = self.step(op, (self.sums[tensor], part), tensor, wide=True)

    def _take(self, tensor: str) -> Value | None:
        """The next contribution in order, if it is there."""
        order = self.expected[tensor]
        if not order or not self.waiting.get((tensor, order[-1])):
            return None
        return self.waiting[tensor, order.pop()].pop()

    def partner(self, tensor: str, consumer: int) -> Value | None:
        """Value that a fused addition may add a consumer's contribution to; it is taken out.

        None when the order of additions does not allow it yet, or there is nothing to add to.
        """
        order = self.expected[tensor]
        if order[-1] != consumer:
            return None
        if tensor in self.sums:
            return self.sums.pop(tensor)
        if len(order) > 1 and self.waiting.get((tensor, order[-2])):
            return self.waiting[tensor, order.pop(-2)].pop()
        return None

    def complete(self, tensor: str) -> bool:
        """True when all contributions are added."""
        return tensor in self.sums and not self.expected.get(tensor)

    def shared(self, value: Value, tensor: str) -> bool:
        """True when the value is also (part of) another tensor's error that is still to be used."""
        others = [held for name, held in self.sums.items() if name != tensor]
        return value in others or any(value in held for held in self.waiting.values())

    def nbytes(self, value: Value) -> int:
        """Bytes of a value."""
        return self.b.tensors[value.tensor].nbytes * (2 if value.wide else 1)


def _in_place_over(step: Step, dying: list[bool]) -> int | None:
    """Which operand's buffer the result takes over, if any."""
    if step.op.opcode is Opcode.ERROR_ADD:
        places = range(2)
    elif step.op.opcode is Opcode.AFFINE_BWD and len(step.reads) == 2:
        # Over the addend only, and not where that is the operand as well.
        places = range(1, 2) if step.reads[0] != step.reads[1] else range(0)
    else:
        return None
    return next((i for i in places if dying[i] and step.reads[i].wide), None)


def assign_buffers(values: ErrorValues) -> None:
    """Turn steps into ops: every value gets an error tensor."""
    b, steps = values.b, values.steps
    last_use: dict[Value, int] = {}
    for index, step in enumerate(steps):
        last_use.update(dict.fromkeys(step.reads, index))
    buffers: dict[Value, str] = {}
    counts: dict[str, int] = {}

    def fresh(value: Value) -> str:
        number = counts.get(value.tensor, 0)
        counts[value.tensor] = number + 1
        name = f"{value.tensor}:error" + (f"{number + 1}" if number else "")
        return b.error(name, value.tensor, value.wide)

    for index, step in enumerate(steps):
        reads = [buffers[value] for value in step.reads]
        dying = [last_use[value] == index for value in step.reads]
        output: str | None = step.op.output
        if step.writes is not None:
            place = _in_place_over(step, dying)
            if step.op.opcode in ACTIVATION_OPS:
                if not dying[0]:
                    copy = fresh(step.writes)
                    op = Op(Opcode.ERROR_COPY, Phase.BACKWARD, step.op.node, (reads[0],), copy)
                    b.ops.append(op)
                    reads[0] = copy
                output = reads[0]
            elif place is not None:
                output = reads[place]
            else:
                output = fresh(step.writes)
            buffers[step.writes] = output
        b.ops.append(replace(step.op, inputs=(*reads, *step.op.inputs), output=output))
