"""Writes from `messages.toml` the Python messages, the C++ messages and the tables of the protocol's
document: `python -m host.protocol.generate` (with `--check`: only says what is out of date)."""

from __future__ import annotations

import sys
from pathlib import Path

from host.protocol import definition
from host.protocol.definition import SCALARS, Definition, Field, Struct

REPO = Path(__file__).resolve().parents[2]
PYTHON = Path("host/protocol/messages.py")
CPP = Path("firmware/lib/wire/messages.h")
DOCUMENT = Path("docs/protocol.md")
BEGIN, END = "<!-- generated tables: begin -->", "<!-- generated tables: end -->"
WARNING = (
    "Generated from host/protocol/messages.toml by `python -m host.protocol.generate`; do not edit."
)


def _response_name(definitions: Definition, name: str) -> Struct:
    return next(struct for struct in definitions.structs if struct.name == name)


# ---- Python


def _python_kind(field: Field) -> str:
    if field.kind in SCALARS:
        return f'"{SCALARS[field.kind]}"'
    if field.kind == "char":
        return f'"text{field.size}"'
    if field.kind == "bytes":
        return f'"{field.size}s"'
    if field.kind in ("u16[]", "u32[]"):
        return f'"{SCALARS[field.kind[:-2]]}*"'
    if field.kind.endswith("[]"):
        return field.kind[:-2]
    return f'"{field.kind}"'


def _python_type(field: Field) -> str:
    if field.kind in SCALARS:
        return "int"
    if field.kind in ("char", "text"):
        return "str"
    if field.kind in ("bytes", "rest"):
        return "bytes"
    if field.kind in ("u16[]", "u32[]"):
        return "tuple[int, ...]"
    return f"tuple[{field.kind[:-2]}, ...]"


def _python_struct(struct: Struct) -> list[str]:
    base = {"record": "Record", "request": f"Request[{struct.response}]"}.get(
        struct.kind, "Message"
    )
    layout = ", ".join(f'("{f.name}", {_python_kind(f)})' for f in struct.fields)
    layout += "," if len(struct.fields) == 1 else ""
    lines = ["", "", "@dataclass(frozen=True, slots=True)", f"class {struct.name}({base}):"]
    lines += [f'    """{struct.doc}"""', ""]
    if struct.type_id is not None:
        lines.append(f"    TYPE: ClassVar[int] = {struct.type_id:#04x}")
    lines.append(f"    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]] = ({layout})")
    lines += [f"    {f.name}: {_python_type(f)}" for f in struct.fields]
    if struct.kind == "request":
        lines += ["", f"    def response(self, body: bytes) -> {struct.response}:"]
        lines += [f"        return {struct.response}.unpack(body)"]
    return lines


def python_text(definitions: Definition) -> str:
    """The source of `host/protocol/messages.py`."""
    lines = [f'"""The messages of the wire protocol. {WARNING}"""', ""]
    lines += ["# ruff: noqa: E501", "# fmt: off", "from __future__ import annotations", ""]
    lines += ["from dataclasses import dataclass", "from enum import IntEnum"]
    lines += ["from typing import Any, ClassVar", ""]
    lines += ["from host.protocol.codec import Message, Record, Request", ""]
    lines += [f"PROTOCOL_VERSION = {definitions.version}"]
    lines += [f"BODY_LIMIT = {definitions.body_limit}", '"""Longest body, in bytes."""']
    lines += [f"MAX_SLOTS = {definitions.max_slots}", '"""Slots in one request."""']
    lines += ["", "", "class WireStatus(IntEnum):"]
    lines += ['    """Status codes of the protocol; those below 128 are the runtime\'s."""', ""]
    lines += [f"    {_screaming(s.name)} = {s.code}" for s in definitions.statuses]
    # Responses before the requests that name them.
    rank = {"record": 0, "response": 1, "notice": 1, "request": 2}
    for struct in sorted(definitions.structs, key=lambda s: rank[s.kind]):
        lines += _python_struct(struct)
    messages = [s.name for s in definitions.structs if s.type_id is not None]
    lines += ["", "", "MESSAGES: dict[int, type[Message]] = {"]
    lines += [f"    {name}.TYPE: {name}," for name in messages]
    lines += ["}", '"""All messages by their type byte."""', ""]
    return "\n".join(lines)


