"""The artifact file, writing side (docs/artifact.md): a plan becomes bytes. ``artifact_read`` is the way back."""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from exporter.allocate import align
from exporter.errors import ExporterError
from exporter.graph import I8, Conv2d, DepthwiseConv2d
from exporter.ops import Op, Phase, Tensor, TrainedRecord
from exporter.plan import Plan
from exporter.program import conv_quant, weight_shape
from exporter.scaling import loss_multiplier

MAGIC = b"TBFA"
VERSION = 3
HEADER_BYTES = 128
NONE = 0xFFFF
MAX_REGIONS = 4
MAX_SLOTS, MAX_STATES, MAX_TRAINED = 512, 256, 256

HEADER = struct.Struct("<4sHHII32sIIHHHBBIIIHHiiQ8I")
SECTION = struct.Struct("<IIII")
TENSOR = struct.Struct("<BBH4HIIiHBBf")
OP = struct.Struct("<BBBB4H4H2B2B4B2bHHhII3iQ")
PROGRAM = struct.Struct("<IIQ")
TRAINED = struct.Struct("<12HII32x")
BLOCK = struct.Struct("<16sB3xIQ")
SELFTEST_LABEL = struct.Struct("<HH12x")

CONST, TENSORS, OPS, PROGRAMS, TRAINED_SECTION, BLOCKS, META, SELFTEST = range(1, 9)
HASHED = (CONST, TENSORS, OPS, TRAINED_SECTION, PROGRAMS)


@dataclass(frozen=True)
class SelfTest:
    """One vector: input int8 (H, W, C), its label, and the logits int8 (classes,) a board must find."""

    image: I8
    label: int
    logits: I8


def pad16(data: bytes) -> bytes:
    """``data`` filled with zeros to a multiple of 16 bytes."""
    return data + bytes(align(len(data)) - len(data))


