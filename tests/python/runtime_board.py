"""The firmware's runtime through its C interface (tests/firmware/capi/runtime_capi.cc), as a Python object.

``Board`` is one engine with its arena, sample cache and, where asked for, a flash whose power can be cut. Calls that fail
raise ``RuntimeFault`` with the engine's status code, its record number and its words.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests import native

I8 = NDArray[np.int8]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

PHASES = (
    "idle", "load", "frozen_forward", "train_forward", "backward", "update", "commit", "sleep", "infer",
)  # fmt: skip
EMPTY = -32768
STATUS_NAMES = {
    1: "not_loaded", 2: "wrong_mode", 3: "bad_argument", 4: "bad_slot", 5: "empty_slot",
    6: "cache_full", 7: "cache_failed", 8: "bad_label", 9: "bad_learning_rate", 10: "out_of_range",
    11: "bad_weight_value", 12: "self_test_failed", 32: "truncated", 33: "misaligned",
    34: "bad_magic", 35: "bad_version", 36: "bad_length", 37: "bad_crc", 38: "bad_header",
    39: "bad_section", 40: "missing_section", 41: "bad_model_hash", 42: "arena_too_small",
    43: "too_many_exponents", 44: "too_many_states", 45: "region_too_small", 48: "tensor_field", 49: "tensor_shape",
    50: "tensor_outside", 51: "tensor_alignment", 52: "tensor_values", 56: "op_unknown",
    57: "op_tensor", 58: "op_geometry", 59: "op_limit", 60: "op_number", 61: "op_scratch",
    62: "op_overlap", 63: "op_persistent", 64: "op_order", 72: "bad_program", 73: "bad_trained",
    74: "bad_block", 75: "bad_self_test", 80: "flash_geometry", 81: "flash_erase",
    82: "flash_program", 83: "flash_read", 84: "flash_verify", 85: "no_checkpoint",
    96: "schedule_size", 97: "schedule_action", 98: "schedule_condition", 99: "schedule_period",
    100: "schedule_hours", 101: "schedule_training", 102: "schedule_rate", 103: "schedule_battery",
    104: "schedule_battery_unknown", 105: "no_schedule", 106: "store_geometry",
    107: "store_foreign", 108: "store_damaged", 109: "no_sample", 110: "labelled",
    111: "sample_failed", 112: "other_model",
    113: "duty_mode",
}  # fmt: skip
"""Status codes of firmware/lib/runtime/status.h."""


class RuntimeFault(Exception):
    """A status other than ok. ``name`` as in STATUS_NAMES, ``record`` the artifact record it is about."""

    def __init__(self, packed: int, text: str) -> None:
        self.name = STATUS_NAMES.get(packed & 0xFFFFFFFF, str(packed & 0xFFFFFFFF))
        self.record = packed >> 32
        super().__init__(f"{self.name} (record {self.record}): {text}")


@dataclass(frozen=True)
class Info:
    """What the engine says about the loaded artifact; sizes in bytes."""

    mode: int
    artifact_bytes: int
    arena_bytes: int
    persistent_bytes: int
    input_bytes: int
    input_height: int
    input_width: int
    input_channels: int
    boundary_bytes: int
    cache_slots: int
    classes: int
    blocks: int
    trained_tensors: int
    trained_bytes: int
    self_tests: int
    loaded: int
    model_hash: bytes


@dataclass(frozen=True)
class TensorInfo:
    """One trained tensor: ``kind`` 0 conv2d, 1 depthwise, 2 affine; an affine's weights have 0 rows."""

    block: int
    kind: int
    is_bias: int
    rows: int
    row_length: int
    nbytes: int


@dataclass(frozen=True)
class TrainResult:
    """One training sample."""

    loss_q16: int
    prediction: int
    label: int
    skipped: bool


@dataclass(frozen=True)
class Work:
    """Counters of one phase."""

    entered: int
    macs: int
    elements: int
    updates: int
    weight_macs: int
    sums: int
    masks: int


