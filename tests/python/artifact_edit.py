"""Editing artifacts field by field for tests of the loader; ``sealed`` makes length, checksum and hash right again."""

from __future__ import annotations

import hashlib
import struct
import zlib
from dataclasses import dataclass

from exporter import artifact as fmt

Field = tuple[int, str]
"""Offset within the record and struct format character."""

_HEADER = {
    "version": (4, "H"), "header_bytes": (6, "H"), "total": (8, "I"), "crc": (12, "I"),
    "arena_bytes": (48, "I"), "persistent_bytes": (52, "I"), "sections": (56, "H"),
    "exponents": (58, "H"), "states": (60, "H"), "mode": (62, "B"), "input": (64, "I"),
    "boundary": (68, "I"), "output": (72, "I"), "classes": (76, "H"), "loss_multiplier": (80, "i"),
    "loss_shift": (84, "i"),
    **{f"region{i}_{what}": (96 + 8 * i + at, "I") for i in range(fmt.MAX_REGIONS)
       for what, at in (("bytes", 0), ("persistent", 4))},
}  # fmt: skip
_SECTION = {"kind": (0, "I"), "offset": (4, "I"), "bytes": (8, "I"), "count": (12, "I")}
_TENSOR = {
    "place": (0, "B"), "type": (1, "B"), "role": (2, "H"), "n": (4, "H"), "h": (6, "H"), "w": (8, "H"),
    "c": (10, "H"), "offset": (12, "I"), "bytes": (16, "I"), "zero_point": (20, "i"), "slot": (24, "H"),
    "region": (26, "B"),
}  # fmt: skip
_OP = {
    "opcode": (0, "B"), "flags": (1, "B"), "scratch_region": (2, "B"), "in0": (4, "H"), "in1": (6, "H"), "in2": (8, "H"),
    "out": (10, "H"), "weights": (12, "H"), "bias": (14, "H"), "multipliers": (16, "H"),
    "shifts": (18, "H"), "kernel_h": (20, "B"), "kernel_w": (21, "B"), "stride_h": (22, "B"),
    "stride_w": (23, "B"), "pad_top": (24, "B"), "pad_left": (25, "B"), "pad_bottom": (26, "B"),
    "pad_right": (27, "B"), "act_min": (28, "b"), "act_max": (29, "b"), "state": (30, "H"),
    "trained": (32, "H"), "t": (34, "h"), "scratch_offset": (36, "I"), "scratch_bytes": (40, "I"),
    "number0": (44, "i"),
}  # fmt: skip
_PROGRAM = {"first": (0, "I"), "count": (4, "I")}
_TRAINED = {
    "kind": (0, "H"), "block": (2, "H"), "weights": (4, "H"), "bias": (6, "H"),
    "initial_weights": (8, "H"), "initial_bias": (10, "H"), "rho_weights": (12, "H"),
    "rho_bias": (14, "H"), "weight_accumulator": (16, "H"), "bias_accumulator": (18, "H"),
    "row_exponents": (20, "H"), "rows": (24, "I"), "row_length": (28, "I"),
}  # fmt: skip
_BLOCK = {"trained": (16, "B"), "parameters": (20, "I")}

FIELDS: dict[int, dict[str, Field]] = {
    fmt.TENSORS: _TENSOR, fmt.OPS: _OP, fmt.PROGRAMS: _PROGRAM, fmt.TRAINED_SECTION: _TRAINED,
    fmt.BLOCKS: _BLOCK,
}  # fmt: skip
RECORD_BYTES = {
    fmt.TENSORS: 32,
    fmt.OPS: 64,
    fmt.PROGRAMS: 16,
    fmt.TRAINED_SECTION: 64,
    fmt.BLOCKS: 32,
}


@dataclass
class Editor:
    """A mutable copy of an artifact."""

    data: bytearray

    def section(self, kind: int) -> tuple[int, int, int]:
        """Offset, bytes and count of a section."""
        for i in range(struct.unpack_from("<H", self.data, 56)[0]):
            entry = struct.unpack_from("<IIII", self.data, fmt.HEADER_BYTES + 16 * i)
            if entry[0] == kind:
                return entry[1], entry[2], entry[3]
        raise KeyError(kind)

    def entry(self, kind: int) -> int:
        """Offset of a section's entry in the table."""
        for i in range(struct.unpack_from("<H", self.data, 56)[0]):
            if struct.unpack_from("<I", self.data, fmt.HEADER_BYTES + 16 * i)[0] == kind:
                return fmt.HEADER_BYTES + 16 * i
        raise KeyError(kind)

    def place(self, kind: int | str, record: int, field: str) -> Field:
        """Absolute offset and format of a field. ``kind`` a section kind, ``header`` or ``table``."""
        if kind == "header":
            base, fields = 0, _HEADER
        elif kind == "table":
            base, fields = fmt.HEADER_BYTES + 16 * record, _SECTION
        else:
            assert isinstance(kind, int)
            base, fields = self.section(kind)[0] + RECORD_BYTES[kind] * record, FIELDS[kind]
        offset, code = fields[field]
        return base + offset, code

    def get(self, kind: int | str, record: int, field: str) -> int:
        """A field's value."""
        offset, code = self.place(kind, record, field)
        return int(struct.unpack_from(f"<{code}", self.data, offset)[0])

    def set(self, kind: int | str, record: int, field: str, value: int) -> None:
        """Set a field, wrapped to its width."""
        offset, code = self.place(kind, record, field)
        size = struct.calcsize(code)
        self.data[offset : offset + size] = (value & (1 << 8 * size) - 1).to_bytes(size, "little")

    def sealed(self) -> bytes:
        """Bytes with length, model hash and checksum set."""
        data = bytearray(self.data)
        struct.pack_into("<I", data, 8, len(data))
        digest = hashlib.sha256()
        for kind in fmt.HASHED:
            try:
                offset, size, _ = self.section(kind)
            except KeyError:
                continue
            digest.update(data[offset : offset + size])
        data[16:48] = digest.digest()
        struct.pack_into("<I", data, 12, zlib.crc32(data[16:]))
        return bytes(data)

    def grown(self, more: dict[int, tuple[bytes, int]]) -> Editor:
        """A copy with bytes and records appended to sections."""
        count = struct.unpack_from("<H", self.data, 56)[0]
        table, body = b"", b""
        start = fmt.HEADER_BYTES + 16 * count
        for i in range(count):
            kind, offset, size, records = struct.unpack_from(
                "<IIII", self.data, fmt.HEADER_BYTES + 16 * i
            )
            extra, extra_records = more.get(kind, (b"", 0))
            content = bytes(self.data[offset : offset + size]) + extra
            table += struct.pack(
                "<IIII", kind, start + len(body), len(content), records + extra_records
            )
            body += fmt.pad16(content)
        return Editor(bytearray(bytes(self.data[: fmt.HEADER_BYTES]) + table + body))

    def fields(self) -> list[tuple[int | str, int, str]]:
        """Every field of the header, the section table and all records."""
        found: list[tuple[int | str, int, str]] = [("header", 0, name) for name in _HEADER]
        sections = struct.unpack_from("<H", self.data, 56)[0]
        found += [("table", i, name) for i in range(sections) for name in _SECTION]
        for kind, fields in FIELDS.items():
            count = self.section(kind)[2]
            found += [(kind, i, name) for i in range(count) for name in fields]
        return found
