"""Element-wise and pooling kernels, bit for bit against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.python import kernel_reference as reference
from tests.python.kernel_lib import FAST, REF, ErrorView, call, guarded

SIZES = [1, 7, 8, 9, 15, 16, 31, 32, 33, 64, 1000, 4097]
POOLS = [
    # in_h, in_w, channels, kernel_h, kernel_w, stride_h, stride_w
    (32, 32, 16, 2, 2, 2, 2),
    (8, 8, 64, 8, 8, 1, 1),
    (7, 9, 5, 3, 2, 2, 1),
    (6, 6, 3, 3, 3, 1, 1),
    (9, 4, 1, 2, 3, 3, 1),
    (5, 7, 17, 1, 1, 1, 1),
    (7, 7, 8, 2, 2, 3, 3),
]


def int8(
    rng: np.random.Generator, shape: tuple[int, ...] | int, low: int = -128
) -> NDArray[np.int8]:
    return rng.integers(low, 128, size=shape, dtype=np.int8)


def int16(rng: np.random.Generator, shape: tuple[int, ...] | int) -> NDArray[np.int16]:
    return rng.integers(-32767, 32768, size=shape, dtype=np.int16)


def test_add() -> None:
    rng = np.random.default_rng(1)
    for n in SIZES:
        for _ in range(8):
            a, b = int8(rng, n), int8(rng, n)
            za, zb, zy = (int(z) for z in rng.integers(-128, 128, size=3))
            multipliers = [int(m) for m in rng.integers(2**30, 2**31, size=3)]
            shifts = [
                int(rng.integers(-6, 1)),
                int(rng.integers(-6, 1)),
                int(rng.integers(-21, -16)),
            ]
            low, high = (-128, 127) if rng.random() < 0.5 else (-30, 100)
            pairs = [v for pair in zip(multipliers, shifts, strict=True) for v in pair]
            params = np.array([za, zb, zy, *pairs, low, high], dtype=np.int32)
            wide = [
                reference.mbqm((v.astype(np.int64) - z) << 20, np.int64(m), np.int64(s))  # type: ignore[arg-type]
                for v, z, m, s in (
                    (a, za, multipliers[0], shifts[0]),
                    (b, zb, multipliers[1], shifts[1]),
                )
            ]
            total = reference.mbqm(wide[0] + wide[1], np.int64(multipliers[2]), np.int64(shifts[2]))  # type: ignore[arg-type]
            expected = np.clip(total + zy, low, high).astype(np.int8)
            for variant in (REF, FAST):
                with guarded(n) as y:
                    call("k_add_fwd", variant, params, a, b, n, y)
                    assert np.array_equal(y, expected)
                for source in (a, b):
                    with guarded(n) as y:
                        y[...] = source
                        operands = (y, b) if source is a else (a, y)
                        call("k_add_fwd", variant, params, *operands, n, y)
                        assert np.array_equal(y, expected)


@pytest.mark.parametrize("relu6", [0, 1])
def test_masks_and_relu(relu6: int) -> None:
    rng = np.random.default_rng(2)
    for n in SIZES:
        for low, high in [(-128, 127), (-5, 127), (-5, 60), (127, 127), (-128, -128)]:
            y = int8(rng, n)
            passes = (y > low) & ((y < high) if relu6 else True)
            with guarded((n + 7) // 8, np.uint8) as mask:
                call("k_mask_pack", y, n, low, high, relu6, mask)
                assert np.array_equal(mask, np.packbits(passes, bitorder="little"))
                packed = mask.copy()
            for wide, e in enumerate((int8(rng, n, -127), int16(rng, n))):
                expected = np.where(passes, e, 0)
                with guarded(n, e.dtype) as out:
                    call("k_mask_bwd", wide, e, packed, n, out)
                    assert np.array_equal(out, expected)
                    out[...] = e
                    call("k_mask_bwd", wide, out, packed, n, out)
                    assert np.array_equal(out, expected)
                    call("k_relu_bwd", wide, e, y, n, low, high, relu6, out)
                    assert np.array_equal(out, expected)
                    out[...] = e
                    call("k_relu_bwd", wide, out, y, n, low, high, relu6, out)
                    assert np.array_equal(out, expected)
            with guarded(n, np.uint8) as both:
                both[...] = y.view(np.uint8)
                call("k_mask_pack", both, n, low, high, relu6, both)
                assert np.array_equal(both[: len(packed)], packed)


def test_error_magnitude() -> None:
    rng = np.random.default_rng(8)
    for n in SIZES:
        e = int16(rng, n) >> int(rng.integers(0, 15))
        assert call("k_error_magnitude", e, n) == np.abs(e.astype(np.int64)).max()
        narrow = (e >> 8).astype(np.int8)
        assert call("k_error_magnitude_narrow", narrow, n) == np.abs(narrow.astype(int)).max()


def test_error_add() -> None:
    rng = np.random.default_rng(3)
    for n in SIZES:
        for distance in [-20, -16, -15, -9, -1, 0, 1, 5, 15, 16, 30]:
            for top in (1, 20, 127, 32767):
                ea = int(rng.integers(-40, 40))
                eb = ea + distance
                a = rng.integers(-top, top + 1, size=n).astype(np.int8 if top <= 127 else np.int16)
                for b in (int8(rng, n, -127), int16(rng, n), np.full(n, -32767, dtype=np.int16)):
                    expected, exponent = reference.error_add(a, ea, b, eb)
                    with guarded(n, np.int16) as out:
                        assert (
                            call("k_error_add", ErrorView(a), ea, ErrorView(b), eb, n, out)
                            == exponent
                        )
                        assert np.array_equal(out, expected)
                        if a.dtype == np.int16:
                            out[...] = a
                            assert (
                                call("k_error_add", ErrorView(out), ea, ErrorView(b), eb, n, out)
                                == exponent
                            )
                            assert np.array_equal(out, expected)
                        if b.dtype == np.int16:
                            out[...] = b
                            assert (
                                call("k_error_add", ErrorView(a), ea, ErrorView(out), eb, n, out)
                                == exponent
                            )
                            assert np.array_equal(out, expected)


def test_error_add_of_zeros_keeps_the_formula() -> None:
    zeros, ones = np.zeros(9, dtype=np.int8), np.ones(9, dtype=np.int8)
    for a, b, ea, eb in [(zeros, zeros, 3, 5), (zeros, ones, 30, 5), (ones, zeros, 5, 9)]:
        expected, exponent = reference.error_add(a, ea, b, eb)
        with guarded(9, np.int16) as out:
            assert call("k_error_add", ErrorView(a), ea, ErrorView(b), eb, 9, out) == exponent
            assert np.array_equal(out, expected)


def test_channel_pad() -> None:
    rng = np.random.default_rng(4)
    for pixels, channels, before, total in [
        (1, 1, 0, 1),
        (64, 16, 8, 32),
        (5, 3, 0, 7),
        (5, 3, 4, 7),
        (9, 32, 16, 64),
    ]:
        x = int8(rng, (pixels, channels))
        expected = np.full((pixels, total), -11, dtype=np.int8)
        expected[:, before : before + channels] = x
        with guarded((pixels, total)) as y:
            call("k_channel_pad_fwd", x, pixels, channels, before, total, -11, y)
            assert np.array_equal(y, expected)
        for wide, e in enumerate((int8(rng, (pixels, total), -127), int16(rng, (pixels, total)))):
            slice_of_e = e[:, before : before + channels]
            with guarded((pixels, channels), e.dtype) as e_x:
                call("k_channel_pad_bwd", wide, e, pixels, channels, before, total, e_x)
                assert np.array_equal(e_x, slice_of_e)
            in_place = e.copy()
            call("k_channel_pad_bwd", wide, in_place, pixels, channels, before, total, in_place)
            assert np.array_equal(in_place.ravel()[: pixels * channels], slice_of_e.ravel())


class Pool:
    """One pooling geometry with helpers over its windows."""

    def __init__(self, h: int, w: int, c: int, kh: int, kw: int, sh: int, sw: int) -> None:
        self.inputs = (h, w, c)
        self.out = ((h - kh) // sh + 1, (w - kw) // sw + 1, c)
        self.kernel = (kh, kw)
        self.fields = np.array([h, w, c, *self.out[:2], kh, kw, sh, sw], dtype=np.int32)
        self.windows = [
            (oy, ox, slice(oy * sh, oy * sh + kh), slice(ox * sw, ox * sw + kw))
            for oy in range(self.out[0])
            for ox in range(self.out[1])
        ]


@pytest.mark.parametrize("geometry", POOLS, ids=str)
def test_average_pool(geometry: tuple[int, ...]) -> None:
    pool = Pool(*geometry)
    rng = np.random.default_rng(5)
    for low, high in [(-128, 128), (-128, -127), (127, 128), (-2, 3)]:
        x = rng.integers(low, high, size=pool.inputs, dtype=np.int8)
        n = pool.kernel[0] * pool.kernel[1]
        expected = np.zeros(pool.out, dtype=np.int8)
        for oy, ox, rows, columns in pool.windows:
            acc = x[rows, columns].astype(np.int64).sum(axis=(0, 1))
            rounded = np.where(acc > 0, acc + n // 2, acc - n // 2)
            expected[oy, ox] = np.sign(rounded) * (np.abs(rounded) // n)
        with guarded(pool.out) as y:
            call("k_average_pool_fwd", pool.fields, x, y)
            assert np.array_equal(y, expected)

        narrow = rng.integers(max(low, -127), max(high, -126), size=pool.out, dtype=np.int8)
        for wide, e in enumerate((narrow, narrow.astype(np.int16) * 258)):
            acc = np.zeros(pool.inputs, dtype=np.int64)
            for oy, ox, rows, columns in pool.windows:
                acc[rows, columns] += e[oy, ox]
            if n & (n - 1) == 0:
                lowered = n.bit_length() - 1
            else:
                acc, lowered = acc * ((2 * 2**15 + n) // (2 * n)), 15
            error, shift = reference.exact(acc, bool(wide))
            with guarded(pool.inputs, e.dtype) as e_x:
                assert call("k_average_pool_bwd", wide, pool.fields, e, e_x) == shift - lowered
                assert np.array_equal(e_x, error)


@pytest.mark.parametrize("geometry", POOLS, ids=str)
def test_max_pool(geometry: tuple[int, ...]) -> None:
    pool = Pool(*geometry)
    rng = np.random.default_rng(6)
    for low, high in [(-128, 128), (-128, -127), (0, 3)]:  # the last with many ties
        x = rng.integers(low, high, size=pool.inputs, dtype=np.int8)
        expected = np.zeros(pool.out, dtype=np.int8)
        errors = (int8(rng, pool.out, -127), int16(rng, pool.out))
        sums = [np.zeros(pool.inputs, dtype=np.int64) for _ in errors]
        for oy, ox, rows, columns in pool.windows:
            window = x[rows, columns].reshape(-1, pool.inputs[2])
            expected[oy, ox] = window.max(axis=0)
            ky, kx = np.unravel_index(window.argmax(axis=0), pool.kernel)
            for e, acc in zip(errors, sums, strict=True):
                acc[rows.start + ky, columns.start + kx, np.arange(pool.inputs[2])] += e[oy, ox]
        with guarded(pool.out) as y:
            call("k_max_pool_fwd", pool.fields, x, y)
            assert np.array_equal(y, expected)
        for wide, (e, acc) in enumerate(zip(errors, sums, strict=True)):
            error, shift = reference.exact(acc, bool(wide))
            with guarded(pool.inputs, e.dtype) as e_x:
                assert call("k_max_pool_bwd", wide, pool.fields, e, x, e_x) == shift
                assert np.array_equal(e_x, error)
