"""Sentences about plans that do not fit."""

from __future__ import annotations

from exporter.board import Board
from exporter.layout import Plan


def peak(plan: Plan) -> str:
    """Words that name where the arena is fullest."""
    op = max(range(len(plan.program.ops)), key=plan.live_bytes)
    alive = [
        life for life in plan.timeline if life.birth <= op <= life.death and not life.persistent
    ]
    largest = max(alive, key=lambda life: life.size)
    what = "the scratch memory" if largest.role == "scratch" else f"'{largest.name}'"
    return (
        f"the peak is {what} ({largest.size:,} bytes) during "
        f"{plan.program.ops[op].opcode.name.lower()} of '{plan.program.ops[op].node}', beside "
        f"{plan.persistent_bytes:,} bytes of trained weights and accumulators"
    )


def room(board: Board) -> str:
    """What the board has, in words."""
    if not board.name:
        return f"the {board.arena_bytes:,} there are"
    if len(board.regions) == 1:
        return f"the {board.arena_bytes:,} of board '{board.name}'"
    sizes = " + ".join(f"{region.bytes:,} ({region.name})" for region in board.regions)
    return f"what board '{board.name}' has, {sizes}"


def refusal(plan: Plan, advice: str) -> str:
    """One sentence: what is missing, what peaks, and what would fit."""
    part, board = plan.program.partition, plan.board
    assert board is not None
    tried = ", even with activations computed again," if plan.program.recomputed else ""
    return (
        f"training {', '.join(part.blocks)} of {part.graph.name} (mode '{plan.mode}'){tried} needs "
        f"{plan.arena_bytes:,} bytes of arena, {plan.missing_bytes:,} more than {room(board)}; "
        f"{peak(plan)}; {advice}"
    )