def _screaming(name: str) -> str:
    return "".join(f"_{c}" if c.isupper() and i else c for i, c in enumerate(name)).upper()


# ---- C++

_CPP_TYPES = {"u8": "uint8_t", "u16": "uint16_t", "u32": "uint32_t", "u64": "uint64_t"}
_CPP_TYPES |= {"i16": "int16_t", "i32": "int32_t"}


def _cpp_member(field: Field) -> str:
    comment = f"  // {field.doc}" if field.doc else ""
    if field.kind in _CPP_TYPES:
        return f"  {_CPP_TYPES[field.kind]} {field.name} = 0;{comment}"
    if field.variable:
        what = field.spelled if not field.doc else f"{field.spelled}: {field.doc}"
        return f"  Span<const uint8_t> {field.name};  // {what}"
    return f"  uint8_t {field.name}[{field.size}] = {{}};{comment}"


def _cpp_struct(struct: Struct, definitions: Definition) -> list[str]:
    name = f"{struct.name}Request" if struct.kind == "request" else struct.name
    lines = ["", f"// {struct.doc}", f"struct {name} {{"]
    if struct.type_id is not None:
        lines.append(f"  static constexpr uint8_t kType = {struct.type_id:#04x};")
    lines.append(f"  static constexpr size_t kFixedBytes = {struct.fixed_bytes};")
    lines += [_cpp_member(field) for field in struct.fields]
    reads = []
    writes = []
    for f in struct.fields:
        if f.kind in _CPP_TYPES:
            reads.append(f"    {f.name} = in.{f.kind}();")
            writes.append(f"    out.{f.kind}({f.name});")
        elif f.variable:
            unit = _unit_bytes(f, definitions)
            reads.append(f"    {f.name} = in.rest({unit});")
            writes.append(f"    out.bytes({f.name});")
        else:
            reads.append(f"    in.copy({f.name}, sizeof {f.name});")
            writes.append(f"    out.bytes({{{f.name}, sizeof {f.name}}});")
    if not struct.fields:
        lines += ["  static bool decode(Span<const uint8_t> body) { return body.empty(); }"]
        lines += ["  static bool encode(BodyWriter&) { return true; }", "};"]
        return lines
    lines += ["  // False when the length of the body is wrong."]
    lines += ["  bool decode(Span<const uint8_t> body) {", "    BodyReader in(body);", *reads]
    lines += ["    return in.finished();", "  }"]
    lines += ["  // False when it does not fit.", "  bool encode(BodyWriter& out) const {", *writes]
    lines += ["    return out.ok();", "  }", "};"]
    return lines


def _unit_bytes(field: Field, definitions: Definition) -> int:
    """Bytes of which the variable field holds a whole number."""
    if not field.kind.endswith("[]"):
        return 1
    if field.kind[:-2] in SCALARS:
        return 2 if field.kind == "u16[]" else 4
    return _response_name(definitions, field.kind[:-2]).fixed_bytes