class _Writer:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.program = plan.program
        self.graph = plan.program.partition.graph
        self.index = {name: i for i, name in enumerate(self.program.tensors)}
        self.const_offsets: dict[str, int] = {}

    def number(self, name: str | None) -> int:
        return NONE if name is None else self.index[name]

    def const(self) -> bytes:
        parts: list[bytes] = []
        offset = 0
        for tensor in self.program.tensors.values():
            if tensor.data is not None:
                self.const_offsets[tensor.name] = offset
                parts.append(pad16(tensor.data))
                offset += len(parts[-1])
        return b"".join(parts)

    def tensor(self, tensor: Tensor) -> bytes:
        offsets = self.plan.offsets if tensor.in_arena else self.const_offsets
        slot = NONE if tensor.slot is None else tensor.slot
        return TENSOR.pack(
            0 if tensor.in_arena else 1, tensor.dtype, tensor.role, *tensor.shape, offsets[tensor.name],
            tensor.nbytes, tensor.zero_point, slot, self.plan.places.get(tensor.name, 0), 0, tensor.scale,
        )  # fmt: skip

    def op(self, op: Op, region: int, scratch: int) -> bytes:
        inputs = [self.number(name) for name in op.inputs]
        inputs += [NONE] * (3 - len(inputs))
        parameters = [self.number(n) for n in (op.weights, op.bias, op.multipliers, op.shifts)]
        return OP.pack(
            op.opcode, int(op.training_only), region, 0, *inputs, self.number(op.output), *parameters,
            *op.kernel, *op.stride, *op.padding, op.act_min, op.act_max,
            NONE if op.state is None else op.state, NONE if op.trained is None else op.trained,
            op.t, scratch, op.scratch_bytes, *op.numbers, 0,
        )  # fmt: skip

    def trained(self, record: TrainedRecord) -> bytes:
        names = (
            record.weights, record.bias, record.initial_weights, record.initial_bias,
            record.rho_weights, record.rho_bias, record.weight_accumulator,
            record.bias_accumulator, record.row_exponents,
        )  # fmt: skip
        return TRAINED.pack(
            record.kind,
            self.graph.blocks.index(record.block),
            *(self.number(name) for name in names),
            0,
            record.rows,
            record.row_length,
        )

    def programs(self) -> bytes:
        first = 0
        parts = []
        for phase in Phase:
            count = len(self.program.phase(phase))
            parts.append(PROGRAM.pack(first, count, 0))
            first += count
        return b"".join(parts)

    def blocks(self) -> bytes:
        parts = []
        for block in self.graph.blocks:
            name = block.encode()
            if len(name) > 16:
                raise ExporterError(f"block name '{block}' is longer than 16 bytes; shorten it")
            trained = block in self.program.partition.blocks
            parts.append(BLOCK.pack(name, int(trained), self.plan.block_parameters(block), 0))
        return b"".join(parts)

    def meta(self, metadata: Mapping[str, object]) -> bytes:
        quant = self.graph.quant[self.graph.input]
        nodes = {node.name: node for node in self.graph.nodes}
        trained = []
        for record in self.program.trained:
            node = nodes[record.node]
            assert isinstance(node, Conv2d | DepthwiseConv2d)
            trained.append(
                {
                    "node": record.node,
                    "block": record.block,
                    "kind": record.kind.name.lower(),
                    "weight_shape": None if record.weights is None else weight_shape(node),
                    "rows": record.rows,
                    "input_scale": float(self.graph.quant[node.inputs[0]].scale),
                    "weight_scale": [float(f"{s:.9g}") for s in conv_quant(node).weight_scale],
                }
            )
        document = {
            "model": self.graph.name,
            "classes": list(self.graph.classes),
            "blocks": list(self.program.partition.blocks),
            "mode": self.plan.mode,
            "input": {
                "shape": list(self.graph.shapes[self.graph.input]),
                "scale": float(quant.scale),
                "zero_point": quant.zero_point,
            },
            "trained": trained,
            "source": dict(self.graph.metadata),
            **metadata,
        }
        return json.dumps(document, ensure_ascii=False, sort_keys=True).encode()

    def selftests(self, vectors: Sequence[SelfTest]) -> bytes:
        parts = []
        for vector in vectors:
            if vector.image.shape != self.graph.shapes[self.graph.input]:
                raise ExporterError(
                    f"a self-test image has shape {vector.image.shape}, expected "
                    f"{self.graph.shapes[self.graph.input]}"
                )
            if vector.logits.size != len(self.graph.classes):
                raise ExporterError(
                    f"a self-test vector has {vector.logits.size} logits, expected "
                    f"{len(self.graph.classes)}"
                )
            parts.append(pad16(vector.image.astype(np.int8).tobytes()))
            parts.append(SELFTEST_LABEL.pack(vector.label, 0))
            parts.append(pad16(vector.logits.astype(np.int8).tobytes()))
        return b"".join(parts)

    def sections(
        self, metadata: Mapping[str, object], vectors: Sequence[SelfTest]
    ) -> dict[int, tuple[bytes, int]]:
        """Section kind to its bytes and record count."""
        program = self.program
        const = self.const()
        found = {
            CONST: (const, len(self.const_offsets)),
            TENSORS: (b"".join(map(self.tensor, program.tensors.values())), len(program.tensors)),
            OPS: (
                b"".join(
                    self.op(op, region, scratch)
                    for op, region, scratch in zip(
                        program.ops, self.plan.scratch_regions, self.plan.scratch, strict=True
                    )
                ),
                len(program.ops),
            ),
            PROGRAMS: (self.programs(), 3),
            TRAINED_SECTION: (b"".join(map(self.trained, program.trained)), len(program.trained)),
            BLOCKS: (self.blocks(), len(self.graph.blocks)),
            META: (self.meta(metadata), 1),
        }
        if vectors:
            found[SELFTEST] = (self.selftests(vectors), len(vectors))
        return found

    def header(self, sections: Mapping[int, tuple[bytes, int]], total: int) -> bytes:
        """Header with its CRC still 0."""
        digest = hashlib.sha256(b"".join(sections[kind][0] for kind in HASHED)).digest()
        last = self.graph.nodes[-1]
        assert isinstance(last, Conv2d)
        scale = self.graph.quant[last.inputs[0]].scale
        multiplier, shift = loss_multiplier(scale, conv_quant(last).weight_scale)
        regions = [(use.bytes, use.persistent_bytes) for use in self.plan.regions]
        regions += [(0, 0)] * (MAX_REGIONS - len(regions))
        return HEADER.pack(
            MAGIC, VERSION, HEADER_BYTES, total, 0, digest, self.plan.arena_bytes,
            self.plan.persistent_bytes, len(sections), self.program.slots, self.program.states,
            int(self.program.immediate), 0, self.index[self.graph.input],
            self.index[self.program.partition.boundary], self.index[self.graph.output],
            len(self.graph.classes), 0, multiplier, shift, 0,
            *(number for region in regions for number in region),
        )  # fmt: skip


def _check_counts(plan: Plan) -> None:
    program = plan.program
    for what, count, limit in (
        ("trained layers", len(program.trained), MAX_TRAINED),
        ("error tensors", program.slots, MAX_SLOTS),
        ("input gradients", program.states, MAX_STATES),
        ("tensors", len(program.tensors), NONE - 1),
        ("memory regions", len(plan.regions), MAX_REGIONS),
    ):
        if count > limit:
            raise ExporterError(
                f"{program.partition.graph.name} needs {count} {what}, the artifact format holds "
                f"{limit}; train fewer or later blocks"
            )


def write_artifact(
    plan: Plan,
    metadata: Mapping[str, object] | None = None,
    selftests: Sequence[SelfTest] = (),
) -> bytes:
    """The artifact of a plan.

    Args:
        plan: memory plan of an int8 graph.
        metadata: JSON values for the META section beside (or instead of) the writer's own: shift, source checkpoint …
        selftests: vectors for a board's self-test.

    Raises:
        ExporterError: the plan exceeds the format, or a vector's shape does not fit.
    """
    _check_counts(plan)
    writer = _Writer(plan)
    sections = writer.sections(metadata or {}, selftests)
    offset = align(HEADER_BYTES + SECTION.size * len(sections))
    table, body = [], []
    for kind, (data, count) in sections.items():
        table.append(SECTION.pack(kind, offset, len(data), count))
        body.append(pad16(data))
        offset += len(body[-1])
    head = writer.header(sections, offset)
    rest = pad16(head[16:] + b"".join(table)) + b"".join(body)
    crc = zlib.crc32(rest)
    return head[:12] + struct.pack("<I", crc) + rest
