"""The firmware's kernels as Python functions on NumPy arrays, through tests/firmware/capi/kernels_capi.cc.

Every buffer a kernel may write to lies between guard bytes that are checked after the call, and scratch is exactly as large as
the kernel's `*_scratch_bytes` says.

`TBFT_TESTLIB` names another test library to test than the native build's, such as one with sanitizers.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests import native

REF, FAST, PORTABLE = 0, 1, 2
VARIANTS = {"ref": REF, "fast": FAST, "portable": PORTABLE}

_GUARD = 64
_FILL = 0xA5


@cache
def library() -> ctypes.CDLL:
    """The test library."""
    path = os.environ.get("TBFT_TESTLIB") or native.native().testlib
    lib = ctypes.CDLL(str(path))
    for name in (
        "k_conv2d_bwd_input",
        "k_depthwise_bwd_input",
        "k_random_key",
        "k_random_bits16",
        "k_error_magnitude",
        "k_error_magnitude_narrow",
    ):
        getattr(lib, name).restype = ctypes.c_uint32
    for name in (
        "k_conv2d_scratch_bytes",
        "k_depthwise_bwd_weight_scratch_bytes",
        "k_linear_loss_scratch_bytes",
    ):
        getattr(lib, name).restype = ctypes.c_uint64
    for name in ("k_exp2_table", "k_log2_table"):
        getattr(lib, name).restype = ctypes.POINTER(ctypes.c_int32)
    return lib


def call(name: str, *arguments: Any) -> int:
    """Calls a function of the library: arrays as pointers, integers as 32 bit (wrapped), None as a null pointer."""
    converted: list[Any] = []
    for argument in arguments:
        if argument is None:
            converted.append(ctypes.c_void_p())
        elif isinstance(argument, np.ndarray):
            assert argument.flags.c_contiguous
            converted.append(ctypes.c_void_p(argument.ctypes.data))
        elif isinstance(argument, ErrorView):
            converted.append(ctypes.byref(argument.struct))
        elif isinstance(argument, ctypes.c_uint64):
            converted.append(argument)
        else:
            converted.append(ctypes.c_uint32(int(argument) & 0xFFFFFFFF))
    function: Callable[..., int] = getattr(library(), name)
    return function(*converted)


class _ErrorView(ctypes.Structure):
    _fields_ = [
        ("s8", ctypes.c_void_p),
        ("s16", ctypes.c_void_p),
        ("shift", ctypes.c_int32),
        ("bits", ctypes.c_int32),
    ]


class ErrorView:
    """An int8 or int16 error as a kernel reads it; `shift` and `bits` narrow an int16 one. Keeps the array alive."""

    def __init__(self, values: NDArray[Any] | None, shift: int = 0, bits: int = 7) -> None:
        self.values = values
        pointer = None if values is None else values.ctypes.data
        narrow = values is not None and values.dtype == np.int8
        self.struct = _ErrorView(
            pointer if narrow else None, None if narrow else pointer, shift, bits
        )


@contextmanager
def guarded(shape: tuple[int, ...] | int, dtype: Any = np.int8) -> Iterator[NDArray[Any]]:
    """A 16-aligned array filled with rubbish; raises AssertionError if bytes around it change."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    block = np.full(size + 2 * _GUARD + 16, _FILL, dtype=np.uint8)
    start = _GUARD + (-(block.ctypes.data + _GUARD)) % 16
    yield block[start : start + size].view(dtype).reshape(shape)
    assert (block[:start] == _FILL).all() and (block[start + size :] == _FILL).all(), (
        "write outside the buffer"
    )


@dataclass(frozen=True)
class ConvCase:
    """Geometry of one convolution. `pad` is top, left, bottom, right."""

    size: tuple[int, int]
    channels: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int, int, int]

    @property
    def out(self) -> tuple[int, int]:
        """Height and width of the output."""
        (h, w), (kh, kw), (sh, sw), (top, left, bottom, right) = (
            self.size,
            self.kernel,
            self.stride,
            self.pad,
        )
        return (h + top + bottom - kh) // sh + 1, (w + left + right - kw) // sw + 1

    @property
    def fields(self) -> NDArray[np.int32]:
        """The fields of Conv2dShape."""
        (h, w), (ic, oc), (oh, ow) = self.size, self.channels, self.out
        numbers = (h, w, ic, oh, ow, oc, *self.kernel, *self.stride, *self.pad[:2])
        return np.array(numbers, dtype=np.int32)

    @property
    def taps(self) -> int:
        """Kernel positions."""
        return self.kernel[0] * self.kernel[1]


def overlap_distance(case: ConvCase) -> int:
    """D of docs/artifact.md: how far the output must start before the input it overlaps."""
    oh, ow = case.out
    row_in, row_out = case.size[1] * case.channels[0], ow * case.channels[1]
    return max(
        0,
        *((r + 1) * row_out - max(0, r * case.stride[0] - case.pad[0]) * row_in for r in range(oh)),
    )


def conv_cases(count: int, seed: int) -> list[ConvCase]:
    """A reproducible sample of the grid of geometries that the kernels are tested on."""
    rng = np.random.default_rng(seed)
    channels = [1, 3, 4, 5, 8, 16, 17, 32, 64]
    cases: list[ConvCase] = []
    while len(cases) < count:
        kernel = int(rng.choice([1, 2, 3, 5])), int(rng.choice([1, 2, 3, 5]))
        stride = int(rng.choice([1, 2, 3])), int(rng.choice([1, 2, 3]))
        size = (
            int(rng.choice([1, 2, 3, 4, 5, 6, 7, 8, 9, 32])),
            int(rng.choice([1, 2, 3, 4, 5, 6, 7, 8, 9, 32])),
        )
        pad = tuple(int(rng.integers(0, kernel[i % 2])) for i in range(4))
        case = ConvCase(
            size, (int(rng.choice(channels)), int(rng.choice(channels))), kernel, stride, pad
        )  # type: ignore[arg-type]
        (oh, ow), (ic, oc) = case.out, case.channels
        if oh < 1 or ow < 1 or oh * ow * oc * ic * case.taps > 4_000_000:
            continue
        cases.append(case)
    return cases
