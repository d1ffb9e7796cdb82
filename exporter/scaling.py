"""Integer factors of the backward pass and the update, made from a graph's float scales (docs/numerics.md)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exporter.graph import F32, I32, quantize_multiplier

I16 = NDArray[np.int16]


@dataclass(frozen=True)
class ScaledWeights:
    """Factors that turn int8 weights into 12-bit ones with one power-of-two scale: ``real = w' * 2**t``."""

    q: I16
    """``round(s_w[o] * 2**(11 - t))`` for each output channel, at most 32767."""
    t: int


def normalised_pair(value: float) -> tuple[int, int]:
    """``(mantissa, exponent)`` with ``value = mantissa * 2**(exponent - 31)``, mantissa in [2**30, 2**31).

    ``value`` is not negative; 0 gives (0, 0).
    """
    if value == 0.0:
        return 0, 0
    fraction, exponent = math.frexp(value)
    mantissa = math.floor(fraction * 2.0**31 + 0.5)
    if mantissa == 1 << 31:
        return 1 << 30, exponent + 1
    return mantissa, exponent


def scaled_weights(weight_scale: F32) -> ScaledWeights:
    """Factors for the input gradient from float32 weight scales ``(O,)``; the largest lies in [8, 16) * 2**t."""
    wide = weight_scale.astype(np.float64)
    _, exponent = math.frexp(float(wide.max()))
    t = exponent - 4
    q = np.floor(np.ldexp(wide, 11 - t) + 0.5)
    return ScaledWeights(np.minimum(q, 32767).astype(np.int16), t)


def _pairs(values: NDArray[np.float64]) -> I32:
    return np.array([normalised_pair(float(value)) for value in values], dtype=np.int32)


def weight_rho(input_scale: np.float32, weight_scale: F32) -> I32:
    """``s_x / s_w[o]`` as int32 pairs ``(O, 2)`` of mantissa and exponent."""
    return _pairs(float(input_scale) / weight_scale.astype(np.float64))


def bias_rho(input_scale: np.float32, weight_scale: F32) -> I32:
    """``1 / (s_x * s_w[o])`` as int32 pairs ``(O, 2)`` of mantissa and exponent."""
    return _pairs(1.0 / (float(input_scale) * weight_scale.astype(np.float64)))


def loss_multiplier(input_scale: np.float32, weight_scale: F32) -> tuple[int, int]:
    """Multiplier and shift from the last layer's accumulators to base-2 logits in Q12."""
    real = float(input_scale) * float(weight_scale[0]) * math.log2(math.e) * 4096.0
    return quantize_multiplier(real)
