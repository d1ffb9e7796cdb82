"""Convolution kernels: fast and portable forms against the reference, the reference against NumPy, all bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from exporter.ops import Opcode, scratch_bytes
from tests.python import kernel_reference as reference
from tests.python.kernel_lib import (
    FAST,
    PORTABLE,
    REF,
    ConvCase,
    ErrorView,
    call,
    conv_cases,
    guarded,
    overlap_distance,
)

Int8 = NDArray[np.int8]

CASES = conv_cases(240, seed=1)
RESNET = [
    ConvCase((32, 32), (3, 16), (3, 3), (1, 1), (1, 1, 1, 1)),
    ConvCase((32, 32), (16, 16), (3, 3), (1, 1), (1, 1, 1, 1)),
    ConvCase((32, 32), (16, 32), (3, 3), (2, 2), (1, 1, 1, 1)),
    ConvCase((32, 32), (16, 32), (3, 3), (2, 2), (0, 0, 1, 1)),
    ConvCase((8, 8), (64, 64), (3, 3), (1, 1), (1, 1, 1, 1)),
    ConvCase((1, 1), (64, 10), (1, 1), (1, 1), (0, 0, 0, 0)),
]
FILLS = ["random", "lowest", "highest", "alternating"]


def fill(rng: np.random.Generator, kind: str, shape: tuple[int, ...], low: int = -128) -> Int8:
    """int8 values, random or at the ends of their range."""
    if kind == "lowest":
        return np.full(shape, low, dtype=np.int8)
    if kind == "highest":
        return np.full(shape, 127, dtype=np.int8)
    if kind == "alternating":
        return rng.choice(np.array([low, 127], dtype=np.int8), size=shape)
    return rng.integers(low, 128, size=shape, dtype=np.int8)


def error_cases(
    rng: np.random.Generator, kind: str, shape: tuple[int, ...], bits: int
) -> list[tuple[ErrorView, NDArray[np.int64]]]:
    """A narrow and a wide error, each with the values a kernel reads from it."""
    narrow = fill(rng, kind, shape, -127)
    factor = int(rng.integers(1, 259)) if kind == "random" else 258
    wide = (
        (narrow.astype(np.int64) * factor + rng.integers(-1, 2, size=shape))
        .clip(-32767, 32767)
        .astype(np.int16)
    )
    read, shift = reference.narrowed(wide, bits)
    return [(ErrorView(narrow), narrow.astype(np.int64)), (ErrorView(wide, shift, bits), read)]


class Forward:
    """Random operands of one forward convolution."""

    def __init__(self, case: ConvCase, kind: str, seed: int) -> None:
        rng = np.random.default_rng(seed)
        ic, oc = case.channels
        self.case = case
        self.x = fill(rng, kind, (*case.size, ic))
        self.w = fill(rng, kind, (oc, *case.kernel, ic), -127)
        self.bias = rng.integers(-(2**15), 2**15, size=oc, dtype=np.int32)
        self.multiplier = rng.integers(2**30, 2**31, size=oc, dtype=np.int64).astype(np.int32)
        # From outputs near zero to outputs that saturate.
        self.shift = rng.integers(-14, 1, size=oc, dtype=np.int32)
        zero_point = int(rng.choice([-128, -1, 0, 7, 127]))
        limits = [(-128, 127), (-20, 127), (-20, 90)][int(rng.integers(3))]
        self.numbers = (zero_point, int(rng.integers(-128, 128)), *limits)

    def run(self, variant: int) -> Int8:
        """The kernel's output."""
        with guarded((*self.case.out, self.case.channels[1])) as y:
            self.run_into(variant, self.x, y)
            return y.copy()

    def run_into(self, variant: int, x: Int8, y: Int8) -> None:
        fields = self.case.fields
        with guarded(int(call("k_conv2d_scratch_bytes", 0, fields))) as scratch:
            numbers = np.array(self.numbers, dtype=np.int32)
            call(
                "k_conv2d_fwd",
                variant,
                fields,
                x,
                self.w,
                self.bias,
                self.multiplier,
                self.shift,
                numbers,
                scratch,
                y,
            )

    def expected(self) -> Int8:
        acc = reference.conv2d_acc(
            self.case, self.x, self.w, self.bias.astype(np.int64), self.numbers[0]
        )
        return reference.requantize(
            acc,
            self.multiplier.astype(np.int64),
            self.shift.astype(np.int64),
            self.numbers,  # type: ignore[arg-type]
        )


