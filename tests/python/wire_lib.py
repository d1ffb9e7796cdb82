"""The C++ side of frames and messages, through tests/firmware/capi/wire_capi.cc."""

from __future__ import annotations

import ctypes
import struct
from pathlib import Path

from host.protocol.frame import MAX_ENCODED, Frame, FrameResult

_OUT_BYTES = 1 << 16
_ROW = struct.Struct("<BBBHH")


class WireLib:
    """`tbft_testlib`, as Python sees it."""

    def __init__(self, path: Path) -> None:
        self._lib = ctypes.CDLL(str(path))
        self._lib.wire_encode.restype = ctypes.c_size_t
        self._lib.wire_encode.argtypes = [
            ctypes.c_uint8, ctypes.c_uint16, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p,
        ]  # fmt: skip
        self._lib.wire_decode.restype = ctypes.c_size_t
        self._lib.wire_decode.argtypes = [
            ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t,
        ]  # fmt: skip
        self._lib.wire_reencode.restype = ctypes.c_int
        self._lib.wire_reencode.argtypes = [
            ctypes.c_uint8, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t,
        ]  # fmt: skip

    def encode(self, message_type: int, sequence: int, body: bytes) -> bytes:
        """The frame that the firmware would send."""
        out = ctypes.create_string_buffer(MAX_ENCODED)
        size = self._lib.wire_encode(message_type, sequence, body, len(body), out)
        assert 0 < size <= MAX_ENCODED
        return out.raw[:size]

    def decode(self, stream: bytes) -> list[Frame]:
        """What the firmware's decoder makes of a stream."""
        out = ctypes.create_string_buffer(_OUT_BYTES)
        size = self._lib.wire_decode(stream, len(stream), out, _OUT_BYTES)
        assert size <= _OUT_BYTES
        frames = []
        at = 0
        while at < size:
            result, version, message_type, sequence, length = _ROW.unpack_from(out.raw, at)
            at += _ROW.size
            body = out.raw[at : at + length]
            at += length
            frames.append(Frame(FrameResult(result), version, message_type, sequence, body))
        return frames

    def reencode(self, message_type: int, body: bytes) -> bytes | None:
        """The body as the firmware reads and writes it; None where it refuses it."""
        out = ctypes.create_string_buffer(_OUT_BYTES)
        size = self._lib.wire_reencode(message_type, body, len(body), out, _OUT_BYTES)
        assert size >= -2, f"type {message_type:#x}: {size}"
        return None if size == -2 else out.raw[:size]

    def knows(self, message_type: int) -> bool:
        """Whether the firmware has a message of this type."""
        out = ctypes.create_string_buffer(_OUT_BYTES)
        return int(self._lib.wire_reencode(message_type, b"", 0, out, _OUT_BYTES)) != -1
