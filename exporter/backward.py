"""The BACKWARD program: which ops run, in which order (docs/numerics.md, docs/artifact.md).

Ops are first listed with abstract error values (``error_values.py``). An addition hands the same value
to both its inputs, so copies are needed only where an activation works in place on a value that is
still read later.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from exporter.error_values import ErrorValues, Value, assign_buffers
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
from exporter.ops import NO_PADDING, Op, Opcode, Phase, scratch_bytes
from exporter.partition import Partition, fused_activation, reads_input_value
from exporter.program import (
    Program,
    ProgramBuilder,
    forward_op,
    mask_op,
    node_macs,
    q_factors,
    start_program,
)
from exporter.recompute import Recomputation


@dataclass(frozen=True)
class BackwardOptions:
    """Orders that give the same result and differ in memory.

    ``weight_first`` computes a node's weight gradient before its input gradient (not with immediate
    updates). ``lazy`` takes the node that grows memory least instead of plain reverse execution
    order. ``pack`` turns a saved activation into mask bits once its last weight gradient is done.
    ``again`` names saved activations that are not kept but computed again (``recompute.py``), ``keep``
    activations that are kept for that alone.
    """

    weight_first: bool = False
    lazy: bool = False
    pack: bool = False
    again: frozenset[str] = frozenset()
    keep: frozenset[str] = frozenset()


def _is_affine(node: AnyNode) -> bool:
    return isinstance(node, DepthwiseConv2d) and node.is_affine


class _Emitter:
    def __init__(self, b: ProgramBuilder, options: BackwardOptions) -> None:
        self.b = b
        self.options = options
        self.values = ErrorValues(b)
        self.packed: set[str] = set()
        self.recompute = Recomputation(b, options.again, options.keep)
        self.readers = {
            name: {
                i
                for i, node in enumerate(b.graph.nodes)
                if reads_input_value(b.partition, node, name)
            }
            for name in b.partition.saved
        }
        """Saved activation to the nodes whose backward pass still reads it."""

    def held(self, x: str) -> str:
        """Name of the tensor that holds saved activation ``x`` now; computes it again where it was not kept."""
        name, ops = self.recompute.tensor(x)
        for op in ops:
            self.values.consume(op, ())
        return name

    def growth(self, node: AnyNode) -> int:
        """Bytes that processing a node adds to what is alive, roughly; negative when it frees."""
        p, y, values = self.b.partition, node.output, self.values
        value = values.sums[y]
        made = 0
        for x in node.inputs:
            if x not in p.errors or isinstance(node, Add):
                continue
            size = self.b.tensors[x].nbytes
            if _is_affine(node):
                made += 0 if x in values.sums else 2 * size
            else:
                narrow = isinstance(node, Conv2d | DepthwiseConv2d) or not value.wide
                made += size if narrow else 2 * size
        freed = 0 if values.shared(value, y) else values.nbytes(value)
        if y in p.masks or y in self.packed:
            freed += self.b.tensors[f"{y}:mask"].nbytes
        if y in p.saved and y not in self.packed:
            freed += self.b.tensors[y].nbytes
        return made - freed

    def deferred(self, node: AnyNode) -> bool:
        """True for an affine that could be added in place later, when more contributions are there."""
        x = node.inputs[0]
        waiting = [i for i in self.values.expected.get(x, []) if self.b.graph.nodes[i] is not node]
        return _is_affine(node) and bool(waiting)

    def through_activation(self, node: AnyNode, value: Value) -> Value:
        y, activation = node.output, fused_activation(node)
        if activation is Activation.NONE:
            return value
        if y in self.b.partition.relu_saved and y not in self.packed:
            forward = forward_op(self.b, node, Phase.BACKWARD)
            op = Op(
                Opcode.RELU_BWD, Phase.BACKWARD, node.name, (self.held(y),), None,
                act_min=forward.act_min, act_max=forward.act_max,
                numbers=(int(activation is Activation.RELU6), 0, 0),
            )  # fmt: skip
        else:
            op = Op(Opcode.MASK_BWD, Phase.BACKWARD, node.name, (f"{y}:mask",), None)
        return self.values.step(op, (value,), y, value.wide)

    def backward_op(self, opcode: Opcode, node: AnyNode, inputs: tuple[str, ...] = ()) -> Op:
        """An op with its forward node's geometry and, for convolutions, scratch."""
        forward = forward_op(self.b, node, Phase.BACKWARD)
        x, y = self.b.shape(node.inputs[0]), self.b.shape(node.output)
        return Op(
            opcode, Phase.BACKWARD, node.name, inputs, None, kernel=forward.kernel,
            stride=forward.stride, padding=forward.padding,
            scratch_bytes=scratch_bytes(
                opcode, forward.kernel, forward.stride, forward.padding, x, y
            ),
        )  # fmt: skip

    def convolution(self, index: int, node: Conv2d | DepthwiseConv2d, value: Value) -> None:
        if self.options.weight_first:
            self._weight_gradient(index, node, value)
            self._input_gradient(index, node, value)
        else:
            self._input_gradient(index, node, value)
            self._weight_gradient(index, node, value)

    def _input_gradient(self, index: int, node: Conv2d | DepthwiseConv2d, value: Value) -> None:
        x = node.inputs[0]
        if x not in self.b.partition.errors:
            return
        opcode = Opcode.CONV2D_BWD_INPUT
        if isinstance(node, DepthwiseConv2d):
            opcode = Opcode.AFFINE_BWD if node.is_affine else Opcode.DEPTHWISE_BWD_INPUT
        q, t = q_factors(self.b, node)
        op = replace(
            self.backward_op(opcode, node), weights=self.b.parameter_names(node)[0],
            multipliers=q, t=t, macs=node_macs(self.b.graph, node),
        )  # fmt: skip
        if opcode is Opcode.AFFINE_BWD:
            partner = self.values.partner(x, index)
            reads = (value,) if partner is None else (value, partner)
            self.values.give(x, index, self.values.step(op, reads, x, wide=True))
            return
        taps = op.kernel[0] * op.kernel[1] * self.b.shape(node.output)[3]
        if opcode is Opcode.CONV2D_BWD_INPUT and taps > 8192:
            raise ExporterError(
                f"the input gradient of '{node.name}' sums {taps} products, at most 8192 are "
                "possible; train only blocks at or behind this layer"
            )
        op = replace(op, state=self.b.new_state())
        self.values.give(x, index, self.values.step(op, (value,), x, wide=False))

    def _weight_gradient(self, index: int, node: Conv2d | DepthwiseConv2d, value: Value) -> None:
        if not self.b.partition.is_trained(node):
            return
        affine = _is_affine(node)
        opcode = Opcode.CONV2D_BWD_WEIGHT
        if isinstance(node, DepthwiseConv2d):
            opcode = Opcode.DEPTHWISE_BWD_WEIGHT
        op = self.backward_op(opcode, node, () if affine else (self.held(node.inputs[0]),))
        number = next(k for k, record in enumerate(self.b.trained) if record.node == node.name)
        macs = 0 if affine else node_macs(self.b.graph, node)
        op = replace(op, trained=number, numbers=(int(affine), 0, 0), macs=macs)
        self.values.consume(op, (value,))
        self._read(index, node.inputs[0])

    def _read(self, index: int, x: str) -> None:
        """Note that a node's backward pass has read saved activation ``x``; pack it if that was the last."""
        readers = self.readers.get(x)
        if readers is None:
            return
        readers.discard(index)
        if self.options.pack and not readers and x in self.b.partition.relu_saved:
            producer = self.b.graph.producer(x)
            assert producer is not None
            op = mask_op(self.b, producer, Phase.BACKWARD)
            op = replace(op, inputs=(self.held(x),), training_only=False)
            self.values.consume(op, ())
            self.packed.add(x)

    def node(self, index: int) -> None:
        """Everything that the error of one node's output sets off."""
        node = self.b.graph.nodes[index]
        values, x = self.values, node.inputs[0]
        value = self.through_activation(node, values.sums.pop(node.output))
        match node:
            case Conv2d() | DepthwiseConv2d():
                self.convolution(index, node, value)
            case Add():
                for name in node.inputs:
                    if name in self.b.partition.errors:
                        values.give(name, index, value)
            case AveragePool():
                op = self.backward_op(Opcode.AVERAGE_POOL_BWD, node)
                values.give(x, index, values.step(op, (value,), x, value.wide))
            case MaxPool():
                op = self.backward_op(Opcode.MAX_POOL_BWD, node, (self.held(x),))
                values.give(x, index, values.step(op, (value,), x, value.wide))
                self._read(index, x)
            case ChannelPad():
                op = self.backward_op(Opcode.CHANNEL_PAD_BWD, node)
                op = replace(op, numbers=(node.before, 0, 0))
                values.give(x, index, values.step(op, (value,), x, value.wide))

    def loss(self) -> None:
        """The first op."""
        graph = self.b.graph
        last = graph.nodes[-1]
        assert isinstance(last, Conv2d)
        weights, bias = self.b.parameter_names(last)
        x, y = last.inputs[0], last.output
        scratch = scratch_bytes(
            Opcode.LINEAR_LOSS, (1, 1), (1, 1), NO_PADDING, self.b.shape(x), self.b.shape(y)
        )
        op = Op(
            Opcode.LINEAR_LOSS, Phase.BACKWARD, last.name, (x,), None, weights, bias,
            scratch_bytes=scratch, macs=node_macs(graph, last),
        )  # fmt: skip
        self.values.sums[y] = self.values.step(op, (), y, wide=False)

    def run(self) -> None:
        nodes = self.b.graph.nodes
        self.loss()
        todo = {i for i, node in enumerate(nodes) if node.output in self.b.partition.errors}
        while todo:
            ready = [i for i in todo if self.values.complete(nodes[i].output)]
            chosen = max(ready)
            if self.options.lazy:
                now = [i for i in ready if not self.deferred(nodes[i])] or ready
                chosen = min(now, key=lambda i: (self.growth(nodes[i]), -i))
            todo.remove(chosen)
            self.node(chosen)


