"""Frames of the wire protocol: COBS, CRC-32, sequence number (docs/protocol.md).

The decoder takes any split of the byte stream and names what was wrong with a damaged frame, as the
firmware's does (`firmware/lib/wire/frame.h`).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from host.protocol.messages import BODY_LIMIT, PROTOCOL_VERSION

DELIMITER = b"\0"
_HEADER = struct.Struct("<BBH")
_CRC_BYTES = 4
MIN_PAYLOAD = _HEADER.size + _CRC_BYTES
MAX_PAYLOAD = MIN_PAYLOAD + BODY_LIMIT
"""Bytes of header, body and CRC."""
MAX_ENCODED = MAX_PAYLOAD + MAX_PAYLOAD // 254 + 2
"""Bytes of a frame on the wire, delimiter included."""


class FrameResult(IntEnum):
    """What the decoder made of the bytes up to a delimiter."""

    PENDING = 0
    FRAME = 1
    TOO_LONG = 2
    BAD_COBS = 3
    TOO_SHORT = 4
    BAD_CRC = 5


@dataclass(frozen=True, slots=True)
class Frame:
    """A good frame; of a damaged one only `result` is known."""

    result: FrameResult
    version: int = 0
    type: int = 0
    sequence: int = 0
    body: bytes = b""


def cobs_encode(payload: bytes) -> bytes:
    """COBS without the delimiter."""
    out = bytearray()
    blocks = payload.split(b"\0")
    for number, block in enumerate(blocks):
        last = number + 1 == len(blocks)
        while len(block) >= 254 and not (last and len(block) == 254):
            out += b"\xff" + block[:254]
            block = block[254:]
        out += bytes([len(block) + 1]) + block
    return bytes(out)


def cobs_decode(encoded: bytes) -> tuple[bytes, bool]:
    """The payload, and whether its last block is whole. `encoded` holds no delimiter."""
    out = bytearray()
    at = 0
    while at < len(encoded):
        code = encoded[at]
        out += encoded[at + 1 : at + code]
        at += code
        if code < 0xFF and at < len(encoded):
            out.append(0)
    return bytes(out), at == len(encoded)


def encode_frame(
    message_type: int, sequence: int, body: bytes, version: int = PROTOCOL_VERSION
) -> bytes:
    """The frame with its delimiter. Raises ValueError for a body longer than `BODY_LIMIT` bytes."""
    if len(body) > BODY_LIMIT:
        raise ValueError(f"body of {len(body)} bytes, expected at most {BODY_LIMIT}")
    payload = _HEADER.pack(version, message_type, sequence) + body
    payload += zlib.crc32(payload).to_bytes(_CRC_BYTES, "little")
    return cobs_encode(payload) + DELIMITER


class FrameDecoder:
    """Finds frames in a byte stream, however it is split."""

    def __init__(self) -> None:
        self._held = bytearray()

    def push(self, data: bytes) -> Iterator[Frame]:
        """All frames, good or damaged, that end within `data`. To be exhausted before the next."""
        *ended, rest = data.split(DELIMITER)
        for piece in ended:
            self._hold(piece)
            if self._held:
                yield self._end()
        self._hold(rest)

    def _hold(self, piece: bytes) -> None:
        """Keeps no more than what shows that a frame is too long."""
        self._held += piece[: MAX_ENCODED + 1 - len(self._held)]

    def _end(self) -> Frame:
        encoded = bytes(self._held)
        self._held.clear()
        return decode_frame(encoded)


def decode_frame(encoded: bytes) -> Frame:
    """The frame in `encoded`, which holds neither delimiter nor nothing."""
    payload, whole = cobs_decode(encoded)
    if len(payload) > MAX_PAYLOAD:
        return Frame(FrameResult.TOO_LONG)
    if not whole:
        return Frame(FrameResult.BAD_COBS)
    if len(payload) < MIN_PAYLOAD:
        return Frame(FrameResult.TOO_SHORT)
    covered = payload[:-_CRC_BYTES]
    if zlib.crc32(covered) != int.from_bytes(payload[-_CRC_BYTES:], "little"):
        return Frame(FrameResult.BAD_CRC)
    version, message_type, sequence = _HEADER.unpack_from(covered)
    return Frame(FrameResult.FRAME, version, message_type, sequence, covered[_HEADER.size :])
