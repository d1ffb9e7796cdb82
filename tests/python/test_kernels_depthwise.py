"""Depthwise kernels and the affine, bit for bit against NumPy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.python import kernel_reference as reference
from tests.python.kernel_lib import (
    FAST,
    REF,
    ConvCase,
    ErrorView,
    call,
    conv_cases,
    guarded,
    overlap_distance,
)
from tests.python.test_kernels_conv import FILLS, Forward, error_cases, fill, weight_gradient_bits

Int8 = NDArray[np.int8]

AFFINES = [
    ConvCase((h, w), (c, c), (1, 1), (1, 1), (0, 0, 0, 0))
    for h, w, c in [(32, 32, 16), (7, 5, 3), (8, 8, 64), (3, 3, 20)]
]
CASES = AFFINES + [
    replace(c, channels=(c.channels[0], c.channels[0])) for c in conv_cases(150, seed=2)
]


def depthwise(variant: int, operands: Forward, x: Int8, w: Int8, y: Int8) -> None:
    fields = operands.case.fields
    numbers = np.array(operands.numbers, dtype=np.int32)
    call(
        "k_depthwise_fwd",
        variant,
        fields,
        x,
        w,
        operands.bias,
        operands.multiplier,
        operands.shift,
        numbers,
        y,
    )


@pytest.mark.parametrize("kind", FILLS)
def test_forward(kind: str) -> None:
    for seed, case in enumerate(CASES):
        operands = Forward(case, kind, seed)
        w = np.ascontiguousarray(operands.w[0])
        acc = reference.depthwise_acc(
            case, operands.x, w, operands.bias.astype(np.int64), operands.numbers[0]
        )
        expected = reference.requantize(
            acc,
            operands.multiplier.astype(np.int64),
            operands.shift.astype(np.int64),
            operands.numbers,  # type: ignore[arg-type]
        )
        distance = overlap_distance(case)
        for variant in (REF, FAST):
            with guarded(expected.shape) as y:
                depthwise(variant, operands, operands.x, w, y)
                assert np.array_equal(y, expected), (case, variant)
            with guarded(max(distance + operands.x.size, expected.size)) as arena:
                arena[distance : distance + operands.x.size] = operands.x.ravel()
                depthwise(variant, operands, arena[distance:], w, arena)
                assert np.array_equal(arena[: expected.size].reshape(expected.shape), expected), (
                    case,
                    variant,
                )
            if case in AFFINES:
                with guarded(expected.shape) as y:
                    y[...] = operands.x
                    depthwise(variant, operands, y, w, y)
                    assert np.array_equal(y, expected), (case, variant)


@pytest.mark.parametrize("kind", FILLS)
def test_input_gradient(kind: str) -> None:
    for seed, case in enumerate(CASES):
        rng = np.random.default_rng(seed)
        c = case.channels[0]
        w = fill(rng, kind, (*case.kernel, c), -127)
        q = (
            rng.integers(0, 32768, size=c, dtype=np.int16)
            if kind == "random"
            else np.full(c, 32767, dtype=np.int16)
        )
        for e, read in error_cases(rng, kind, (*case.out, c), bits=7):
            acc = reference.depthwise_bwd_input_acc(case, read, w, q.astype(np.int64))
            largest = int(np.abs(acc).max())
            for shift in {reference.needed(largest), int(rng.integers(0, 14))}:
                for variant in (REF, FAST):
                    with guarded((*case.size, c)) as e_x:
                        found = call(
                            "k_depthwise_bwd_input",
                            variant,
                            case.fields,
                            e,
                            w,
                            q,
                            shift,
                            e_x,
                        )
                        assert found == largest, (case, variant)
                        assert np.array_equal(e_x, reference.to_error(acc, shift)), (case, variant)


def affine(
    variant: int,
    e: ErrorView,
    numbers: tuple[int, int, int],
    w: Int8,
    q: NDArray[np.int16],
    other: NDArray[Any] | None,
    in_place: bool,
) -> tuple[NDArray[np.int16], int]:
    """Input error and its exponent. numbers: exponent of e, t, exponent of other."""
    assert e.values is not None
    with guarded(e.values.shape, np.int16) as e_x:
        if in_place:
            e_x[...] = other
            other = e_x
        pixels, c = e.values.shape
        packed = np.array(numbers, dtype=np.int32)
        exponent = call("k_affine_bwd", variant, pixels, c, e, packed, w, q, ErrorView(other), e_x)
        return e_x.copy(), exponent


@pytest.mark.parametrize("kind", FILLS)
def test_affine_input_gradient(kind: str) -> None:
    for seed, case in enumerate(AFFINES):
        rng = np.random.default_rng(seed)
        c = case.channels[0]
        shape = (case.size[0] * case.size[1], c)
        w = fill(rng, kind, (c,), -127)
        q = (
            rng.integers(0, 32768, size=c, dtype=np.int16)
            if kind == "random"
            else np.full(c, 32767, dtype=np.int16)
        )
        exponent, t = int(rng.integers(-30, 30)), int(rng.integers(-12, 3))
        for e, read in error_cases(rng, kind, shape, bits=7):
            own, shift = reference.exact(
                read * reference.scaled_weights(w, q.astype(np.int64)), wide=True
            )
            own_exponent = exponent + t + shift
            for variant in (REF, FAST):
                e_x, result = affine(variant, e, (exponent, t, 0), w, q, None, False)
                assert result == own_exponent
                assert np.array_equal(e_x, own)
            for other, _ in error_cases(rng, kind, shape, bits=7):
                assert other.values is not None
                for distance in [-17, -16, -15, -3, 0, 4, 15, 16]:
                    expected, sum_exponent = reference.error_add(
                        own, own_exponent, other.values, own_exponent + distance
                    )
                    numbers = (exponent, t, own_exponent + distance)
                    for variant in (REF, FAST):
                        for in_place in {False, other.values.dtype == np.int16}:
                            e_x, result = affine(variant, e, numbers, w, q, other.values, in_place)
                            assert result == sum_exponent
                            assert np.array_equal(e_x, expected)


@pytest.mark.parametrize("kind", FILLS)
def test_weight_gradient(kind: str) -> None:
    for seed, case in enumerate(CASES):
        rng = np.random.default_rng(seed)
        c = case.channels[0]
        x = fill(rng, kind, (*case.size, c))
        for e, read in error_cases(rng, kind, (*case.out, c), weight_gradient_bits(case)):
            expected_g, expected_bias = reference.depthwise_bwd_weight(case, read, x, 127)
            for variant in (REF, FAST):
                with guarded((c, *case.kernel), np.int32) as g, guarded(c, np.int32) as bias:
                    call("k_depthwise_bwd_weight", variant, case.fields, e, x, 127, g, bias)
                    assert np.array_equal(g, expected_g) and np.array_equal(bias, expected_bias), (
                        case,
                        variant,
                    )
            with guarded(c, np.int32) as bias:
                call("k_bias_bwd", e, case.out[0] * case.out[1], c, bias)
                assert np.array_equal(bias, expected_bias)
