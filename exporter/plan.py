"""Memory plan: where in the arena every tensor and every op's scratch lies (docs/artifact.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from exporter.allocate import Buffer, Packer, align, allocate, violations
from exporter.backward import BackwardOptions, build_program
from exporter.errors import ExporterError
from exporter.graph import Conv2d, DepthwiseConv2d, Graph
from exporter.limits import check_limits
from exporter.ops import Op, Opcode, Phase, Tensor
from exporter.partition import Partition, partition
from exporter.program import Program

MODES = ("accumulate", "immediate", "auto")

_OVERLAPPING = (
    Opcode.CONV2D,
    Opcode.DEPTHWISE_CONV2D,
    Opcode.ADD,
    Opcode.AVERAGE_POOL,
    Opcode.MAX_POOL,
    Opcode.CHANNEL_PAD,
)


@dataclass(frozen=True)
class Lifetime:
    """One rectangle of the arena's timeline: bytes ``offset … offset + size`` during ops ``birth … death``.

    ``role`` is a tensor role's name in lower case, ``scratch``, or ``saved`` for activations kept
    for the backward pass.
    """

    name: str
    role: str
    offset: int
    size: int
    birth: int
    death: int


@dataclass(frozen=True)
class Plan:
    """A program with addresses."""

    program: Program
    offsets: dict[str, int]
    """Arena tensor to offset, in bytes."""
    scratch: tuple[int, ...]
    """Scratch offset of every op, in bytes; 0 where it needs none."""
    arena_bytes: int
    persistent_bytes: int
    bound_bytes: int
    """No plan of this program can take less arena."""
    timeline: tuple[Lifetime, ...]

    @property
    def mode(self) -> str:
        """``accumulate`` or ``immediate``."""
        return "immediate" if self.program.immediate else "accumulate"

    @property
    def flash_bytes(self) -> int:
        """Bytes of CONST: weights, biases, multipliers and factors, each 16-aligned."""
        tensors = self.program.tensors.values()
        return sum(align(tensor.nbytes) for tensor in tensors if not tensor.in_arena)

    def block_parameters(self, block: str) -> int:
        """Weights and biases of a block, frozen ones included."""
        return sum(
            node.weight.size + node.bias.size
            for node in self.program.partition.graph.nodes
            if node.block == block and isinstance(node, Conv2d | DepthwiseConv2d)
        )

    def live_bytes(self, op: int) -> int:
        """Transient bytes alive at an op, overlaps counted twice."""
        return sum(
            life.size
            for life in self.timeline
            if life.birth <= op <= life.death and life.offset >= self.persistent_bytes
        )


def overlap_distance(op: Op, x: Tensor, y: Tensor) -> int:
    """D of docs/artifact.md for a forward op with input ``x`` and output ``y``, in bytes."""
    element_wise = op.opcode is Opcode.DEPTHWISE_CONV2D and op.kernel == (1, 1) == op.stride
    if element_wise or op.opcode is Opcode.ADD:
        return 0
    row_in, row_out = x.shape[2] * x.shape[3], y.shape[2] * y.shape[3]
    stride, pad = op.stride[0], op.padding[0]
    return max(
        0,
        *((r + 1) * row_out - max(0, r * stride - pad) * row_in for r in range(y.shape[1])),
    )


def lifetimes(program: Program) -> dict[str, tuple[int, int]]:
    """First and last op of every transient arena tensor, on the joint timeline of the three programs."""
    graph = program.partition.graph
    spans: dict[str, tuple[int, int]] = {graph.input: (0, 0)}
    last_tail = sum(op.phase is not Phase.BACKWARD for op in program.ops) - 1
    for index, op in enumerate(program.ops):
        touched = op.reads if op.output is None else (*op.reads, op.output)
        for name in touched:
            tensor = program.tensors[name]
            if not tensor.in_arena or tensor.persistent:
                continue
            birth = spans.get(name, (index, index))[0]
            spans[name] = (birth, index)
    birth, death = spans[graph.output]
    spans[graph.output] = (birth, max(death, last_tail))
    return spans


def _buffers(program: Program) -> tuple[list[Buffer], dict[tuple[int, int], int]]:
    spans = lifetimes(program)
    buffers = [
        Buffer(name, program.tensors[name].nbytes, birth, death)
        for name, (birth, death) in spans.items()
    ]
    number = {buffer.name: index for index, buffer in enumerate(buffers)}
    overlaps: dict[tuple[int, int], int] = {}
    for index, op in enumerate(program.ops):
        if op.scratch_bytes:
            buffers.append(Buffer(f"scratch:{index}", op.scratch_bytes, index, index))
        if op.opcode not in _OVERLAPPING or op.output is None:
            continue
        for name in op.inputs:
            if spans[name][1] == index and spans[op.output][0] == index:
                x, y = program.tensors[name], program.tensors[op.output]
                overlaps[number[name], number[op.output]] = overlap_distance(op, x, y)
    return buffers, overlaps


def plan_program(program: Program, iterations: int = 400) -> Plan:
    """Give every arena tensor of a program its place."""
    offsets: dict[str, int] = {}
    persistent = 0
    for tensor in program.tensors.values():
        if tensor.persistent:
            offsets[tensor.name] = persistent
            persistent += align(tensor.nbytes)
    buffers, overlaps = _buffers(program)
    packing = allocate(buffers, overlaps, iterations)
    wrong = violations(buffers, overlaps, packing.offsets)
    if wrong:
        raise AssertionError(f"the memory plan puts live tensors over each other: {wrong[0]}")
    scratch = [0] * len(program.ops)
    saved = program.partition.saved
    last = len(program.ops) - 1
    timeline = [
        Lifetime(name, program.tensors[name].role.name.lower(), offset,
                 align(program.tensors[name].nbytes), 0, last)
        for name, offset in offsets.items()
    ]  # fmt: skip
    for buffer, place in zip(buffers, packing.offsets, strict=True):
        offset = persistent + place
        if buffer.name.startswith("scratch:"):
            scratch[int(buffer.name.removeprefix("scratch:"))] = offset
            role = "scratch"
        else:
            offsets[buffer.name] = offset
            role = program.tensors[buffer.name].role.name.lower()
            role = "saved" if buffer.name in saved else role
        size = align(buffer.size)
        timeline.append(Lifetime(buffer.name, role, offset, size, buffer.birth, buffer.death))
    return Plan(
        program=program,
        offsets=offsets,
        scratch=tuple(scratch),
        arena_bytes=persistent + packing.total,
        persistent_bytes=persistent,
        bound_bytes=persistent + packing.bound,
        timeline=tuple(timeline),
    )


def plan_partition(part: Partition, immediate: bool, iterations: int = 400) -> Plan:
    """Lowest plan over the orders of the backward pass that give the same result."""
    orders = [BackwardOptions(lazy=lazy) for lazy in (True, False)]
    if not immediate:
        orders += [
            BackwardOptions(True, lazy, pack) for pack in (False, True) for lazy in (True, False)
        ]
    programs = [build_program(part, immediate, order) for order in orders]
    bounds = [Packer(*_buffers(program)).bound for program in programs]
    ranked = sorted(range(len(programs)), key=lambda i: (bounds[i], i))
    plans = [plan_program(programs[i], iterations) for i in ranked[:2]]
    return min(plans, key=lambda plan: plan.arena_bytes)


def _what_fits(graph: Graph, blocks: tuple[str, ...], mode: str, limit: int) -> str:
    """Advice: the nearest choice that stays within ``limit`` bytes."""
    options: list[tuple[str, tuple[str, ...], bool]] = []
    if mode == "accumulate":
        options.append(("immediate updates (mode 'immediate')", blocks, True))
    for block in reversed(graph.blocks):
        for immediate in (False, True):
            how = " with immediate updates" if immediate else ""
            options.append((f"training '{block}'{how}", (block,), immediate))
    for words, chosen, immediate in options:
        if chosen == blocks and mode != "accumulate":
            continue
        try:
            needed = plan_partition(partition(graph, chosen), immediate, 60).arena_bytes
        except ExporterError:
            continue
        if needed <= limit:
            return f"{words} would fit in {needed:,} bytes"
    return "no block of this network fits, so use a board with more memory"


def _peak(plan: Plan) -> str:
    """Words that name where the arena is fullest."""
    op = max(range(len(plan.program.ops)), key=plan.live_bytes)
    alive = [
        life
        for life in plan.timeline
        if life.birth <= op <= life.death and life.offset >= plan.persistent_bytes
    ]
    largest = max(alive, key=lambda life: life.size)
    what = "the scratch memory" if largest.role == "scratch" else f"'{largest.name}'"
    return (
        f"the peak is {what} ({largest.size:,} bytes) during "
        f"{plan.program.ops[op].opcode.name.lower()} of '{plan.program.ops[op].node}', beside "
        f"{plan.persistent_bytes:,} bytes of trained weights and accumulators"
    )


def make_plan(
    graph: Graph,
    blocks: Sequence[str],
    mode: str = "accumulate",
    arena_limit_bytes: int | None = None,
    iterations: int = 400,
) -> Plan:
    """Partition, program and memory plan of an int8 graph.

    Args:
        graph: quantized network.
        blocks: blocks to train, or ``("all",)``.
        mode: ``accumulate`` (batches), ``immediate`` (batch of one, no accumulators), or ``auto``:
            accumulate if that fits.
        arena_limit_bytes: the board's arena; None for no limit.
        iterations: effort of the allocator.

    Raises:
        ExporterError: unknown blocks or mode, a graph the artifact cannot express, or an arena that
            does not fit; the message then says how much is missing, what peaks, and what would fit.
    """
    if mode not in MODES:
        raise ExporterError(f"unknown update mode '{mode}'; choose from {', '.join(MODES)}")
    check_limits(graph)
    part = partition(graph, blocks)
    modes = ["accumulate", "immediate"] if mode == "auto" else [mode]
    plan = plan_partition(part, modes[0] == "immediate", iterations)
    for other in modes[1:]:
        if arena_limit_bytes is not None and plan.arena_bytes > arena_limit_bytes:
            plan = plan_partition(part, other == "immediate", iterations)
    if arena_limit_bytes is not None and plan.arena_bytes > arena_limit_bytes:
        missing = plan.arena_bytes - arena_limit_bytes
        raise ExporterError(
            f"training {', '.join(part.blocks)} of {graph.name} (mode '{plan.mode}') needs "
            f"{plan.arena_bytes:,} bytes of arena, {missing:,} more than the {arena_limit_bytes:,} "
            f"there are; {_peak(plan)}; "
            f"{_what_fits(graph, part.blocks, plan.mode, arena_limit_bytes)}"
        )
    return plan
