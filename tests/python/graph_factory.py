"""Graphs for tests: the real ResNet-26 with random weights, and small random networks that use every operator.

Both come in float (``resnet26_float``, ``small_float``) and int8 (``resnet26_graph``,
``small_graph``). The same arguments give the same graph. All weights are random; scales are
calibrated on random images, so that activations fill their int8 range.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from exporter.graph import (
    F32,
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
    Padding,
    QuantParams,
    Shape,
    quantize_multiplier,
)

INPUT_QUANT = QuantParams(np.float32(2.0 / 255.0), -1)


class GraphBuilder:
    """Appends nodes one by one, keeping each tensor's shape and a float activation of two random images."""

    def __init__(self, shape: Shape, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[AnyNode] = []
        self.shapes: dict[str, Shape] = {"input": shape}
        image = self.rng.integers(0, 256, (2, *shape)).astype(np.float32)
        self.values: dict[str, F32] = {"input": image * np.float32(2 / 255) - np.float32(1)}
        self.block = ""

    def _append(self, node: AnyNode) -> str:
        self.nodes.append(node)
        self.values[node.output] = float_node(node, [self.values[name] for name in node.inputs])
        height, width, channels = self.values[node.output].shape[1:]
        self.shapes[node.output] = (height, width, channels)
        return node.output

    def _name(self, name: str) -> str:
        return name or f"{self.block}.{len(self.nodes)}"

    def conv(
        self,
        x: str,
        outputs: int,
        kernel: tuple[int, int] = (3, 3),
        stride: tuple[int, int] = (1, 1),
        padding: Padding = (1, 1, 1, 1),
        activation: Activation = Activation.RELU,
        name: str = "",
        linear: bool = False,
    ) -> str:
        """Convolution with He-random weights and small random bias."""
        name = self._name(name)
        shape = (outputs, *kernel, self.shapes[x][2])
        fan_in = kernel[0] * kernel[1] * shape[3]
        spread = self.rng.uniform(0.5, 1.5, (outputs, 1, 1, 1)) * np.sqrt(2 / fan_in)
        weight = (self.rng.standard_normal(shape) * spread).astype(np.float32)
        bias = (self.rng.standard_normal(outputs) * 0.1).astype(np.float32)
        node = Conv2d(
            name, self.block, (x,), f"{name}.y", weight, bias, stride, padding, activation, linear
        )
        return self._append(node)

    def depthwise(
        self,
        x: str,
        kernel: tuple[int, int] = (3, 3),
        stride: tuple[int, int] = (1, 1),
        padding: Padding = (1, 1, 1, 1),
        activation: Activation = Activation.RELU,
        name: str = "",
    ) -> str:
        """Depthwise convolution with random weights."""
        name = self._name(name)
        channels = self.shapes[x][2]
        weight = self.rng.standard_normal((*kernel, channels)) * np.sqrt(2 / np.prod(kernel))
        bias = (self.rng.standard_normal(channels) * 0.1).astype(np.float32)
        node = DepthwiseConv2d(
            name, self.block, (x,), f"{name}.y", weight.astype(np.float32), bias, stride, padding,
            activation,
        )  # fmt: skip
        return self._append(node)

    def affine(self, x: str, activation: Activation = Activation.RELU, name: str = "") -> str:
        """Batch norm as 1x1 depthwise convolution: normalises the calibration images, then shifts a little."""
        name = self._name(name)
        value = self.values[x].reshape(-1, self.shapes[x][2])
        gain = self.rng.uniform(0.7, 1.3, value.shape[1]) / (value.std(axis=0) + 1e-3)
        bias = self.rng.standard_normal(value.shape[1]) * 0.3 - value.mean(axis=0) * gain
        weight = gain.astype(np.float32)[None, None]
        node = DepthwiseConv2d(
            name, self.block, (x,), f"{name}.y", weight, bias.astype(np.float32),
            activation=activation,
        )  # fmt: skip
        return self._append(node)

    def add(self, a: str, b: str, activation: Activation = Activation.NONE, name: str = "") -> str:
        """Element-wise sum."""
        name = self._name(name)
        return self._append(Add(name, self.block, (a, b), f"{name}.y", activation))

    def average_pool(
        self, x: str, kernel: tuple[int, int], stride: tuple[int, int], name: str = ""
    ) -> str:
        """Average over windows."""
        name = self._name(name)
        return self._append(AveragePool(name, self.block, (x,), f"{name}.y", kernel, stride))

    def max_pool(
        self, x: str, kernel: tuple[int, int], stride: tuple[int, int], name: str = ""
    ) -> str:
        """Maximum over windows."""
        name = self._name(name)
        return self._append(MaxPool(name, self.block, (x,), f"{name}.y", kernel, stride))

    def channel_pad(self, x: str, before: int, after: int, name: str = "") -> str:
        """Zero channels before and after."""
        name = self._name(name)
        return self._append(ChannelPad(name, self.block, (x,), f"{name}.y", before, after))

    def finish(self, name: str, blocks: tuple[str, ...]) -> Graph:
        """The float graph of the nodes so far; its output is the last node's."""
        output = self.nodes[-1].output
        classes = tuple(f"class{i}" for i in range(self.shapes[output][2]))
        nodes = tuple(self.nodes)
        return Graph(name, nodes, "input", output, dict(self.shapes), blocks, classes)


def _windows(
    x: F32, kernel: tuple[int, int], stride: tuple[int, int], padding: Padding
) -> NDArray[np.float32]:
    top, left, bottom, right = padding
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    view = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=(1, 2))
    return view[:, :: stride[0], :: stride[1]].transpose(0, 1, 2, 4, 5, 3)


