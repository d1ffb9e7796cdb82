"""Where in the arena every tensor and every op's scratch of a program lies (docs/artifact.md)."""

from __future__ import annotations

from dataclasses import dataclass

from exporter.allocate import Buffer, align, allocate, violations
from exporter.board import Board
from exporter.graph import Conv2d, DepthwiseConv2d
from exporter.ops import Op, Opcode, Phase, Tensor
from exporter.program import Program
from exporter.tiers import Item, place_in_tiers
from exporter.traffic import traffic

SCRATCH = "scratch:"
"""Prefix of the names of the buffers that are ops' scratch; the op's number follows."""

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

    ``role`` is a tensor role's name in lower case, ``scratch``, ``saved`` for activations kept for the
    backward pass, or ``recomputed`` for activations computed again there.
    """

    name: str
    role: str
    offset: int
    size: int
    birth: int
    death: int
    region: int = 0
    persistent: bool = False


@dataclass(frozen=True)
class RegionUse:
    """What a plan takes of one region of the arena: its first ``persistent_bytes`` are kept between samples."""

    bytes: int
    persistent_bytes: int


@dataclass(frozen=True)
class Plan:
    """A program with addresses."""

    program: Program
    places: dict[str, int]
    """Arena tensor to its region."""
    offsets: dict[str, int]
    """Arena tensor to its offset within the region, in bytes."""
    scratch_regions: tuple[int, ...]
    scratch: tuple[int, ...]
    """Scratch offset of every op within its region, in bytes; 0 where it needs none."""
    regions: tuple[RegionUse, ...]
    """Fastest first; one without a board."""
    bound_bytes: int
    """No plan of this program can take less arena."""
    timeline: tuple[Lifetime, ...]
    board: Board | None = None
    missing_bytes: int = 0
    """Bytes that the board's regions lack for this plan."""
    traffic: tuple[float, ...] = ()
    """Bytes that a training sample moves to and from each region, estimated."""

    @property
    def arena_bytes(self) -> int:
        """Bytes of all regions together."""
        return sum(region.bytes for region in self.regions)

    @property
    def persistent_bytes(self) -> int:
        """Bytes kept between samples, of all regions together."""
        return sum(region.persistent_bytes for region in self.regions)

    @property
    def seconds_moving(self) -> float:
        """Time that the traffic of a training sample takes at the regions' best speeds; 0 without a board."""
        if self.board is None:
            return 0.0
        return sum(
            moved / region.bytes_per_s
            for moved, region in zip(self.traffic, self.board.regions, strict=False)
        )

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
            if life.birth <= op <= life.death and not life.persistent
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


def buffers_of(program: Program) -> tuple[list[Buffer], dict[tuple[int, int], int]]:
    """Transient buffers of a program, scratch included, and the overlaps they are permitted."""
    spans = lifetimes(program)
    buffers = [
        Buffer(name, program.tensors[name].nbytes, birth, death)
        for name, (birth, death) in spans.items()
    ]
    number = {buffer.name: index for index, buffer in enumerate(buffers)}
    overlaps: dict[tuple[int, int], int] = {}
    for index, op in enumerate(program.ops):
        if op.scratch_bytes:
            buffers.append(Buffer(f"{SCRATCH}{index}", op.scratch_bytes, index, index))
        if op.opcode not in _OVERLAPPING or op.output is None:
            continue
        for name in op.inputs:
            if spans[name][1] == index and spans[op.output][0] == index:
                x, y = program.tensors[name], program.tensors[op.output]
                overlaps[number[name], number[op.output]] = overlap_distance(op, x, y)
    return buffers, overlaps


@dataclass(frozen=True)
class _Placed:
    """A buffer's region and its offset there."""

    buffer: Buffer
    persistent: bool
    region: int
    offset: int


def _persistent(program: Program) -> list[Buffer]:
    last = len(program.ops) - 1
    kept = [tensor for tensor in program.tensors.values() if tensor.persistent]
    return [Buffer(tensor.name, tensor.nbytes, 0, last) for tensor in kept]


def _one_region(program: Program, iterations: int) -> tuple[list[_Placed], RegionUse, int]:
    """Everything in one region of any size; also the bytes no plan of the program can do without."""
    placed: list[_Placed] = []
    persistent = 0
    for buffer in _persistent(program):
        placed.append(_Placed(buffer, True, 0, persistent))
        persistent += align(buffer.size)
    buffers, overlaps = buffers_of(program)
    packing = allocate(buffers, overlaps, iterations)
    placed += [
        _Placed(buffer, False, 0, persistent + offset)
        for buffer, offset in zip(buffers, packing.offsets, strict=True)
    ]
    return placed, RegionUse(persistent + packing.total, persistent), persistent + packing.bound


