"""Graph and partition to the three op lists PREFIX, TAIL and BACKWARD, with every tensor they name."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporter.errors import ExporterError
from exporter.graph import (
    Activation,
    Add,
    AnyNode,
    AveragePool,
    ChannelPad,
    Conv2d,
    ConvQuant,
    DepthwiseConv2d,
    Graph,
    MaxPool,
    activation_range,
)
from exporter.ops import (
    DType,
    Op,
    Opcode,
    Phase,
    Role,
    Shape4,
    Tensor,
    TrainedKind,
    TrainedRecord,
    scratch_bytes,
)
from exporter.partition import Partition, fused_activation
from exporter.scaling import bias_rho, scaled_weights, weight_rho

_DTYPES = {"int8": DType.INT8, "int16": DType.INT16, "int32": DType.INT32}


@dataclass(frozen=True)
class Program:
    """What the board executes for one sample, and the tensors that takes."""

    partition: Partition
    immediate: bool
    tensors: dict[str, Tensor]
    ops: tuple[Op, ...]
    """PREFIX, then TAIL, then BACKWARD."""
    trained: tuple[TrainedRecord, ...]
    slots: int
    """Number of error exponents."""
    states: int
    """Number of shift states."""
    recomputed: tuple[str, ...] = ()
    """Activations that the backward pass computes again instead of keeping them."""
    kept: frozenset[str] = frozenset()
    """Activations kept for nothing but to compute others from."""

    @property
    def held(self) -> frozenset[str]:
        """Activations kept from the forward to the backward pass."""
        return (self.partition.saved | self.kept) - frozenset(self.recomputed)

    def phase(self, phase: Phase) -> tuple[Op, ...]:
        """Ops of one program."""
        return tuple(op for op in self.ops if op.phase is phase)


@dataclass
class ProgramBuilder:
    """Collects tensors and ops; ``backward.py`` adds the last program."""

    partition: Partition
    immediate: bool
    tensors: dict[str, Tensor] = field(default_factory=dict)
    ops: list[Op] = field(default_factory=list)
    trained: list[TrainedRecord] = field(default_factory=list)
    slots: int = 0
    states: int = 0

    def copy(self) -> ProgramBuilder:
        """Another builder that goes on from here."""
        return ProgramBuilder(
            self.partition, self.immediate, dict(self.tensors), list(self.ops), list(self.trained),
            self.slots, self.states,
        )  # fmt: skip

    @property
    def graph(self) -> Graph:
        """The int8 graph."""
        return self.partition.graph

    def shape(self, tensor: str) -> Shape4:
        """Shape of an activation as ``(1, H, W, C)``."""
        return (1, *self.graph.shapes[tensor])

    def constant(self, name: str, role: Role, array: NDArray[np.integer], shape: Shape4) -> str:
        """Add a CONST tensor once; returns its name."""
        if name not in self.tensors:
            dtype = _DTYPES[array.dtype.name]
            data = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
            self.tensors[name] = Tensor(name, role, dtype, shape, data)
        return name

    def vector(self, name: str, role: Role, array: NDArray[np.integer]) -> str:
        """Add a CONST vector of shape (1, 1, 1, n)."""
        return self.constant(name, role, array, (1, 1, 1, array.size))

    def arena(self, tensor: Tensor) -> str:
        """Add an arena tensor."""
        self.tensors[tensor.name] = tensor
        return tensor.name

    def activation(self, name: str) -> None:
        """Add an activation tensor of the graph."""
        quant = self.graph.quant[name]
        self.arena(
            Tensor(
                name,
                Role.ACTIVATION,
                DType.INT8,
                self.shape(name),
                zero_point=quant.zero_point,
                scale=float(quant.scale),
            )
        )

    def error(self, name: str, tensor: str, wide: bool) -> str:
        """Add an error tensor for an activation (int16 if wide), with an exponent slot of its own."""
        dtype = DType.INT16 if wide else DType.INT8
        self.arena(Tensor(name, Role.ERROR, dtype, self.shape(tensor), slot=self.slots))
        self.slots += 1
        return name

    def new_state(self) -> int:
        """Number of a new shift state."""
        self.states += 1
        return self.states - 1

    def parameter_names(self, node: Conv2d | DepthwiseConv2d) -> tuple[str, str]:
        """Tensors that ops name as weights and bias: the arena's where trained, else CONST."""
        trained = self.partition.is_trained(node)
        affine = isinstance(node, DepthwiseConv2d) and node.is_affine
        weights = f"{node.name}.w" if trained and not affine else f"{node.name}.w0"
        return weights, f"{node.name}.b" if trained else f"{node.name}.b0"