def float_node(node: AnyNode, inputs: list[F32]) -> F32:
    """Float output of one node for inputs (N, H, W, C)."""
    x = inputs[0]
    activation = Activation.NONE
    match node:
        case Conv2d():
            columns = _windows(x, node.weight.shape[1:3], node.stride, node.padding)
            y = np.tensordot(columns, node.weight, axes=((3, 4, 5), (1, 2, 3))) + node.bias
            activation = node.activation
        case DepthwiseConv2d():
            columns = _windows(x, node.weight.shape[:2], node.stride, node.padding)
            y = np.einsum("nhwklc,klc->nhwc", columns, node.weight) + node.bias
            activation = node.activation
        case Add():
            y, activation = x + inputs[1], node.activation
        case AveragePool():
            y = _windows(x, node.kernel, node.stride, (0, 0, 0, 0)).mean(axis=(3, 4))
        case MaxPool():
            y = _windows(x, node.kernel, node.stride, (0, 0, 0, 0)).max(axis=(3, 4))
        case ChannelPad():
            y = np.pad(x, ((0, 0), (0, 0), (0, 0), (node.before, node.after)))
    if activation is not Activation.NONE:
        y = np.clip(y, 0, 6 if activation is Activation.RELU6 else None)
    return y.astype(np.float32)


def float_forward(graph: Graph, x: F32) -> dict[str, F32]:
    """All tensors of the float graph for real inputs (N, H, W, C)."""
    values = {graph.input: x}
    for node in graph.nodes:
        values[node.output] = float_node(node, [values[name] for name in node.inputs])
    return values


def random_input(graph: Graph, count: int, seed: int = 0) -> NDArray[np.int8]:
    """Random int8 inputs (count, H, W, C) over the whole int8 range."""
    rng = np.random.default_rng(seed)
    return rng.integers(-128, 128, (count, *graph.shapes[graph.input])).astype(np.int8)


def _tensor_quant(value: F32) -> QuantParams:
    low, high = min(float(value.min()), 0.0), max(float(value.max()), 0.0)
    scale = np.float32(max(high - low, 1e-3) / 255.0)
    zero = int(np.clip(round(-128 - low / float(scale)), -128, 127))
    return QuantParams(scale, zero)


def _conv_quant(node: Conv2d | DepthwiseConv2d, x: QuantParams, y: QuantParams) -> ConvQuant:
    axes = (1, 2, 3) if isinstance(node, Conv2d) else (0, 1)
    largest = np.maximum(np.abs(node.weight).max(axis=axes), 1e-6)
    if isinstance(node, Conv2d) and node.linear:
        largest = np.full_like(largest, largest.max())
    scale = (largest / np.float32(127)).astype(np.float32)
    column = scale[:, None, None, None] if isinstance(node, Conv2d) else scale
    weight = np.clip(np.rint(node.weight / column), -127, 127).astype(np.int8)
    wide = scale.astype(np.float64)
    bias = np.rint(node.bias / (float(x.scale) * wide)).astype(np.int32)
    pairs = [quantize_multiplier(float(x.scale) * s / float(y.scale)) for s in wide.tolist()]
    multiplier, shift = (np.array(column, dtype=np.int32) for column in zip(*pairs, strict=True))
    return ConvQuant(weight, scale, bias, multiplier, shift)


def _add_quant(a: QuantParams, b: QuantParams, y: QuantParams) -> AddQuant:
    twice = 2.0 * max(float(a.scale), float(b.scale))
    return AddQuant(
        quantize_multiplier(float(a.scale) / twice),
        quantize_multiplier(float(b.scale) / twice),
        quantize_multiplier(twice / ((1 << 20) * float(y.scale))),
    )


def quantize_random(graph: Graph, seed: int = 0) -> Graph:
    """Int8 form of a float graph, calibrated on four random images."""
    real = random_input(graph, 4, seed).astype(np.float32)
    values = float_forward(graph, (real + 1) * np.float32(2 / 255))
    quant: dict[str, QuantParams] = {graph.input: INPUT_QUANT}
    nodes: list[AnyNode] = []
    for node in graph.nodes:
        x = quant[node.inputs[0]]
        keeps_scale = isinstance(node, AveragePool | MaxPool | ChannelPad)
        y = x if keeps_scale else _tensor_quant(values[node.output])
        quant[node.output] = y
        match node:
            case Conv2d() | DepthwiseConv2d():
                nodes.append(replace(node, quant=_conv_quant(node, x, y)))
            case Add():
                nodes.append(replace(node, quant=_add_quant(x, quant[node.inputs[1]], y)))
            case _:
                nodes.append(node)
    return replace(graph, nodes=tuple(nodes), quant=quant)


