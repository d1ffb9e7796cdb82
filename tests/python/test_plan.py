"""Memory plan: nothing alive is overwritten, overlaps keep their rule, budgets are met."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.allocate import Buffer, Packer, allocate, may_overlap, violations
from exporter.errors import ExporterError
from exporter.graph import Graph
from exporter.ops import Phase
from exporter.plan import Plan, lifetimes, make_plan, overlap_distance
from tests.python.graph_factory import resnet26_graph, small_graph
from tests.python.tag_arena import check_plan


@cache
def resnet() -> Graph:
    return resnet26_graph(0)


@cache
def resnet_plan(blocks: str, mode: str) -> Plan:
    return make_plan(resnet(), blocks.split(","), mode)


@pytest.mark.parametrize("mode", ["accumulate", "immediate"])
@pytest.mark.parametrize("blocks", ["fc", "block1", "block2", "block3", "block3,fc", "all"])
def test_resnet_overwrites_nothing_alive(blocks: str, mode: str) -> None:
    check_plan(resnet_plan(blocks, mode))


@pytest.mark.parametrize("seed", range(20))
def test_random_networks_overwrite_nothing_alive(seed: int) -> None:
    graph = small_graph(seed, nodes=3 + seed % 14)
    for blocks in [(block,) for block in graph.blocks] + [("all",)]:
        for mode in ("accumulate", "immediate"):
            check_plan(make_plan(graph, blocks, mode, iterations=20))


@pytest.mark.parametrize(
    ("blocks", "mode", "budget_kib"),
    [
        ("fc", "accumulate", 48),
        ("block1", "accumulate", 256),
        ("block2", "accumulate", 320),
        ("block3", "immediate", 448),
        ("block3,fc", "immediate", 448),
    ],
)
def test_budgets(blocks: str, mode: str, budget_kib: int) -> None:
    assert resnet_plan(blocks, mode).arena_bytes <= budget_kib * 1024


def test_immediate_updates_hold_no_accumulators() -> None:
    plan = resnet_plan("block3", "immediate")
    weights = sum(t.nbytes for t in plan.program.tensors.values() if t.persistent)
    node_bytes = sum(r.rows * r.row_length + 4 * r.rows for r in plan.program.trained)
    assert weights == node_bytes


def test_plans_are_reproducible() -> None:
    first, second = (make_plan(resnet(), ["block1"], iterations=20) for _ in range(2))
    assert first.offsets == second.offsets and first.scratch == second.scratch


def test_input_and_boundary_are_transient() -> None:
    plan = resnet_plan("block3", "immediate")
    spans = lifetimes(plan.program)
    prefix = len(plan.program.phase(Phase.PREFIX))
    assert spans["input"] == (0, 0)
    assert spans["layer2.3.add.y"][1] >= prefix
    assert spans["layer2.3.add.y"][1] < len(plan.program.ops) - len(
        plan.program.phase(Phase.BACKWARD)
    )


def test_overlap_distance_of_a_3x3_convolution_is_two_rows() -> None:
    plan = resnet_plan("fc", "accumulate")
    op = next(op for op in plan.program.ops if op.node == "layer1.0.conv1")
    assert op.output is not None
    tensors = plan.program.tensors
    assert overlap_distance(op, tensors[op.inputs[0]], tensors[op.output]) == 2 * 32 * 16


def test_refusal_names_what_is_missing_and_what_would_fit() -> None:
    with pytest.raises(ExporterError) as refusal:
        make_plan(resnet(), ["block3"], "accumulate", 448 * 1024, iterations=0)
    text = str(refusal.value)
    lowest = make_plan(resnet(), ["block3"], "accumulate", iterations=0, recompute="always")
    needed = lowest.arena_bytes
    assert "even with activations computed again" in text
    assert f"{needed:,} bytes" in text and f"{needed - 448 * 1024:,} more" in text
    assert "the peak is" in text and "immediate" in text.rpartition(";")[2]
    with pytest.raises(ExporterError, match="training 'fc' would fit in"):
        make_plan(resnet(), ["block3"], "immediate", 64 * 1024, iterations=0)
    with pytest.raises(ExporterError, match="no block of this network fits"):
        make_plan(resnet(), ["fc"], "auto", 16 * 1024, iterations=0)


def test_auto_turns_to_immediate_updates_only_when_it_must() -> None:
    assert make_plan(resnet(), ["block2"], "auto", iterations=0).mode == "accumulate"
    assert make_plan(resnet(), ["block2"], "auto", 512 * 1024, iterations=0).mode == "accumulate"
    assert make_plan(resnet(), ["block2"], "auto", 256 * 1024, iterations=0).mode == "immediate"
    with pytest.raises(ExporterError, match="unknown update mode 'later'"):
        make_plan(resnet(), ["block2"], "later")


_SIZES = st.one_of(st.integers(0, 40), st.integers(0, 5000))


@st.composite
def packings(draw: st.DrawFn) -> tuple[list[Buffer], dict[tuple[int, int], int]]:
    """Random buffers, identical lifetimes and empty ones included, with permitted overlaps at single steps."""
    count = draw(st.integers(0, 24))
    steps = draw(st.integers(1, 12))
    buffers = []
    for index in range(count):
        birth = draw(st.integers(0, steps - 1))
        death = draw(st.integers(birth, steps - 1))
        buffers.append(Buffer(f"t{index}", draw(_SIZES), birth, death))
    overlaps = {}
    for i, source in enumerate(buffers):
        for j, output in enumerate(buffers):
            # Both directions at once would be two ops in one step.
            possible = i != j and source.death == output.birth and (j, i) not in overlaps
            if possible and draw(st.booleans()):
                overlaps[i, j] = draw(st.integers(0, 300))
    return buffers, overlaps


@settings(max_examples=250, deadline=None)
@given(packings(), st.integers(0, 30))
def test_no_packing_lets_live_buffers_collide(
    case: tuple[list[Buffer], dict[tuple[int, int], int]], iterations: int
) -> None:
    buffers, overlaps = case
    packing = allocate(buffers, overlaps, iterations)
    assert len(packing.offsets) == len(buffers)
    # Stated once more, apart from the allocator's own check.
    for i, a in enumerate(buffers):
        assert packing.offsets[i] >= 0 and packing.offsets[i] % 16 == 0
        assert packing.offsets[i] + a.size <= packing.total
        for j in range(i):
            b = buffers[j]
            together = max(a.birth, b.birth) <= min(a.death, b.death)
            first = set(range(packing.offsets[i], packing.offsets[i] + a.size))
            second = range(packing.offsets[j], packing.offsets[j] + b.size)
            if not together or first.isdisjoint(second):
                continue
            kept = [
                packing.offsets[output] + d <= packing.offsets[source]
                for (source, output), d in overlaps.items()
                if {source, output} == {i, j}
            ]
            assert any(kept), (a, b, packing.offsets[i], packing.offsets[j])
    assert violations(buffers, overlaps, packing.offsets) == []


@settings(max_examples=100, deadline=None)
@given(packings())
def test_without_overlaps_the_bound_is_the_largest_live_sum(
    case: tuple[list[Buffer], dict[tuple[int, int], int]],
) -> None:
    buffers, _ = case
    packing = allocate(buffers, {}, 0)
    sums = [
        sum(-(-b.size // 16) * 16 for b in buffers if b.birth <= time <= b.death)
        for time in range(12)
    ]
    assert packing.bound == max(sums, default=0)
    assert packing.bound <= packing.total <= sum(-(-b.size // 16) * 16 for b in buffers)


def test_identical_lifetimes_lie_side_by_side() -> None:
    buffers = [Buffer(f"t{i}", 32, 3, 3) for i in range(6)]
    packing = allocate(buffers, {}, 10)
    assert sorted(packing.offsets) == [0, 32, 64, 96, 128, 160]
    assert packing.total == packing.bound == 192


def test_a_collision_is_found() -> None:
    buffers = [Buffer("a", 64, 0, 2), Buffer("b", 64, 2, 4)]
    assert violations(buffers, {}, (0, 48)) == [("b", "a")]
    assert violations(buffers, {(0, 1): 16}, (16, 0)) == []
    assert violations(buffers, {(0, 1): 16}, (0, 0)) == [("b", "a")]
    assert may_overlap((16, 0), buffers, (0, 1), 16)
    assert not may_overlap((8, 0), buffers, (0, 1), 16)
    assert Packer(buffers, {(0, 1): 16}).bound == 80
