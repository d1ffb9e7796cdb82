"""The BACKWARD program: error values in the order of docs/numerics.md, then buffers with as few copies as possible.

Ops are first listed with abstract *values*, each written once. An addition hands the same value to
both its inputs. Values get buffers afterwards, when the last use of each is known: activation ops
work in place and need a copy only where the value is still read later.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from exporter.errors import ExporterError
from exporter.graph import (
    Activation,
    Add,
    AnyNode,
    AveragePool,
    ChannelPad,
    Conv2d,
    DepthwiseConv2d,
    MaxPool,
)
from exporter.ops import Op, Opcode, Phase, Shape4, scratch_bytes
from exporter.partition import Partition, fused_activation
from exporter.program import (
    Program,
    ProgramBuilder,
    forward_op,
    node_macs,
    q_factors,
    start_program,
)

_IN_PLACE = (Opcode.RELU_BWD, Opcode.MASK_BWD)


@dataclass(frozen=True)
class BackwardOptions:
    """Orders that give the same result and differ in memory.

    ``weight_first`` computes a node's weight gradient before its input gradient (not allowed with immediate updates);
    ``lazy`` takes the node that grows memory least instead of plain reverse execution order.
    """

    weight_first: bool = False
    lazy: bool = False


@dataclass
class _Step:
    """An op whose error operands are value numbers. ``reads[0]`` is the error where the opcode takes one first."""

    op: Op
    reads: tuple[int, ...]
    writes: int | None


@dataclass
class _Emitter:
    b: ProgramBuilder
    options: BackwardOptions
    steps: list[_Step] = field(default_factory=list)
    tensor_of: list[str] = field(default_factory=list)
    """Graph tensor whose shape each value has."""
    sums: dict[str, int] = field(default_factory=dict)
    """Tensor to the value of the contributions added so far."""
    waiting: dict[tuple[str, int], list[int]] = field(default_factory=dict)
    expected: dict[str, list[int]] = field(default_factory=dict)
    """Tensor to the node indices whose contributions are still to be added, next one last."""

    def __post_init__(self) -> None:
        for index, node in enumerate(self.b.graph.nodes):
            for name in node.inputs:
                self.expected.setdefault(name, []).append(index)

    def value(self, tensor: str) -> int:
        self.tensor_of.append(tensor)
        return len(self.tensor_of) - 1

    def step(self, op: Op, reads: tuple[int, ...], tensor: str | None) -> int:
        """Append an op; returns the value it writes (-1 for none)."""
        written = None if tensor is None else self.value(tensor)
        self.steps.append(_Step(op, reads, written))
        return -1 if written is None else written

    def give(self, tensor: str, consumer: int, value: int) -> None:
        """A consumer's contribution to a tensor's error; added as soon as all later consumers' are."""
        self.waiting.setdefault((tensor, consumer), []).append(value)
        order = self.expected[tensor]
        while order and self.waiting.get((tensor, order[-1])):
            part = self.waiting[tensor, order.pop()].pop()
            if tensor not in self.sums:
                self.sums[tensor] = part
                continue
            op = Op(Opcode.ERROR_ADD, Phase.BACKWARD, tensor, (), None)
            self.sums[tensor] = self.step(op, (self.sums[tensor], part), tensor)

    def complete(self, tensor: str) -> bool:
        return tensor in self.sums and not self.expected.get(tensor)

    def shared(self, value: int, tensor: str) -> bool:
        """True when the value is also (part of) another tensor's error that is still to be used."""
        others = [v for t, v in self.sums.items() if t != tensor]
        return value in others or any(value in held for held in self.waiting.values())

    def growth(self, node: AnyNode) -> int:
        """Bytes that processing a node adds to what is alive, roughly; negative when it frees."""
        p, y = self.b.partition, node.output
        sizes = self.b.tensors
        made = 0
        if not isinstance(node, Add):
            made = sum(sizes[x].nbytes for x in node.inputs if x in p.errors)
        freed = 0 if self.shared(self.sums[y], y) else sizes[y].nbytes
        if y in p.masks:
            freed += sizes[f"{y}:mask"].nbytes
        if y in p.saved:
            freed += sizes[y].nbytes
        return made - freed

    def through_activation(self, node: AnyNode, value: int) -> int:
        y, activation = node.output, fused_activation(node)
        if activation is Activation.NONE:
            return value
        forward = forward_op(self.b, node, Phase.BACKWARD)
        saved = y in self.b.partition.relu_saved
        op = Op(
            Opcode.RELU_BWD if saved else Opcode.MASK_BWD,
            Phase.BACKWARD,
            node.name,
            (y,) if saved else (f"{y}:mask",),
            None,
            numbers=(int(activation is Activation.RELU6), 0, 0),
        )
        if saved:
            op = replace(op, act_min=forward.act_min, act_max=forward.act_max)
        else:
            op = replace(op, numbers=(0, 0, 0))
        return self.step(op, (value,), y)

    def backward_op(self, opcode: Opcode, node: AnyNode, inputs: tuple[str, ...] = ()) -> Op:
        """An op with its forward node's geometry and, for convolutions, scratch and MACs."""
        forward = forward_op(self.b, node, Phase.BACKWARD)
        x: Shape4 = self.b.shape(node.inputs[0])
        y: Shape4 = self.b.shape(node.output)
        scratch = scratch_bytes(opcode, forward.kernel, x, y)
        return Op(
            opcode, Phase.BACKWARD, node.name, inputs, None, kernel=forward.kernel,
            stride=forward.stride, padding=forward.padding, scratch_bytes=scratch,
        )  # fmt: skip

    def convolution(self, index: int, node: Conv2d | DepthwiseConv2d, value: int) -> None:
        x = node.inputs[0]
        parts = [self._input_gradient, self._weight_gradient]
        if self.options.weight_first:
            parts.reverse()
        given: int | None = None
        for part in parts:
            result = part(node, value)
            given = result if result is not None else given
        if given is not None:
            self.give(x, index, given)

    def _input_gradient(self, node: Conv2d | DepthwiseConv2d, value: int) -> int | None:
        x = node.inputs[0]
        if x not in self.b.partition.errors:
            return None
        is_conv = isinstance(node, Conv2d)
        op = self.backward_op(
            Opcode.CONV2D_BWD_INPUT if is_conv else Opcode.DEPTHWISE_BWD_INPUT, node
        )
        taps = op.kernel[0] * op.kernel[1] * (self.b.shape(node.output)[3] if is_conv else 1)
        if taps > 8192:
            raise ExporterError(
                f"the input gradient of '{node.name}' sums {taps} products, at most 8192 are "
                "possible; train only blocks at or behind this layer"
            )
        q, t = q_factors(self.b, node)
        op = replace(
            op, weights=self.b.parameter_names(node)[0], multipliers=q, t=t,
            state=self.b.new_state(), macs=node_macs(self.b.graph, node),
        )  # fmt: skip
        return self.step(op, (value,), x)

    def _weight_gradient(self, node: Conv2d | DepthwiseConv2d, value: int) -> None:
        if not self.b.partition.is_trained(node):
            return
        affine = isinstance(node, DepthwiseConv2d) and node.is_affine
        opcode = Opcode.CONV2D_BWD_WEIGHT
        if isinstance(node, DepthwiseConv2d):
            opcode = Opcode.DEPTHWISE_BWD_WEIGHT
        op = self.backward_op(opcode, node, () if affine else (node.inputs[0],))
        number = next(k for k, record in enumerate(self.b.trained) if record.node == node.name)
        macs = 0 if affine else node_macs(self.b.graph, node)
        self.step(
            replace(op, trained=number, numbers=(int(affine), 0, 0), macs=macs), (value,), None
        )

    def node(self, index: int) -> None:
        """Everything that the error of one node's output sets off."""
        node = self.b.graph.nodes[index]
        value = self.through_activation(node, self.sums.pop(node.output))
        x = node.inputs[0]
        match node:
            case Conv2d() | DepthwiseConv2d():
                self.convolution(index, node, value)
            case Add():
                for name in node.inputs:
                    if name in self.b.partition.errors:
                        self.give(name, index, value)
            case AveragePool():
                op = self.backward_op(Opcode.AVERAGE_POOL_BWD, node)
                self.give(x, index, self.step(op, (value,), x))
            case MaxPool():
                op = self.backward_op(Opcode.MAX_POOL_BWD, node, (x,))
                self.give(x, index, self.step(op, (value,), x))
            case ChannelPad():
                op = self.backward_op(Opcode.CHANNEL_PAD_BWD, node)
                op = replace(op, numbers=(node.before, 0, 0))
                self.give(x, index, self.step(op, (value,), x))

    def run(self) -> None:
        graph = self.b.graph
        last = graph.nodes[-1]
        assert isinstance(last, Conv2d)
        weights, bias = self.b.parameter_names(last)
        x = last.inputs[0]
        scratch = scratch_bytes(
            Opcode.LINEAR_LOSS, (1, 1), self.b.shape(x), self.b.shape(last.output)
        )
        op = Op(
            Opcode.LINEAR_LOSS, Phase.BACKWARD, last.name, (x,), None, weights, bias,
            scratch_bytes=scratch, macs=node_macs(graph, last),
        )  # fmt: skip
        self.sums[last.output] = self.step(op, (), last.output)
        todo = {i for i, node in enumerate(graph.nodes) if node.output in self.b.partition.errors}
        while todo:
            ready = [i for i in todo if self.complete(graph.nodes[i].output)]
            chosen = max(ready)
            if self.options.lazy:
                chosen = min(ready, key=lambda i: (self.growth(graph.nodes[i]), -i))
            todo.remove(chosen)
            self.node(chosen)