def resnet26_float(seed: int = 0, classes: int = 10, size: int = 32) -> Graph:
    """ResNet-26 (exporter/model.py) with random weights: bn2 folded, bn1 an affine."""
    b = GraphBuilder((size, size, 3), seed)
    b.block = "block1"
    x = b.conv("input", 16, activation=Activation.NONE, name="conv1")
    for stage, channels in enumerate((16, 32, 64), start=1):
        b.block = f"block{stage}"
        for index in range(4):
            name = f"layer{stage}.{index}"
            first = stage > 1 and index == 0
            h = b.affine(x, name=f"{name}.bn1")
            stride = (2, 2) if first else (1, 1)
            h = b.conv(h, channels, stride=stride, name=f"{name}.conv1")
            h = b.conv(h, channels, activation=Activation.NONE, name=f"{name}.conv2")
            if first:
                x = b.average_pool(x, (2, 2), (2, 2), name=f"{name}.shortcut")
                x = b.channel_pad(x, 0, channels // 2, name=f"{name}.pad")
            x = b.add(x, h, name=f"{name}.add")
    h = b.affine(x, name="bn")
    side = b.shapes[h][0]
    h = b.average_pool(h, (side, side), (side, side), name="pool")
    b.block = "fc"
    b.conv(
        h, classes, (1, 1), padding=(0, 0, 0, 0), activation=Activation.NONE, name="fc", linear=True
    )
    return b.finish("resnet26", ("block1", "block2", "block3", "fc"))


def resnet26_graph(seed: int = 0, classes: int = 10, size: int = 32) -> Graph:
    """Int8 ResNet-26 with random weights."""
    return quantize_random(resnet26_float(seed, classes, size), seed)


ACTIVATIONS = (Activation.NONE, Activation.RELU, Activation.RELU6)


def _random_node(b: GraphBuilder, x: str) -> str:
    """Append one random node behind ``x``; every operator and unequal kernels, strides and paddings occur."""
    rng = b.rng
    height, width, channels = b.shapes[x]
    activation = ACTIVATIONS[int(rng.integers(3))]
    kernel = (int(rng.integers(1, min(4, height) + 1)), int(rng.integers(1, min(4, width) + 1)))
    shrink = height >= 6 and width >= 6
    stride = (int(rng.integers(1, 4)), int(rng.integers(1, 3))) if shrink else (1, 1)
    tops, lefts = (int(v) for v in (rng.integers(kernel[0]), rng.integers(kernel[1])))
    padding = (tops, lefts, int(rng.integers(kernel[0])), int(rng.integers(kernel[1])))
    twins = [name for name, shape in b.shapes.items() if shape == b.shapes[x] and name != x]
    match int(rng.integers(9)):
        case 0 | 1:
            outputs = int(rng.integers(1, 9))
            return b.conv(x, outputs, kernel, stride, padding, activation)
        case 2:
            return b.depthwise(x, kernel, stride, padding, activation)
        case 3:
            return b.affine(x, activation)
        case 4 | 5:
            if twins:
                return b.add(x, twins[int(rng.integers(len(twins)))], activation)
            h = b.affine(x, activation)
            return b.add(x, b.conv(h, channels, activation=ACTIVATIONS[int(rng.integers(3))]))
        case 6:
            return b.average_pool(x, kernel, stride)
        case 7:
            return b.max_pool(x, kernel, stride)
        case _:
            before, after = int(rng.integers(0, 3)), int(rng.integers(1, 3))
            return b.channel_pad(x, before, after) if channels < 12 else b.affine(x, activation)


def small_float(
    seed: int = 0, nodes: int = 10, shape: Shape = (9, 8, 3), classes: int = 5
) -> Graph:
    """Random network of about ``nodes`` nodes in blocks b0, b1, b2 and fc; every tensor leads to the output."""
    b = GraphBuilder(shape, seed)
    x = "input"
    blocks: list[str] = []
    for index in range(nodes):
        b.block = f"b{index * 3 // nodes}"
        if b.block not in blocks:
            blocks.append(b.block)
            # Each block has something to train.
            x = b.conv(x, int(b.rng.integers(3, 8)), activation=Activation.RELU)
        x = _random_node(b, x)
    height, width, _ = b.shapes[x]
    if (height, width) != (1, 1):
        x = b.average_pool(x, (height, width), (1, 1))
    b.block = "fc"
    x = b.conv(
        x, classes, (1, 1), padding=(0, 0, 0, 0), activation=Activation.NONE, name="fc", linear=True
    )
    return b.finish(f"small{seed}", (*blocks, "fc"))


def small_graph(
    seed: int = 0, nodes: int = 10, shape: Shape = (9, 8, 3), classes: int = 5
) -> Graph:
    """Int8 form of ``small_float``."""
    return quantize_random(small_float(seed, nodes, shape, classes), seed)
