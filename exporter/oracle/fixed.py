"""Fixed-point arithmetic of docs/numerics.md on NumPy int64 arrays and Python integers."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

I64 = NDArray[np.int64]

EXP2_TABLE: I64 = np.array(
    [math.floor(2.0**24 * 2.0 ** (-j / 64) + 0.5) for j in range(65)], dtype=np.int64
)
LOG2_TABLE: I64 = np.array(
    [math.floor(2.0**16 * math.log2(1 + j / 64) + 0.5) for j in range(65)], dtype=np.int64
)


def rshift_round(a: I64, n: int) -> I64:
    """``a / 2**n`` rounded half up; 0 for shifts of 31 and more never reaches here with larger values."""
    return a if n == 0 else (a + (1 << (n - 1))) >> n


def rshift_round_rows(a: I64, n: I64) -> I64:
    """``rshift_round`` with a shift for each row (first axis) of ``a``; a shift of 31 or more gives 0."""
    column = n.reshape((-1,) + (1,) * (a.ndim - 1))
    safe = np.minimum(column, 31)
    half = np.where(safe > 0, np.int64(1) << np.maximum(safe - 1, 0), 0)
    return np.where(column >= 31, 0, (a + half) >> safe)


def bitlen(n: int) -> int:
    """Number of bits of a non-negative integer."""
    return int(n).bit_length()


def bitlen_array(n: I64) -> I64:
    """``bitlen`` element by element, exact below 2**53."""
    return np.where(n > 0, np.frexp(n.astype(np.float64))[1], 0).astype(np.int64)


def needed(largest: int, bits: int = 7) -> int:
    """Shift that brings integers up to ``largest`` into ``bits`` bits and a sign (docs/numerics.md, section 3)."""
    return max(0, bitlen(largest) - bits)


MAX_NARROW_SHIFT = 24


def level_of(largest: int) -> int:
    """Base-2 logarithm in eighths, to the eighth below and linear in between; 0 for 0 (docs/numerics.md, section 3)."""
    if largest == 0:
        return 0
    b = bitlen(largest) - 1
    return 8 * b + ((largest << 3 >> b) & 7)


def expected_shift(gain: int, read: int) -> int:
    """Shift that sums of errors up to ``read`` will need at this gain, or one more."""
    return min(max(((gain + level_of(read)) >> 3) - 6, 0), MAX_NARROW_SHIFT)


def gain_after(gain: int, read: int, largest: int) -> int:
    """``gain`` (0: none yet) after errors up to ``read`` gave sums up to ``largest``: a quarter of the way to theirs."""
    if largest == 0:
        return gain
    seen = max(level_of(largest) - level_of(read), 1)
    return seen if gain == 0 else gain + ((seen - gain + 2) >> 2)


def mbqm(x: I64, multiplier: I64 | int, shift: I64 | int) -> I64:
    """TFLite's ``MultiplyByQuantizedMultiplier`` (double rounding); arrays broadcast."""
    m = np.asarray(multiplier, dtype=np.int64)
    s = np.asarray(shift, dtype=np.int64)
    left, right = np.maximum(s, 0), np.maximum(-s, 0)
    product = (x << left) * m
    nudge = np.where(product >= 0, 1 << 30, 1 - (1 << 30))
    total = product + nudge
    # Division that truncates towards zero, as in C.
    high = np.where(total >= 0, total >> 31, -((-total) >> 31))
    high = np.minimum(high, (1 << 31) - 1)
    mask = (np.int64(1) << right) - 1
    threshold = (mask >> 1) + (high < 0)
    rounded: I64 = (high >> right) + ((high & mask) > threshold)
    return rounded


def normalised(value: float) -> tuple[int, int]:
    """``(mantissa, exponent)`` with ``value = mantissa * 2**(exponent - 31)`` (docs/numerics.md, section 5)."""
    if value == 0.0:
        return 0, 0
    fraction, exponent = math.frexp(value)
    mantissa = math.floor(fraction * 2.0**31 + 0.5)
    if mantissa == 1 << 31:
        mantissa, exponent = 1 << 30, exponent + 1
    return mantissa, exponent


def mix(x: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Wellons' ``lowbias32`` integer hash on uint32 arrays."""
    x = x ^ (x >> np.uint32(16))
    x = x * np.uint32(0x7FEB352D)
    x = x ^ (x >> np.uint32(15))
    x = x * np.uint32(0x846CA68B)
    return x ^ (x >> np.uint32(16))


def random_key(seed: int, step: int, tensor: int) -> NDArray[np.uint32]:
    """Key of one tensor's random bits in one update, shape ``(1,)``."""
    with np.errstate(over="ignore"):
        x = mix(np.array([seed & 0xFFFFFFFF], dtype=np.uint32) ^ np.uint32(0x9E3779B9))
        x = mix(x + np.uint32(step & 0xFFFFFFFF))
        return mix(x + np.uint32(tensor))


def random16(seed: int, step: int, tensor: int, count: int) -> I64:
    """16 random bits for each of ``count`` elements of a tensor, as int64 in [0, 65535]."""
    index = np.arange(count, dtype=np.uint32)
    with np.errstate(over="ignore"):
        counter = random_key(seed, step, tensor) + (index >> np.uint32(1)) * np.uint32(0x9E3779B9)
        word = mix(counter) >> (np.uint32(16) * (index & np.uint32(1)))
    return (word & np.uint32(0xFFFF)).astype(np.int64)


def log2_q16(value: int) -> int:
    """``log2(value) * 2**16`` from a table with linear interpolation; ``value`` >= 1."""
    b = bitlen(value) - 1
    mantissa = value << (30 - b) if b <= 30 else value >> (b - 30)
    x = (mantissa >> 14) - 65536
    j, r = x >> 10, x & 1023
    low, high = int(LOG2_TABLE[j]), int(LOG2_TABLE[j + 1])
    return (b << 16) + low + (((high - low) * r) >> 10)
