"""Fixed-point primitives against Python's big integers."""

from __future__ import annotations

import ctypes

from hypothesis import example, given
from hypothesis import strategies as st

from tests.python import kernel_reference as reference
from tests.python.kernel_lib import call

INT32 = st.integers(-(2**31), 2**31 - 1)
UINT32 = st.integers(0, 2**32 - 1)
MULTIPLIER = st.one_of(st.just(0), st.integers(2**30, 2**31 - 1))


@given(INT32, MULTIPLIER, st.integers(-31, 30))
@example(-(2**31), 2**31 - 1, 0)
@example(2**31 - 1, 2**31 - 1, -31)
@example(-1, 2**30, -1)
@example(-(2**31), 2**30, -31)
@example(3, 2**30, 30)
def test_mbqm(x: int, multiplier: int, shift: int) -> None:
    assert call("k_mbqm", x, multiplier, shift) == reference.mbqm_int(x, multiplier, shift)


@given(INT32, st.integers(0, 40))
def test_rshift_round(a: int, n: int) -> None:
    assert call("k_rshift_round", a, n) == reference.shift_or_zero(a, n)


@given(st.integers(0, 2**64 - 1))
def test_bitlen(n: int) -> None:
    assert call("k_bitlen", ctypes.c_uint64(n)) == n.bit_length()


@given(st.integers(0, 2**31))
@example(0)
@example(127)
@example(128)
def test_needed_shift(largest: int) -> None:
    assert call("k_needed_shift", largest) == reference.needed(largest)


def test_shift_serves() -> None:
    for shift in range(25):
        for needed in range(25):
            assert call("k_shift_serves", shift, needed) == (shift - needed in (0, 1))


@given(st.integers(0, 2**31 - 1), st.integers(0, 247), st.integers(0, 127))
@example(0, 80, 0)
@example(1, 0, 127)
@example(7, 3, 2)
@example(2**31 - 1, 247, 1)
def test_gain_of_sums(largest: int, gain: int, read: int) -> None:
    assert call("k_level_of", largest) == reference.level_of(largest) <= 247
    expected = reference.gain_after(gain, read, largest)
    assert call("k_gain_after", gain, read, largest) == expected <= 247
    assert call("k_expected_shift", gain, read) == reference.expected_shift(gain, read) <= 24


def test_the_same_gain_gives_a_shift_that_serves() -> None:
    """Errors up to 64, then up to others, with sums somewhat below their proportion: the shift is exact, or one bit is lost."""
    for factor in range(1, 4000, 7):
        gain = reference.gain_after(0, 64, 64 * factor)
        for read in (32, 40, 48, 56, 64, 80, 96, 112, 127):
            guess = reference.expected_shift(gain, read)
            for part in (read * factor * 4 // 5, read * factor * 3 // 5):
                assert guess - reference.needed(part) in (0, 1)


@given(UINT32, UINT32, st.integers(0, 1000), UINT32)
def test_random_bits(seed: int, step: int, tensor: int, index: int) -> None:
    key = reference.random_key(seed, step, tensor)
    assert call("k_random_key", seed, step, tensor) == key
    assert call("k_random_bits16", key, index) == reference.random16(key, index)
