"""The plan for training chosen blocks on a board: orders, recomputation and places are tried, and what does not fit is refused."""

from __future__ import annotations

from collections.abc import Sequence

from exporter.allocate import live_profile
from exporter.backward import BackwardOptions, build_program
from exporter.board import Board, Region
from exporter.errors import ExporterError
from exporter.graph import Graph
from exporter.layout import (
    Lifetime,
    Plan,
    RegionUse,
    buffers_of,
    lifetimes,
    overlap_distance,
    plan_program,
)
from exporter.limits import check_limits
from exporter.partition import Partition, partition
from exporter.program import start_program
from exporter.recompute_search import Choice, RecomputeSearch, recomputed_macs
from exporter.refusal import refusal

__all__ = [
    "MODES",
    "RECOMPUTE",
    "Lifetime",
    "Plan",
    "RegionUse",
    "lifetimes",
    "make_plan",
    "overlap_distance",
    "plan_program",
    "recomputed_macs",
]

MODES = ("accumulate", "immediate", "auto")
RECOMPUTE = ("auto", "never", "always")
KEEP_ALL = Choice()
_TRIES = 4
"""How often the search for recomputation aims lower when the packing needs more than its bound."""


def plan_partition(
    part: Partition,
    immediate: bool,
    iterations: int = 1500,
    board: Board | None = None,
    choice: Choice = KEEP_ALL,
) -> Plan:
    """Lowest plan over the orders of the backward pass that give the same result."""
    first = BackwardOptions(again=choice.again, keep=choice.keep)
    flags = [(False, lazy, False) for lazy in (True, False)]
    if not immediate:
        flags += [(True, lazy, pack) for pack in (False, True) for lazy in (True, False)]
    start = start_program(part, immediate)
    programs = [
        build_program(part, immediate, BackwardOptions(*three, first.again, first.keep), start)
        for three in flags
    ]
    bounds = [max(live_profile(*buffers_of(program)), default=0) for program in programs]
    ranked = sorted(range(len(programs)), key=lambda i: (bounds[i], i))
    plans = [plan_program(programs[i], iterations, board) for i in ranked[:2]]
    return min(plans, key=lambda plan: (plan.missing_bytes, plan.seconds_moving, plan.arena_bytes))


def _recomputing(
    part: Partition, immediate: bool, iterations: int, board: Board, plain: Plan
) -> Plan:
    """A plan that computes activations again until it fits, or the lowest where none does."""
    search = RecomputeSearch(part, immediate)
    limit = board.arena_bytes - search.persistent_bytes
    best = plain
    for _ in range(_TRIES):
        choice = search.within(limit)
        if choice is None:
            break
        found = plan_partition(part, immediate, iterations, board, choice)
        best = min(best, found, key=lambda plan: plan.missing_bytes)
        if best.missing_bytes == 0:
            return best
        limit = min(limit, search.evaluate(choice).peak) - found.missing_bytes
    lowest = plan_partition(part, immediate, iterations, board, search.lowest())
    return min(best, lowest, key=lambda plan: plan.missing_bytes)


def plan_mode(
    part: Partition, immediate: bool, recompute: str, iterations: int, board: Board | None
) -> Plan:
    """The plan of one update mode; it may miss bytes of the board."""
    if recompute == "always":
        choice = RecomputeSearch(part, immediate).lowest()
        return plan_partition(part, immediate, iterations, board, choice)
    plan = plan_partition(part, immediate, iterations, board)
    if recompute == "auto" and board is not None and plan.missing_bytes:
        return _recomputing(part, immediate, iterations, board, plan)
    return plan


def board_of_size(arena_bytes: int) -> Board:
    """A board of which only the arena's size is known."""
    region = Region("arena", arena_bytes, 1.0, "the caller")
    return Board("", f"an arena of {arena_bytes:,} bytes", (region,), 0, 0, 0, 0)


def make_plan(
    graph: Graph,
    blocks: Sequence[str],
    mode: str = "accumulate",
    arena_limit_bytes: int | None = None,
    iterations: int = 1500,
    *,
    board: Board | None = None,
    recompute: str = "auto",
) -> Plan:
    """Partition, program and memory plan of an int8 graph.

    Args:
        graph: quantized network.
        blocks: blocks to train, or ``("all",)``.
        mode: ``accumulate`` (batches), ``immediate`` (batch of one, no accumulators), or ``auto``:
            accumulate if that fits.
        arena_limit_bytes: the board's arena, in one region; None for no limit.
        iterations: effort of the allocator.
        board: the board instead of ``arena_limit_bytes``.
        recompute: ``auto`` computes activations again where the plan would not fit otherwise, ``never``, or
            ``always`` for the lowest arena that is found.

    Raises:
        ExporterError: unknown blocks or mode, a graph the artifact cannot express, or an arena that
            does not fit; the message then says how much is missing, what peaks, and what would fit.
    """
    if mode not in MODES:
        raise ExporterError(f"unknown update mode '{mode}'; choose from {', '.join(MODES)}")
    if recompute not in RECOMPUTE:
        raise ExporterError(
            f"unknown choice '{recompute}' for recomputation; choose from {', '.join(RECOMPUTE)}"
        )
    if board is None and arena_limit_bytes is not None:
        board = board_of_size(arena_limit_bytes)
    check_limits(graph)
    part = partition(graph, blocks)
    modes = ["accumulate", "immediate"] if mode == "auto" else [mode]
    plan = plan_mode(part, modes[0] == "immediate", recompute, iterations, board)
    for other in modes[1:]:
        if plan.missing_bytes:
            plan = plan_mode(part, other == "immediate", recompute, iterations, board)
    if plan.missing_bytes:
        options = _options(graph, part.blocks, plan.mode, recompute)
        fits = _first_fitting(graph, options, plan, iterations)
        raise ExporterError(refusal(plan, fits))
    return plan


Option = tuple[str, tuple[str, ...], bool, str]
"""Words, blocks, immediate updates, recomputation."""


def _options(graph: Graph, blocks: tuple[str, ...], mode: str, recompute: str) -> list[Option]:
    """What else could be done, nearest first."""
    same = blocks, mode == "immediate"
    found: list[Option] = []
    if recompute == "never":
        found.append(("computing activations again (recompute 'auto')", *same, "auto"))
    if mode == "accumulate":
        found.append(("immediate updates (mode 'immediate')", blocks, True, "auto"))
    for block in reversed(graph.blocks):
        for immediate in (False, True):
            how = " with immediate updates" if immediate else ""
            found.append((f"training '{block}'{how}", (block,), immediate, "auto"))
    return [option for option in found if option[1:3] != same or option[3] != recompute]


def _first_fitting(graph: Graph, options: list[Option], refused: Plan, iterations: int) -> str:
    """The first option that the planner makes fit, in words; each is really planned."""
    board = refused.board
    assert board is not None
    for words, chosen, immediate, recompute in options:
        try:
            part = partition(graph, chosen)
            plan = plan_mode(part, immediate, recompute, min(iterations, 60), board)
        except ExporterError:
            continue
        if plan.missing_bytes == 0:
            again = ", some activations computed again," if plan.program.recomputed else ""
            return f"{words}{again} would fit in {plan.arena_bytes:,} bytes"
    return "no block of this network fits, so use a board with more memory"