def conv_quant(node: Conv2d | DepthwiseConv2d) -> ConvQuant:
    """The node's integer form.

    Raises:
        ExporterError: the node was not quantized.
    """
    if node.quant is None:
        raise ExporterError(f"node '{node.name}' is not quantized; quantize the graph first")
    return node.quant


def weight_shape(node: Conv2d | DepthwiseConv2d) -> Shape4:
    """Weight shape in the artifact: OHWI, depthwise (1, kh, kw, C)."""
    quant = conv_quant(node)
    if isinstance(node, Conv2d):
        o, kh, kw, i = quant.weight.shape
        return o, kh, kw, i
    kh, kw, c = quant.weight.shape
    return 1, kh, kw, c


def _add_parameters(b: ProgramBuilder, node: Conv2d | DepthwiseConv2d) -> None:
    """CONST parameters of a convolution and, where trained, its arena tensors and record."""
    quant, name, shape = conv_quant(node), node.name, weight_shape(node)
    w0 = b.constant(f"{name}.w0", Role.WEIGHTS, quant.weight, shape)
    b0 = b.vector(f"{name}.b0", Role.BIAS, quant.bias)
    b.vector(f"{name}.m", Role.MULTIPLIERS, quant.multiplier)
    b.vector(f"{name}.s", Role.SHIFTS, quant.shift)
    if not b.partition.is_trained(node):
        return
    affine = isinstance(node, DepthwiseConv2d) and node.is_affine
    kind = TrainedKind.CONV2D
    if isinstance(node, DepthwiseConv2d):
        kind = TrainedKind.AFFINE if affine else TrainedKind.DEPTHWISE
    rows = quant.bias.size
    row_length = 0 if affine else quant.weight.size // rows
    x = b.graph.quant[node.inputs[0]]

    def keep(suffix: str, role: Role, dtype: DType, dims: Shape4) -> str:
        return b.arena(Tensor(f"{name}.{suffix}", role, dtype, dims, persistent=True))

    def rho(suffix: str, pairs: NDArray[np.int32]) -> str:
        return b.constant(f"{name}.{suffix}", Role.RHO, pairs, (1, 1, rows, 2))

    held = not b.immediate
    accumulators = held and not affine
    b.trained.append(
        TrainedRecord(
            kind=kind,
            node=name,
            block=node.block,
            rows=rows,
            row_length=row_length,
            weights=None if affine else keep("w", Role.WEIGHTS, DType.INT8, shape),
            bias=keep("b", Role.BIAS, DType.INT32, (1, 1, 1, rows)),
            initial_weights=None if affine else w0,
            initial_bias=b0,
            rho_weights=None if affine else rho("rho_w", weight_rho(x.scale, quant.weight_scale)),
            rho_bias=rho("rho_b", bias_rho(x.scale, quant.weight_scale)),
            weight_accumulator=keep(
                "acc_w", Role.ACCUMULATOR, DType.INT16, (1, 1, rows, row_length)
            )
            if accumulators
            else None,
            bias_accumulator=keep("acc_b", Role.ACCUMULATOR, DType.INT32, (1, 1, 1, rows))
            if held
            else None,
            row_exponents=keep("exp", Role.ROW_EXPONENTS, DType.INT16, (1, 1, 2, rows))
            if held
            else None,
        )
    )


def node_macs(graph: Graph, node: AnyNode) -> int:
    """Multiply-accumulates of one forward run of a node; 0 for operators without weights."""
    height, width, channels = graph.shapes[node.output]
    match node:
        case Conv2d():
            return height * width * node.weight.size
        case DepthwiseConv2d():
            return height * width * channels * int(node.weight[..., 0].size)
        case _:
            return 0


