"""Activations computed again in the backward pass: the same weights to the bit, less arena, nothing alive overwritten."""

from __future__ import annotations

from functools import cache

import pytest

from exporter.artifact import write_artifact
from exporter.artifact_read import read_artifact
from exporter.backward import BackwardOptions, build_program
from exporter.errors import ExporterError
from exporter.graph import Graph
from exporter.ops import Opcode, Phase
from exporter.oracle.fixed import normalised
from exporter.oracle.train import Oracle
from exporter.partition import parse_blocks, partition
from exporter.plan import Plan, make_plan, plan_program, recomputed_macs
from exporter.recompute_search import Choice, RecomputeSearch
from exporter.report import plan_text
from tests.python.graph_factory import random_input, resnet26_graph, small_graph
from tests.python.runtime_board import Board
from tests.python.tag_arena import check_plan

STEPS = 6
MODES = ("accumulate", "immediate")


@cache
def resnet() -> Graph:
    return resnet26_graph(0)


def dropping_all(graph: Graph, blocks: tuple[str, ...], mode: str) -> Plan:
    """A plan that computes every saved activation again that can be."""
    part = partition(graph, blocks)
    fixed = {part.boundary, graph.input, graph.nodes[-1].inputs[0]}
    options = BackwardOptions(lazy=True, again=part.saved - fixed)
    return plan_program(build_program(part, mode == "immediate", options), 20)


def trained_hash(plan: Plan, steps: int = STEPS) -> str:
    """Weights after some steps on the board."""
    graph = plan.program.partition.graph
    board = Board(max(1 << 20, plan.arena_bytes), 0)
    board.load(write_artifact(plan))
    board.configure(normalised(0.02), 5)
    for i, image in enumerate(random_input(graph, steps, 3)):
        board.train_input(image, i % len(graph.classes))
        if i % 2:
            board.end_batch()
    return board.weights_sha256()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("network", range(12))
def test_small_networks_train_to_the_same_bits(network: int, mode: str) -> None:
    graph = small_graph(network)
    for blocks in ((graph.blocks[0],), graph.blocks):
        plain = make_plan(graph, blocks, mode, iterations=20)
        again = dropping_all(graph, blocks, mode)
        check_plan(again)
        assert trained_hash(again) == trained_hash(plain)
        oracle = Oracle(graph, blocks, immediate=mode == "immediate", seed=5)
        for i, image in enumerate(random_input(graph, STEPS, 3)):
            oracle.train_sample(image, i % len(graph.classes), normalised(0.02))
            if i % 2:
                oracle.end_batch(normalised(0.02))
        assert trained_hash(again) == oracle.weights_sha256()


def test_small_networks_do_compute_again() -> None:
    plans = [dropping_all(small_graph(n), ("all",), "accumulate") for n in range(12)]
    assert sum(bool(plan.program.recomputed) for plan in plans) > 6
    opcodes = {op.opcode for plan in plans for op in plan.program.phase(Phase.BACKWARD)}
    assert {Opcode.CONV2D, Opcode.DEPTHWISE_CONV2D, Opcode.ADD} <= opcodes


@pytest.mark.parametrize(
    ("blocks", "mode", "at_most_kib", "saved_kib"),
    [
        ("block1", "accumulate", 195, 60),
        ("block2", "accumulate", 300, 25),
        ("block3", "immediate", 335, 10),
    ],
)
def test_less_arena_for_more_work(blocks: str, mode: str, at_most_kib: int, saved_kib: int) -> None:
    plain = make_plan(resnet(), (blocks,), mode)
    low = make_plan(resnet(), (blocks,), mode, recompute="always")
    check_plan(low)
    assert low.arena_bytes <= at_most_kib * 1024
    assert plain.arena_bytes - low.arena_bytes >= saved_kib * 1024
    again = recomputed_macs(low.program)
    assert 0 < again < 0.1 * sum(op.macs for op in plain.program.ops)
    assert sum(op.macs for op in low.program.ops) - again == sum(
        op.macs for op in plain.program.ops
    )
    assert trained_hash(low, 2) == trained_hash(plain, 2)
    assert "computed again there" in plan_text(low) and "computed again" not in plan_text(plain)
    artifact = read_artifact(write_artifact(low))
    assert artifact.arena_bytes == low.arena_bytes


def test_auto_computes_again_only_where_it_must() -> None:
    graph = resnet()
    plain = make_plan(graph, ("block1",), iterations=60)
    assert not plain.program.recomputed
    roomy = make_plan(graph, ("block1",), "accumulate", plain.arena_bytes, 60)
    assert not roomy.program.recomputed
    limit = plain.arena_bytes - 24 * 1024
    short = make_plan(graph, ("block1",), "accumulate", limit, 60)
    assert short.program.recomputed and short.arena_bytes <= limit
    assert short.mode == "accumulate"
    lowest = make_plan(graph, ("block1",), iterations=60, recompute="always")
    assert recomputed_macs(short.program) < recomputed_macs(lowest.program)
    with pytest.raises(ExporterError, match="computing activations again.* would fit in"):
        make_plan(graph, ("block1",), "accumulate", limit, 60, recompute="never")
    with pytest.raises(ExporterError, match="unknown choice 'sometimes' for recomputation"):
        make_plan(graph, ("block1",), recompute="sometimes")


def test_the_search_is_reproducible_and_keeps_its_promise() -> None:
    graph = resnet()
    part = partition(graph, parse_blocks(graph, "block1"))
    first, second = RecomputeSearch(part, False), RecomputeSearch(part, False)
    peak = first.evaluate(Choice()).peak
    choice = first.within(int(0.8 * peak))
    assert choice is not None and choice == second.within(int(0.8 * peak))
    assert first.evaluate(choice).peak <= 0.8 * peak
    assert first.within(1024) is None