def _several_regions(
    program: Program, board: Board, iterations: int
) -> tuple[list[_Placed], tuple[RegionUse, ...], int]:
    """Everything in the board's regions, the busiest in the fastest; also the bytes that are missing."""
    moved, moved_scratch = traffic(program)
    buffers, overlaps = buffers_of(program)
    transient = [
        Item(
            buffer,
            False,
            moved_scratch[int(buffer.name.removeprefix(SCRATCH))]
            if buffer.name.startswith(SCRATCH)
            else moved[buffer.name],
        )
        for buffer in buffers
    ]
    kept = [Item(buffer, True, moved[buffer.name]) for buffer in _persistent(program)]
    items = [*transient, *kept]
    seconds = [1 / region.bytes_per_s for region in board.regions]
    found = place_in_tiers(items, overlaps, board.capacities, seconds, iterations // 5)
    placed = [
        _Placed(
            item.buffer, item.persistent, region,
            offset + (0 if item.persistent else found.persistent[region]),
        )
        for item, region, offset in zip(items, found.regions, found.offsets, strict=True)
    ]  # fmt: skip
    uses = [
        RegionUse(kept_bytes + other, kept_bytes)
        for kept_bytes, other in zip(found.persistent, found.transient, strict=True)
    ]
    while len(uses) > 1 and uses[-1].bytes == 0:
        uses.pop()
    return placed, tuple(uses), found.overflow


def _check(program: Program, placed: list[_Placed]) -> None:
    """Live buffers of one region must lie apart, or over each other as they may."""
    buffers, overlaps = buffers_of(program)
    number = {buffer.name: index for index, buffer in enumerate(buffers)}
    together = [place for place in placed if not place.persistent]
    assert sorted(number) == sorted(place.buffer.name for place in together)
    for region in {place.region for place in placed}:
        here = {number[p.buffer.name]: p.offset for p in together if p.region == region}
        order = sorted(here)
        index = {old: new for new, old in enumerate(order)}
        inside = {
            (index[a], index[b]): d for (a, b), d in overlaps.items() if a in index and b in index
        }
        wrong = violations([buffers[i] for i in order], inside, [here[i] for i in order])
        if wrong:
            raise AssertionError(f"the memory plan puts live tensors over each other: {wrong[0]}")


def plan_program(program: Program, iterations: int = 1500, board: Board | None = None) -> Plan:
    """Give every arena tensor of a program its place.

    Args:
        program: what the board executes.
        iterations: effort of the search.
        board: whose regions to use; None for one region of any size. Where the fastest region is large enough, only that is used.
    """
    placed, use, bound = _one_region(program, iterations)
    uses: tuple[RegionUse, ...] = (use,)
    missing = 0 if board is None else max(0, use.bytes - board.regions[0].bytes)
    if board is not None and missing and len(board.regions) > 1:
        placed, uses, missing = _several_regions(program, board, iterations)
    _check(program, placed)
    kept = program.held
    again = {op.output for op in program.phase(Phase.BACKWARD) if op.opcode < Opcode.MASK}
    scratch, scratch_regions = [0] * len(program.ops), [0] * len(program.ops)
    moved, moved_scratch = traffic(program)
    moved_by_region = [0.0] * len(uses)
    timeline = []
    for place in placed:
        name = place.buffer.name
        if name.startswith(SCRATCH):
            op = int(name.removeprefix(SCRATCH))
            scratch[op], scratch_regions[op], role = place.offset, place.region, "scratch"
            moved_by_region[place.region] += moved_scratch[op]
        else:
            role = program.tensors[name].role.name.lower()
            role = "saved" if name in kept else role
            role = "recomputed" if name in again else role
            moved_by_region[place.region] += moved[name]
        buffer = place.buffer
        timeline.append(
            Lifetime(name, role, place.offset, align(buffer.size), buffer.birth, buffer.death,
                     place.region, place.persistent)
        )  # fmt: skip
    tensors = [place for place in placed if not place.buffer.name.startswith(SCRATCH)]
    return Plan(
        program=program,
        places={place.buffer.name: place.region for place in tensors},
        offsets={place.buffer.name: place.offset for place in tensors},
        scratch_regions=tuple(scratch_regions),
        scratch=tuple(scratch),
        regions=uses,
        bound_bytes=bound,
        timeline=tuple(timeline),
        board=board,
        missing_bytes=missing,
        traffic=tuple(moved_by_region),
    )