@pytest.mark.parametrize("kind", FILLS)
def test_forward_equals_reference(kind: str) -> None:
    for seed, case in enumerate(RESNET + CASES):
        operands = Forward(case, kind, seed)
        expected = operands.expected()
        for variant in (REF, FAST, PORTABLE):
            assert np.array_equal(operands.run(variant), expected), (case, variant)


def test_forward_may_overlap_its_input() -> None:
    """The output at exactly the allowed distance before the input it overwrites."""
    for seed, case in enumerate(RESNET + CASES):
        operands = Forward(case, "random", seed)
        expected = operands.expected()
        distance = overlap_distance(case)
        for variant in (REF, FAST, PORTABLE):
            with guarded(max(distance + operands.x.size, expected.size)) as arena:
                arena[distance : distance + operands.x.size] = operands.x.ravel()
                operands.run_into(variant, arena[distance:], arena)
                assert np.array_equal(arena[: expected.size].reshape(expected.shape), expected), (
                    case,
                    variant,
                )


def test_forward_without_bias() -> None:
    operands = Forward(CASES[0], "random", 3)
    with_zeros = operands.bias = np.zeros_like(operands.bias)
    expected = operands.run(REF)
    for variant in (REF, FAST, PORTABLE):
        operands.bias = None  # type: ignore[assignment]
        assert np.array_equal(operands.run(variant), expected)
    assert not with_zeros.any()


def bwd_input(
    variant: int, case: ConvCase, e: ErrorView, w: Int8, q: NDArray[np.int16], shift: int
) -> tuple[Int8, int]:
    """Input error and largest magnitude."""
    fields = case.fields
    with (
        guarded((*case.size, case.channels[0])) as e_x,
        guarded(int(call("k_conv2d_scratch_bytes", 1, fields))) as scratch,
    ):
        largest = call("k_conv2d_bwd_input", variant, fields, e, w, q, shift, scratch, e_x)
        return e_x.copy(), largest


@pytest.mark.parametrize("kind", FILLS)
def test_input_gradient_equals_reference(kind: str) -> None:
    for seed, case in enumerate(RESNET + CASES):
        rng = np.random.default_rng(seed)
        ic, oc = case.channels
        w = fill(rng, kind, (oc, *case.kernel, ic), -127)
        q = (
            rng.integers(0, 32768, size=oc, dtype=np.int16)
            if kind == "random"
            else np.full(oc, 32767, dtype=np.int16)
        )
        for e, read in error_cases(rng, kind, (*case.out, oc), bits=7):
            acc = reference.conv2d_bwd_input_acc(case, read, w, q.astype(np.int64))
            largest = int(np.abs(acc).max())
            for shift in {reference.needed(largest), int(rng.integers(0, 20))}:
                expected = reference.to_error(acc, shift)
                for variant in (REF, FAST, PORTABLE):
                    e_x, found = bwd_input(variant, case, e, w, q, shift)
                    assert found == largest, (case, variant)
                    assert np.array_equal(e_x, expected), (case, variant, shift)


@pytest.mark.parametrize("sign", [-1, 1])
def test_input_gradient_at_the_accumulators_limit(sign: int) -> None:
    """kh * kw * O = 8192 with every factor at its largest: the int32 sum must not wrap."""
    case = ConvCase((2, 2), (9, 2048), (2, 2), (1, 1), (1, 1, 1, 1))
    e = np.full((*case.out, 2048), sign * 127, dtype=np.int8)
    w = np.full((2048, 2, 2, 9), 127, dtype=np.int8)
    q = np.full(2048, 32767, dtype=np.int16)
    acc = reference.conv2d_bwd_input_acc(case, e, w, q.astype(np.int64))
    assert int(np.abs(acc).max()) == 8192 * 127 * 2032
    for variant in (REF, FAST, PORTABLE):
        e_x, largest = bwd_input(variant, case, ErrorView(e), w, q, 24)
        assert largest == 8192 * 127 * 2032
        assert np.array_equal(e_x, reference.to_error(acc, 24))


def weight_gradient_bits(case: ConvCase) -> int:
    """Bits of a wide error that a weight gradient reads."""
    return max(7, min(11, 22 - (case.out[0] * case.out[1] - 1).bit_length()))


