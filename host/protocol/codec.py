"""How message bodies become bytes and back; the messages are in `host.protocol.messages`."""

from __future__ import annotations

import struct
from typing import Any, ClassVar, Generic, Self, TypeVar


class BodyError(ValueError):
    """The bytes are no body of this message."""


class Record:
    """A little-endian structure described by `LAYOUT`: one `(field, kind)` each.

    `kind` is a `struct` format of one value (`I`, `32s`), `text32` (32 bytes, NUL-padded UTF-8), or
    for the last field `rest`, `text`, `H*`, `I*`, or a Record class, whose records fill the body.
    """

    LAYOUT: ClassVar[tuple[tuple[str, Any], ...]]

    @classmethod
    def fixed_bytes(cls) -> int:
        """Bytes before the field of variable length."""
        return sum(struct.calcsize(f"<{_format(kind)}") for _, kind in cls.LAYOUT if _fixed(kind))

    def pack(self) -> bytes:
        """The body. Raises BodyError when a value does not fit its field."""
        parts = []
        for name, kind in self.LAYOUT:
            try:
                parts.append(_pack(kind, getattr(self, name)))
            except struct.error as exc:
                raise BodyError(f"{type(self).__name__}.{name}: {exc}") from exc
        return b"".join(parts)

    @classmethod
    def unpack(cls, body: bytes) -> Self:
        """The message in `body`. Raises BodyError when the length is wrong or a text is no UTF-8."""
        fixed = cls.fixed_bytes()
        has_rest = bool(cls.LAYOUT) and not _fixed(cls.LAYOUT[-1][1])
        if len(body) < fixed or (len(body) > fixed and not has_rest):
            raise BodyError(f"{cls.__name__} has {len(body)} bytes, expected {fixed}")
        values: dict[str, Any] = {}
        at = 0
        for name, kind in cls.LAYOUT:
            size = struct.calcsize(f"<{_format(kind)}") if _fixed(kind) else len(body) - at
            values[name] = _unpack(kind, body[at : at + size], f"{cls.__name__}.{name}")
            at += size
        return cls(**values)


class Message(Record):
    """A message body; `TYPE` is its type byte."""

    TYPE: ClassVar[int]


R = TypeVar("R", bound=Message)


class Request(Message, Generic[R]):
    """A request, whose answer is an `R`."""

    def response(self, body: bytes) -> R:
        """The answer in `body`. Raises BodyError."""
        raise NotImplementedError


def _fixed(kind: Any) -> bool:
    return isinstance(kind, str) and kind not in ("rest", "text") and not kind.endswith("*")


def _format(kind: str) -> str:
    return f"{kind.removeprefix('text')}s" if kind.startswith("text") else kind


def _pack(kind: Any, value: Any) -> bytes:
    if not isinstance(kind, str):
        return b"".join(record.pack() for record in value)
    if kind == "rest":
        return bytes(value)
    if kind == "text":
        return bytes(value.encode())
    if kind.endswith("*"):
        return struct.pack(f"<{len(value)}{kind[:-1]}", *value)
    if kind.startswith("text"):
        size = int(kind.removeprefix("text"))
        return bytes(value.encode()[:size]).decode(errors="ignore").encode().ljust(size, b"\0")
    if kind.endswith("s") and len(value) != int(kind[:-1]):
        raise struct.error(f"{len(value)} bytes, expected {kind[:-1]}")
    return struct.pack(f"<{kind}", value)


def _unpack(kind: Any, data: bytes, where: str) -> Any:
    if not isinstance(kind, str):
        size = kind.fixed_bytes()
        if len(data) % size:
            raise BodyError(f"{where} has {len(data)} bytes, expected a multiple of {size}")
        return tuple(kind.unpack(data[i : i + size]) for i in range(0, len(data), size))
    if kind == "rest":
        return data
    if kind.startswith("text"):
        try:
            return data.split(b"\0")[0].decode() if kind != "text" else data.decode()
        except UnicodeDecodeError as exc:
            raise BodyError(f"{where} is not UTF-8") from exc
    if kind.endswith("*"):
        size = struct.calcsize(kind[:-1])
        if len(data) % size:
            raise BodyError(f"{where} has {len(data)} bytes, expected a multiple of {size}")
        return struct.unpack(f"<{len(data) // size}{kind[:-1]}", data)
    return struct.unpack(f"<{kind}", data)[0]