def build_program(
    partition: Partition,
    immediate: bool,
    options: BackwardOptions | None = None,
    start: ProgramBuilder | None = None,
) -> Program:
    """The three op lists for training ``partition``; ``start`` is what ``start_program`` gave for it, to save its time.

    Raises:
        ExporterError: the graph is not quantized, or exceeds a bound of docs/artifact.md; or weight
            gradients first were asked for with immediate updates.
    """
    chosen = options or BackwardOptions()
    if immediate and chosen.weight_first:
        raise ExporterError("immediate updates need input gradients before weight gradients")
    b = start.copy() if start else start_program(partition, immediate)
    emitter = _Emitter(b, chosen)
    emitter.run()
    assign_buffers(emitter.values)
    if immediate:
        check_update_order(b)
    return Program(
        partition, immediate, b.tensors, tuple(b.ops), tuple(b.trained), b.slots, b.states,
        tuple(emitter.recompute.done), chosen.keep,
    )  # fmt: skip


def check_update_order(b: ProgramBuilder) -> None:
    """With immediate updates nothing may read a node's weights or bias once its gradient was applied."""
    updated: set[str] = set()
    for op in b.ops:
        read = {name for name in (op.weights, op.bias) if name is not None}
        assert not read & updated, f"{op.opcode.name} of {op.node} reads updated weights"
        if op.trained is not None:
            record = b.trained[op.trained]
            updated |= {name for name in (record.weights, record.bias) if name is not None}
