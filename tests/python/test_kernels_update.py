"""Gradient accumulation and integer SGD against Python integers."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from tests.python import kernel_reference as reference
from tests.python.kernel_lib import FAST, REF, call, guarded

EMPTY = -32768
EXPONENT = st.integers(-60, 60)


@st.composite
def gradients(draw: st.DrawFn) -> list[int]:
    """A row of gradients of any magnitude and length."""
    bits = draw(st.integers(0, 31))
    bound = max(0, 2**bits - 1)
    return draw(st.lists(st.integers(-bound, bound), min_size=1, max_size=70))


@given(
    gradients(),
    EXPONENT,
    st.one_of(st.none(), EXPONENT),
    st.integers(0, 32767),
    st.integers(0, 2**32 - 1),
)
@example([2**31 - 1, 1 - 2**31], 0, 0, 32767, 0)
@example([20000, -20000], 0, 0, 32767, 0)
@example([16383] * 40, 0, 0, 32767, 1)
@example([1, -1], -60, 60, 32767, 1)
@example([2**30, -(2**30)], -45, -14, 3, 1)
def test_accumulate_row(
    g: list[int], g_exponent: int, exponent: int | None, top: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    before = [int(v) for v in rng.choice([-top, top, top // 3], size=len(g))]
    expected, expected_exponent = reference.accumulate(before, exponent, g, g_exponent, 14, 32767)
    for variant in (REF, FAST):
        with guarded(len(g), np.int16) as acc, guarded(1, np.int16) as slot:
            acc[...] = before
            slot[0] = EMPTY if exponent is None else exponent
            call(
                "k_accumulate_row",
                variant,
                np.array(g, dtype=np.int32),
                g_exponent,
                len(g),
                acc,
                slot,
            )
            assert acc.tolist() == expected
            assert slot[0] == (EMPTY if expected_exponent is None else expected_exponent)


@given(
    st.integers(1 - 2**31, 2**31 - 1),
    EXPONENT,
    st.one_of(st.none(), EXPONENT),
    st.integers(1 - 2**31, 2**31 - 1),
)
@example(2**31 - 1, 0, 0, 2**31 - 1)
@example(2**30 - 1, 0, 0, 2**31 - 1)
@example(1 - 2**30, 0, 0, 1 - 2**31)
@example(0, 5, None, 7)
def test_accumulate_bias(g: int, g_exponent: int, exponent: int | None, before: int) -> None:
    expected, expected_exponent = reference.accumulate(
        [before], exponent, [g], g_exponent, 30, 2**31 - 1
    )
    acc = np.array([before], dtype=np.int32)
    slot = np.array([EMPTY if exponent is None else exponent], dtype=np.int16)
    call("k_accumulate_bias", g, g_exponent, acc, slot)
    assert acc.tolist() == expected
    assert slot[0] == (EMPTY if expected_exponent is None else expected_exponent)


PAIR = st.one_of(st.just((0, 0)), st.tuples(st.integers(2**30, 2**31 - 1), st.integers(-20, 20)))
KEY = st.integers(0, 2**32 - 1)


@given(
    PAIR,
    PAIR,
    st.integers(-80, 60),
    KEY,
    st.integers(0, 200),
    st.integers(1, 5),
    st.integers(1, 60),
    KEY,
)
@example((2**30, -5), (2**30, 3), -14, 1, 0, 1, 33, 1)
@example((2**31 - 1, 0), (2**31 - 1, 0), 15, 1, 1, 1, 40, 2)
@example((2**31 - 1, 0), (2**31 - 1, 0), -47, 1, 1, 3, 40, 2)
@example((2**31 - 1, 0), (2**31 - 1, 0), -48, 1, 1, 1, 40, 2)
def test_sgd_row(
    lr: tuple[int, int],
    rho: tuple[int, int],
    exponent: int,
    key: int,
    first: int,
    stride: int,
    n: int,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    # Half of the rows small, so that steps land inside the range of the weights.
    g = rng.integers(-32767, 32768, size=n).astype(np.int32) >> int(rng.choice([0, 6]))
    w = rng.integers(-127, 128, size=first + stride * n, dtype=np.int8)
    expected = w.copy()
    for j in range(n):
        index = first + j * stride
        random = reference.random16(key, index)
        expected[index] = reference.sgd(
            int(w[index]), int(g[j]), exponent, lr, rho, random, bias=False
        )
    pairs = np.array([*lr, *rho], dtype=np.int32)
    for variant in (REF, FAST):
        with guarded(w.shape) as out:
            out[...] = w
            call("k_sgd_row", variant, pairs, key, g, exponent, n, first, stride, out)
            assert np.array_equal(out, expected)


def test_sgd_row_over_all_shifts() -> None:
    """Every shift from saturation to nothing, on long rows of every parity and with int32 gradients of full range."""
    rng = np.random.default_rng(11)
    for exponent in range(-70, 60):
        lr, rho = (int(rng.integers(2**30, 2**31)), 0), (int(rng.integers(2**30, 2**31)), 0)
        n, first = int(rng.integers(1, 100)), int(rng.integers(0, 9))
        g = rng.integers(1 - 2**31, 2**31, size=n, dtype=np.int32) >> int(
            rng.choice([0, 8, 16, 24, 30])
        )
        w = rng.integers(-127, 128, size=first + n, dtype=np.int8)
        expected = w.copy()
        for j in range(n):
            random = reference.random16(99, first + j)
            expected[first + j] = reference.sgd(
                int(w[first + j]), int(g[j]), exponent, lr, rho, random, bias=False
            )
        pairs = np.array([*lr, *rho], dtype=np.int32)
        for variant in (REF, FAST):
            with guarded(w.shape) as out:
                out[...] = w
                call("k_sgd_row", variant, pairs, 99, g, exponent, n, first, 1, out)
                assert np.array_equal(out, expected), exponent


def apply_both(
    lr: tuple[int, int],
    rho: tuple[int, int],
    acc: np.ndarray,
    exponent: int,
    w: np.ndarray,
    first: int = 0,
    stride: int = 1,
) -> tuple[np.ndarray, np.ndarray, int]:
    """``k_apply_row`` in both forms, which must agree; weights, what is left, its exponent."""
    pairs = np.array([*lr, *rho], dtype=np.int32)
    results = []
    for variant in (REF, FAST):
        with guarded(w.shape) as out, guarded(acc.shape, np.int16) as left:
            out[...], left[...] = w, acc
            held = np.array([exponent], dtype=np.int16)
            call("k_apply_row", variant, pairs, acc.size, first, stride, left, held, out)
            results.append((out.copy(), left.copy(), int(held[0])))
    for one, other in zip(*results, strict=True):
        assert np.array_equal(one, other)
    return results[0]


@given(
    PAIR, PAIR, st.integers(-70, 40), st.integers(0, 50), st.integers(1, 5), st.integers(1, 60), KEY
)
@example((2**31 - 1, 0), (2**31 - 1, 0), 40, 0, 1, 40, 2)
@example((2**30, 0), (2**30, 0), -29, 0, 1, 40, 3)
@example((2**30, 0), (2**30, 0), -28, 1, 3, 40, 4)
@example((2**30, -20), (2**30, -20), -16384, 0, 1, 9, 5)
@example((2**30, -20), (2**30, -20), -16385, 0, 1, 9, 5)
def test_apply_row(
    lr: tuple[int, int],
    rho: tuple[int, int],
    exponent: int,
    first: int,
    stride: int,
    n: int,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    acc = rng.integers(-32767, 32768, size=n).astype(np.int16) >> int(rng.choice([0, 4, 9, 15]))
    w = rng.integers(-127, 128, size=first + stride * n, dtype=np.int8)
    places = first + stride * np.arange(n)
    moved, left, held = reference.apply_row(w[places].tolist(), acc.tolist(), exponent, lr, rho)
    expected = w.copy()
    expected[places] = moved
    out, kept, kept_exponent = apply_both(lr, rho, acc, exponent, w, first, stride)
    assert np.array_equal(out, expected)
    assert kept_exponent == held
    if held != -32768:
        assert kept.tolist() == left


def test_small_steps_add_up() -> None:
    """Batches of 0.3 of a quantum, the first after the last: exactly three steps in ten batches."""
    n = 64
    # Step = acc * lr * rho = 1 * 0.3: mantissa 0.6 * 2^31, exponent -1.
    lr, rho = (round(0.6 * 2**31), -1), (2**30, 1)
    w = np.zeros(n, dtype=np.int8)
    acc, exponent = np.zeros(n, dtype=np.int16), -32768
    gradient = np.ones(n, dtype=np.int32)
    for _ in range(10):
        held = np.array([exponent], dtype=np.int16)
        call("k_accumulate_row", FAST, gradient, 0, n, acc, held)
        w, acc, exponent = apply_both(lr, rho, acc, int(held[0]), w)
    assert set(w.tolist()) == {-3}


@given(
    PAIR,
    PAIR,
    st.integers(-80, 60),
    KEY,
    st.integers(0, 5000),
    st.integers(1 - 2**31, 2**31 - 1),
    st.integers(-(2**30), 2**30),
)
@example((2**31 - 1, 0), (2**31 - 1, 0), 40, 1, 0, 2**31 - 1, 2**30)
@example((2**31 - 1, 0), (2**31 - 1, 0), 15, 1, 0, 1 - 2**31, -(2**30))
@example((2**31 - 1, 0), (2**31 - 1, 0), -47, 1, 0, 1 - 2**31, 0)
def test_sgd_bias(
    lr: tuple[int, int],
    rho: tuple[int, int],
    exponent: int,
    key: int,
    index: int,
    acc: int,
    before: int,
) -> None:
    expected = reference.sgd(
        before, acc, exponent, lr, rho, reference.random16(key, index), bias=True
    )
    bias = np.array([before], dtype=np.int32)
    call("k_sgd_bias", np.array([*lr, *rho], dtype=np.int32), key, acc, exponent, index, bias)
    assert bias[0] == expected


def test_stochastic_rounding_is_unbiased() -> None:
    """A step of 0.3 of a quantum moves three of ten weights, not none."""
    n = 20_000
    # Step = acc * lr * rho = 1 * 0.3: mantissa 0.6 * 2^31, exponent -1.
    lr, rho = (round(0.6 * 2**31), -1), (2**30, 1)
    w = np.zeros(n, dtype=np.int8)
    call(
        "k_sgd_row",
        FAST,
        np.array([*lr, *rho], dtype=np.int32),
        7,
        np.ones(n, dtype=np.int32),
        0,
        n,
        0,
        1,
        w,
    )
    assert set(w.tolist()) == {-1, 0}
    assert abs(-float(w.mean()) - 0.3) < 0.01
