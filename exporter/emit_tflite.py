"""An int8 graph, or a run of its nodes, as a TensorFlow Lite model that LiteRT and TFLite Micro execute bit for bit alike.

Padding that differs from TFLite's SAME is written as an explicit PAD before a VALID convolution; PAD fills with the zero point, so
positions outside the image contribute nothing. The network's input and output are int8; a batch is one sample. A fully connected
layer is written as a 1x1 CONV_2D: LiteRT's reference FULLY_CONNECTED rounds in floating point, TFLite Micro's does not
(docs/decisions/0003-classifier-as-convolution.md).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import tflite

from exporter.errors import ExporterError
from exporter.flatbuffer import FlatModel, OpSpec, TensorSpec, little_endian
from exporter.graph import (
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
    Shape,
)

METADATA_NAME = "tbft"
MIN_RUNTIME_VERSION = "2.3.0"
"""First TensorFlow Lite release with all operator versions used here."""

ACTIVATIONS: dict[Activation, int] = {
    Activation.NONE: tflite.ActivationFunctionType.NONE,
    Activation.RELU: tflite.ActivationFunctionType.RELU,
    Activation.RELU6: tflite.ActivationFunctionType.RELU6,
}
Op = tflite.BuiltinOperator


def emit_tflite(
    graph: Graph,
    nodes: Sequence[AnyNode] | None = None,
    outputs: Sequence[str] | None = None,
    description: str = "",
) -> bytes:
    """TFLite file of ``nodes`` (all nodes when None).

    Args:
        graph: int8 graph.
        nodes: a part of the graph in execution order; tensors it reads but does not write become the model's inputs.
        outputs: tensors to return; by default those that are read outside the part, and the graph's output.
        description: origin, in words; shown by model viewers.

    Raises:
        ExporterError: the graph is not quantized.
    """
    if not graph.is_quantized:
        raise ExporterError(
            f"{graph.name} has no int8 form yet; quantize it before writing .tflite"
        )
    chosen = tuple(graph.nodes if nodes is None else nodes)
    writer = _Writer(graph, FlatModel(graph.name, description or f"{graph.name}, int8, by tbft"))
    read = list(dict.fromkeys(name for node in chosen for name in node.inputs))
    written = {node.output for node in chosen}
    inputs = [writer.activation(name) for name in read if name not in written]
    for node in chosen:
        writer.node(node)
    ends = part_outputs(graph, chosen) if outputs is None else tuple(outputs)
    writer.model.metadata["min_runtime_version"] = MIN_RUNTIME_VERSION.encode().ljust(16, b"\0")
    writer.model.metadata[METADATA_NAME] = json.dumps(
        {"network": graph.name, "classes": list(graph.classes), "outputs": list(ends)}
    ).encode()
    return writer.model.to_bytes(inputs, [writer.result(name) for name in ends])


def part_outputs(graph: Graph, nodes: Sequence[AnyNode]) -> tuple[str, ...]:
    """Tensors written by ``nodes`` that others read, and the graph's output, in order of writing."""
    inside = {node.name for node in nodes}
    return tuple(
        node.output
        for node in nodes
        if node.output == graph.output
        or any(reader.name not in inside for reader in graph.consumers(node.output))
    )


def frozen_parts(graph: Graph, blocks: Sequence[str]) -> dict[str, tuple[AnyNode, ...]]:
    """Maximal runs of nodes of blocks that are not trained, by file stem.

    One run is ``frozen``; several are ``frozen-1``, ``frozen-2`` … from front to rear; none when every block is trained.
    """
    runs: list[list[AnyNode]] = []
    previous_frozen = False
    for node in graph.nodes:
        frozen = node.block not in blocks
        if frozen:
            if not previous_frozen:
                runs.append([])
            runs[-1].append(node)
        previous_frozen = frozen
    if len(runs) == 1:
        return {"frozen": tuple(runs[0])}
    return {f"frozen-{number}": tuple(run) for number, run in enumerate(runs, start=1)}