_PACKED = (
    *("load", "configure", "set_learning_rate", "reset_weights", "cache_sample", "infer"),
    *("infer_cached", "train_sample", "train_input", "end_batch", "read_trained", "write_trained"),
    *("weights_sha256", "self_test", "commit", "restore", "checkpoint_clear"),
    "checkpoint_needed_bytes",
)


@cache
def library(path: Path | None = None) -> ctypes.CDLL:
    """The test library, built if need be."""
    lib = ctypes.CDLL(str(path or native.native().testlib))
    for name in _PACKED:
        getattr(lib, f"tbft_{name}").restype = ctypes.c_uint64
    lib.tbft_board_new.restype = ctypes.c_void_p
    lib.tbft_board_new.argtypes = [
        ctypes.POINTER(ctypes.c_size_t),
        ctypes.c_size_t,
        ctypes.c_size_t,
    ]
    lib.tbft_status_text.restype = ctypes.c_char_p
    lib.tbft_phase_text.restype = ctypes.c_char_p
    lib.tbft_crc32.restype = ctypes.c_uint32
    lib.tbft_meta.restype = ctypes.c_size_t
    lib.tbft_flash_bytes.restype = ctypes.c_void_p
    for name in ("batch_samples", "step", "flash_operations", "checkpoint_sequence"):
        getattr(lib, f"tbft_{name}").restype = ctypes.c_uint32
    return lib


def _size(array: I8 | bytes) -> ctypes.c_size_t:
    return ctypes.c_size_t(array.nbytes if isinstance(array, np.ndarray) else len(array))


