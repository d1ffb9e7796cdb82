"""Partition: boundary, errors, saved activations and masks."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from exporter.errors import ExporterError
from exporter.graph import Activation, Conv2d, DepthwiseConv2d, Graph, MaxPool
from exporter.partition import (
    SHIFTS,
    Partition,
    blocks_of_shift,
    fused_activation,
    parse_blocks,
    partition,
)
from tests.python.graph_factory import resnet26_float, small_float


@cache
def resnet() -> Graph:
    return resnet26_float(0)


@pytest.mark.parametrize(
    ("blocks", "boundary", "trained"),
    [
        ("fc", "pool.y", 1),
        ("block1", "input", 13),
        ("block2", "layer1.3.add.y", 12),
        ("block3", "layer2.3.add.y", 13),
        ("block3,fc", "layer2.3.add.y", 14),
        ("fc,block3", "layer2.3.add.y", 14),
        ("all", "input", 39),
    ],
)
def test_resnet_boundaries(blocks: str, boundary: str, trained: int) -> None:
    part = partition(resnet(), blocks.split(","))
    assert part.boundary == boundary
    assert len(part.trained) == trained
    assert part.prefix + part.tail == resnet().nodes


def test_fc_saves_the_pooled_vector_only() -> None:
    part = partition(resnet(), ["fc"])
    assert part.saved == {"pool.y"}
    assert part.masks == part.relu_saved == frozenset()
    assert part.errors == {"fc.y"}


def test_block1_keeps_bits_of_the_frozen_layers_behind_it() -> None:
    part = partition(resnet(), ["block1"])
    names = [node.output for node in resnet().nodes if node.block in ("block2", "block3")]
    behind = {name for name in names if name.endswith((".bn1.y", ".conv1.y")) or name == "bn.y"}
    assert part.masks == behind
    inner = {f"layer1.{i}.{layer}.y" for i in range(4) for layer in ("bn1", "conv1")}
    assert part.saved == inner | {"input"}
    assert part.relu_saved == inner


def test_prefix_reads_nothing_but_the_boundary_is_read_behind() -> None:
    for block in resnet().blocks:
        part = partition(resnet(), [block])
        inside = {node.output for node in part.prefix} | {"input"}
        crossing = {name for node in part.tail for name in node.inputs} & inside
        assert crossing == {part.boundary}


def _depends_on_trained(part: Partition, tensor: str) -> bool:
    producer = part.graph.producer(tensor)
    if producer is None:
        return False
    return producer in part.trained or any(_depends_on_trained(part, x) for x in producer.inputs)


@pytest.mark.parametrize("seed", range(12))
def test_random_networks_against_the_definitions(seed: int) -> None:
    graph = small_float(seed, nodes=4 + seed)
    for blocks in [(block,) for block in graph.blocks] + [("all",)]:
        part = partition(graph, blocks)
        for name in graph.shapes:
            assert (name in part.errors) == _depends_on_trained(part, name)
        for node in graph.nodes:
            gated = fused_activation(node) is not Activation.NONE and node.output in part.errors
            assert (node.output in part.masks | part.relu_saved) == gated
        for name in part.saved:
            reasons = [
                node
                for node in graph.consumers(name)
                if (
                    node in part.trained
                    and not (isinstance(node, DepthwiseConv2d) and node.is_affine)
                )
                or (isinstance(node, MaxPool) and name in part.errors)
            ]
            assert reasons
        assert not part.masks & part.saved


def test_a_cut_must_be_one_tensor() -> None:
    # The shortcut of the first block of stage 2 is computed in front of its trained layers.
    graph = resnet()
    nodes = list(graph.nodes)
    moved = [n for n in nodes if n.name in ("layer2.0.shortcut", "layer2.0.pad")]
    rest = [n for n in nodes if n not in moved]
    place = next(i for i, n in enumerate(rest) if n.name == "layer2.0.bn1")
    reordered = replace(graph, nodes=(*rest[:place], *moved, *rest[place:]))
    assert partition(reordered, ["block2"]).boundary == "layer1.3.add.y"


def test_shifts() -> None:
    assert SHIFTS == {"input": ("block1",), "feature": ("block3",), "output": ("fc",)}
    assert blocks_of_shift(resnet(), "feature") == ("block3",)
    assert parse_blocks(resnet(), " fc , block1,fc") == ("block1", "fc")
    assert parse_blocks(resnet(), "all") == resnet().blocks


@pytest.mark.parametrize("blocks", ["block9", "", "fc,block0", " , "])
def test_unknown_blocks_are_refused_with_the_known_ones(blocks: str) -> None:
    with pytest.raises(ExporterError, match=r"block1, block2, block3, fc, all"):
        parse_blocks(resnet(), blocks)


def test_unknown_shift_is_refused() -> None:
    with pytest.raises(ExporterError, match=r"unknown shift 'sideways'.*input, feature, output"):
        blocks_of_shift(resnet(), "sideways")
    with pytest.raises(ExporterError, match=r"no block 'block1'"):
        blocks_of_shift(small_float(0), "input")


def test_graphs_that_cannot_be_trained_are_refused() -> None:
    graph = resnet()
    with pytest.raises(ExporterError, match="fully connected"):
        partition(replace(graph, nodes=graph.nodes[:-1], output="pool.y"), ["block1"])
    last = graph.nodes[-1]
    assert isinstance(last, Conv2d)
    with pytest.raises(ExporterError, match="fully connected"):
        relu = replace(last, activation=Activation.RELU)
        partition(replace(graph, nodes=(*graph.nodes[:-1], relu)), ["fc"])
    with pytest.raises(ExporterError, match="before it is written"):
        partition(replace(graph, nodes=graph.nodes[1:]), ["fc"])
    dead = replace(graph.nodes[0], name="dead", output="dead.y")
    with pytest.raises(ExporterError, match="never read"):
        partition(replace(graph, nodes=(dead, *graph.nodes)), ["fc"])
