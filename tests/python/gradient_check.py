"""Cosines between the oracle's batch gradients and autograd's on the same dequantized network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from exporter.graph import Conv2d, DepthwiseConv2d, Graph
from exporter.oracle import Oracle, forward
from exporter.torch_graph import TorchGraph, input_to_float


def cosine(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Cosine of two tensors; NaN when one of them is zero."""
    a, b = a.ravel(), b.ravel()
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def gradient_cosines(
    graph: Graph,
    blocks: tuple[str, ...],
    images: NDArray[np.int8],
    labels: Sequence[int],
    float_activations: bool = False,
) -> dict[str, float]:
    """Tensor name to cosine, over one batch: the oracle's accumulators against float32 autograd's sums."""
    oracle = Oracle(graph, blocks)
    for x, label in zip(images, labels, strict=True):
        oracle.train_sample(x, int(label))
    model = TorchGraph(graph, blocks)
    observed = None if float_activations else forward(graph, images)
    logits = model(input_to_float(graph, images), observed)
    F.cross_entropy(logits, torch.tensor(list(labels)), reduction="sum").backward()
    cosines: dict[str, float] = {}
    for entry in oracle.trained:
        node, held = entry.node, oracle._accumulators[entry.number]
        key = model.key(node.name)
        if held.weights is not None:
            real = held.weights * np.exp2(held.weight_exponents.astype(np.float64))[:, None]
            expected = _rows(node, model.weights[key].grad)
            cosines[f"{node.name}.weight"] = cosine(real, expected)
        real = held.biases * np.exp2(held.bias_exponents.astype(np.float64))
        grad = model.biases[key].grad
        assert grad is not None
        cosines[f"{node.name}.bias"] = cosine(real, grad.numpy().astype(np.float64))
    return cosines


def _rows(node: Conv2d | DepthwiseConv2d, grad: torch.Tensor | None) -> NDArray[np.float64]:
    """Autograd's weight gradient as (rows, K) in the accumulator's order."""
    assert grad is not None
    array = grad.numpy().astype(np.float64)
    if isinstance(node, DepthwiseConv2d):
        return array[:, 0].reshape(array.shape[0], -1)
    return array.transpose(0, 2, 3, 1).reshape(array.shape[0], -1)
