"""The kernels' rules written once more in plain NumPy, from docs/numerics.md alone; int64 throughout."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.python.kernel_lib import ConvCase

I64 = NDArray[np.int64]
Int8 = NDArray[np.int8]


def mbqm_int(x: int, multiplier: int, shift: int) -> int:
    """MBQM on Python integers, operation by operation; x * 2^left wraps to 32 bit."""
    left, right = max(shift, 0), max(-shift, 0)
    scaled = ((x << left) + 2**31) % 2**32 - 2**31
    product = scaled * multiplier
    total = product + (2**30 if product >= 0 else 1 - 2**30)
    high = abs(total) // 2**31 * (1 if total >= 0 else -1)
    high = min(high, 2**31 - 1)
    mask = 2**right - 1
    threshold = (mask >> 1) + (1 if high < 0 else 0)
    return (high >> right) + (1 if (high & mask) > threshold else 0)


def mbqm(x: I64, multiplier: I64, shift: I64) -> I64:
    """MBQM on broadcast int64 arrays."""
    x, multiplier, shift = np.broadcast_arrays(x, multiplier, shift)
    left, right = np.maximum(shift, 0), np.maximum(-shift, 0)
    scaled = (x << left).astype(np.int32).astype(np.int64)
    product = scaled * multiplier
    total = product + np.where(product >= 0, 2**30, 1 - 2**30)
    high: I64 = np.minimum(np.sign(total) * (np.abs(total) // 2**31), 2**31 - 1)
    mask = (np.int64(1) << right) - 1
    threshold = (mask >> 1) + (high < 0)
    result: I64 = (high >> right) + ((high & mask) > threshold)
    return result


def rshift_round(a: Any, n: int) -> Any:
    """`a / 2**n` rounded half up."""
    return a if n == 0 else (a + (1 << (n - 1))) >> n


def needed(largest: int, bits: int = 7) -> int:
    """Shift that brings integers up to `largest` into so many bits and a sign."""
    return max(0, int(largest).bit_length() - bits)


def level_of(largest: int) -> int:
    """Whole octaves and eighths of the logarithm, read off the leading bits."""
    if largest == 0:
        return 0
    octave = int(largest).bit_length() - 1
    return 8 * octave + int(f"{largest:b}000"[1:4], 2)


def expected_shift(gain: int, read: int) -> int:
    """Whole octaves of what is expected, less six, within 0 … 24."""
    return sorted((0, (gain + level_of(read)) // 8 - 6, 24))[1]


def gain_after(gain: int, read: int, largest: int) -> int:
    """Exponential mean with weight 1/4, rounded half up."""
    if largest == 0:
        return gain
    seen = max(1, level_of(largest) - level_of(read))
    return seen if gain == 0 else int(np.floor(gain + (seen - gain) / 4 + 0.5))


def to_error(acc: I64, n: int) -> Int8:
    """Errors stored with shift n."""
    return np.clip(rshift_round(acc, n), -127, 127).astype(np.int8)


def to_wide_error(acc: I64, n: int) -> NDArray[np.int16]:
    """Wide errors stored with shift n."""
    return np.clip(rshift_round(acc, n), -32767, 32767).astype(np.int16)


def exact(acc: I64, wide: bool) -> tuple[NDArray[Any], int]:
    """Exact normalisation: stored error and shift."""
    n = needed(int(np.abs(acc).max(initial=0)), 15 if wide else 7)
    return (to_wide_error(acc, n) if wide else to_error(acc, n)), n


def narrowed(e: NDArray[Any], bits: int) -> tuple[I64, int]:
    """An error as a convolution reads it, and the shift by which its exponent grows."""
    wide = e.astype(np.int64)
    if e.dtype == np.int8:
        return wide, 0
    n = needed(int(np.abs(wide).max(initial=0)), bits)
    limit = 2**bits - 1
    return np.clip(rshift_round(wide, n), -limit, limit), n


def padded(case: ConvCase, x: I64) -> I64:
    """x with zeros wherever a window reaches beyond it."""
    (h, w), (oh, ow), (kh, kw), (sh, sw) = case.size, case.out, case.kernel, case.stride
    top, left = case.pad[:2]
    tall, wide = (oh - 1) * sh + kh, (ow - 1) * sw + kw
    full = np.zeros((max(tall, top + h), max(wide, left + w), x.shape[2]), dtype=np.int64)
    full[top : top + h, left : left + w] = x
    return full


def tap_view(case: ConvCase, full: I64, ky: int, kx: int) -> I64:
    """The elements of the padded input that one kernel tap meets, (oh, ow, channels)."""
    (oh, ow), (sh, sw) = case.out, case.stride
    return full[ky : ky + (oh - 1) * sh + 1 : sh, kx : kx + (ow - 1) * sw + 1 : sw]


def taps(case: ConvCase) -> list[tuple[int, int]]:
    """All (ky, kx)."""
    return [(ky, kx) for ky in range(case.kernel[0]) for kx in range(case.kernel[1])]


def requantize(acc: I64, multiplier: I64, shift: I64, numbers: tuple[int, int, int, int]) -> Int8:
    """numbers: input zero point, output zero point, act_min, act_max."""
    _, zero, low, high = numbers
    return np.clip(mbqm(acc, multiplier, shift) + zero, low, high).astype(np.int8)


def conv2d_acc(case: ConvCase, x: Int8, w: Int8, bias: I64, zero_point: int) -> I64:
    """Accumulators of the forward pass."""
    full = padded(case, x.astype(np.int64) - zero_point)
    acc = np.broadcast_to(bias, (*case.out, case.channels[1])).astype(np.int64)
    for ky, kx in taps(case):
        acc = acc + tap_view(case, full, ky, kx) @ w[:, ky, kx].astype(np.int64).T
    return acc


def scaled_weights(w: Int8, q: I64) -> I64:
    """12-bit weights; q broadcast along the output channels' axis by the caller."""
    return (w.astype(np.int64) * q + 1024) >> 11


