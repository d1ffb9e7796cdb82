"""The artifact file: written, read back, refused when damaged, accepted by the firmware's loader."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter import artifact as fmt
from exporter.artifact import SelfTest, write_artifact
from exporter.artifact_read import Artifact, read_artifact
from exporter.errors import ExporterError
from exporter.graph import Conv2d, DepthwiseConv2d, Graph
from exporter.limits import check_limits
from exporter.ops import Role
from exporter.oracle.forward import forward
from exporter.plan import Plan, make_plan
from exporter.report import block_costs, plan_markdown, plan_text, total_cost, write_plan
from tests.native import NativeBuild
from tests.python.graph_factory import random_input, resnet26_graph, small_graph
from tests.python.runtime_board import Board

PARTITIONS = ("fc", "block1", "block2", "block3", "block3,fc", "all")


@cache
def resnet() -> Graph:
    return resnet26_graph(0)


@cache
def resnet_plan(blocks: str, mode: str) -> Plan:
    return make_plan(resnet(), blocks.split(","), mode, iterations=10)


def selftests(graph: Graph, count: int = 2) -> list[SelfTest]:
    images = random_input(graph, count, 5)
    logits = forward(graph, images)[graph.output]
    return [SelfTest(images[i], i, logits[i].reshape(-1)) for i in range(count)]


@cache
def small_artifact() -> bytes:
    graph = small_graph(3)
    plan = make_plan(graph, ["b1"], iterations=10)
    return write_artifact(plan, {"shift": "feature"}, selftests(graph))


def sealed(data: bytes) -> bytes:
    """The bytes with a fresh checksum, so that a change behind it is looked at."""
    return data[:12] + struct.pack("<I", zlib.crc32(data[16:])) + data[16:]


def check_round_trip(graph: Graph, plan: Plan, artifact: Artifact) -> None:
    program, part = plan.program, plan.program.partition
    names = list(program.tensors)
    assert artifact.arena_bytes == plan.arena_bytes
    assert artifact.persistent_bytes == plan.persistent_bytes
    assert (names[artifact.input], names[artifact.output]) == (graph.input, graph.output)
    assert names[artifact.boundary] == part.boundary
    assert artifact.classes == len(graph.classes)
    assert [b.name for b in artifact.blocks] == list(graph.blocks)
    assert [b.name for b in artifact.blocks if b.trained] == list(part.blocks)
    assert [count for _, count in artifact.programs] == [
        len(part.prefix),
        len(part.tail) + len(part.masks),
        sum(op.phase == 2 for op in program.ops),
    ]
    for name, record in zip(names, artifact.tensors, strict=True):
        tensor = program.tensors[name]
        assert (record.shape, record.nbytes, record.role) == (
            tensor.shape,
            tensor.nbytes,
            tensor.role,
        )
        if tensor.in_arena:
            assert record.offset == plan.offsets[name]
    nodes = {node.name: node for node in graph.nodes}
    for written, entry in zip(program.trained, artifact.trained, strict=True):
        node = nodes[written.node]
        assert isinstance(node, Conv2d | DepthwiseConv2d) and node.quant is not None
        assert np.array_equal(artifact.constant(entry.initial_bias).reshape(-1), node.quant.bias)
        if entry.initial_weights is not None:
            kept = artifact.constant(entry.initial_weights).reshape(node.quant.weight.shape)
            assert np.array_equal(kept, node.quant.weight)
        rho = artifact.constant(entry.rho_bias).reshape(-1, 2).astype(np.float64)
        real = rho[:, 0] * 2.0 ** (rho[:, 1] - 31)
        scale = float(graph.quant[node.inputs[0]].scale) * node.quant.weight_scale.astype(
            np.float64
        )
        assert np.allclose(real * scale, 1.0, rtol=1e-8)


@pytest.mark.parametrize("mode", ["accumulate", "immediate"])
@pytest.mark.parametrize("blocks", PARTITIONS)
def test_round_trip(blocks: str, mode: str) -> None:
    plan = resnet_plan(blocks, mode)
    artifact = read_artifact(write_artifact(plan, {"shift": "x"}))
    check_round_trip(resnet(), plan, artifact)
    assert artifact.immediate == (mode == "immediate")
    assert artifact.meta["shift"] == "x" and artifact.meta["blocks"] == list(
        plan.program.partition.blocks
    )
    assert artifact.meta["classes"][3] == "class3"


@pytest.mark.parametrize("seed", range(10))
def test_round_trip_of_random_networks(seed: int) -> None:
    graph = small_graph(seed, nodes=4 + seed)
    plan = make_plan(graph, ["all"], iterations=5)
    vectors = selftests(graph)
    artifact = read_artifact(write_artifact(plan, selftests=vectors))
    check_round_trip(graph, plan, artifact)
    for kept, vector in zip(artifact.selftests, vectors, strict=True):
        assert np.array_equal(kept.image, vector.image) and kept.label == vector.label
        assert np.array_equal(kept.logits, vector.logits)


def test_the_same_plan_gives_the_same_bytes() -> None:
    plan = resnet_plan("fc", "accumulate")
    assert write_artifact(plan) == write_artifact(plan)


def test_the_model_hash_leaves_descriptions_out() -> None:
    plan = resnet_plan("fc", "accumulate")
    one, two = (read_artifact(write_artifact(plan, {"note": note})) for note in "ab")
    other = read_artifact(write_artifact(resnet_plan("block1", "accumulate")))
    assert one.model_hash == two.model_hash != other.model_hash


def test_fc_keeps_flash_small() -> None:
    size = len(write_artifact(resnet_plan("fc", "accumulate")))
    assert size < 410_000


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damage_is_refused_in_a_sentence(data: st.DataObject) -> None:
    whole = small_artifact()
    length = data.draw(st.integers(0, len(whole)), label="length")
    damaged = bytearray(whole[:length])
    for _ in range(data.draw(st.integers(0, 3), label="changes")):
        if damaged:
            place = data.draw(st.integers(0, min(len(damaged), 6000) - 1))
            damaged[place] = data.draw(st.integers(0, 255))
    reseal = data.draw(st.booleans(), label="sealed")
    candidate = sealed(bytes(damaged)) if reseal and len(damaged) > 16 else bytes(damaged)
    try:
        read_artifact(candidate)
    except ExporterError as error:
        assert "\n" not in str(error)


def test_damage_by_kind() -> None:
    whole = small_artifact()
    with pytest.raises(ExporterError, match="not an artifact"):
        read_artifact(b"hello")
    with pytest.raises(ExporterError, match=f"version 7, expected {fmt.VERSION}"):
        read_artifact(whole[:4] + b"\x07" + whole[5:])
    with pytest.raises(ExporterError, match="cut short"):
        read_artifact(whole[:-1])
    with pytest.raises(ExporterError, match="cut off what follows it"):
        read_artifact(whole + bytes(16))
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    with pytest.raises(ExporterError, match="checksum"):
        read_artifact(bytes(flipped))
    with pytest.raises(ExporterError, match="model hash"):
        tables = read_artifact(whole)
        flipped = bytearray(whole)
        flipped[whole.index(tables.const)] ^= 1
        read_artifact(sealed(bytes(flipped)))


def test_selftests_must_fit() -> None:
    graph = small_graph(3)
    plan = make_plan(graph, ["b1"], iterations=0)
    vector = selftests(graph, 1)[0]
    with pytest.raises(ExporterError, match="self-test image has shape"):
        write_artifact(plan, selftests=[replace(vector, image=vector.image[:2])])
    with pytest.raises(ExporterError, match="4 logits, expected 5"):
        write_artifact(plan, selftests=[replace(vector, logits=vector.logits[:4])])


def test_limits_are_refused_before_the_loader_would() -> None:
    graph = small_graph(0)
    first = graph.nodes[0]
    assert isinstance(first, Conv2d)
    wide = replace(first, weight=np.zeros((4, 17, 1, 3), dtype=np.float32))
    with pytest.raises(ExporterError, match="kernels up to 15"):
        check_limits(replace(graph, nodes=(wide, *graph.nodes[1:])))
    with pytest.raises(ExporterError, match="padding smaller than the kernel"):
        check_limits(replace(graph, nodes=(replace(first, padding=(3, 0, 0, 0)), *graph.nodes[1:])))
    with pytest.raises(ExporterError, match="strides up to 4"):
        check_limits(replace(graph, nodes=(replace(first, stride=(5, 1)), *graph.nodes[1:])))
    with pytest.raises(ExporterError, match="1 classes"):
        check_limits(replace(graph, classes=("only",)))


@pytest.mark.parametrize("mode", ["accumulate", "immediate"])
@pytest.mark.parametrize("blocks", PARTITIONS)
def test_the_firmware_accepts_every_partition(
    native_build: NativeBuild, blocks: str, mode: str
) -> None:
    plan = resnet_plan(blocks, mode)
    data = write_artifact(plan, selftests=selftests(resnet(), 1))
    board = Board(arena_bytes=plan.arena_bytes, cache_bytes=0)
    info = board.load(data)
    assert info.arena_bytes == plan.arena_bytes
    assert info.model_hash == read_artifact(data).model_hash
    board.self_test()
    with pytest.raises(Exception, match="arena"):
        Board(arena_bytes=plan.arena_bytes - 16, cache_bytes=0).load(data)


@pytest.mark.parametrize("seed", range(16))
def test_the_firmware_accepts_random_networks(native_build: NativeBuild, seed: int) -> None:
    graph = small_graph(seed, nodes=3 + seed % 14)
    for blocks in [(block,) for block in graph.blocks] + [("all",)]:
        for mode in ("accumulate", "immediate"):
            plan = make_plan(graph, blocks, mode, iterations=5)
            board = Board(arena_bytes=plan.arena_bytes, cache_bytes=0)
            board.load(write_artifact(plan, selftests=selftests(graph)))
            board.self_test()


def test_report(tmp_path: Path) -> None:
    plan = resnet_plan("block1", "accumulate")
    costs = block_costs(plan)
    total = total_cost(costs)
    assert total.flash_bytes == plan.flash_bytes
    assert total.persistent_bytes == plan.persistent_bytes
    assert total.macs_forward + total.macs_backward == sum(op.macs for op in plan.program.ops)
    assert [cost.trained for cost in costs] == [True, False, False, False]
    masks = [t for t in plan.program.tensors.values() if t.role is Role.MASK]
    assert sum(cost.saved_bytes for cost in costs[1:]) == sum(t.nbytes for t in masks)
    assert f"{plan.arena_bytes:,} bytes" in plan_text(plan)
    assert "| block1 | trained | 19,136 |" in plan_markdown(plan)
    paths = write_plan(plan, tmp_path / "out")
    assert sorted(path.name for path in paths) == ["plan.md", "plan.png", "plan.txt"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "plan.md",
        "plan.png",
        "plan.txt",
    ]
    assert (tmp_path / "out" / "plan.png").read_bytes().startswith(b"\x89PNG")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ExporterError, match="cannot write the plan"):
        write_plan(plan, tmp_path / "file")


def test_header_layout() -> None:
    data = small_artifact()
    assert (fmt.HEADER.size, fmt.SECTION.size, fmt.TENSOR.size) == (128, 16, 32)
    assert (fmt.OP.size, fmt.PROGRAM.size, fmt.TRAINED.size, fmt.BLOCK.size) == (64, 16, 64, 32)
    assert data[:4] == b"TBFA" and len(data) % 16 == 0
    assert struct.unpack_from("<I", data, 8)[0] == len(data)
    assert struct.unpack_from("<I", data, 12)[0] == zlib.crc32(data[16:])
