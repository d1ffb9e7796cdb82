"""An int8 graph as an ONNX model in QDQ form: float operators between quantize and dequantize nodes.

Input ``input``: int8 (N, C, H, W), 8-bit pixels minus 128; output ``logits``: float32 (N, classes), multiples of the logits' scale.
Between a convolution and its QuantizeLinear stand the few nodes that round as docs/numerics.md does (docs/decisions/0008), so that
results agree in any runtime; ``exact=False`` leaves them out, for tools that look for the bare pattern.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from exporter.errors import ExporterError
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
)

OPSET = 17
IR_VERSION = 8


def emit_onnx(graph: Graph, description: str = "", exact: bool = True) -> bytes:
    """ONNX file of the whole int8 graph; ``exact`` keeps TFLite's rounding of convolutions.

    Raises:
        ExporterError: the graph is not quantized.
    """
    if not graph.is_quantized:
        raise ExporterError(f"{graph.name} has no int8 form yet; quantize it before writing .onnx")
    writer = _Writer(graph, exact)
    writer.dequantized[graph.input] = writer.dequantize(graph.input, "input")
    for node in graph.nodes:
        writer.node(node)
    return writer.finish(description or f"{graph.name}, int8, by tbft")


@dataclass
class _Writer:
    graph: Graph
    exact: bool
    nodes: list[Any] = field(default_factory=list)
    initializers: list[Any] = field(default_factory=list)
    dequantized: dict[str, str] = field(default_factory=dict)

    def finish(self, description: str) -> bytes:
        height, width, channels = self.graph.shapes[self.graph.input]
        classes = int(np.prod(self.graph.shapes[self.graph.output]))
        last = self.dequantized[self.graph.output]
        self._op("Flatten", [last], "logits", axis=1)
        inputs = [
            helper.make_tensor_value_info("input", TensorProto.INT8, ["N", channels, height, width])
        ]
        outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", classes])]
        graph = helper.make_graph(
            self.nodes, self.graph.name, inputs, outputs, self.initializers, doc_string=description
        )
        model = helper.make_model(
            graph,
            producer_name="tbft",
            doc_string=description,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
        )
        helper.set_model_props(model, {"classes": json.dumps(list(self.graph.classes))})
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString(deterministic=True))

    def _op(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(
            helper.make_node(kind, inputs, [output], name=f"{output}:{kind}", **attributes)
        )
        return output

    def _constant(self, name: str, value: NDArray[Any]) -> str:
        self.initializers.append(numpy_helper.from_array(np.array(value, order="C"), name))
        return name

    def _scale(self, tensor: str) -> list[str]:
        """Names of a tensor's scale and zero point."""
        quant = self.graph.quant[tensor]
        names = [f"{tensor}.scale", f"{tensor}.zero_point"]
        if names[0] not in {initializer.name for initializer in self.initializers}:
            self._constant(names[0], np.array(quant.scale, dtype=np.float32))
            self._constant(names[1], np.array(quant.zero_point, dtype=np.int8))
        return names

    def dequantize(self, tensor: str, source: str) -> str:
        """Real values of an int8 activation."""
        return self._op("DequantizeLinear", [source, *self._scale(tensor)], f"{tensor}.real")

    def _store(self, tensor: str, real: str) -> None:
        """Round the float result ``real`` to the int8 steps of ``tensor``."""
        q = self._op("QuantizeLinear", [real, *self._scale(tensor)], f"{tensor}.int8")
        self.dequantized[tensor] = self.dequantize(tensor, q)

    def _activate(self, real: str, activation: Activation) -> str:
        match activation:
            case Activation.NONE:
                return real
            case Activation.RELU:
                return self._op("Relu", [real], f"{real}.relu")
            case Activation.RELU6:
                low = self._constant(f"{real}.low", np.array(0, dtype=np.float32))
                high = self._constant(f"{real}.high", np.array(6, dtype=np.float32))
                return self._op("Clip", [real, low, high], f"{real}.relu6")

    def _parameters(self, node: Conv2d | DepthwiseConv2d, weight: NDArray[np.int8]) -> list[str]:
        """Dequantized weight (per output channel) and bias."""
        quant = node.quant
        assert quant is not None
        s_x = self.graph.quant[node.inputs[0]].scale
        scales = {"weight": quant.weight_scale, "bias": s_x * quant.weight_scale}
        result = []
        for part, value in (("weight", weight), ("bias", quant.bias)):
            name = f"{node.name}.{part}"
            operands = [
                self._constant(name, value),
                self._constant(f"{name}.scale", scales[part]),
                self._constant(f"{name}.zero_point", np.zeros(len(quant.bias), dtype=value.dtype)),
            ]
            result.append(self._op("DequantizeLinear", operands, f"{name}.real", axis=0))
        return result

    def node(self, node: AnyNode) -> None:
        """Append one node of the graph."""
        x = self.dequantized[node.inputs[0]]
        real = f"{node.output}.float"
        match node:
            case Conv2d() | DepthwiseConv2d():
                real = self._activate(self._convolution(node, x, real), node.activation)
            case Add():
                other = self.dequantized[node.inputs[1]]
                real = self._activate(self._op("Add", [x, other], real), node.activation)
            case AveragePool():
                real = self._average(node, x, real)
            case MaxPool():
                self._op(
                    "MaxPool", [x], real, kernel_shape=list(node.kernel), strides=list(node.stride)
                )
            case ChannelPad():
                pads = np.array([0, node.before, 0, 0, 0, node.after, 0, 0], dtype=np.int64)
                self._op("Pad", [x, self._constant(f"{node.name}.pads", pads)], real)
        self._store(node.output, real)

    def _average(self, node: AveragePool, x: str, output: str) -> str:
        """Average whose halves will be rounded away from int8 zero, as TFLite does, where QuantizeLinear takes the even neighbour.

        With ``real = scale * (q - zero_point)`` the mean ``q`` is stretched by a factor so close to 1 that only halves change
        side: a quarter of all 2x2 windows end on a half, so leaving them would dominate the difference.
        """
        mean = self._op(
            "AveragePool", [x], f"{output}.mean", kernel_shape=list(node.kernel),
            strides=list(node.stride),
        )  # fmt: skip
        quant = self.graph.quant[node.output]
        stretch = 1.0 / (512 * node.kernel[0] * node.kernel[1])
        offset = stretch * quant.zero_point * float(quant.scale)
        factor = self._constant(f"{output}.factor", np.array(1 + stretch, dtype=np.float32))
        shift = self._constant(f"{output}.shift", np.array(offset, dtype=np.float32))
        return self._op(
            "Add", [self._op("Mul", [mean, factor], f"{output}.stretched"), shift], output
        )

    def _convolution(self, node: Conv2d | DepthwiseConv2d, x: str, output: str) -> str:
        assert node.quant is not None
        if isinstance(node, DepthwiseConv2d):
            weight, group = node.quant.weight.transpose(2, 0, 1)[:, None], node.weight.shape[2]
        else:
            weight, group = node.quant.weight.transpose(0, 3, 1, 2), 1
        operands = [x, *self._parameters(node, weight)]
        result = f"{output}.sum" if self.exact else output
        self._op(
            "Conv", operands, result, kernel_shape=list(weight.shape[2:]), group=group,
            strides=list(node.stride), pads=list(node.padding),
        )  # fmt: skip
        return self._requantize(node, result, output) if self.exact else result

    def _requantize(self, node: Conv2d | DepthwiseConv2d, real: str, output: str) -> str:
        """``real``, the float sum, rounded as ``MBQM`` does: in float64, where all of its integers are exact."""
        quant = node.quant
        assert quant is not None
        unit = self.graph.quant[node.inputs[0]].scale * quant.weight_scale

        def each(name: str, value: NDArray[Any]) -> str:
            return self._constant(f"{output}.{name}", value.reshape(1, -1, 1, 1))

        def op(kind: str, *inputs: str, **attributes: Any) -> str:
            return self._op(kind, list(inputs), f"{output}.{len(self.nodes)}", **attributes)

        half = self._constant(f"{output}.half", np.array(0.5))
        ratio = op("Mul", real, each("per_unit", (1.0 / unit).astype(np.float32)))
        acc = op("Cast", op("Round", ratio), to=TensorProto.DOUBLE)
        right = np.maximum(-quant.shift.astype(np.int64), 0)
        left = np.maximum(quant.shift.astype(np.int64), 0)
        multiplier = np.ldexp(quant.multiplier.astype(np.float64), left - 31)
        product = op("Mul", acc, each("multiplier", multiplier))
        high = op("Floor", op("Add", product, half))
        scaled = op("Mul", op("Abs", high), each("shift", np.ldexp(1.0, -right)))
        magnitude = op("Floor", op("Add", scaled, half))
        steps = op("Cast", op("Mul", op("Sign", high), magnitude), to=TensorProto.FLOAT)
        scale = np.array(self.graph.quant[node.output].scale, dtype=np.float32)
        return self._op("Mul", [steps, self._constant(f"{output}.step", scale)], output)
