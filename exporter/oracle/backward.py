"""Error tensors and the gradients of every operator (docs/numerics.md, section 3), one sample at a time."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exporter.graph import (
    F32,
    I8,
    Activation,
    AveragePool,
    ChannelPad,
    Conv2d,
    DepthwiseConv2d,
    Graph,
    MaxPool,
    Shape,
    activation_range,
)
from exporter.oracle.fixed import (
    I64,
    bitlen,
    expected_shift,
    gain_after,
    needed,
    rshift_round,
)
from exporter.oracle.forward import exact_matmul, patches, pool_windows


@dataclass(frozen=True)
class Error:
    """Gradient of the loss by an activation: ``values * 2**exponent``, (H, W, C).

    Narrow: int8 in [-127, 127]. Wide (sums of errors): int16 in [-32767, 32767].
    """

    values: I8 | NDArray[np.int16]
    exponent: int

    @property
    def is_wide(self) -> bool:
        """True for int16 values."""
        return self.values.dtype == np.int16


def store(acc: I64, shift: int, exponent: int, wide: bool = False) -> Error:
    """Round exact integers into an error tensor with the given shift."""
    limit = 32767 if wide else 127
    values = np.clip(rshift_round(acc, shift), -limit, limit)
    stored = values.astype(np.int16) if wide else values.astype(np.int8)
    return Error(stored, exponent + shift)


def store_exact(acc: I64, exponent: int, wide: bool = False) -> Error:
    """Round with the smallest shift that fits."""
    shift = needed(int(np.abs(acc).max(initial=0)), 15 if wide else 7)
    return store(acc, shift, exponent, wide)


def narrow(error: Error, bits: int = 7) -> Error:
    """A wide error brought to ``bits`` bits and a sign (kept as int16 above 7), for a convolution to read."""
    if not error.is_wide:
        return error
    acc = error.values.astype(np.int64)
    shift, limit = needed(int(np.abs(acc).max(initial=0)), bits), (1 << bits) - 1
    values = np.clip(rshift_round(acc, shift), -limit, limit).astype(np.int16)
    return Error(values, error.exponent + shift)


def narrow_for_input(error: Error) -> tuple[Error, int]:
    """The error that an input gradient reads, and its largest magnitude (before the rounding)."""
    read = narrow(error)
    largest = int(np.abs(error.values.astype(np.int64)).max(initial=0))
    return read, largest >> (read.exponent - error.exponent)


def weight_gradient_bits(positions: int) -> int:
    """Bits of a wide error that a weight gradient over ``positions`` output positions can sum in 32 bits."""
    return max(7, min(11, 22 - bitlen(positions - 1)))


def store_stateful(
    acc: I64, exponent: int, read: int, states: MutableMapping[str, int], name: str
) -> Error:
    """Round with the shift that the gain of the last samples asks for where it loses at most one bit, and follow the gain.

    ``read``: the largest of the errors that ``acc`` are sums of, from ``narrow_for_input``.
    """
    largest = int(np.abs(acc).max(initial=0))
    gain = states.get(name, 0)
    guess, need = expected_shift(gain, read), needed(largest)
    states[name] = gain_after(gain, read, largest)
    return store(acc, guess if need <= guess <= need + 1 else need, exponent)


def scaled_weight_factors(weight_scale: F32) -> tuple[I64, int]:
    """``(q[o], t)``: factors in Q11 and the exponent that make per-channel weights comparable."""
    largest = float(weight_scale.max())
    t = int(np.frexp(np.float64(largest))[1]) - 4
    factors = np.floor(np.ldexp(weight_scale.astype(np.float64), 11 - t) + 0.5).astype(np.int64)
    return np.minimum(factors, 32767), t


def scaled_weights(weight: I8, factors: I64) -> I64:
    """12-bit weights of one common scale; ``factors`` broadcast against ``weight``."""
    return (weight.astype(np.int64) * factors + 1024) >> 11


def through_activation(
    error: Error, y: I8, activation: Activation, graph: Graph, tensor: str
) -> Error:
    """Error before a fused activation, from the one after it; ``y`` is the saved output (H, W, C)."""
    if activation is Activation.NONE:
        return error
    low, high = activation_range(activation, graph.quant[tensor])
    passes = y > low
    if activation is Activation.RELU6:
        passes &= y < high
    return Error(error.values * passes, error.exponent)


def scatter(
    taps: I64, shape: Shape, stride: tuple[int, int], padding: tuple[int, int, int, int]
) -> I64:
    """Add windows (OH, OW, kh, kw, C) back to the positions of an input of ``shape`` they came from."""
    oh, ow, kh, kw, channels = taps.shape
    top, left, bottom, right = padding
    grid = np.zeros((shape[0] + top + bottom, shape[1] + left + right, channels), dtype=np.int64)
    for ky in range(kh):
        for kx in range(kw):
            rows = slice(ky, ky + (oh - 1) * stride[0] + 1, stride[0])
            columns = slice(kx, kx + (ow - 1) * stride[1] + 1, stride[1])
            grid[rows, columns] += taps[:, :, ky, kx]
    return grid[top : top + shape[0], left : left + shape[1]]


def conv_input(
    node: Conv2d, weight: I8, error: Error, shape: Shape, states: MutableMapping[str, int]
) -> Error:
    """Error of a convolution's input of ``shape`` from the error of its output before activation."""
    assert node.quant is not None
    factors, t = scaled_weight_factors(node.quant.weight_scale)
    outputs, kh, kw, inputs = weight.shape
    kernel = scaled_weights(weight, factors.reshape(-1, 1, 1, 1)).reshape(outputs, -1)
    error, largest = narrow_for_input(error)
    oh, ow, _ = error.values.shape
    e = error.values.reshape(oh * ow, outputs).astype(np.int16)
    taps = exact_matmul(e, kernel.astype(np.int16), outputs * 127 * 2032)
    acc = scatter(taps.reshape(oh, ow, kh, kw, inputs), shape, node.stride, node.padding)
    return store_stateful(acc, error.exponent + t, largest, states, node.name)