def forward_op(b: ProgramBuilder, node: AnyNode, phase: Phase) -> Op:
    """The forward op of a node; its tensors exist."""
    act_min, act_max = activation_range(fused_activation(node), b.graph.quant[node.output])
    op = Op(
        Opcode.ADD, phase, node.name, node.inputs, node.output, act_min=act_min, act_max=act_max
    )
    changes: dict[str, Any] = {}
    match node:
        case Conv2d() | DepthwiseConv2d():
            weights, bias = b.parameter_names(node)
            is_conv = isinstance(node, Conv2d)
            opcode = Opcode.CONV2D if is_conv else Opcode.DEPTHWISE_CONV2D
            kernel = weight_shape(node)[1:3]
            changes = {
                "opcode": opcode,
                "weights": weights,
                "bias": bias,
                "multipliers": f"{node.name}.m",
                "shifts": f"{node.name}.s",
                "kernel": kernel,
                "stride": node.stride,
                "padding": node.padding,
                "macs": node_macs(b.graph, node),
            }
        case Add():
            if node.quant is None:
                raise ExporterError(
                    f"node '{node.name}' is not quantized; quantize the graph first"
                )
            numbers = np.array([*node.quant.a, *node.quant.b, *node.quant.y], dtype=np.int32)
            changes = {"multipliers": b.vector(f"{node.name}.m", Role.MULTIPLIERS, numbers)}
        case AveragePool():
            changes = {"opcode": Opcode.AVERAGE_POOL, "kernel": node.kernel, "stride": node.stride}
        case MaxPool():
            changes = {"opcode": Opcode.MAX_POOL, "kernel": node.kernel, "stride": node.stride}
        case ChannelPad():
            changes = {"opcode": Opcode.CHANNEL_PAD, "numbers": (node.before, 0, 0)}
    op = replace(op, **changes)
    height, width, _ = b.graph.shapes[node.output]
    stride = (op.stride[0] if height > 1 else 1, op.stride[1] if width > 1 else 1)
    # Where one output is left, the stride means nothing, and a global pool's would exceed the format's.
    op = replace(op, stride=stride)
    x, y = b.shape(node.inputs[0]), b.shape(node.output)
    return replace(op, scratch_bytes=scratch_bytes(op.opcode, op.kernel, stride, op.padding, x, y))


def mask_op(b: ProgramBuilder, node: AnyNode, phase: Phase) -> Op:
    """Op that keeps one bit per element of a node's output, for the backward pass."""
    quant = b.graph.quant[node.output]
    act_min, act_max = activation_range(fused_activation(node), quant)
    relu6 = int(fused_activation(node) is Activation.RELU6)
    name = f"{node.output}:mask"
    b.arena(Tensor(name, Role.MASK, DType.BITS, b.shape(node.output)))
    return Op(
        Opcode.MASK, phase, node.name, (node.output,), name,
        act_min=act_min, act_max=act_max, numbers=(relu6, 0, 0), training_only=True,
    )  # fmt: skip


def start_program(partition: Partition, immediate: bool) -> ProgramBuilder:
    """PREFIX and TAIL of a partition.

    Raises:
        ExporterError: the graph is not quantized, or exceeds what the artifact format can express.
    """
    graph = partition.graph
    if not graph.is_quantized:
        raise ExporterError(f"{graph.name} is not quantized; quantize the graph first")
    b = ProgramBuilder(partition, immediate)
    b.activation(graph.input)
    for phase, nodes in ((Phase.PREFIX, partition.prefix), (Phase.TAIL, partition.tail)):
        for node in nodes:
            if isinstance(node, Conv2d | DepthwiseConv2d):
                _add_parameters(b, node)
            b.activation(node.output)
            b.ops.append(forward_op(b, node, phase))
            if node.output in partition.masks:
                b.ops.append(mask_op(b, node, phase))
    return b


def q_factors(b: ProgramBuilder, node: Conv2d | DepthwiseConv2d) -> tuple[str, int]:
    """CONST tensor of the scaled-weight factors, and their exponent t."""
    factors = scaled_weights(conv_quant(node).weight_scale)
    return b.vector(f"{node.name}.q", Role.FACTORS, factors.q), factors.t
