"""The graph as a float32 PyTorch module: the referee of gradients and of float fine-tuning (extra ``train``).

An int8 graph is run with its *dequantized* weights and biases and with float activations, so that autograd differentiates the very
network whose integer gradients are to be judged. The same tensors are trained as on the board (docs/numerics.md, section 2).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from exporter.graph import (
    I8,
    Activation,
    Add,
    AnyNode,
    AveragePool,
    ChannelPad,
    Conv2d,
    DepthwiseConv2d,
    Graph,
    MaxPool,
    activation_range,
)


def dequantized(graph: Graph, node: Conv2d | DepthwiseConv2d) -> tuple[Tensor, Tensor]:
    """Float32 weight (PyTorch layout) and bias; of an int8 node its dequantized values."""
    if node.quant is None:
        weight, bias = node.weight, node.bias
    else:
        scale = node.quant.weight_scale
        s_x = graph.quant[node.inputs[0]].scale
        rows = scale if isinstance(node, DepthwiseConv2d) else scale.reshape(-1, 1, 1, 1)
        weight = (node.quant.weight.astype(np.float64) * rows).astype(np.float32)
        bias = (node.quant.bias.astype(np.float64) * scale * s_x).astype(np.float32)
    if isinstance(node, DepthwiseConv2d):
        weight = weight.transpose(2, 0, 1)[:, None]
    else:
        weight = weight.transpose(0, 3, 1, 2)
    return torch.from_numpy(weight.copy()), torch.from_numpy(bias.copy())


def input_to_float(graph: Graph, x: I8) -> Tensor:
    """Real values of int8 inputs (N, H, W, C) as (N, C, H, W)."""
    quant = graph.quant[graph.input]
    real = (x.astype(np.float32) - quant.zero_point) * np.float32(quant.scale)
    return torch.from_numpy(real.transpose(0, 3, 1, 2).copy())


class TorchGraph(nn.Module):
    """Float32 network of ``graph``; the parameters of the nodes in ``blocks`` that a board would train require gradients.

    ``weights[name]`` and ``biases[name]`` use the node's name with dots replaced by underscores. ``forward`` maps (N, C, H, W) to
    logits (N, classes).
    """

    def __init__(self, graph: Graph, blocks: tuple[str, ...]) -> None:
        super().__init__()
        self.graph = graph
        self.weights, self.biases = nn.ParameterDict(), nn.ParameterDict()
        for node in graph.nodes:
            if not isinstance(node, Conv2d | DepthwiseConv2d):
                continue
            weight, bias = dequantized(graph, node)
            trained = node.block in blocks
            affine = isinstance(node, DepthwiseConv2d) and node.is_affine
            self.weights[self.key(node.name)] = nn.Parameter(weight, trained and not affine)
            self.biases[self.key(node.name)] = nn.Parameter(bias, trained)

    @staticmethod
    def key(name: str) -> str:
        """Name of a node in the parameter dictionaries."""
        return name.replace(".", "_")

    def _convolve(self, node: Conv2d | DepthwiseConv2d, x: Tensor) -> Tensor:
        top, left, bottom, right = node.padding
        padding: tuple[int, int] = (top, left)
        if (top, left) != (bottom, right):
            x, padding = F.pad(x, (left, right, top, bottom)), (0, 0)
        groups = x.shape[1] if isinstance(node, DepthwiseConv2d) else 1
        key = self.key(node.name)
        return F.conv2d(x, self.weights[key], self.biases[key], node.stride, padding, groups=groups)

    def forward(self, x: Tensor, observed: Mapping[str, I8] | None = None) -> Tensor:
        """Logits (N, classes) for real inputs (N, C, H, W).

        ``observed`` (tensor name to int8 (N, H, W, C)) gives the activations an int8 engine saw: the values are taken from there and
        gradients pass straight through the rounding, as they do on the board. Only the rounding of the errors is then left to judge.
        """
        tensors = {self.graph.input: x}
        for node in self.graph.nodes:
            source = tensors[node.inputs[0]]
            match node:
                case Conv2d() | DepthwiseConv2d():
                    y = _activate(self._convolve(node, source), node.activation)
                case Add():
                    y = _activate(source + tensors[node.inputs[1]], node.activation)
                case AveragePool():
                    y = F.avg_pool2d(source, node.kernel, node.stride)
                case MaxPool():
                    y = F.max_pool2d(source, node.kernel, node.stride)
                case ChannelPad():
                    y = F.pad(source, (0, 0, 0, 0, node.before, node.after))
            if observed is not None:
                y = self._straight_through(node, y, tensors, observed[node.output])
            tensors[node.output] = y
        return tensors[self.graph.output].flatten(1)

    def _straight_through(
        self, node: AnyNode, y: Tensor, tensors: dict[str, Tensor], q: I8
    ) -> Tensor:
        quant = self.graph.quant[node.output]
        real = (q.astype(np.float32) - quant.zero_point) * np.float32(quant.scale)
        value = torch.from_numpy(real.transpose(0, 3, 1, 2).copy())
        if isinstance(node, Conv2d | DepthwiseConv2d) and node.activation is not Activation.NONE:
            low, high = activation_range(node.activation, quant)
            passes = (q > low) & ((q < high) | (node.activation is Activation.RELU))
            linear = self._convolve(node, tensors[node.inputs[0]])
            y = linear * torch.from_numpy(passes.transpose(0, 3, 1, 2).copy())
        return y + (value - y).detach()


def _activate(x: Tensor, activation: Activation) -> Tensor:
    match activation:
        case Activation.RELU:
            return F.relu(x)
        case Activation.RELU6:
            return F.relu6(x)
        case Activation.NONE:
            return x