def depthwise_input(
    node: DepthwiseConv2d, weight: I8, error: Error, shape: Shape, states: MutableMapping[str, int]
) -> Error:
    """The same for a depthwise convolution; through an affine the error comes out exact and wide."""
    assert node.quant is not None
    factors, t = scaled_weight_factors(node.quant.weight_scale)
    kernel = scaled_weights(weight, factors)
    error, largest = narrow_for_input(error)
    taps = error.values.astype(np.int64)[:, :, None, None, :] * kernel
    acc = scatter(taps, shape, node.stride, node.padding)
    if node.is_affine:
        return store_exact(acc, error.exponent + t, wide=True)
    return store_stateful(acc, error.exponent + t, largest, states, node.name)


def conv_weight(node: Conv2d, error: Error, x: I8, zero_point: int) -> tuple[I64, I64]:
    """``(G (O, kh, kw, I), Gb (O,))`` of a convolution for one sample, in units of ``error.exponent``; ``x`` is (H, W, C)."""
    kh, kw = node.weight.shape[1:3]
    shifted = x.astype(np.int16)[None] - np.int16(zero_point)
    columns = patches(shifted, (kh, kw), node.stride, node.padding)[0]
    positions = columns.shape[0] * columns.shape[1]
    matrix = columns.reshape(positions, -1)
    e = error.values.reshape(positions, -1).astype(np.int16)
    gradient = exact_matmul(e.T, matrix, positions * 2047 * 255)
    return gradient.reshape(node.weight.shape), e.sum(axis=0, dtype=np.int64)


def depthwise_weight(
    node: DepthwiseConv2d, error: Error, x: I8, zero_point: int
) -> tuple[I64, I64]:
    """``(G (kh, kw, C), Gb (C,))`` of a depthwise convolution for one sample."""
    kh, kw = node.weight.shape[:2]
    shifted = x.astype(np.int16)[None] - np.int16(zero_point)
    columns = patches(shifted, (kh, kw), node.stride, node.padding)[0].astype(np.int64)
    e = error.values.astype(np.int64)
    return np.einsum("hwklc,hwc->klc", columns, e), e.sum(axis=(0, 1))


def add_errors(a: Error, b: Error) -> Error:
    """Sum of two contributions to one tensor's error; always wide."""
    low = min(a.exponent, b.exponent)
    if abs(a.exponent - b.exponent) > 15:
        larger = a if a.exponent > b.exponent else b
        return store_exact(larger.values.astype(np.int64), larger.exponent, wide=True)
    left = a.values.astype(np.int64) << (a.exponent - low)
    right = b.values.astype(np.int64) << (b.exponent - low)
    return store_exact(left + right, low, wide=True)


def average_pool_input(node: AveragePool, error: Error, shape: Shape) -> Error:
    """Error of an average pool's input."""
    kh, kw = node.kernel
    windows = np.broadcast_to(
        error.values.astype(np.int64)[:, :, None, None, :],
        (*error.values.shape[:2], kh, kw, error.values.shape[2]),
    )
    acc = scatter(windows, shape, node.stride, (0, 0, 0, 0))
    n = kh * kw
    if n & (n - 1) == 0:
        return store_exact(acc, error.exponent - (bitlen(n) - 1), error.is_wide)
    reciprocal = (2 * 32768 + n) // (2 * n)
    return store_exact(acc * reciprocal, error.exponent - 15, error.is_wide)


def max_pool_input(node: MaxPool, error: Error, x: I8, shape: Shape) -> Error:
    """Error of a max pool's input: to the first maximum of each window."""
    kh, kw = node.kernel
    windows = pool_windows(node, x.astype(np.int16)[None])[0]
    oh, ow, channels = error.values.shape
    flat = windows.reshape(oh, ow, kh * kw, channels)
    first = flat.argmax(axis=2)
    taps = np.zeros((oh, ow, kh * kw, channels), dtype=np.int64)
    np.put_along_axis(taps, first[:, :, None, :], error.values.astype(np.int64)[:, :, None, :], 2)
    acc = scatter(taps.reshape(oh, ow, kh, kw, channels), shape, node.stride, (0, 0, 0, 0))
    return store_exact(acc, error.exponent, error.is_wide)


def channel_pad_input(node: ChannelPad, error: Error, shape: Shape) -> Error:
    """Error of a channel pad's input."""
    return Error(error.values[:, :, node.before : node.before + shape[2]], error.exponent)
