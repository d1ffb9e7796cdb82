"""What a device client checks before and after it talks to a board; each failure is one sentence."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from host.errors import HostError
from host.protocol import messages as m

# docs/artifact.md, header
_MAGIC = b"TBFA"
_HEADER_BYTES = 128
_MODEL_HASH = slice(16, 48)
_ARENA_BYTES_AT = 48
_REGIONS_AT = 96
_REGIONS = 4
_ALIGNMENT = 16


def check_protocol(identity: m.IdentifyResponse, name: str) -> None:
    """Raises HostError where the board speaks another protocol version."""
    if identity.protocol_version != m.PROTOCOL_VERSION:
        raise HostError(
            f"the board at {name} (firmware {identity.firmware}) speaks protocol version "
            f"{identity.protocol_version}, expected {m.PROTOCOL_VERSION}; update the firmware and "
            "the host to the same release"
        )


def check_artifact(data: bytes, identity: m.IdentifyResponse, name: str) -> None:
    """Raises HostError where `data` is no artifact or does not fit the board's memory."""
    if len(data) < _HEADER_BYTES or not data.startswith(_MAGIC):
        raise HostError(
            f"the {len(data):,} bytes for the board are not an artifact (they do not start with "
            "'TBFA'); make one with python -m host.export"
        )
    if len(data) > identity.artifact_limit_bytes:
        raise HostError(
            f"the artifact has {len(data):,} bytes, the board {identity.board} at {name} has room "
            f"for {identity.artifact_limit_bytes:,}; use a smaller network or another board"
        )
    (arena,) = struct.unpack_from("<I", data, _ARENA_BYTES_AT)
    if arena > identity.arena_limit_bytes:
        raise HostError(
            f"the artifact needs {arena:,} bytes of arena, the board {identity.board} at {name} has "
            f"{identity.arena_limit_bytes:,}; export it for other blocks, or with --mode immediate"
        )
    regions = struct.unpack_from(f"<{2 * _REGIONS}I", data, _REGIONS_AT)[::2]
    misfit = _misfit(regions, identity.region_limit_bytes)
    if misfit is not None:
        room = " + ".join(f"{size:,}" for size in identity.region_limit_bytes)
        raise HostError(
            f"the artifact was planned for {' + '.join(f'{size:,}' for size in regions if size)} bytes of "
            f"arena, the board {identity.board} at {name} has {room}, and no place for the {misfit:,}; "
            "export it again with --board and that board's name"
        )


def _misfit(regions: Sequence[int], limits: Sequence[int]) -> int | None:
    """Bytes of the first region that finds no place by the board's rule (runtime/memory.h), or None."""
    left = list(limits)
    for number, size in enumerate(regions):
        order = ([number] if number < len(left) else []) + list(range(len(left)))
        chosen = next((i for i in order if size <= left[i]), None)
        if size and chosen is None:
            return size
        if size and chosen is not None:
            left[chosen] -= -(-size // _ALIGNMENT) * _ALIGNMENT
    return None


def check_model_hash(loaded: bytes, data: bytes, name: str) -> None:
    """Raises HostError where the board loaded something else than `data`."""
    if loaded != data[_MODEL_HASH]:
        raise HostError(
            f"the board at {name} loaded the model {loaded.hex()[:12]}, expected "
            f"{data[_MODEL_HASH].hex()[:12]}; start the board again and repeat"
        )


def check_slots(slots: Sequence[int], identity: m.IdentifyResponse, name: str) -> None:
    """Raises HostError where a slot does not exist on the board."""
    if len(slots) and not 0 <= min(slots) <= max(slots) < identity.cache_slots:
        raise HostError(
            f"slot {max(slots)} was asked for, the board {identity.board} at {name} has "
            f"{identity.cache_slots} for this model; use fewer images, or --no-cache"
        )


def pixels(image: NDArray[np.uint8], identity: m.IdentifyResponse, name: str) -> bytes:
    """The image's bytes. Raises HostError where it is not what the board's model takes."""
    if identity.load_code:
        raise HostError(
            f"the board {identity.board} at {name} holds no network, expected one before images are "
            "sent; push an artifact of python -m host.export"
        )
    expected = (identity.input_height, identity.input_width, identity.input_channels)
    if image.dtype != np.uint8 or image.shape != expected:
        raise HostError(
            f"an image is {image.dtype} {list(image.shape)}, the model on the board at {name} takes "
            f"uint8 {list(expected)}; choose data that fit the model"
        )
    return np.ascontiguousarray(image).tobytes()


def checked_step(expected: int, found: int, name: str) -> int:
    """`found`. Raises HostError where the board has not done the updates that it was told to do."""
    if found != expected:
        raise HostError(
            f"the board at {name} counts {found} weight updates, expected {expected}: it was started "
            "again in between, and its weights are not those of this run; start the run again"
        )
    return found


def tensor_name(number: int, nodes: Sequence[str] | None) -> str:
    """Name of trained tensor `number`: weights of node k are 2k, its bias 2k + 1."""
    node = nodes[number // 2] if nodes is not None else f"trained{number // 2}"
    return f"{node}.{'bias' if number % 2 else 'weight'}"


def tensor_bytes(array: NDArray[np.integer], record: m.TensorRecord, name: str) -> bytes:
    """The array as the board keeps it. Raises HostError where type or size do not fit."""
    dtype = np.dtype("<i4") if record.is_bias else np.dtype("i1")
    if array.dtype != dtype or array.nbytes != record.bytes:
        raise HostError(
            f"the tensor '{name}' is {array.dtype} with {array.size} elements, the board's is {dtype} "
            f"with {record.bytes // dtype.itemsize}; write the weights of the artifact on the board"
        )
    return array.astype(dtype).tobytes()


def check_weights(read: bytes, reported: bytes, name: str) -> None:
    """Raises HostError where the weights read are not those the board has."""
    if read != reported:
        raise HostError(
            f"the weights read from the board at {name} have the SHA-256 {read.hex()[:12]}, the board "
            f"reports {reported.hex()[:12]}; read them again, and leave the board alone meanwhile"
        )
