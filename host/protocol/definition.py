"""Reads `messages.toml`, the definition of the wire protocol, for the generator.

The messages themselves, as classes, are in `host.protocol.messages`, which the generator writes.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("messages.toml")

SCALARS = {"u8": "B", "u16": "H", "u32": "I", "u64": "Q", "i16": "h", "i32": "i"}
"""Type to its letter in `struct`."""
SIZES = {"u8": 1, "u16": 2, "u32": 4, "u64": 8, "i16": 2, "i32": 4}
"""Type to its size in bytes."""
_FIXED = re.compile(r"(char|bytes)\[(\d+)\]")


@dataclass(frozen=True)
class Field:
    """One field. `kind` is a scalar type, `char`, `bytes`, `rest` (bytes), `text`, `u16[]`, `u32[]`
    or the name of a record followed by `[]`; `size` is the length of `char` and `bytes`, in bytes."""

    name: str
    kind: str
    size: int
    doc: str
    spelled: str

    @property
    def variable(self) -> bool:
        """Whether its length is what is left of the body."""
        return self.kind in ("rest", "text") or self.kind.endswith("[]")

    @property
    def fixed_bytes(self) -> int:
        """Its size in bytes; 0 for a variable one."""
        return 0 if self.variable else SIZES.get(self.kind, self.size)


@dataclass(frozen=True)
class Struct:
    """A message body or a record. `type_id` is the type byte, None for a record."""

    name: str
    type_id: int | None
    kind: str
    doc: str
    fields: tuple[Field, ...]
    response: str = ""

    @property
    def fixed_bytes(self) -> int:
        """Bytes before the field of variable length."""
        return sum(field.fixed_bytes for field in self.fields)


@dataclass(frozen=True)
class Status:
    """A status code of the wire protocol."""

    name: str
    code: int
    text: str


@dataclass(frozen=True)
class Definition:
    """All of `messages.toml`; `structs` holds records first, then messages, responses behind their
    requests."""

    version: int
    body_limit: int
    max_slots: int
    structs: tuple[Struct, ...]
    statuses: tuple[Status, ...]


def _field(row: list[str]) -> Field:
    name, spelled, doc = row
    if fixed := _FIXED.fullmatch(spelled):
        return Field(name, fixed[1], int(fixed[2]), doc, spelled)
    kind = "rest" if spelled == "bytes" else spelled
    if kind not in SCALARS and kind not in ("rest", "text") and not kind.endswith("[]"):
        raise ValueError(f"{SOURCE.name}: field {name} has the unknown type {spelled}")
    return Field(name, kind, 0, doc, spelled)


def _struct(
    name: str, type_id: int | None, kind: str, doc: str, rows: list[list[str]], response: str = ""
) -> Struct:
    fields = tuple(_field(row) for row in rows)
    if any(field.variable for field in fields[:-1]):
        raise ValueError(f"{SOURCE.name}: only the last field of {name} may vary in length")
    return Struct(name, type_id, kind, doc, fields, response)


def load(path: Path = SOURCE) -> Definition:
    """The definition in `path`. Raises ValueError where it contradicts itself."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    structs = [
        _struct(row["name"], None, "record", row["doc"], row["fields"]) for row in table["record"]
    ]
    for row in table["message"]:
        response = f"{row['name']}Response" if "response" in row else ""
        structs.append(
            _struct(row["name"], row["id"], row["kind"], row["doc"], row["fields"], response)
        )
        if response:
            doc = f"Answers {row['name']}."
            structs.append(_struct(response, row["id"] | 0x80, "response", doc, row["response"]))
    ids = [struct.type_id for struct in structs if struct.type_id is not None]
    if len(set(ids)) != len(ids):
        raise ValueError(f"{SOURCE.name}: two messages have the same type")
    protocol = table["protocol"]
    statuses = tuple(Status(name, code, text) for name, (code, text) in table["status"].items())
    return Definition(
        protocol["version"],
        protocol["body_limit"],
        protocol["max_slots"],
        tuple(structs),
        statuses,
    )