def conv2d_bwd_input_acc(case: ConvCase, e: NDArray[Any], w: Int8, q: I64) -> I64:
    """Exact input gradient of a convolution."""
    scaled = scaled_weights(w, q[:, None, None, None])
    full = padded(case, np.zeros((*case.size, case.channels[0]), dtype=np.int64))
    for ky, kx in taps(case):
        tap_view(case, full, ky, kx)[...] += e.astype(np.int64) @ scaled[:, ky, kx]
    (h, w_in), (top, left) = case.size, case.pad[:2]
    return full[top : top + h, left : left + w_in]


def conv2d_bwd_weight(case: ConvCase, e: NDArray[Any], x: Int8, zero_point: int) -> tuple[I64, I64]:
    """Gradients (O,kh,kw,I) and (O,)."""
    full = padded(case, x.astype(np.int64) - zero_point)
    columns = e.astype(np.int64).reshape(-1, case.channels[1])
    g = np.zeros((case.channels[1], *case.kernel, case.channels[0]), dtype=np.int64)
    for ky, kx in taps(case):
        g[:, ky, kx] = columns.T @ tap_view(case, full, ky, kx).reshape(-1, case.channels[0])
    return g, columns.sum(axis=0)


def depthwise_acc(case: ConvCase, x: Int8, w: Int8, bias: I64, zero_point: int) -> I64:
    """Accumulators; w (kh,kw,C)."""
    full = padded(case, x.astype(np.int64) - zero_point)
    acc = np.broadcast_to(bias, (*case.out, case.channels[0])).astype(np.int64)
    for ky, kx in taps(case):
        acc = acc + tap_view(case, full, ky, kx) * w[ky, kx].astype(np.int64)
    return acc


def depthwise_bwd_input_acc(case: ConvCase, e: NDArray[Any], w: Int8, q: I64) -> I64:
    """Exact input gradient of a depthwise convolution."""
    scaled = scaled_weights(w, q)
    full = padded(case, np.zeros((*case.size, case.channels[0]), dtype=np.int64))
    for ky, kx in taps(case):
        tap_view(case, full, ky, kx)[...] += e.astype(np.int64) * scaled[ky, kx]
    (h, w_in), (top, left) = case.size, case.pad[:2]
    return full[top : top + h, left : left + w_in]


def depthwise_bwd_weight(
    case: ConvCase, e: NDArray[Any], x: Int8, zero_point: int
) -> tuple[I64, I64]:
    """Gradients (C,kh,kw) and (C,)."""
    full = padded(case, x.astype(np.int64) - zero_point)
    wide = e.astype(np.int64)
    g = np.zeros((case.channels[0], *case.kernel), dtype=np.int64)
    for ky, kx in taps(case):
        g[:, ky, kx] = (wide * tap_view(case, full, ky, kx)).sum(axis=(0, 1))
    return g, wide.sum(axis=(0, 1))


def error_add(a: NDArray[Any], ea: int, b: NDArray[Any], eb: int) -> tuple[NDArray[Any], int]:
    """Sum of two errors, wide, and its exponent."""
    low = min(ea, eb)
    wide_a, wide_b = a.astype(np.int64), b.astype(np.int64)
    if abs(ea - eb) > 15:
        low = max(ea, eb)
        acc = wide_a if ea > eb else wide_b
    else:
        acc = (wide_a << (ea - low)) + (wide_b << (eb - low))
    stored, n = exact(acc, wide=True)
    return stored, low + n


EXP2 = [math.floor(2**24 * 2 ** (-j / 64) + 0.5) for j in range(65)]
LOG2 = [math.floor(2**16 * math.log2(1 + j / 64) + 0.5) for j in range(65)]


