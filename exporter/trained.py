"""Weights trained on a board, back into an int8 graph and into checkpoints.

Two files are written. The float checkpoint holds the state dict of the original architecture, equivalent to the trained network:
folded batch norms are taken apart again, and the bias that a convolution without bias has learned moves into the batch norms that
read its sum. The int8 file beside it holds the exact integers and scales, from which ``host.export`` makes the very same network again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporter.calibration import METADATA_KEY, Ranges, float_sha256
from exporter.checkpoint_write import write_safetensors
from exporter.errors import ExporterError
from exporter.frontends.checkpoint import Checkpoint, read_checkpoint
from exporter.frontends.state_dict import graph_from_checkpoint
from exporter.graph import (
    Add,
    AnyNode,
    Conv2d,
    ConvQuant,
    DepthwiseConv2d,
    Graph,
    QuantParams,
)
from exporter.quantize import add_quant, multipliers
from exporter.unfold import stream_offsets, unfolded_state

INT8_SUFFIX = ".int8.safetensors"
INT8_FORMAT = "1"
Tensors = Mapping[str, NDArray[Any]]


def merge_trained(graph: Graph, tensors: Tensors) -> Graph:
    """The int8 graph with trained tensors in place of its own; float weights follow, dequantized.

    Args:
        graph: int8 graph that was exported.
        tensors: ``<node>.weight`` int8 and ``<node>.bias`` int32, flat or in the node's layout, those of frozen nodes left out.

    Raises:
        ExporterError: a name, type or size does not fit.
    """
    left = dict(tensors)
    nodes: list[AnyNode] = []
    for node in graph.nodes:
        if isinstance(node, Conv2d | DepthwiseConv2d) and node.quant is not None:
            weight, bias = (
                left.pop(f"{node.name}.weight", None),
                left.pop(f"{node.name}.bias", None),
            )
            quant = node.quant
            if weight is not None:
                quant = replace(quant, weight=_fitting(f"{node.name}.weight", weight, quant.weight))
            if bias is not None:
                quant = replace(quant, bias=_fitting(f"{node.name}.bias", bias, quant.bias))
            if quant is not node.quant:
                node = dequantized(replace(node, quant=quant), graph.quant[node.inputs[0]])
        nodes.append(node)
    if left:
        raise ExporterError(
            f"the trained tensor '{next(iter(left))}' is not part of {graph.name}; read the weights "
            "from a board that runs this export"
        )
    return replace(graph, nodes=tuple(nodes))


def _fitting(name: str, value: NDArray[Any], model: NDArray[Any]) -> NDArray[Any]:
    if value.size != model.size or value.dtype != model.dtype:
        raise ExporterError(
            f"the trained tensor '{name}' is {value.dtype} with {value.size} elements, expected "
            f"{model.dtype} with {model.size}; read the weights from a board that runs this export"
        )
    return value.reshape(model.shape).copy()


def dequantized(node: Conv2d | DepthwiseConv2d, x: QuantParams) -> Conv2d | DepthwiseConv2d:
    """The node with float weight and bias that are exactly its integers times their scales (rounded to float32)."""
    assert node.quant is not None
    scale = node.quant.weight_scale.astype(np.float64)
    rows = scale if isinstance(node, DepthwiseConv2d) else scale.reshape(-1, 1, 1, 1)
    weight = (node.quant.weight * rows).astype(np.float32)
    bias = (node.quant.bias * (float(x.scale) * scale)).astype(np.float32)
    return replace(node, weight=weight, bias=bias)


def dequantize_blocks(graph: Graph, blocks: Iterable[str]) -> Graph:
    """Float weights of all nodes in ``blocks`` set to their dequantized integers."""
    chosen = set(blocks)
    nodes: list[AnyNode] = [
        dequantized(node, graph.quant[node.inputs[0]])
        if isinstance(node, Conv2d | DepthwiseConv2d) and node.block in chosen
        else node
        for node in graph.nodes
    ]
    return replace(graph, nodes=tuple(nodes))


def int8_path(path: Path) -> Path:
    """The int8 file that belongs to the float checkpoint ``path``."""
    return path.with_name(path.stem + INT8_SUFFIX)


def write_trained(
    path: Path,
    graph: Graph,
    source: Checkpoint,
    blocks: Iterable[str],
    metadata: Mapping[str, str] | None = None,
) -> tuple[Path, Path]:
    """Write the trained network as float checkpoint ``path`` and as int8 file beside it.

    Args:
        path: ``….safetensors``.
        graph: int8 graph with the trained tensors (``merge_trained``).
        source: checkpoint the graph was exported from.
        blocks: blocks that were trained: their float tensors are the dequantized integers, all others stay as in ``source``.
        metadata: text to add to the float checkpoint's metadata, such as seed and accuracy.

    Returns:
        The two paths.

    Raises:
        ExporterError: a file cannot be written, or ``source`` is not the network of ``graph``.
    """
    chosen = tuple(blocks)
    graph = dequantize_blocks(graph, chosen)
    state = unfolded_state(graph, source, chosen)
    text = {k: v for k, v in source.metadata.items() if k != METADATA_KEY}
    text |= {"tbft.trained_blocks": ",".join(chosen), "tbft.source_sha256": source.sha256}
    text |= metadata or {}
    written = graph_from_checkpoint(Checkpoint(path, "", state, text))
    text[METADATA_KEY] = _ranges(graph, written, source).to_json()
    write_safetensors(path, state, text)
    sha256 = read_checkpoint(path).sha256
    side = int8_path(path)
    write_safetensors(side, _integers(graph), {"tbft.format": INT8_FORMAT, "tbft.checkpoint_sha256": sha256,
                                               "tbft.tensors": json.dumps(list(graph.shapes))})  # fmt: skip
    return path, side


def _ranges(graph: Graph, written: Graph, source: Checkpoint) -> Ranges:
    """Ranges for a fresh quantization of the float checkpoint: those of the int8 graph, less what moved into batch norms."""
    offsets = stream_offsets(graph)
    ranges = {}
    for name, quant in graph.quant.items():
        if name == graph.input:
            continue
        low, high = ((q - quant.zero_point) * float(quant.scale) for q in (-128, 127))
        offset = offsets.get(name, np.zeros(1))
        ranges[name] = min(0.0, low - float(offset.max())), max(0.0, high - float(offset.min()))
    return Ranges(
        ranges, 0, f"int8 scales of {source.path.name} after training", float_sha256(written)
    )


def _integers(graph: Graph) -> dict[str, NDArray[Any]]:
    quants = [graph.quant[name] for name in graph.shapes]
    tensors: dict[str, NDArray[Any]] = {
        "tbft.scale": np.array([quant.scale for quant in quants], dtype=np.float32),
        "tbft.zero_point": np.array([quant.zero_point for quant in quants], dtype=np.int32),
    }
    for node in graph.nodes:
        if isinstance(node, Conv2d | DepthwiseConv2d) and node.quant is not None:
            tensors[f"tbft.weight.{node.name}"] = node.quant.weight
            tensors[f"tbft.bias.{node.name}"] = node.quant.bias
            tensors[f"tbft.weight_scale.{node.name}"] = node.quant.weight_scale
    return tensors


def exact_int8(graph: Graph, checkpoint: Checkpoint) -> Graph | None:
    """The exact int8 graph stored beside ``checkpoint``, or None when there is no such file.

    Args:
        graph: float graph of ``checkpoint``.

    Raises:
        ExporterError: the int8 file is damaged or belongs to another checkpoint.
    """
    path = int8_path(checkpoint.path)
    if not path.exists():
        return None
    side = read_checkpoint(path)
    if side.metadata.get("tbft.checkpoint_sha256") != checkpoint.sha256:
        raise ExporterError(
            f"the file {path} does not belong to {checkpoint.path}, which changed since they were "
            "written together; remove the first to quantize the second anew"
        )
    try:
        return _restore(graph, side)
    except (KeyError, ValueError, IndexError) as error:
        raise ExporterError(
            f"the file {path} lacks tensors or has some that do not fit ({error}); remove it to quantize "
            f"{checkpoint.path} anew"
        ) from error


def _restore(graph: Graph, side: Checkpoint) -> Graph:
    if side.metadata["tbft.format"] != INT8_FORMAT:
        raise ValueError(f"format {side.metadata['tbft.format']}")
    names = json.loads(side.metadata["tbft.tensors"])
    scales, zero_points = side.tensors["tbft.scale"], side.tensors["tbft.zero_point"]
    quant = {
        str(name): QuantParams(np.float32(s), int(z))
        for name, s, z in zip(names, scales, zero_points, strict=True)
    }
    nodes: list[AnyNode] = []
    for node in graph.nodes:
        x, y = quant[node.inputs[0]], quant[node.output]
        if isinstance(node, Conv2d | DepthwiseConv2d):
            stored = {
                part: side.tensors[f"tbft.{part}.{node.name}"]
                for part in ("weight", "bias", "weight_scale")
            }
            if stored["weight"].shape != node.weight.shape:
                raise ValueError(f"'{node.name}' has shape {list(stored['weight'].shape)}")
            m, s = multipliers(x, stored["weight_scale"], y)
            exact = ConvQuant(
                stored["weight"].astype(np.int8), stored["weight_scale"].astype(np.float32),
                stored["bias"].astype(np.int32), m, s,
            )  # fmt: skip
            nodes.append(replace(node, quant=exact))
        elif isinstance(node, Add):
            nodes.append(replace(node, quant=add_quant(x, quant[node.inputs[1]], y)))
        else:
            nodes.append(node)
    return replace(graph, nodes=tuple(nodes), quant=quant)