def cpp_text(definitions: Definition) -> str:
    """The source of `firmware/lib/wire/messages.h`."""
    lines = ["// clang-format off", f"// The messages of the wire protocol. {WARNING}"]
    lines.append("#pragma once")
    lines += ["", "#include <cstddef>", "#include <cstdint>", ""]
    lines += ['#include "runtime/span.h"', '#include "wire/body.h"', "", "namespace tbft {"]
    lines += ["namespace wire {", ""]
    lines += [f"constexpr uint8_t kProtocolVersion = {definitions.version};"]
    lines += [f"constexpr size_t kBodyLimit = {definitions.body_limit};  // bytes"]
    lines += [f"constexpr size_t kMaxSlots = {definitions.max_slots};  // slots in one request", ""]
    lines += [
        "// Status codes of the protocol; those below 128 are the runtime's (runtime/status.h)."
    ]
    lines += ["enum class WireStatus : uint16_t {"]
    lines += [f"  k{s.name} = {s.code}," for s in definitions.statuses]
    lines += ["};", "", "inline const char* to_string(WireStatus status) {", "  switch (status) {"]
    for s in definitions.statuses:
        lines += [f"    case WireStatus::k{s.name}:", f'      return "{s.text}";']
    lines += ["  }", '  return "unknown status";', "}"]
    for struct in definitions.structs:
        lines += _cpp_struct(struct, definitions)
    lines += [
        "",
        "// Calls visitor(MessageStruct()) for the message of this type; false when there is none.",
    ]
    lines += [
        "template <typename Visitor>",
        "bool visit_message(uint8_t type, Visitor&& visitor) {",
    ]
    lines += ["  switch (type) {"]
    for struct in definitions.structs:
        if struct.type_id is not None:
            name = f"{struct.name}Request" if struct.kind == "request" else struct.name
            lines += [f"    case {name}::kType:", f"      visitor({name}());", "      return true;"]
    lines += ["    default:", "      return false;", "  }", "}", ""]
    lines += ["}  // namespace wire", "}  // namespace tbft", ""]
    return "\n".join(lines)


# ---- the document


def _table(fields: tuple[Field, ...]) -> list[str]:
    if not fields:
        return []
    lines = ["", "| field | type | |", "|---|---|---|"]
    return lines + [f"| `{f.name}` | {f.spelled} | {f.doc} |" for f in fields]


def document_tables(definitions: Definition) -> str:
    """The tables of messages, records and status codes for `docs/protocol.md`."""
    lines: list[str] = []
    for struct in definitions.structs:
        if struct.kind == "record" or struct.name.endswith("Response"):
            continue
        assert struct.type_id is not None
        lines += [f"### {struct.type_id:#04x} {struct.name}", "", struct.doc]
        lines += _table(struct.fields)
        if struct.response:
            response = _response_name(definitions, struct.response)
            lines += ["", "Response:" if response.fields else "Response: empty."]
            lines += _table(response.fields)
        lines.append("")
    for struct in definitions.structs:
        if struct.kind == "record":
            lines += [f"### Record {struct.name}, {struct.fixed_bytes} bytes", "", struct.doc]
            lines += [*_table(struct.fields), ""]
    lines += ["### Status codes", "", "Below 128: `firmware/lib/runtime/status.h`.", ""]
    lines += ["| code | name | meaning |", "|---|---|---|"]
    lines += [f"| {s.code} | {s.name} | {s.text} |" for s in definitions.statuses]
    return "\n".join(lines)


def outputs(repo: Path = REPO) -> dict[Path, str]:
    """What the three files should hold, by their path in the repository."""
    definitions = definition.load()
    document = (repo / DOCUMENT).read_text(encoding="utf-8")
    head, rest = document.split(BEGIN)
    tail = rest.split(END)[1]
    document = f"{head}{BEGIN}\n\n{document_tables(definitions)}\n\n{END}{tail}"
    return {
        PYTHON: python_text(definitions),
        CPP: cpp_text(definitions),
        DOCUMENT: document,
    }


def main() -> int:
    """Writes what is out of date, or with `--check` names it; returns the exit status."""
    stale = [
        (path, text)
        for path, text in outputs().items()
        if not (REPO / path).exists() or (REPO / path).read_text(encoding="utf-8") != text
    ]
    for path, text in stale:
        if "--check" in sys.argv[1:]:
            print(f"{path} is out of date: run python -m host.protocol.generate", file=sys.stderr)
        else:
            (REPO / path).write_text(text, encoding="utf-8")
            print(f"wrote {path}")
    return 1 if stale and "--check" in sys.argv[1:] else 0


if __name__ == "__main__":
    sys.exit(main())
