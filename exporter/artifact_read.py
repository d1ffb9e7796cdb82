"""The artifact file, reading side: bytes become records, checked as far as the host relies on them (docs/artifact.md).

The firmware's loader checks every op as well; here structure, checksums, index ranges and memory bounds are enough.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import dataclass, field
from math import prod
from struct import error as StructError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporter import artifact as fmt
from exporter.allocate import align
from exporter.errors import ExporterError
from exporter.graph import I8
from exporter.ops import DType, Opcode, Role, Shape4, TrainedKind

Regions = tuple[tuple[int, int], ...]

_NUMPY = {DType.INT8: "<i1", DType.INT16: "<i2", DType.INT32: "<i4", DType.UINT8: "<u1"}


@dataclass(frozen=True)
class TensorRecord:
    """One row of the TENSORS section; ``offset`` and ``nbytes`` in bytes."""

    in_arena: bool
    region: int
    """Of the arena."""
    dtype: DType
    role: Role
    shape: Shape4
    offset: int
    nbytes: int
    zero_point: int
    slot: int | None
    scale: float


@dataclass(frozen=True)
class OpRecord:
    """One row of the OPS section; tensors by index, None for none."""

    opcode: Opcode
    training_only: bool
    inputs: tuple[int | None, ...]
    output: int | None
    parameters: tuple[int | None, ...]
    """Weights, bias, multipliers, shifts."""
    trained: int | None
    scratch_region: int
    scratch_offset: int
    scratch_bytes: int


@dataclass(frozen=True)
class TrainedEntry:
    """The k-th trained node: tensor indices, None for none."""

    kind: TrainedKind
    block: int
    weights: int | None
    bias: int
    initial_weights: int | None
    initial_bias: int
    rho_weights: int | None
    rho_bias: int
    weight_accumulator: int | None
    bias_accumulator: int | None
    row_exponents: int | None
    rows: int
    row_length: int


@dataclass(frozen=True)
class BlockEntry:
    """A block of the partition."""

    name: str
    trained: bool
    parameters: int


@dataclass(frozen=True)
class Artifact:
    """A checked artifact."""

    model_hash: bytes
    total_bytes: int
    arena_bytes: int
    persistent_bytes: int
    regions: tuple[tuple[int, int], ...]
    """Bytes and persistent bytes of every region of the arena; (0, 0) where it is not used."""
    slots: int
    states: int
    immediate: bool
    input: int
    boundary: int
    output: int
    classes: int
    loss_multiplier: tuple[int, int]
    tensors: tuple[TensorRecord, ...]
    ops: tuple[OpRecord, ...]
    programs: tuple[tuple[int, int], ...]
    """First op and number of ops of PREFIX, TAIL, BACKWARD."""
    trained: tuple[TrainedEntry, ...]
    blocks: tuple[BlockEntry, ...]
    meta: dict[str, Any]
    selftests: tuple[fmt.SelfTest, ...] = field(repr=False)
    const: bytes = field(repr=False)

    def constant(self, index: int) -> NDArray[np.integer]:
        """Values of a CONST tensor in its shape."""
        tensor = self.tensors[index]
        data = self.const[tensor.offset : tensor.offset + tensor.nbytes]
        return np.frombuffer(data, dtype=_NUMPY[tensor.dtype]).reshape(tensor.shape)


def _damaged(what: str) -> ExporterError:
    return ExporterError(f"the artifact is damaged: {what}; export it again")


def _optional(index: int) -> int | None:
    return None if index == fmt.NONE else index


def _sections(data: bytes, count: int) -> dict[int, tuple[bytes, int]]:
    end = fmt.HEADER_BYTES + count * fmt.SECTION.size
    if end > len(data):
        raise _damaged(f"{count} sections do not fit in {len(data):,} bytes")
    found: dict[int, tuple[bytes, int]] = {}
    for i in range(count):
        place = fmt.HEADER_BYTES + i * fmt.SECTION.size
        kind, offset, size, records = fmt.SECTION.unpack_from(data, place)
        if kind in found or offset % 16 or offset < end or offset + size > len(data):
            raise _damaged(f"section {i} of kind {kind} lies at {offset:,} with {size:,} bytes")
        found[kind] = (data[offset : offset + size], records)
    sizes = {
        fmt.TENSORS: fmt.TENSOR.size,
        fmt.OPS: fmt.OP.size,
        fmt.PROGRAMS: fmt.PROGRAM.size,
        fmt.TRAINED_SECTION: fmt.TRAINED.size,
        fmt.BLOCKS: fmt.BLOCK.size,
    }
    for kind, size in ({fmt.CONST: 0, fmt.META: 0} | sizes).items():
        if kind not in found:
            raise _damaged(f"section {kind} is missing")
        if size and found[kind][1] * size != len(found[kind][0]):
            raise _damaged(f"section {kind} has {len(found[kind][0])} bytes, not {size} a record")
    return found


def _tensor(row: tuple[Any, ...], index: int, regions: Regions, const: int) -> TensorRecord:
    place, dtype, role, *rest = row
    shape: Shape4 = (rest[0], rest[1], rest[2], rest[3])
    offset, nbytes, zero_point, slot, region, _, scale = rest[4:]
    try:
        record = TensorRecord(
            place == 0, region, DType(dtype), Role(role), shape, offset, nbytes, zero_point,
            _optional(slot), scale,
        )  # fmt: skip
    except ValueError as error:
        raise _damaged(f"tensor {index} has {error}") from error
    elements = prod(shape)
    expected = (
        -(-elements // 8)
        if record.dtype is DType.BITS
        else elements * np.dtype(_NUMPY[record.dtype]).itemsize
    )
    if region >= (len(regions) if record.in_arena else 1):
        raise _damaged(f"tensor {index} lies in region {region}")
    room = regions[region][0] if record.in_arena else const
    if place > 1 or nbytes != expected or offset % 16 or offset + nbytes > room:
        raise _damaged(f"tensor {index} of shape {shape} has {nbytes:,} bytes at {offset:,}")
    return record


def _op(row: tuple[Any, ...], index: int, tensors: int, trained: int, regions: Regions) -> OpRecord:
    names = [_optional(value) for value in row[4:12]]
    region, number, scratch, scratch_bytes = row[2], _optional(row[23]), row[25], row[26]
    if any(name is not None and name >= tensors for name in names):
        raise _damaged(f"op {index} names a tensor that is not there")
    room = regions[region][0] if region < len(regions) else 0
    if (number is not None and number >= trained) or scratch + scratch_bytes > room:
        raise _damaged(f"op {index} has trained node {number} and scratch at {scratch:,}")
    try:
        opcode = Opcode(row[0])
    except ValueError as error:
        raise _damaged(f"op {index} has {error}") from error
    return OpRecord(
        opcode, bool(row[1] & 1), tuple(names[:3]), names[3], tuple(names[4:]), number, region,
        scratch, scratch_bytes,
    )  # fmt: skip


def _trained(row: tuple[Any, ...], index: int, tensors: int, blocks: int) -> TrainedEntry:
    names = [_optional(value) for value in row[2:11]]
    if any(name is not None and name >= tensors for name in names) or row[1] >= blocks:
        raise _damaged(f"trained node {index} names a tensor or block that is not there")
    w, b, w0, b0, rho_w, rho_b, acc_w, acc_b, exponents = names
    if b is None or b0 is None or rho_b is None or row[0] > 2:
        raise _damaged(f"trained node {index} has no bias")
    return TrainedEntry(
        TrainedKind(row[0]), row[1], w, b, w0, b0, rho_w, rho_b, acc_w, acc_b, exponents,
        row[12], row[13],
    )  # fmt: skip


def _selftests(data: bytes, count: int, shape: Shape4, classes: int) -> tuple[fmt.SelfTest, ...]:
    size = prod(shape)
    record = align(size) + 16 + align(classes)
    if record * count != len(data):
        raise _damaged(f"{count} self-test vectors take {len(data):,} bytes")
    found = []
    for start in range(0, len(data), record):
        part = data[start : start + record]
        label, _ = fmt.SELFTEST_LABEL.unpack_from(part, align(size))
        image: I8 = np.frombuffer(part[:size], dtype=np.int8).reshape(shape[1:])
        logits: I8 = np.frombuffer(part[align(size) + 16 :][:classes], dtype=np.int8)
        found.append(fmt.SelfTest(image, label, logits))
    return tuple(found)


def read_artifact(data: bytes) -> Artifact:
    """Parse and check an artifact.

    Raises:
        ExporterError: it is not an artifact, of another version, cut short or damaged.
    """
    if len(data) < fmt.HEADER_BYTES or data[:4] != fmt.MAGIC:
        raise ExporterError(
            "this is not an artifact of this tool (it does not start with 'TBFA'); make one with "
            "python -m host.export"
        )
    header = fmt.HEADER.unpack_from(data)
    if header[1] != fmt.VERSION or header[2] != fmt.HEADER_BYTES:
        raise ExporterError(
            f"the artifact has format version {header[1]}, expected {fmt.VERSION}; export it again "
            "with this version of the tool"
        )
    regions: Regions = tuple(zip(header[21::2], header[22::2], strict=True))
    total, crc, digest, arena, persistent, count, slots, states, mode = header[3:12]
    if total > len(data):
        raise ExporterError(
            f"the artifact is cut short: {len(data):,} of {total:,} bytes are there; copy or "
            "export it again"
        )
    if total < len(data):
        raise ExporterError(
            f"the artifact has {total:,} bytes, but {len(data):,} are there; cut off what follows it, or "
            "export it again"
        )
    if zlib.crc32(data[16:]) != crc:
        raise _damaged("its checksum does not match")
    sections = _sections(data, count)
    if hashlib.sha256(b"".join(sections[kind][0] for kind in fmt.HASHED)).digest() != digest:
        raise _damaged("its model hash does not match")
    const = sections[fmt.CONST][0]
    try:
        meta = json.loads(sections[fmt.META][0])
        block_rows = list(fmt.BLOCK.iter_unpack(sections[fmt.BLOCKS][0]))
        blocks = tuple(
            BlockEntry(name.rstrip(b"\0").decode(), bool(trained), parameters)
            for name, trained, parameters, _ in block_rows
        )
    except (ValueError, StructError) as error:
        raise _damaged(f"its description cannot be read ({error})") from error
    tensors = tuple(
        _tensor(row, i, regions, len(const))
        for i, row in enumerate(fmt.TENSOR.iter_unpack(sections[fmt.TENSORS][0]))
    )
    trained_count = sections[fmt.TRAINED_SECTION][1]
    ops = tuple(
        _op(row, i, len(tensors), trained_count, regions)
        for i, row in enumerate(fmt.OP.iter_unpack(sections[fmt.OPS][0]))
    )
    trained = tuple(
        _trained(row, i, len(tensors), len(blocks))
        for i, row in enumerate(fmt.TRAINED.iter_unpack(sections[fmt.TRAINED_SECTION][0]))
    )
    programs = tuple(
        (first, number) for first, number, _ in fmt.PROGRAM.iter_unpack(sections[fmt.PROGRAMS][0])
    )
    if len(programs) != 3 or any(first + number > len(ops) for first, number in programs):
        raise _damaged("its programs name ops that are not there")
    source, boundary, output, classes = header[13:17]
    if max(source, boundary, output) >= len(tensors) or persistent > arena:
        raise _damaged("its header names tensors that are not there")
    if (sum(size for size, _ in regions), sum(kept for _, kept in regions)) != (arena, persistent):
        raise _damaged("its regions do not add up to its arena")
    vectors = sections.get(fmt.SELFTEST, (b"", 0))
    return Artifact(
        model_hash=digest,
        total_bytes=total,
        arena_bytes=arena,
        persistent_bytes=persistent,
        regions=regions,
        slots=slots,
        states=states,
        immediate=mode == 1,
        input=source,
        boundary=boundary,
        output=output,
        classes=classes,
        loss_multiplier=(header[18], header[19]),
        tensors=tensors,
        ops=ops,
        programs=programs,
        trained=trained,
        blocks=blocks,
        meta=meta,
        selftests=_selftests(*vectors, tensors[source].shape, classes),
        const=const,
    )
