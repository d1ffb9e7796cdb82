"""Integer SGD: batch updates that keep their remainder, stochastic rounding for single samples (docs/numerics.md, section 5)."""

from __future__ import annotations

import numpy as np

from exporter.graph import I8, I32, Conv2d, DepthwiseConv2d, Graph
from exporter.oracle.accumulate import EMPTY
from exporter.oracle.fixed import I64, bitlen, normalised, random16

Rates = list[tuple[int, int]]


def row_rates(graph: Graph, node: Conv2d | DepthwiseConv2d) -> tuple[Rates, Rates]:
    """``rho`` of every weight row and of every bias element as ``(mantissa, exponent)`` pairs."""
    assert node.quant is not None
    scale_x = float(graph.quant[node.inputs[0]].scale)
    scales = [float(s) for s in node.quant.weight_scale]
    return [normalised(scale_x / s) for s in scales], [
        normalised(1.0 / (scale_x * s)) for s in scales
    ]


def _step(acc: int, exponent: int, rho: tuple[int, int], rate: tuple[int, int], limit: int) -> int:
    """One element's ``D`` (16 fraction bits), in Python integers."""
    if rate[0] == 0 or rho[0] == 0:
        return 0
    mantissa = (rate[0] * rho[0]) >> 31
    shift = 31 - rate[1] - rho[1] - exponent - 16
    d = acc * mantissa
    if shift > 62:
        d = 0
    elif shift > 0:
        d = (d + (1 << (shift - 1))) >> shift
    elif shift < 0:
        d = max(-(1 << 40), min(1 << 40, d << min(-shift, 32)))
    return max(-limit, min(limit, d))


def _row_steps(row: I64, exponent: int, rho: tuple[int, int], rate: tuple[int, int]) -> I64:
    """``D`` of a row of weights; vectorised where 64 bits hold it."""
    if exponent == EMPTY or rate[0] == 0 or rho[0] == 0:
        return np.zeros(row.shape, dtype=np.int64)
    mantissa = (rate[0] * rho[0]) >> 31
    shift = 31 - rate[1] - rho[1] - exponent - 16
    if not 0 < shift <= 62:
        return np.array([_step(int(a), exponent, rho, rate, 1 << 24) for a in row], dtype=np.int64)
    product = row * np.int64(mantissa)
    # Adding the half may pass 2**63 only for shifts near 62, where the split form below gives the same value.
    rounded = (product >> shift) + ((product >> (shift - 1)) & 1)
    return np.clip(rounded, -(1 << 24), 1 << 24)


_NO_STEP = 1 << 30


def _step_size(exponent: int, rho: tuple[int, int], rate: tuple[int, int]) -> int:
    """How much of a row's accumulator is one step of a weight; 0 for a rate of 0."""
    mantissa = (rate[0] * rho[0]) >> 31
    if mantissa == 0:
        return 0
    shift = 31 - rate[1] - rho[1] - exponent
    if shift > 59:
        return _NO_STEP
    if shift < 0:
        return 1
    return max(1, ((1 << shift) + (mantissa >> 1)) // mantissa)


def batch_step(
    weight: I8, matrix: I64, exponents: I64, rates: Rates, rate: tuple[int, int]
) -> tuple[I8, I64, I64]:
    """New int8 weights (rows, K), and what stays in the accumulator: matrix (rows, K) and exponents (rows,)."""
    moved = weight.astype(np.int64)
    left, kept = matrix.copy(), exponents.copy()
    for o in range(matrix.shape[0]):
        exponent = int(exponents[o])
        if exponent == EMPTY:
            continue
        size = _step_size(exponent, rates[o], rate)
        if size == 0:
            left[o], kept[o] = 0, EMPTY
            continue
        steps = np.sign(matrix[o]) * ((np.abs(matrix[o]) + (size >> 1)) // size)
        moved[o] -= steps
        left[o] = matrix[o] - steps * size
        largest = int(np.abs(left[o]).max())
        if largest == 0:
            kept[o] = EMPTY
            continue
        shift = 14 - bitlen(largest)
        if shift > 0 and exponent >= -16384:
            left[o] <<= shift
            kept[o] = exponent - shift
    return np.clip(moved, -127, 127).astype(np.int8), left, kept


def weight_step(
    weight: I8,
    matrix: I64,
    exponents: I64,
    rates: Rates,
    rate: tuple[int, int],
    key: tuple[int, int, int],
    transposed: bool,
) -> I8:
    """New int8 weights (rows, K) after one sample's gradient, stochastically rounded.

    ``transposed``: the tensor's memory order is (K, rows), as a depthwise kernel's.
    """
    rows, length = matrix.shape
    random = random16(*key, rows * length)
    noise = random.reshape(length, rows).T if transposed else random.reshape(rows, length)
    steps = np.stack(
        [_row_steps(matrix[o], int(exponents[o]), rates[o], rate) for o in range(rows)]
    )
    moved = weight.astype(np.int64) - ((steps + noise) >> 16)
    return np.clip(moved, -127, 127).astype(np.int8)


def bias_step(
    bias: I32,
    values: I64,
    exponents: I64,
    rates: Rates,
    rate: tuple[int, int],
    key: tuple[int, int, int],
) -> I32:
    """New int32 biases (rows,)."""
    noise = random16(*key, values.size)
    limit = 1 << 30
    new = []
    for o, value in enumerate(values):
        exponent = int(exponents[o])
        d = 0 if exponent == EMPTY else _step(int(value), exponent, rates[o], rate, 1 << 46)
        new.append(max(-limit, min(limit, int(bias[o]) - ((d + int(noise[o])) >> 16))))
    return np.array(new, dtype=np.int32)
