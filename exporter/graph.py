"""The typed graph every part of the exporter speaks: float nodes, and their int8 form.

Shapes are those of one sample, ``(H, W, C)``; a vector is ``(1, 1, C)``. Weights are OHWI, depthwise weights ``(kh, kw, C)``.
A graph is a list of nodes in execution order, each writing one named tensor; every tensor is written once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
I8 = NDArray[np.int8]
I32 = NDArray[np.int32]
Shape = tuple[int, int, int]
Padding = tuple[int, int, int, int]
"""Top, left, bottom, right, in elements."""


class Activation(Enum):
    """Activation fused into the node that writes a tensor."""

    NONE = "none"
    RELU = "relu"
    RELU6 = "relu6"


@dataclass(frozen=True)
class QuantParams:
    """Per-tensor asymmetric int8 quantization: ``real = scale * (q - zero_point)``."""

    scale: np.float32
    zero_point: int


@dataclass(frozen=True)
class ConvQuant:
    """Integer form of a convolution (TensorFlow Lite int8 specification).

    ``weight`` int8 in [-127, 127], the float node's layout; ``weight_scale`` float32 ``(O,)``; ``bias`` int32 ``(O,)`` with scale
    ``s_x * s_w[o]``; ``multiplier`` and ``shift`` int32 ``(O,)``: ``s_x * s_w[o] / s_y`` as TFLite's ``QuantizeMultiplier`` gives it.
    """

    weight: I8
    weight_scale: F32
    bias: I32
    multiplier: I32
    shift: I32


@dataclass(frozen=True)
class AddQuant:
    """Multiplier and shift of both inputs and of the output of an addition (left shift 20)."""

    a: tuple[int, int]
    b: tuple[int, int]
    y: tuple[int, int]


@dataclass(frozen=True)
class Node:
    """What all nodes share. ``block`` names the block of the partition the node belongs to."""

    name: str
    block: str
    inputs: tuple[str, ...]
    output: str


@dataclass(frozen=True)
class Conv2d(Node):
    """Convolution; ``linear`` marks a fully connected layer (1x1 kernel over a 1x1 image, one weight scale for all rows)."""

    weight: F32 = field(repr=False)
    bias: F32 = field(repr=False)
    stride: tuple[int, int] = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    activation: Activation = Activation.NONE
    linear: bool = False
    quant: ConvQuant | None = field(default=None, repr=False)


@dataclass(frozen=True)
class DepthwiseConv2d(Node):
    """Depthwise convolution, multiplier 1. With a 1x1 kernel it is the per-channel affine of a batch norm."""

    weight: F32 = field(repr=False)
    bias: F32 = field(repr=False)
    stride: tuple[int, int] = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    activation: Activation = Activation.NONE
    quant: ConvQuant | None = field(default=None, repr=False)

    @property
    def is_affine(self) -> bool:
        """True for the 1x1 kernel with stride 1, whose gain stays frozen (docs/numerics.md, section 2)."""
        return self.weight.shape[:2] == (1, 1) and self.stride == (1, 1)


@dataclass(frozen=True)
class Add(Node):
    """Element-wise sum of two tensors of one shape."""

    activation: Activation = Activation.NONE
    quant: AddQuant | None = None


@dataclass(frozen=True)
class AveragePool(Node):
    """Average over windows without padding."""

    kernel: tuple[int, int] = (2, 2)
    stride: tuple[int, int] = (2, 2)


@dataclass(frozen=True)
class MaxPool(Node):
    """Maximum over windows without padding."""

    kernel: tuple[int, int] = (2, 2)
    stride: tuple[int, int] = (2, 2)


@dataclass(frozen=True)
class ChannelPad(Node):
    """Zero channels before and after the input's."""

    before: int = 0
    after: int = 0


AnyNode = Conv2d | DepthwiseConv2d | Add | AveragePool | MaxPool | ChannelPad


@dataclass(frozen=True)
class Graph:
    """A network for one sample. ``quant`` is empty in a float graph and holds every tensor's parameters in an int8 one."""

    name: str
    nodes: tuple[AnyNode, ...]
    input: str
    output: str
    shapes: dict[str, Shape]
    blocks: tuple[str, ...]
    """Names of the blocks, front to rear."""
    classes: tuple[str, ...]
    quant: dict[str, QuantParams] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def is_quantized(self) -> bool:
        """True when every tensor has quantization parameters."""
        return all(name in self.quant for name in self.shapes)

    def consumers(self, tensor: str) -> list[AnyNode]:
        """Nodes that read ``tensor``, in execution order."""
        return [node for node in self.nodes if tensor in node.inputs]

    def producer(self, tensor: str) -> AnyNode | None:
        """The node that writes ``tensor``, or None for the input."""
        return next((node for node in self.nodes if node.output == tensor), None)


def activation_range(activation: Activation, quant: QuantParams) -> tuple[int, int]:
    """Clamp bounds ``(act_min, act_max)`` of a fused activation, as TFLite computes them."""
    zero = quant.zero_point
    if activation is Activation.NONE:
        return -128, 127
    low = max(-128, zero)
    if activation is Activation.RELU:
        return low, 127
    six = zero + round_half_away(6.0 / float(quant.scale))
    return low, min(127, six)


def round_half_away(value: float) -> int:
    """TFLite's rounding: to nearest, halves away from zero."""
    return int(np.floor(value + 0.5)) if value >= 0 else int(np.ceil(value - 0.5))


def quantize_multiplier(real: float) -> tuple[int, int]:
    """``(mantissa Q31, shift)`` of a non-negative real multiplier, as TFLite's ``QuantizeMultiplier``."""
    if real == 0.0:
        return 0, 0
    fraction, shift = np.frexp(np.float64(real))
    mantissa = round_half_away(float(fraction) * (1 << 31))
    if mantissa == 1 << 31:
        mantissa //= 2
        shift += 1
    if shift < -31:
        return 0, 0
    return mantissa, int(shift)