def _pointer(array: NDArray[np.generic]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


class Board:
    """One engine. ``arena_bytes`` (of each region, where there are several) and ``cache_bytes`` are the board's; no sample
    cache when ``cache_bytes`` is 0."""

    def __init__(
        self, arena_bytes: int | Sequence[int] = 1 << 20, cache_bytes: int = 1 << 20
    ) -> None:
        self.lib = library()
        regions = (arena_bytes,) if isinstance(arena_bytes, int) else tuple(arena_bytes)
        sizes = (ctypes.c_size_t * len(regions))(*regions)
        self.handle = ctypes.c_void_p(self.lib.tbft_board_new(sizes, len(regions), cache_bytes))

    def __del__(self) -> None:
        if getattr(self, "handle", None):
            self.lib.tbft_board_free(self.handle)

    def call(self, name: str, *arguments: object) -> None:
        """Call ``tbft_<name>``; raises RuntimeFault unless it returns ok."""
        packed = getattr(self.lib, f"tbft_{name}")(self.handle, *arguments)
        if packed:
            text = self.lib.tbft_status_text(ctypes.c_uint32(packed & 0xFFFFFFFF)).decode()
            raise RuntimeFault(packed, text)

    def load(self, artifact: bytes, shift: int = 0) -> Info:
        """Load an artifact; ``shift`` moves it off its alignment."""
        self.call("load", artifact, _size(artifact), ctypes.c_size_t(shift))
        return self.info()

    def info(self) -> Info:
        """Facts about the loaded artifact."""
        numbers, digest = (ctypes.c_uint32 * 16)(), (ctypes.c_uint8 * 32)()
        self.lib.tbft_info(self.handle, numbers, digest)
        return Info(*numbers, model_hash=bytes(digest))

    def block(self, index: int) -> tuple[str, bool, int]:
        """Name, trained, parameters of a block."""
        name = ctypes.create_string_buffer(17)
        trained, parameters = ctypes.c_uint32(), ctypes.c_uint32()
        arguments = (ctypes.byref(trained), ctypes.byref(parameters))
        self.lib.tbft_block(self.handle, ctypes.c_uint32(index), name, *arguments)
        return name.value.decode(), bool(trained.value), parameters.value

    def meta(self) -> bytes:
        """The META section."""
        start = ctypes.c_void_p()
        size = self.lib.tbft_meta(self.handle, ctypes.byref(start))
        return ctypes.string_at(start, size) if size else b""

    def configure(self, rate: tuple[int, int], seed: int = 0) -> None:
        """Learning rate (lr / B as mantissa, exponent) and seed."""
        self.call(
            "configure", ctypes.c_uint32(rate[0]), ctypes.c_int32(rate[1]), ctypes.c_uint32(seed)
        )

    def set_learning_rate(self, rate: tuple[int, int]) -> None:
        """lr / B of the batch to come."""
        self.call("set_learning_rate", ctypes.c_uint32(rate[0]), ctypes.c_int32(rate[1]))

    def reset_weights(self) -> None:
        """Initial weights."""
        self.call("reset_weights")

    def cache_sample(self, slot: int, image: I8, label: int) -> None:
        """Run PREFIX and store the boundary."""
        image = np.ascontiguousarray(image, dtype=np.int8)
        self.call(
            "cache_sample",
            ctypes.c_uint32(slot),
            _pointer(image),
            _size(image),
            ctypes.c_uint16(label),
        )

    def infer(self, image: I8) -> tuple[I8, int]:
        """Logits and prediction."""
        image = np.ascontiguousarray(image, dtype=np.int8)
        logits, prediction = np.zeros(self.info().classes, np.int8), ctypes.c_uint16()
        arguments = (_pointer(logits), ctypes.byref(prediction))
        self.call("infer", _pointer(image), _size(image), *arguments)
        return logits, prediction.value

    def infer_cached(self, slot: int) -> tuple[I8, int, int]:
        """Logits, prediction and label of a cached sample."""
        logits, prediction, label = (
            np.zeros(self.info().classes, np.int8),
            ctypes.c_uint16(),
            ctypes.c_uint16(),
        )
        arguments = (_pointer(logits), ctypes.byref(prediction), ctypes.byref(label))
        self.call("infer_cached", ctypes.c_uint32(slot), *arguments)
        return logits, prediction.value, label.value

    def train_sample(self, slot: int) -> TrainResult:
        """Train on a cached sample."""
        out = (ctypes.c_uint32 * 4)()
        self.call("train_sample", ctypes.c_uint32(slot), out)
        return TrainResult(out[0], out[1], out[2], bool(out[3]))

    def train_input(self, image: I8, label: int) -> TrainResult:
        """Train on a sample without the cache."""
        image = np.ascontiguousarray(image, dtype=np.int8)
        out = (ctypes.c_uint32 * 4)()
        self.call("train_input", _pointer(image), _size(image), ctypes.c_uint16(label), out)
        return TrainResult(out[0], out[1], out[2], bool(out[3]))

    def end_batch(self) -> None:
        """Update the weights."""
        self.call("end_batch")

    def drop_batch(self) -> None:
        """Forget the batch in progress."""
        self.lib.tbft_drop_batch(self.handle)

    @property
    def batch_samples(self) -> int:
        """Samples since the last update."""
        return int(self.lib.tbft_batch_samples(self.handle))

    @property
    def step(self) -> int:
        """Updates so far."""
        return int(self.lib.tbft_step(self.handle))

    def tensor(self, number: int) -> TensorInfo:
        """Facts about a trained tensor."""
        out = (ctypes.c_uint32 * 6)()
        self.lib.tbft_tensor(self.handle, ctypes.c_uint32(number), out)
        return TensorInfo(*out)

    def read_trained(self, number: int, offset: int = 0, size: int | None = None) -> bytes:
        """Bytes of a trained tensor."""
        size = self.tensor(number).nbytes - offset if size is None else size
        out = ctypes.create_string_buffer(max(1, size))
        arguments = (ctypes.c_uint32(number), ctypes.c_uint32(offset), out, ctypes.c_size_t(size))
        self.call("read_trained", *arguments)
        return out.raw[:size]

    def write_trained(self, number: int, data: bytes, offset: int = 0) -> None:
        """Replace bytes of a trained tensor."""
        arguments = (ctypes.c_uint32(number), ctypes.c_uint32(offset), data, _size(data))
        self.call("write_trained", *arguments)

    def trained(self) -> list[bytes]:
        """All trained tensors in the order of their numbers."""
        return [self.read_trained(i) for i in range(self.info().trained_tensors)]

    def weights_sha256(self) -> str:
        """Weight hash, hexadecimal."""
        out = (ctypes.c_uint8 * 32)()
        self.call("weights_sha256", out)
        return bytes(out).hex()

    def self_test(self) -> None:
        """Run the artifact's vectors."""
        self.call("self_test")

    def accumulator(self, number: int) -> tuple[I32, I32] | None:
        """Accumulator values (rows, row length) and exponents (rows,); None where there is none."""
        t = self.tensor(number)
        values = np.zeros((max(1, t.rows), max(1, t.row_length)), np.int32)
        exponents = np.zeros(max(1, t.rows), np.int32)
        arguments = (ctypes.c_uint32(number), _pointer(values), _pointer(exponents))
        rows = self.lib.tbft_accumulator(self.handle, *arguments)
        return (values, exponents) if rows else None

    def gradient(self, number: int) -> tuple[I32, int] | None:
        """The last sample's gradient (rows, row length) and its exponent; None when it had none."""
        t = self.tensor(number)
        values, exponent = (
            np.zeros((max(1, t.rows), max(1, t.row_length)), np.int32),
            ctypes.c_int32(),
        )
        arguments = (ctypes.c_uint32(number), _pointer(values), ctypes.byref(exponent))
        rows = self.lib.tbft_gradient(self.handle, *arguments)
        assert rows in (0, t.rows), "every row comes exactly once"
        return (values, exponent.value) if rows else None

    def shift_states(self) -> bytes:
        """Shift states."""
        out = ctypes.create_string_buffer(256)
        count = self.lib.tbft_shift_states(self.handle, out)
        return out.raw[:count]

    def phases(self) -> dict[str, Work]:
        """Work per phase since the last call."""
        out = np.zeros((len(PHASES), 7), np.uint64)
        assert self.lib.tbft_phases(self.handle, _pointer(out)) == 0, "phases nested"
        return {name: Work(*map(int, row)) for name, row in zip(PHASES, out, strict=True)}

    def new_flash(self, size: int, erase_unit: int = 4096, program_unit: int = 16) -> None:
        """Attach an erased flash."""
        self.lib.tbft_flash_new(
            self.handle, *map(ctypes.c_uint32, (size, erase_unit, program_unit))
        )

    def cut_power(self, operation: int, how: int = 0) -> None:
        """Power fails at the n-th flash operation from now; ``how`` 0 lost, 1 torn, 2 spotty, 3 done. 0: power is back."""
        self.lib.tbft_flash_cut(self.handle, ctypes.c_uint32(operation), ctypes.c_uint32(how))

    def fail_flash(self, kinds: int) -> None:
        """Failing operations: 1 erase, 2 program, 4 read, 8 silently not programmed."""
        self.lib.tbft_flash_fail(self.handle, ctypes.c_uint32(kinds))

    def make_unreadable(self, offset: int, size: int) -> None:
        """Reads of these erase blocks fail, each until it is erased; size 0: all can be read again."""
        if size:
            arguments = (ctypes.c_uint32(offset), ctypes.c_uint32(size))
            self.lib.tbft_flash_unreadable(self.handle, *arguments)
        else:
            self.lib.tbft_flash_readable(self.handle)

    def is_unreadable(self, offset: int) -> bool:
        """Whether the erase block there still cannot be read."""
        return bool(self.lib.tbft_flash_is_unreadable(self.handle, ctypes.c_uint32(offset)))

    @property
    def flash_operations(self) -> int:
        """Flash operations since cut_power."""
        return int(self.lib.tbft_flash_operations(self.handle))

    def flash_bytes(self, size: int) -> bytearray:
        """Copy of the flash."""
        return bytearray(ctypes.string_at(self.lib.tbft_flash_bytes(self.handle), size))

    def set_flash_bytes(self, data: bytes) -> None:
        """Overwrite the flash from its start."""
        ctypes.memmove(self.lib.tbft_flash_bytes(self.handle), bytes(data), len(data))

    def commit(self) -> None:
        """Write the weights to flash."""
        self.call("commit")

    def restore(self) -> None:
        """Bring the weights back from flash."""
        self.call("restore")
