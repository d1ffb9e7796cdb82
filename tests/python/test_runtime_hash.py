"""CRC-32 and SHA-256 of the firmware against Python's."""

from __future__ import annotations

import ctypes
import hashlib
import zlib

import numpy as np
import pytest

from tests.python.runtime_board import library


def sha256(data: bytes, piece: int) -> str:
    out = (ctypes.c_uint8 * 32)()
    library().tbft_sha256(data, ctypes.c_size_t(len(data)), ctypes.c_size_t(piece), out)
    return bytes(out).hex()


def test_sha256_of_fips_180_4_examples() -> None:
    # The examples NIST publishes with FIPS 180-4.
    cases = {
        b"abc": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq": (
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
        ),
        b"": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    }
    for message, digest in cases.items():
        assert sha256(message, 64) == digest


@pytest.mark.parametrize("piece", [1, 3, 63, 64, 65, 1000])
def test_sha256_of_every_length_in_any_pieces(piece: int) -> None:
    data = np.random.default_rng(1).bytes(300)
    for size in range(0, 300, 1 if piece > 1 else 7):
        assert sha256(data[:size], piece) == hashlib.sha256(data[:size]).hexdigest(), size


def test_crc32_equals_zlib_and_goes_on() -> None:
    data = np.random.default_rng(2).bytes(1000)
    for size in (0, 1, 2, 15, 16, 999, 1000):
        whole = library().tbft_crc32(0, data, ctypes.c_size_t(size))
        assert whole == zlib.crc32(data[:size])
        first = library().tbft_crc32(0, data, ctypes.c_size_t(size // 3))
        rest = data[size // 3 : size]
        assert (
            library().tbft_crc32(ctypes.c_uint32(first), rest, ctypes.c_size_t(len(rest))) == whole
        )