def bwd_weight(
    variant: int, case: ConvCase, e: ErrorView, x: Int8, zero_point: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Gradients (O,kh,kw,I) and (O,)."""
    fields = case.fields
    ic, oc = case.channels
    with (
        guarded((oc, *case.kernel, ic), np.int32) as g,
        guarded(oc, np.int32) as bias,
        guarded(int(call("k_conv2d_scratch_bytes", 2, fields))) as scratch,
    ):
        assert call("k_conv2d_bwd_weight", variant, fields, e, x, zero_point, scratch, g, bias) == 1
        return g.copy(), bias.copy()


@pytest.mark.parametrize("kind", FILLS)
def test_weight_gradient_equals_reference(kind: str) -> None:
    for seed, case in enumerate(RESNET + CASES):
        rng = np.random.default_rng(seed)
        ic, oc = case.channels
        x = fill(rng, kind, (*case.size, ic))
        zero_point = int(rng.choice([-128, -1, 0, 127]))
        for e, read in error_cases(rng, kind, (*case.out, oc), weight_gradient_bits(case)):
            expected_g, expected_bias = reference.conv2d_bwd_weight(case, read, x, zero_point)
            for variant in (REF, FAST, PORTABLE):
                g, bias = bwd_weight(variant, case, e, x, zero_point)
                assert np.array_equal(g, expected_g), (case, variant)
                assert np.array_equal(bias, expected_bias), (case, variant)


LARGE = [
    # Too large for one or more of the buffers of the x86 form: laid out in chunks, repacked for every row, or left to the
    # portable form.
    ConvCase((64, 64), (16, 12), (3, 3), (1, 1), (1, 1, 1, 1)),
    ConvCase((70, 66), (5, 9), (5, 5), (2, 1), (2, 1, 2, 3)),
    ConvCase((5, 5), (128, 200), (3, 3), (1, 1), (1, 1, 1, 1)),
    ConvCase((3, 300), (64, 8), (3, 3), (1, 1), (1, 1, 1, 1)),
    ConvCase((2, 900), (64, 4), (1, 1), (1, 1), (0, 0, 0, 0)),
    ConvCase((4, 4), (600, 16), (15, 15), (1, 1), (7, 7, 7, 7)),
]


@pytest.mark.parametrize("case", LARGE, ids=str)
def test_large_shapes(case: ConvCase) -> None:
    operands = Forward(case, "random", 5)
    expected = operands.expected()
    rng = np.random.default_rng(6)
    oc = case.channels[1]
    q = rng.integers(0, 32768, size=oc, dtype=np.int16)
    for variant in (FAST, PORTABLE):
        assert np.array_equal(operands.run(variant), expected)
    for e, read in error_cases(rng, "random", (*case.out, oc), bits=7):
        acc = reference.conv2d_bwd_input_acc(case, read, operands.w, q.astype(np.int64))
        g_expected, bias_expected = reference.conv2d_bwd_weight(
            case, read, operands.x, operands.numbers[0]
        )
        for variant in (FAST, PORTABLE):
            e_x, largest = bwd_input(variant, case, e, operands.w, q, 15)
            assert largest == int(np.abs(acc).max())
            assert np.array_equal(e_x, reference.to_error(acc, 15))
            g, bias = bwd_weight(variant, case, e, operands.x, operands.numbers[0])
            assert np.array_equal(g, g_expected)
            assert np.array_equal(bias, bias_expected)


@pytest.mark.parametrize("sign", [-1, 1])
def test_weight_gradient_at_the_accumulators_limit(sign: int) -> None:
    """OH * OW = 65536 narrow errors and 2048 of eleven bits, every factor at its largest."""
    for size, value, shift, bits in [((256, 256), 127, 0, 7), ((32, 64), 32767, 4, 11)]:
        case = ConvCase(size, (3, 5), (1, 1), (1, 1), (0, 0, 0, 0))
        e = np.full((*size, 5), sign * value, dtype=np.int8 if value == 127 else np.int16)
        x = np.full((*size, 3), -128, dtype=np.int8)
        for variant in (REF, FAST, PORTABLE):
            g, bias = bwd_weight(variant, case, ErrorView(e, shift, bits), x, 127)
            assert (g == sign * (2**bits - 1) * -255 * size[0] * size[1]).all()
            assert (bias == sign * (2**bits - 1) * size[0] * size[1]).all()


@pytest.mark.parametrize("case", LARGE, ids=str)
def test_large_overlap(case: ConvCase) -> None:
    operands = Forward(case, "random", 8)
    expected = operands.expected()
    distance = overlap_distance(case)
    with guarded(max(distance + operands.x.size, expected.size)) as arena:
        arena[distance : distance + operands.x.size] = operands.x.ravel()
        operands.run_into(FAST, arena[distance:], arena)
        assert np.array_equal(arena[: expected.size].reshape(expected.shape), expected)


def winograd_scratch(case: ConvCase) -> dict[Opcode, int]:
    """What F(4, 3) holds at a time, counted by element."""
    in_c, out_c = case.channels

    def parts(channels: int, height: int, width: int) -> int:
        rows = next(r for r in range(1, height + 1) if r == height or r * width >= 64)
        pairs = len(range(0, width, 8))
        tile = (6 * channels * 2 + 15) // 16 * 16
        weights = 4 * 6 * channels * 2
        sums = 4 * 6 * (2 * pairs) * rows * 4
        return (rows + 2) * 2 * pairs * tile + weights + sums + 64

    out_h, out_w = case.out
    tiles = len(range(0, out_w, 4))
    rows = next(r for r in range(1, out_h + 1) if r == out_h or r * out_w >= 64)
    inputs = in_c * 6 * 2 * (out_h + 2) * tiles
    if inputs > 16384:
        inputs = 4 * 6 * 2 * (rows + 2) * tiles
    gradient_row = (4 * 9 * in_c + 15) // 16 * 16
    return {
        Opcode.CONV2D: parts(in_c, out_h, out_w),
        Opcode.CONV2D_BWD_INPUT: parts(out_c, *case.size),
        Opcode.CONV2D_BWD_WEIGHT: 4 * gradient_row + 4 * 6 * 2 * rows * tiles + inputs + 64,
    }


def test_scratch_is_what_the_artifact_says() -> None:
    """The table at the end of docs/artifact.md, which the exporter computes too."""
    for case in RESNET + CASES:
        (kh, kw), (out_h, out_w), (in_c, out_c) = case.kernel, case.out, case.channels
        k, ko = case.taps * in_c, case.taps * out_c
        padded_h, padded_w = (out_h - 1) * case.stride[0] + kh, (out_w - 1) * case.stride[1] + kw

        def ru16(n: int) -> int:
            return (n + 15) // 16 * 16

        # Counted here, computed there: errors that some input position meets through some tap.
        met = [
            {
                (position + case.pad[axis] - tap) // case.stride[axis]
                for position in range(case.size[axis])
                for tap in range(case.kernel[axis])
                if (position + case.pad[axis] - tap) % case.stride[axis] == 0
            }
            for axis in range(2)
        ]
        rows, columns = (max(numbers) - min(numbers) + 1 for numbers in met)
        error_row = ru16(2 * columns * out_c)
        a = (kh + 1) * error_row + in_c * ru16(2 * ko)
        b = rows * error_row + 4 * ru16(2 * ko)
        expected = {
            Opcode.CONV2D: (kh + case.stride[0]) * ru16(2 * padded_w * in_c) + 4 * ru16(2 * k) + 64,
            Opcode.CONV2D_BWD_INPUT: max(min(a, b) + 64, 12 * ru16(2 * ko)),
            Opcode.CONV2D_BWD_WEIGHT: 4 * ru16(4 * k)
            + 4 * ru16(2 * (out_h + 1) * (out_w + 3))
            + 2 * ru16(2 * (padded_h + 1) * (padded_w + 3))
            + 64,
        }
        if case.kernel == (3, 3) and case.stride == (1, 1):
            need = winograd_scratch(case)
            expected = {opcode: max(number, need[opcode]) for opcode, number in expected.items()}
        x, y = (1, *case.size, in_c), (1, out_h, out_w, out_c)
        for which, (opcode, number) in enumerate(expected.items()):
            assert call("k_conv2d_scratch_bytes", which, case.fields) == number, (case, opcode)
            assert scratch_bytes(opcode, case.kernel, case.stride, case.pad, x, y) == number, (
                case,
                opcode,
            )
        depthwise = ru16(4 * (case.taps + 1) * in_c)
        assert call("k_depthwise_bwd_weight_scratch_bytes", case.fields) == depthwise
        loss = 4 * ru16(k) * 2 + ru16(120)
        assert call("k_linear_loss_scratch_bytes", k, 10) == loss
