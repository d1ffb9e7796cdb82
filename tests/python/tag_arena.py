"""A memory plan executed on memory that remembers who wrote each byte: nothing alive may be overwritten."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from exporter.ops import Op, Opcode, Phase
from exporter.plan import Plan

FORWARD = range(Opcode.CONV2D, Opcode.MASK)


class TagArena:
    """An arena that remembers for each byte of each region which tensor was written there last."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.numbers = {name: i + 1 for i, name in enumerate(plan.offsets)}
        self.regions = [np.zeros(use.bytes, dtype=np.int32) for use in plan.regions]
        for name, tensor in plan.program.tensors.items():
            if tensor.persistent:
                self.write(name)

    def _bytes(self, name: str) -> NDArray[np.int32]:
        start = self.plan.offsets[name]
        region = self.regions[self.plan.places[name]]
        return region[start : start + self.plan.program.tensors[name].nbytes]

    def write(self, name: str) -> None:
        self._bytes(name)[:] = self.numbers[name]

    def holds(self, name: str) -> bool:
        return bool(np.all(self._bytes(name) == self.numbers[name]))

    def run(self, op: Op, region: int, scratch: int) -> None:
        """Read all, then use the scratch, then write; rows are checked by ``_check_rows``."""
        tensors = self.plan.program.tensors
        for name in op.reads:
            if tensors[name].in_arena:
                assert self.holds(name), (op, name)
        self.regions[region][scratch : scratch + op.scratch_bytes] = -1
        if op.opcode >= Opcode.CONV2D_BWD_INPUT:
            # Backward ops may read their operands again while scratch and output are in use.
            written = {op.output}
            for name in op.reads:
                if tensors[name].in_arena and name not in written:
                    assert self.holds(name), (op, name)
        if op.output is not None:
            if op.opcode in FORWARD:
                _check_rows(self, op, region, scratch)
            self.write(op.output)
            for name in op.reads:
                if tensors[name].in_arena and name not in op.inputs:
                    assert self.holds(name), (op, name)
            assert op.opcode in FORWARD or all(
                self.holds(name)
                for name in op.inputs
                if name != op.output and tensors[name].in_arena
            )


def _check_rows(arena: TagArena, op: Op, region: int, scratch: int) -> None:
    """Write the output row by row and look at the input rows that are still to be read."""
    plan = arena.plan
    assert op.output is not None
    y = plan.program.tensors[op.output]
    row_out = y.shape[2] * y.shape[3]
    element_wise = op.opcode is Opcode.ADD
    for name in op.inputs:
        x = plan.program.tensors[name]
        row_in = x.shape[2] * x.shape[3]
        start = plan.offsets[name]
        written = plan.offsets[op.output]
        apart = plan.places[name] != plan.places[op.output]
        apart = apart or written + y.nbytes <= start or start + x.nbytes <= written
        assert apart or written <= start
        assert (
            region != plan.places[name]
            or scratch + op.scratch_bytes <= start
            or start + x.nbytes <= scratch
            or not op.scratch_bytes
        )
        if (
            apart
            or element_wise
            or (op.opcode is Opcode.DEPTHWISE_CONV2D and op.kernel == (1, 1) == op.stride)
        ):
            continue
        for row in range(y.shape[1]):
            needed = start + max(0, row * op.stride[0] - op.padding[0]) * row_in
            assert written + (row + 1) * row_out <= needed, (op.node, row)


def run_sample(plan: Plan, training: bool, cached: bool) -> None:
    """One sample through the tagged arena, the way the firmware runs it."""
    program, part = plan.program, plan.program.partition
    arena = TagArena(plan)
    arena.write(part.boundary if cached else part.graph.input)
    for index, op in enumerate(program.ops):
        if cached and op.phase is Phase.PREFIX:
            continue
        if not training and (op.training_only or op.phase is Phase.BACKWARD):
            continue
        if op.phase is Phase.BACKWARD and program.ops[index - 1].phase is Phase.TAIL:
            assert arena.holds(part.graph.output)
        arena.run(op, plan.scratch_regions[index], plan.scratch[index])
    if not training:
        assert arena.holds(part.graph.output)


def check_plan(plan: Plan) -> None:
    """Run a plan in all ways the firmware does, and look at its bounds."""
    for training in (True, False):
        for cached in (True, False):
            run_sample(plan, training, cached)
    assert plan.bound_bytes <= plan.arena_bytes
    for name, offset in plan.offsets.items():
        tensor = plan.program.tensors[name]
        assert offset % 16 == 0
        use = plan.regions[plan.places[name]]
        end = use.persistent_bytes if tensor.persistent else use.bytes
        assert offset + tensor.nbytes <= end
        assert tensor.persistent or offset >= use.persistent_bytes
    places = zip(plan.program.ops, plan.scratch_regions, plan.scratch, strict=True)
    for op, region, scratch in places:
        use = plan.regions[region]
        assert scratch % 16 == 0 and scratch + op.scratch_bytes <= use.bytes
        assert not op.scratch_bytes or scratch >= use.persistent_bytes
    if plan.board is not None:
        for use, there in zip(plan.regions, plan.board.capacities, strict=False):
            assert use.bytes <= there