def log2_q16(value: int) -> int:
    """log2 in Q16."""
    b = value.bit_length() - 1
    mantissa = value << (30 - b) if b <= 30 else value >> (b - 30)
    x = (mantissa >> 14) - 65536
    j, r = x >> 10, x & 1023
    return (b << 16) + LOG2[j] + (((LOG2[j + 1] - LOG2[j]) * r) >> 10)


def softmax_xent(
    acc: list[int], label: int, multiplier: int, shift: int
) -> tuple[list[int], int, int, int, bool]:
    """Errors, their exponent, loss in Q16, prediction, and whether there is any error; Python integers."""
    u = [mbqm_int(a, multiplier, shift) for a in acc]
    d = [min(max(u) - value, 2**30) for value in u]
    v = []
    for distance in d:
        k, f = distance >> 12, distance & 4095
        j, r = f >> 6, f & 63
        v.append(0 if k >= 25 else (EXP2[j] - (((EXP2[j] - EXP2[j + 1]) * r) >> 6)) >> k)
    total = sum(v)
    g = [
        ((value << 15) + (total >> 1)) // total - (32768 if i == label else 0)
        for i, value in enumerate(v)
    ]
    n = needed(max(abs(value) for value in g))
    e = [max(-127, min(127, rshift_round(value, n))) for value in g]
    loss = max(0, ((d[label] * 16 + log2_q16(total) - (24 << 16)) * 45426 + 32768) >> 16)
    return e, n - 15, loss, u.index(max(u)), any(g)


def shift_or_zero(a: int, n: int) -> int:
    """rshift_round; 0 for shifts of 31 and more."""
    return 0 if n >= 31 else int(rshift_round(a, n))


def accumulate(
    acc: list[int], exponent: int | None, g: list[int], g_exponent: int, room: int, limit: int
) -> tuple[list[int], int | None]:
    """Section 4: room 14 and limit 32767 for weights, 30 and 2^31 - 1 for a bias. exponent None: empty."""
    largest = max(abs(value) for value in g)
    if largest == 0:
        return acc, exponent
    common = g_exponent + max(0, largest.bit_length() - room)
    if exponent is not None:
        common = max(exponent, common)
    a = [0 if exponent is None else shift_or_zero(value, common - exponent) for value in acc]
    total = [
        left + shift_or_zero(right, common - g_exponent) for left, right in zip(a, g, strict=True)
    ]
    if max(abs(value) for value in total) > limit:
        return [rshift_round(value, 1) for value in total], common + 1
    return total, common


def mix(x: int) -> int:
    """lowbias32."""
    x ^= x >> 16
    x = x * 0x7FEB352D % 2**32
    x ^= x >> 15
    x = x * 0x846CA68B % 2**32
    return x ^ (x >> 16)


def random_key(seed: int, step: int, tensor: int) -> int:
    """Key of one tensor's random bits in one update."""
    return mix((mix((mix(seed ^ 0x9E3779B9) + step) % 2**32) + tensor) % 2**32)


def random16(key: int, index: int) -> int:
    """16 random bits."""
    return (mix((key + (index >> 1) * 0x9E3779B9) % 2**32) >> (16 * (index & 1))) & 0xFFFF


def sgd(
    value: int,
    acc: int,
    exponent: int,
    lr: tuple[int, int],
    rho: tuple[int, int],
    random: int,
    *,
    bias: bool,
) -> int:
    """Section 5 for one element."""
    m = (lr[0] * rho[0]) >> 31
    sh = 31 - lr[1] - rho[1] - exponent - 16
    d = acc * m
    if sh > 62:
        d = 0
    elif sh >= 0:
        d = rshift_round(d, sh)
    else:
        d = max(-(2**40), min(2**40, d * 2 ** min(-sh, 32)))
    limit = 2**46 if bias else 2**24
    d = max(-limit, min(limit, d))
    bound = 2**30 if bias else 127
    return max(-bound, min(bound, value - ((d + random) >> 16)))


def apply_row(
    weights: list[int], acc: list[int], exponent: int, lr: tuple[int, int], rho: tuple[int, int]
) -> tuple[list[int], list[int], int]:
    """Section 5, batch updates, for one row: new weights, what is left, its exponent (-32768 empty)."""
    m = (lr[0] * rho[0]) >> 31
    if m == 0:
        return weights, acc, -32768
    shift = 31 - lr[1] - rho[1] - exponent
    if shift > 59:
        size = 2**30
    elif shift < 0:
        size = 1
    else:
        size = max(1, (2**shift + (m >> 1)) // m)
    moved, left = [], []
    for w, a in zip(weights, acc, strict=True):
        steps = (abs(a) + (size >> 1)) // size * (1 if a >= 0 else -1)
        moved.append(max(-127, min(127, w - steps)))
        left.append(a - steps * size)
    largest = max(map(abs, left))
    if largest == 0:
        return moved, left, -32768
    up = 14 - largest.bit_length()
    if up > 0 and exponent >= -16384:
        left, exponent = [a << up for a in left], exponent - up
    return moved, left, exponent
