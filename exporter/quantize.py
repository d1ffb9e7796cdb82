"""Float graph and activation ranges to the int8 graph of docs/numerics.md, section 1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from exporter.errors import ExporterError
from exporter.graph import (
    F32,
    I8,
    Activation,
    Add,
    AddQuant,
    AnyNode,
    AveragePool,
    ChannelPad,
    Conv2d,
    ConvQuant,
    DepthwiseConv2d,
    Graph,
    MaxPool,
    QuantParams,
    quantize_multiplier,
)

INPUT_QUANT = QuantParams(np.float32(2.0 / 255.0), -1)
"""8-bit pixels minus 128 are the network's input as it stands (docs/numerics.md)."""
WEIGHT_MAX = 127
BIAS_LIMIT = 1 << 28
"""Quantized biases stay below this, so that training has room before its own limit of 2^30."""
SMALLEST_SPAN = 1e-4
"""Narrowest range of an activation, real units."""
SMALLEST_RATIO = 2.0**-16
"""Smallest weight scale of a channel, relative to the largest of its layer: a dead channel must not divide by zero."""


def quantize(graph: Graph, ranges: Mapping[str, tuple[float, float]]) -> Graph:
    """The int8 form of a float graph.

    Args:
        graph: float graph.
        ranges: tensor name to ``(low, high)`` in real units; not needed for the input and for pools and channel pads, which keep
            their input's scale.

    Raises:
        ExporterError: a range is missing.
    """
    quant: dict[str, QuantParams] = {graph.input: INPUT_QUANT}
    nodes: list[AnyNode] = []
    for node in graph.nodes:
        x = quant[node.inputs[0]]
        if isinstance(node, AveragePool | MaxPool | ChannelPad):
            quant[node.output] = x
            nodes.append(node)
            continue
        if node.output not in ranges:
            raise ExporterError(
                f"the calibration has no range for tensor '{node.output}' of {graph.name}; calibrate "
                "this network again with --calibration"
            )
        y = tensor_quant(*ranges[node.output], node.activation)
        quant[node.output] = y
        if isinstance(node, Add):
            nodes.append(replace(node, quant=add_quant(x, quant[node.inputs[1]], y)))
        else:
            nodes.append(replace(node, quant=conv_quant(node, x, y)))
    return replace(graph, nodes=tuple(nodes), quant=quant)


def tensor_quant(low: float, high: float, activation: Activation = Activation.NONE) -> QuantParams:
    """Scale and zero point that cover ``[low, high]`` and represent 0 exactly."""
    low, high = min(low, 0.0), max(high, 0.0)
    if activation is not Activation.NONE:
        low = 0.0
    if activation is Activation.RELU6:
        high = min(high, 6.0)
    scale = np.float32(max(high - low, SMALLEST_SPAN) / 255.0)
    zero_point = round(-128 - low / float(scale))
    return QuantParams(scale, int(np.clip(zero_point, -128, 127)))


def conv_quant(node: Conv2d | DepthwiseConv2d, x: QuantParams, y: QuantParams) -> ConvQuant:
    """Quantize weights per output channel (one scale for all of a linear layer's) and the bias."""
    scale = weight_scale(node, x)
    weight = quantize_weight(node, scale)
    bias = np.rint(node.bias.astype(np.float64) / (float(x.scale) * scale.astype(np.float64)))
    multiplier, shift = multipliers(x, scale, y)
    return ConvQuant(weight, scale, bias.astype(np.int32), multiplier, shift)


def weight_scale(node: Conv2d | DepthwiseConv2d, x: QuantParams) -> F32:
    """Float32 scale per output channel (O,): the largest weight becomes 127, unless the bias asks for more."""
    axes = (0, 1) if isinstance(node, DepthwiseConv2d) else (1, 2, 3)
    largest = np.abs(node.weight.astype(np.float64)).max(axis=axes) / WEIGHT_MAX
    floor = max(float(largest.max()) * SMALLEST_RATIO, 1e-12)
    least = np.abs(node.bias.astype(np.float64)) / (float(x.scale) * BIAS_LIMIT)
    scale: F32 = np.maximum(np.maximum(largest, least), floor).astype(np.float32)
    if isinstance(node, Conv2d) and node.linear:
        scale[:] = scale.max()
    return scale


def quantize_weight(node: Conv2d | DepthwiseConv2d, scale: F32) -> I8:
    """Weights to the nearest int8 step, in the node's layout."""
    rows = scale if isinstance(node, DepthwiseConv2d) else scale.reshape(-1, 1, 1, 1)
    q = np.rint(node.weight.astype(np.float64) / rows.astype(np.float64))
    return np.clip(q, -WEIGHT_MAX, WEIGHT_MAX).astype(np.int8)


def multipliers(
    x: QuantParams, scale: F32, y: QuantParams
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Multiplier and shift per channel from float32 scales multiplied in double precision.

    As TensorFlow Lite's ``PopulateConvolutionQuantizationParams`` does when it prepares a convolution.
    """
    pairs = [quantize_multiplier(float(x.scale) * float(value) / float(y.scale)) for value in scale]
    return (
        np.array([m for m, _ in pairs], dtype=np.int32),
        np.array([s for _, s in pairs], dtype=np.int32),
    )


def add_quant(a: QuantParams, b: QuantParams, y: QuantParams) -> AddQuant:
    """Multipliers of an addition: both inputs to twice the larger scale with 20 more bits, the sum to the output's."""
    twice = 2.0 * max(float(a.scale), float(b.scale))
    return AddQuant(
        quantize_multiplier(float(a.scale) / twice),
        quantize_multiplier(float(b.scale) / twice),
        quantize_multiplier(twice / (2.0**20 * float(y.scale))),
    )


def quantize_input(images: NDArray[np.uint8]) -> I8:
    """Int8 network input for 8-bit images: pixel minus 128."""
    return (images.astype(np.int16) - 128).astype(np.int8)
