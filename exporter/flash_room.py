"""Whether artifact and checkpoint fit a board's flash; what does not is refused in a sentence."""

from __future__ import annotations

from exporter.board import Board
from exporter.errors import ExporterError
from exporter.plan import Plan

_HEADER_BYTES = 256


def checkpoint_bytes(plan: Plan, erase_bytes: int) -> int:
    """Flash that one checkpoint of the plan's trained weights takes (docs/checkpoint.md)."""
    tensors = plan.program.tensors
    names = [name for record in plan.program.trained for name in (record.weights, record.bias)]
    weights = sum(tensors[name].nbytes for name in names if name is not None)
    payload = weights + plan.program.states
    needed = _HEADER_BYTES + -(-payload // _HEADER_BYTES) * _HEADER_BYTES
    return -(-needed // erase_bytes) * erase_bytes


def check_checkpoint(plan: Plan, board: Board) -> None:
    """Raises ExporterError where a checkpoint of the trained weights does not fit."""
    needed = checkpoint_bytes(plan, board.erase_bytes)
    if needed > board.checkpoint_bytes:
        part = plan.program.partition
        raise ExporterError(
            f"a checkpoint of {', '.join(part.blocks)} takes {needed:,} bytes of flash, "
            f"{needed - board.checkpoint_bytes:,} more than the {board.checkpoint_bytes:,} that board "
            f"'{board.name}' has for each of two; train fewer blocks"
        )


def check_artifact_fits(size: int, plan: Plan, board: Board) -> None:
    """Raises ExporterError where an artifact of ``size`` bytes does not fit the board's flash."""
    if size > board.artifact_bytes:
        raise ExporterError(
            f"the artifact takes {size:,} bytes of flash, {size - board.artifact_bytes:,} more than the "
            f"{board.artifact_bytes:,} of board '{board.name}'; its constants take {plan.flash_bytes:,}, so train "
            "fewer blocks, or use a smaller network or a board with more flash"
        )
