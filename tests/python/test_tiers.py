"""Boards with several memory regions: descriptions, places by traffic, refusals, and the engine on such memory."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter import board as boards
from exporter.allocate import Buffer, align, violations
from exporter.artifact import write_artifact
from exporter.artifact_read import read_artifact
from exporter.board import Board as Description
from exporter.board import Region, board_names, load_board
from exporter.errors import ExporterError
from exporter.flash_room import check_artifact_fits, check_checkpoint, checkpoint_bytes
from exporter.graph import Graph
from exporter.oracle.fixed import normalised
from exporter.plan import Plan, make_plan
from exporter.report import plan_text
from exporter.tiers import Item, place_in_tiers
from exporter.traffic import traffic
from tests.python.graph_factory import random_input, resnet26_graph, small_graph
from tests.python.runtime_board import Board, RuntimeFault
from tests.python.tag_arena import check_plan


@cache
def resnet() -> Graph:
    return resnet26_graph(0)


def description(*sizes: int, speeds: tuple[float, ...] = ()) -> Description:
    """A board with regions of these sizes, each ten times slower than the one before."""
    rates = speeds or tuple(10.0 ** (9 - i) for i in range(len(sizes)))
    regions = tuple(
        Region(f"R{i}", size, rate, "test")
        for i, (size, rate) in enumerate(zip(sizes, rates, strict=True))
    )
    return Description("test", "a test", regions, 1 << 20, 1 << 20, 0, 4096)


def hash_after_training(plan: Plan, regions: tuple[int, ...]) -> str:
    graph = plan.program.partition.graph
    board = Board(regions, 0)
    board.load(write_artifact(plan))
    board.configure(normalised(0.02), 5)
    for i, image in enumerate(random_input(graph, 4, 3)):
        board.infer(image)
        board.train_input(image, i % len(graph.classes))
        if i % 2:
            board.end_batch()
    return board.weights_sha256()


@pytest.mark.parametrize("name", board_names())
def test_every_description_is_complete(name: str) -> None:
    board = load_board(name)
    assert board.title and 1 <= len(board.regions) <= 4
    for region in board.regions:
        assert region.bytes % 16 == 0 and len(region.source) > 40, region.name
    assert all(a.bytes_per_s >= b.bytes_per_s for a, b in pairwise(board.regions))
    assert board.artifact_bytes >= 400_000 and board.erase_bytes > 0


def test_bad_descriptions(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ExporterError, match="unknown board 'esp99'; choose from .*esp32"):
        load_board("esp99")
    monkeypatch.setattr(boards, "FOLDER", tmp_path)
    flash = "[flash]\nartifact_bytes=1\ncheckpoint_bytes=1\ncache_bytes=0\nerase_bytes=1\n"
    region = '[[region]]\nname="a"\nbytes=%d\nbytes_per_s=%g\nsource="x"\n'
    for text, words in (
        ("title = 'x'", "'region'"),
        ("title = 'x'\n" + flash + region % (24, 1), "multiple of 16"),
        ("title = 'x'\n" + flash + region % (16, 1) + region % (16, 2), "from fast to slow"),
        ("title = 'x'\n" + flash + 5 * (region % (16, 1)), "5 regions"),
        ("title = ", "cannot be read"),
    ):
        (tmp_path / "bad.toml").write_text(text)
        with pytest.raises(ExporterError, match=words):
            load_board("bad")


def test_fc_and_block1_fit_an_esp32_without_psram() -> None:
    board = load_board("esp32-nopsram")
    assert board.arena_bytes <= 300 * 1024 and len(board.regions) == 2
    for block in ("fc", "block1"):
        plan = make_plan(resnet(), (block,), board=board)
        check_plan(plan)
        assert plan.mode == "accumulate" and plan.missing_bytes == 0
        board_memory = Board(board.capacities, 0)
        board_memory.load(write_artifact(plan))
        check_checkpoint(plan, board)
        check_artifact_fits(len(write_artifact(plan)), plan, board)


@pytest.mark.parametrize("name", ["esp32", "terracorder", "esp32p4"])
def test_busy_tensors_lie_in_fast_memory(name: str) -> None:
    board = load_board(name)
    plan = make_plan(resnet(), ("block3",), board=board, iterations=300)
    check_plan(plan)
    assert len(plan.regions) == len(board.regions)
    assert plan.traffic[-1] < 0.1 * sum(plan.traffic)
    assert board.name in plan_text(plan) and "read there in place" in plan_text(plan)
    moved, _ = traffic(plan.program)
    by_density = sorted(moved, key=lambda n: -moved[n] / plan.program.tensors[n].nbytes)
    slow = len(board.regions) - 1
    hottest = by_density[: len(by_density) // 4]
    assert sum(plan.places[name] == slow for name in hottest) <= len(hottest) // 10


def test_a_board_with_room_gives_the_plan_without_a_board() -> None:
    plain = make_plan(resnet(), ("fc",), iterations=60)
    on_board = make_plan(resnet(), ("fc",), board=load_board("terracorder"), iterations=60)
    assert write_artifact(plain) == write_artifact(on_board)


@pytest.mark.parametrize("mode", ["accumulate", "immediate"])
@pytest.mark.parametrize("seed", range(10))
def test_small_networks_on_small_boards(seed: int, mode: str) -> None:
    """The loader accepts what the planner makes, and the weights do not depend on the places."""
    graph = small_graph(seed)
    plain = make_plan(graph, ("all",), mode, iterations=20)
    third, all_of_it = align(plain.arena_bytes // 3), align(2 * plain.arena_bytes)
    for count in (1, 2, 3):
        sizes = (*([third] * count), all_of_it)
        plan = make_plan(graph, ("all",), mode, board=description(*sizes), iterations=100)
        check_plan(plan)
        artifact = read_artifact(write_artifact(plan))
        assert [use for use in artifact.regions if use != (0, 0)]
        assert sum(size for size, _ in artifact.regions) == plan.arena_bytes
        exact = tuple(use.bytes for use in plan.regions)
        assert hash_after_training(plan, sizes) == hash_after_training(plain, (1 << 16,))
        assert hash_after_training(plan, exact) == hash_after_training(plain, (1 << 16,))


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_random_networks_on_random_boards(data: st.DataObject) -> None:
    """Whatever is planned overwrites nothing alive and is loaded; whatever is refused is refused in one line."""
    seed = data.draw(st.integers(0, 500), label="network")
    graph = small_graph(seed, nodes=data.draw(st.integers(3, 14), label="nodes"))
    blocks = data.draw(st.sampled_from([("all",), *((block,) for block in graph.blocks)]))
    mode = data.draw(st.sampled_from(["accumulate", "immediate", "auto"]))
    recompute = data.draw(st.sampled_from(["auto", "never", "always"]))
    size = st.integers(32, 700).map(lambda n: 16 * n)
    sizes = tuple(data.draw(st.lists(size, min_size=1, max_size=4), label="regions"))
    try:
        plan = make_plan(
            graph, blocks, mode, board=description(*sizes), recompute=recompute, iterations=20
        )
    except ExporterError as error:
        assert "more than" in str(error) and "\n" not in str(error)
        return
    check_plan(plan)
    Board(sizes, 0).load(write_artifact(plan))


def test_regions_find_a_place_on_other_boards() -> None:
    graph = small_graph(1)
    plain = make_plan(graph, ("all",), iterations=20)
    third, all_of_it = align(plain.arena_bytes // 3), align(2 * plain.arena_bytes)
    plan = make_plan(graph, ("all",), board=description(third, third, all_of_it), iterations=100)
    sizes = [use.bytes for use in plan.regions]
    assert len(sizes) == 3
    data = write_artifact(plan)
    expected = hash_after_training(plan, tuple(sizes))
    # One region for all; too little in the first; two for three.
    for memory in ((sum(map(align, sizes)),), (16, *sizes), (sizes[1], sum(map(align, sizes)))):
        assert hash_after_training(plan, memory) == expected
    assert hash_after_training(plain, (64, 1 << 16)) == expected
    with pytest.raises(RuntimeFault) as fault:
        Board((sum(sizes) - 16,), 0).load(data)
    assert (fault.value.name, fault.value.record) == ("arena_too_small", sum(sizes))
    pieces = (max(sizes) - 16,) * 4
    with pytest.raises(RuntimeFault) as fault:
        Board(pieces, 0).load(data)
    assert fault.value.name == "region_too_small" and sizes[fault.value.record] == max(sizes)


def test_refusals_name_bytes_tensor_and_a_way_out() -> None:
    board = load_board("esp32-nopsram")
    with pytest.raises(ExporterError) as refused:
        make_plan(resnet(), ("block2",), board=board, iterations=60)
    text = str(refused.value)
    assert "more than what board 'esp32-nopsram' has, 153,600 (SRAM 2) + 112,640 (SRAM 1)" in text
    assert "the peak is" in text and "conv2d" in text and "activations computed again" in text
    assert text.endswith("bytes") and "immediate updates (mode 'immediate')" in text
    assert (
        make_plan(resnet(), ("block2",), "immediate", board=board, iterations=60).missing_bytes == 0
    )
    with pytest.raises(ExporterError, match="no block of this network fits"):
        make_plan(resnet(), ("fc",), board=description(16_000, 16_000), iterations=0)


def test_flash_refusals() -> None:
    plan = make_plan(resnet(), ("block3",), "immediate", iterations=0)
    needed = checkpoint_bytes(plan, 4096)
    assert needed % 4096 == 0 and needed > 277_000
    small = Description("tiny", "", description(1 << 20).regions, 100_000, 100_000, 0, 4096)
    with pytest.raises(ExporterError, match=f"{needed - 100_000:,} more than the 100,000"):
        check_checkpoint(plan, small)
    with pytest.raises(ExporterError, match="20,000 more than the 100,000 of board 'tiny'"):
        check_artifact_fits(120_000, plan, small)


@st.composite
def tier_cases(draw: st.DrawFn) -> tuple[list[Item], dict[tuple[int, int], int], list[int]]:
    """Random items, some of them persistent, with permitted overlaps, and regions that may be too small."""
    steps = draw(st.integers(1, 8))
    items = []
    for index in range(draw(st.integers(1, 16))):
        persistent = draw(st.booleans()) and draw(st.booleans())
        birth = 0 if persistent else draw(st.integers(0, steps - 1))
        death = steps - 1 if persistent else draw(st.integers(birth, steps - 1))
        size = draw(st.one_of(st.integers(0, 40), st.integers(0, 3000)))
        items.append(
            Item(
                Buffer(f"t{index}", size, birth, death), persistent, float(draw(st.integers(0, 9)))
            )
        )
    overlaps = {}
    for i, source in enumerate(items):
        for j, output in enumerate(items):
            free = not source.persistent and not output.persistent and (j, i) not in overlaps
            meet = i != j and source.buffer.death == output.buffer.birth
            if free and meet and draw(st.booleans()):
                overlaps[i, j] = draw(st.integers(0, 200))
    sizes = draw(st.lists(st.integers(1, 400).map(lambda n: 16 * n), min_size=1, max_size=4))
    return items, overlaps, sizes


@settings(max_examples=150, deadline=None)
@given(tier_cases(), st.integers(0, 10))
def test_live_items_never_share_bytes_of_a_region(
    case: tuple[list[Item], dict[tuple[int, int], int], list[int]], iterations: int
) -> None:
    items, overlaps, sizes = case
    seconds = [1.0 + i for i in range(len(sizes))]
    found = place_in_tiers(items, overlaps, sizes, seconds, iterations)
    for region, size in enumerate(sizes):
        here = [i for i, place in enumerate(found.regions) if place == region]
        kept, moving = found.persistent[region], [i for i in here if not items[i].persistent]
        starts = {i: found.offsets[i] + (0 if items[i].persistent else kept) for i in here}
        ends = [starts[i] + items[i].buffer.size for i in here]
        assert all(start % 16 == 0 for start in starts.values())
        assert max(ends, default=0) <= kept + found.transient[region]
        last = region == len(sizes) - 1
        assert kept + found.transient[region] <= size + (found.overflow if last else 0)
        # Persistent items apart from each other and below all others; the others as the allocator's own rule says.
        spans = sorted(
            (starts[i], starts[i] + items[i].buffer.size) for i in here if items[i].persistent
        )
        assert all(a[1] <= b[0] for a, b in pairwise(spans)) and all(b <= kept for _, b in spans)
        number = {i: n for n, i in enumerate(moving)}
        inside = {
            (number[a], number[b]): d
            for (a, b), d in overlaps.items()
            if a in number and b in number
        }
        buffers = [items[i].buffer for i in moving]
        assert violations(buffers, inside, [starts[i] for i in moving]) == []


def test_traffic_counts_what_is_read_and_written() -> None:
    plan = make_plan(small_graph(0), ("all",), iterations=0)
    moved, scratch = traffic(plan.program)
    assert set(moved) == set(plan.offsets) and all(np.isfinite(v) for v in moved.values())
    assert len(scratch) == len(plan.program.ops)
    for record in plan.program.trained:
        assert record.bias is not None and moved[record.bias] > 0
