"""From a folded graph back to the state dict of the original architecture (``exporter/model.py``).

Training gives every convolution a bias, but the architecture has none: a convolution either precedes ``bn2`` of its block, which
takes the bias as it is, or writes to the residual stream. A bias on the stream is constant over the image and reaches every later
reader unchanged (average pools keep it, padded channels have none), and all its readers are batch norms: their offset takes it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporter.errors import ExporterError
from exporter.frontends.checkpoint import Checkpoint
from exporter.frontends.state_dict import BN_EPSILON, F64, StateReader
from exporter.graph import Add, AveragePool, ChannelPad, Conv2d, DepthwiseConv2d, Graph

SMALLEST_GAIN = 1e-6
"""Below this a batch norm's gain is not divided by; the gain becomes 1 and the convolution's weights stay folded."""


def _folded_batch_norm(node: Conv2d) -> str | None:
    """Name of the batch norm folded into a convolution: ``layerS.B.conv1`` holds ``layerS.B.bn2``."""
    stem, _, last = node.name.rpartition(".")
    return f"{stem}.bn2" if stem and last == "conv1" else None


def stream_offsets(graph: Graph) -> dict[str, F64]:
    """Constant per channel (C,) that biases of convolutions without batch norm put on each tensor of the residual stream."""
    offsets: dict[str, F64] = {graph.input: np.zeros(graph.shapes[graph.input][2])}
    for node in graph.nodes:
        x = offsets[node.inputs[0]]
        match node:
            case Conv2d() if not node.linear and _folded_batch_norm(node) is None:
                y = node.bias.astype(np.float64)
            case Add():
                y = x + offsets[node.inputs[1]]
            case ChannelPad():
                y = np.pad(x, (node.before, node.after))
            case AveragePool():
                y = x
            case _:
                y = np.zeros(graph.shapes[node.output][2])
        offsets[node.output] = y
    return offsets


def unfolded_state(
    graph: Graph, source: Checkpoint, blocks: Iterable[str]
) -> dict[str, NDArray[Any]]:
    """State dict with the names and types of ``source`` that computes what the float weights of ``graph`` compute.

    Args:
        graph: graph whose float weights are the trained ones in ``blocks``.
        source: checkpoint the graph was made from; tensors of frozen blocks are taken over unless an offset reaches them.
        blocks: trained blocks.

    Raises:
        ExporterError: ``source`` is not the network of ``graph``.
    """
    chosen = set(blocks)
    state: dict[str, NDArray[Any]] = {name: value.copy() for name, value in source.tensors.items()}
    reader = StateReader(source)
    offsets = stream_offsets(graph)
    for node in graph.nodes:
        if isinstance(node, DepthwiseConv2d):
            offset = offsets[node.inputs[0]]
            if node.block in chosen or offset.any():
                gain = node.weight[0, 0].astype(np.float64)
                constant = node.bias.astype(np.float64) + gain * offset
                _set_batch_norm(state, reader, node.name, gain, constant)
        elif isinstance(node, Conv2d) and node.block in chosen:
            weight = node.weight.astype(np.float64)
            name = _folded_batch_norm(node)
            if node.linear:
                _set(state, f"{node.name}.weight", weight[:, 0, 0, :])
                _set(state, f"{node.name}.bias", node.bias.astype(np.float64))
                continue
            if name is not None:
                gain = reader.vector(f"{name}.weight") / _sigma(reader, name)
                gain = np.where(np.abs(gain) < SMALLEST_GAIN, 1.0, gain)
                weight = weight / gain[:, None, None, None]
                _set_batch_norm(state, reader, name, gain, node.bias.astype(np.float64))
            _set(state, f"{node.name}.weight", weight.transpose(0, 3, 1, 2))
    return state


def _sigma(reader: StateReader, name: str) -> F64:
    sigma: F64 = np.sqrt(reader.vector(f"{name}.running_var") + BN_EPSILON)
    return sigma


def _set_batch_norm(
    state: dict[str, NDArray[Any]], reader: StateReader, name: str, gain: F64, constant: F64
) -> None:
    """Make the batch norm compute ``gain * x + constant`` with its statistics unchanged."""
    _set(state, f"{name}.weight", gain * _sigma(reader, name))
    _set(state, f"{name}.bias", constant + gain * reader.vector(f"{name}.running_mean"))


def _set(state: dict[str, NDArray[Any]], name: str, value: F64) -> None:
    if name not in state or state[name].shape != value.shape:
        raise ExporterError(
            f"the tensor '{name}' of the source checkpoint does not fit the trained network; give the "
            "checkpoint the board's artifact was exported from"
        )
    state[name] = value.astype(np.float32)
