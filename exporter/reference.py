"""Float32 forward pass in NumPy: calibration and the accuracy of the float network, without PyTorch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from exporter.graph import (
    F32,
    Activation,
    Add,
    AnyNode,
    AveragePool,
    ChannelPad,
    Conv2d,
    DepthwiseConv2d,
    Graph,
    MaxPool,
    Padding,
)

BATCH = 32
"""Images at a time: keeps the windows of a 3x3 convolution within the caches' reach."""


def normalise(images: NDArray[np.uint8]) -> F32:
    """Network input for 8-bit images (N, H, W, C): ``(pixel / 255 - 0.5) / 0.5``."""
    return images.astype(np.float32) * np.float32(2 / 255) - np.float32(1)


def windows(x: F32, kernel: tuple[int, int], stride: tuple[int, int], padding: Padding) -> F32:
    """Windows of ``x`` (N, H, W, C), zero outside, as a view (N, OH, OW, kh, kw, C)."""
    top, left, bottom, right = padding
    if any(padding):
        x = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    view = np.lib.stride_tricks.sliding_window_view(x, kernel, axis=(1, 2))
    return view[:, :: stride[0], :: stride[1]].transpose(0, 1, 2, 4, 5, 3)


def _activate(y: F32, activation: Activation) -> F32:
    match activation:
        case Activation.NONE:
            return y
        case Activation.RELU:
            return np.maximum(y, 0, out=y)
        case Activation.RELU6:
            return np.clip(y, 0, 6, out=y)


def _conv(node: Conv2d, x: F32) -> F32:
    outputs, kh, kw, _ = node.weight.shape
    columns = windows(x, (kh, kw), node.stride, node.padding)
    n, oh, ow = columns.shape[:3]
    y = columns.reshape(n * oh * ow, -1) @ node.weight.reshape(outputs, -1).T
    y += node.bias
    return _activate(y.reshape(n, oh, ow, outputs), node.activation)


def _depthwise(node: DepthwiseConv2d, x: F32) -> F32:
    if node.is_affine and not any(node.padding):
        y = x * node.weight[0, 0]
    else:
        columns = windows(x, node.weight.shape[:2], node.stride, node.padding)
        y = np.einsum("nhwklc,klc->nhwc", columns, node.weight)
    y += node.bias
    return _activate(y, node.activation)


def run_node(node: AnyNode, inputs: list[F32]) -> F32:
    """Output of one node for inputs (N, H, W, C)."""
    x = inputs[0]
    match node:
        case Conv2d():
            return _conv(node, x)
        case DepthwiseConv2d():
            return _depthwise(node, x)
        case Add():
            return _activate(x + inputs[1], node.activation)
        case AveragePool():
            pooled: F32 = windows(x, node.kernel, node.stride, (0, 0, 0, 0)).mean(axis=(3, 4))
            return pooled
        case MaxPool():
            largest: F32 = windows(x, node.kernel, node.stride, (0, 0, 0, 0)).max(axis=(3, 4))
            return largest
        case ChannelPad():
            return np.pad(x, ((0, 0), (0, 0), (0, 0), (node.before, node.after)))


def iterate(graph: Graph, x: F32) -> Iterator[tuple[AnyNode, F32]]:
    """Each node with its output for real inputs (N, H, W, C); tensors are dropped after their last use."""
    last_use = {name: node.name for node in graph.nodes for name in node.inputs}
    values = {graph.input: x}
    for node in graph.nodes:
        y = run_node(node, [values[name] for name in node.inputs])
        values[node.output] = y
        yield node, y
        for name in {*node.inputs, node.output}:
            if last_use.get(name, node.name) == node.name:
                del values[name]


def logits(graph: Graph, images: NDArray[np.uint8]) -> F32:
    """Float32 logits (N, classes) of 8-bit images (N, H, W, C)."""
    parts = []
    for start in range(0, len(images), BATCH):
        for node, y in iterate(graph, normalise(images[start : start + BATCH])):
            if node.output == graph.output:
                parts.append(y.reshape(len(y), -1))
    return np.concatenate(parts)