def _assign_buffers(emitter: _Emitter) -> None:
    """Turn steps into ops: every value gets an error tensor, shared where an op may work in place."""
    b, steps = emitter.b, emitter.steps
    last_use: dict[int, int] = {}
    for index, step in enumerate(steps):
        last_use.update(dict.fromkeys(step.reads, index))
    buffers: dict[int, str] = {}
    counts: dict[str, int] = {}

    def fresh(tensor: str) -> str:
        number = counts.get(tensor, 0)
        counts[tensor] = number + 1
        return b.error(f"{tensor}:error" + (f"{number + 1}" if number else ""), tensor)

    for index, step in enumerate(steps):
        reads = [buffers[value] for value in step.reads]
        dying = [last_use[value] == index for value in step.reads]
        output: str | None = None
        if step.writes is not None:
            tensor = emitter.tensor_of[step.writes]
            if step.op.opcode in _IN_PLACE:
                if not dying[0]:
                    copy = fresh(tensor)
                    b.ops.append(
                        Op(Opcode.ERROR_COPY, Phase.BACKWARD, step.op.node, (reads[0],), copy)
                    )
                    reads[0] = copy
                output = reads[0]
            elif step.op.opcode is Opcode.ERROR_ADD and any(dying):
                output = reads[dying.index(True)]
            else:
                output = fresh(tensor)
            buffers[step.writes] = output
        b.ops.append(replace(step.op, inputs=(*reads, *step.op.inputs), output=output))


def build_program(
    partition: Partition, immediate: bool, options: BackwardOptions | None = None
) -> Program:
    """The three op lists for training ``partition``.

    Raises:
        ExporterError: the graph is not quantized, or exceeds a bound of docs/artifact.md; or weight
            gradients first were asked for with immediate updates.
    """
    chosen = options or BackwardOptions()
    if immediate and chosen.weight_first:
        raise ExporterError("immediate updates need input gradients before weight gradients")
    b = start_program(partition, immediate)
    emitter = _Emitter(b, chosen)
    emitter.run()
    _assign_buffers(emitter)
    return Program(
        partition, immediate, b.tensors, tuple(b.ops), tuple(b.trained), b.slots, b.states
    )
