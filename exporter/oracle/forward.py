"""Int8 forward pass in NumPy, bit for bit the TensorFlow Lite specification (docs/numerics.md, section 1)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from exporter.graph import (
    I8,
    I32,
    Add,
    AnyNode,
    AveragePool,
    ChannelPad,
    Conv2d,
    DepthwiseConv2d,
    Graph,
    MaxPool,
    Padding,
    activation_range,
)
from exporter.oracle.fixed import I64, mbqm

Parameters = Mapping[str, tuple[I8, I32]]
"""Node name to its current ``(weight, bias)``; nodes that are not in it use the graph's own."""


def parameters_of(node: Conv2d | DepthwiseConv2d, parameters: Parameters) -> tuple[I8, I32]:
    """The node's current int8 weight and int32 bias."""
    if node.name in parameters:
        return parameters[node.name]
    assert node.quant is not None
    return node.quant.weight, node.quant.bias


def patches(
    x: NDArray[np.int16], kernel: tuple[int, int], stride: tuple[int, int], padding: Padding
) -> NDArray[np.int16]:
    """Windows of ``x`` (N, H, W, C), zero outside, as (N, OH, OW, kh, kw, C)."""
    top, left, bottom, right = padding
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=(1, 2))
    strided: NDArray[np.int16] = windows[:, :: stride[0], :: stride[1]]
    return strided.transpose(0, 1, 2, 4, 5, 3)


def exact_matmul(a: NDArray[np.int16], b: NDArray[np.int16], bound: int) -> I64:
    """Integer matrix product through BLAS: float32 where ``bound`` on every partial sum allows, else float64."""
    assert bound < 1 << 53
    if bound < 1 << 24:
        return (a.astype(np.float32) @ b.astype(np.float32)).astype(np.int64)
    return (a.astype(np.float64) @ b.astype(np.float64)).astype(np.int64)


def convolution_accumulators(node: Conv2d, x: I8, zero_point: int, weight: I8, bias: I32) -> I64:
    """Accumulators of a convolution, (N, OH, OW, O), bias included."""
    outputs, kh, kw, _ = weight.shape
    columns = patches(
        x.astype(np.int16) - np.int16(zero_point), (kh, kw), node.stride, node.padding
    )
    n, oh, ow = columns.shape[:3]
    matrix = columns.reshape(n * oh * ow, -1)
    kernel = weight.reshape(outputs, -1).astype(np.int16)
    acc = exact_matmul(matrix, kernel.T, matrix.shape[1] * 255 * 127)
    return acc.reshape(n, oh, ow, outputs) + bias.astype(np.int64)


def _requantize(node: Conv2d | DepthwiseConv2d, graph: Graph, acc: I64) -> I8:
    assert node.quant is not None
    y = graph.quant[node.output]
    low, high = activation_range(node.activation, y)
    scaled = mbqm(acc, node.quant.multiplier.astype(np.int64), node.quant.shift.astype(np.int64))
    return np.clip(scaled + y.zero_point, low, high).astype(np.int8)


def _depthwise(node: DepthwiseConv2d, graph: Graph, x: I8, weight: I8, bias: I32) -> I8:
    kh, kw, _ = weight.shape
    shifted = x.astype(np.int16) - np.int16(graph.quant[node.inputs[0]].zero_point)
    columns = patches(shifted, (kh, kw), node.stride, node.padding).astype(np.int64)
    acc = np.einsum("nhwklc,klc->nhwc", columns, weight.astype(np.int64)) + bias.astype(np.int64)
    return _requantize(node, graph, acc)


def _add(node: Add, graph: Graph, a: I8, b: I8) -> I8:
    assert node.quant is not None
    qa, qb, qy = (graph.quant[name] for name in (*node.inputs, node.output))
    left = mbqm((a.astype(np.int64) - qa.zero_point) << 20, *node.quant.a)
    right = mbqm((b.astype(np.int64) - qb.zero_point) << 20, *node.quant.b)
    low, high = activation_range(node.activation, qy)
    total = mbqm(left + right, *node.quant.y) + qy.zero_point
    return np.clip(total, low, high).astype(np.int8)


def pool_windows(node: AveragePool | MaxPool, x: NDArray[np.int16]) -> NDArray[np.int16]:
    """Windows of a pool without padding, (N, OH, OW, kh, kw, C)."""
    return patches(x, node.kernel, node.stride, (0, 0, 0, 0))


def _average_pool(node: AveragePool, x: I8) -> I8:
    total = pool_windows(node, x.astype(np.int16)).sum(axis=(3, 4), dtype=np.int64)
    n = node.kernel[0] * node.kernel[1]
    magnitude = (np.abs(total) + n // 2) // n
    mean: I64 = np.where(total > 0, magnitude, -magnitude)
    return np.clip(mean, -128, 127).astype(np.int8)


def run_node(node: AnyNode, graph: Graph, tensors: Mapping[str, I8], parameters: Parameters) -> I8:
    """Output of one node for a batch of inputs (N, H, W, C)."""
    x = tensors[node.inputs[0]]
    match node:
        case Conv2d():
            weight, bias = parameters_of(node, parameters)
            zero_point = graph.quant[node.inputs[0]].zero_point
            acc = convolution_accumulators(node, x, zero_point, weight, bias)
            return _requantize(node, graph, acc)
        case DepthwiseConv2d():
            return _depthwise(node, graph, x, *parameters_of(node, parameters))
        case Add():
            return _add(node, graph, x, tensors[node.inputs[1]])
        case AveragePool():
            return _average_pool(node, x)
        case MaxPool():
            largest: NDArray[np.int16] = pool_windows(node, x.astype(np.int16)).max(axis=(3, 4))
            return largest.astype(np.int8)
        case ChannelPad():
            zero_point = graph.quant[node.inputs[0]].zero_point
            widths = ((0, 0), (0, 0), (0, 0), (node.before, node.after))
            return np.pad(x, widths, constant_values=zero_point)


def forward(graph: Graph, x: I8, parameters: Parameters | None = None) -> dict[str, I8]:
    """All tensors of the graph for inputs ``x`` int8 (N, H, W, C), keyed by name."""
    tensors: dict[str, I8] = {graph.input: x}
    for node in graph.nodes:
        tensors[node.output] = run_node(node, graph, tensors, parameters or {})
    return tensors