def same_padding(shape: Shape, kernel: tuple[int, int], stride: tuple[int, int]) -> Padding:
    """What TFLite's SAME adds at the top, left, bottom and right."""
    sides = []
    for size, k, s in zip(shape[:2], kernel, stride, strict=True):
        total = max((-(-size // s) - 1) * s + k - size, 0)
        sides.append((total // 2, total - total // 2))
    (top, bottom), (left, right) = sides
    return top, left, bottom, right


@dataclass
class _Writer:
    graph: Graph
    model: FlatModel
    indices: dict[str, int] = field(default_factory=dict)
    flat: dict[str, int] = field(default_factory=dict)

    def activation(self, name: str, shape: tuple[int, ...] | None = None, suffix: str = "") -> int:
        """Index of an activation tensor; ``shape`` and ``suffix`` make a variant of it with the same scale."""
        key = name + suffix
        if key not in self.indices:
            quant = self.graph.quant[name]
            full = shape or (1, *self.graph.shapes[name])
            spec = TensorSpec(key, full, "int8", None, (quant.scale,), (quant.zero_point,))
            self.indices[key] = self.model.add_tensor(spec)
        return self.indices[key]

    def result(self, name: str) -> int:
        """Index of a tensor as output of the model."""
        return self.flat.get(name, self.indices[name])

    def op(
        self,
        code: int,
        version: int,
        inputs: Sequence[int],
        output: int,
        table: str,
        **options: int | bool | tuple[int, ...],
    ) -> None:
        self.model.operators.append(OpSpec(code, version, tuple(inputs), (output,), table, options))

    def node(self, node: AnyNode) -> None:
        match node:
            case Conv2d() | DepthwiseConv2d():
                self._convolution(node)
            case Add():
                inputs = [self.activation(name) for name in node.inputs]
                self.op(
                    Op.ADD, 2, inputs, self.activation(node.output), "AddOptions",
                    FusedActivationFunction=ACTIVATIONS[node.activation],
                )  # fmt: skip
            case AveragePool() | MaxPool():
                code = Op.AVERAGE_POOL_2D if isinstance(node, AveragePool) else Op.MAX_POOL_2D
                self.op(
                    code, 2, [self.activation(node.inputs[0])], self.activation(node.output),
                    "Pool2DOptions", Padding=tflite.Padding.VALID,
                    FilterHeight=node.kernel[0], FilterWidth=node.kernel[1],
                    StrideH=node.stride[0], StrideW=node.stride[1],
                )  # fmt: skip
            case ChannelPad():
                widths = ((0, 0), (0, 0), (0, 0), (node.before, node.after))
                source = self.activation(node.inputs[0])
                self._pad(node.name, source, self.activation(node.output), widths)

    def _pad(self, name: str, source: int, target: int, widths: Sequence[tuple[int, int]]) -> None:
        data = little_endian(np.array(widths, dtype=np.int32))
        constant = self.model.add_tensor(
            TensorSpec(f"{name}.widths", (len(widths), 2), "int32", data)
        )
        self.op(Op.PAD, 2, [source, constant], target, "PadOptions")

    def _parameters(
        self, node: Conv2d | DepthwiseConv2d, shape: tuple[int, ...], axis: int
    ) -> list[int]:
        """Weight and bias tensors, one scale per output channel."""
        quant = node.quant
        assert quant is not None
        scale = quant.weight_scale
        s_x = self.graph.quant[node.inputs[0]].scale
        zeros = (0,) * len(scale)
        weight = TensorSpec(
            f"{node.name}.weight",
            shape,
            "int8",
            little_endian(quant.weight),
            tuple(scale),
            zeros,
            axis,
        )
        bias = TensorSpec(
            f"{node.name}.bias", quant.bias.shape, "int32", little_endian(quant.bias),
            tuple(s_x * scale), zeros,
        )  # fmt: skip
        return [self.model.add_tensor(weight), self.model.add_tensor(bias)]

    def _convolution(self, node: Conv2d | DepthwiseConv2d) -> None:
        depthwise = isinstance(node, DepthwiseConv2d)
        kernel = node.weight.shape[:2] if depthwise else node.weight.shape[1:3]
        height, width, channels = self.graph.shapes[node.inputs[0]]
        source = self.activation(node.inputs[0])
        padding = tflite.Padding.VALID
        if any(node.padding):
            if node.padding == same_padding((height, width, channels), kernel, node.stride):
                padding = tflite.Padding.SAME
            else:
                top, left, bottom, right = node.padding
                shape = (1, height + top + bottom, width + left + right, channels)
                padded = self.activation(node.inputs[0], shape, f".{node.name}.padded")
                self._pad(node.name, source, padded, ((0, 0), (top, bottom), (left, right), (0, 0)))
                source = padded
        options: dict[str, int | bool | tuple[int, ...]] = {
            "Padding": padding,
            "StrideH": node.stride[0],
            "StrideW": node.stride[1],
            "FusedActivationFunction": ACTIVATIONS[node.activation],
        }
        if depthwise:
            operands = [source, *self._parameters(node, (1, *node.weight.shape), axis=3)]
            options["DepthMultiplier"] = 1
            code, table = Op.DEPTHWISE_CONV_2D, "DepthwiseConv2DOptions"
        else:
            operands = [source, *self._parameters(node, node.weight.shape, axis=0)]
            code, table = Op.CONV_2D, "Conv2DOptions"
        self.op(code, 3, operands, self.activation(node.output), table, **options)
        if node.output == self.graph.output:
            self._flatten(node.output)

    def _flatten(self, name: str) -> None:
        """The logits (1, 1, 1, N) as (1, N)."""
        size = int(np.prod(self.graph.shapes[name]))
        shape = self.model.add_tensor(
            TensorSpec("logits.shape", (2,), "int32", little_endian(np.array([1, size], np.int32)))
        )
        self.flat[name] = self.activation(name, (1, size), ".logits")
        self.op(
            Op.RESHAPE, 1, [self.activation(name), shape], self.flat[name], "ReshapeOptions",
            NewShape=(1, size),
        )  # fmt: skip
