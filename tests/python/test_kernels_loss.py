"""Softmax cross-entropy in fixed point: against the rule in Python integers, and against the real function."""

from __future__ import annotations

import ctypes
import math

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from tests.python import kernel_reference as reference
from tests.python.kernel_lib import call, guarded, library


def test_tables() -> None:
    assert library().k_exp2_table()[:65] == reference.EXP2
    assert library().k_log2_table()[:65] == reference.LOG2


@given(st.integers(1, 2**36))
@example(2**30)
@example(2**31 - 1)
@example(2**34)
def test_log2(value: int) -> None:
    found = call("k_log2_q16", ctypes.c_uint64(value))
    assert found == reference.log2_q16(value)
    assert abs(found / 65536 - math.log2(value)) < 1e-4


def run_softmax(
    acc: list[int], label: int, multiplier: int, shift: int
) -> tuple[list[int], int, int, int, bool]:
    """The kernel, in the order of reference.softmax_xent."""
    n = len(acc)
    params = np.array([1, n, 0, multiplier, shift], dtype=np.int32)
    out = np.zeros(4, dtype=np.int64)
    with guarded(2 * n, np.int32) as work, guarded(n) as e:
        call("k_softmax_xent", params, np.array(acc, dtype=np.int32), label, work, e, out)
        again = np.zeros(4, dtype=np.int64)
        call("k_softmax_xent", params, np.array(acc, dtype=np.int32), label, work, None, again)
        assert np.array_equal(out, again)
        return e.tolist(), int(out[2]), int(out[0]), int(out[1]), bool(out[3])


accumulators = st.lists(st.integers(-(2**24), 2**24), min_size=2, max_size=40)


@given(accumulators, st.integers(0, 39), st.integers(2**30, 2**31 - 1), st.integers(-16, 4))
@example([0, 0], 0, 2**30, 0)
@example([5, 5, 5], 2, 2**30, 0)
@example([2**24, -(2**24)], 1, 2**31 - 1, 4)
@example([2**24, -(2**24)], 0, 2**31 - 1, 4)
def test_softmax_equals_reference(acc: list[int], label: int, multiplier: int, shift: int) -> None:
    label %= len(acc)
    assert run_softmax(acc, label, multiplier, shift) == reference.softmax_xent(
        acc, label, multiplier, shift
    )


def test_extreme_logits() -> None:
    """Differences beyond 2^30 count as 2^30; the loss then exceeds 32 bit."""
    acc = [2**31 - 1, -(2**31), 0]
    for label in range(3):
        assert run_softmax(acc, label, 2**31 - 1, 0) == reference.softmax_xent(
            acc, label, 2**31 - 1, 0
        )


@given(st.lists(st.floats(-12, 12), min_size=2, max_size=20), st.integers(0, 19))
def test_softmax_is_close_to_the_real_one(logits: list[float], label: int) -> None:
    label %= len(logits)
    # With multiplier 2^30 and shift 1 the accumulators are the Q12 base-2 logits themselves.
    acc = [round(v * math.log2(math.e) * 4096) for v in logits]
    e, exponent, loss, _, _ = run_softmax(acc, label, 2**30, 1)
    top = max(logits)
    weights = [math.exp(v - top) for v in logits]
    p = [w / sum(weights) for w in weights]
    assert abs(loss / 65536 + math.log(p[label])) < 2e-3
    gradient = np.array(p) - (np.arange(len(p)) == label)
    assert np.abs(np.array(e) * 2.0**exponent - gradient).max() < 2.0**exponent + 1e-3


def test_linear_loss() -> None:
    rng = np.random.default_rng(7)
    for inputs, classes in [(64, 10), (1, 2), (17, 33), (640, 1000)]:
        x = rng.integers(-128, 128, size=inputs, dtype=np.int8)
        w = rng.integers(-127, 128, size=(classes, inputs), dtype=np.int8)
        bias = rng.integers(-10000, 10000, size=classes, dtype=np.int32)
        acc = w.astype(np.int64) @ (x.astype(np.int64) + 77) + bias
        label = int(rng.integers(classes))
        params = np.array([inputs, classes, -77, 2**30 + 12345, -4], dtype=np.int32)
        out = np.zeros(4, dtype=np.int64)
        with (
            guarded(int(call("k_linear_loss_scratch_bytes", inputs, classes))) as scratch,
            guarded(classes) as e,
        ):
            call("k_linear_loss", params, x, w, bias, label, scratch, e, out)
            expected = reference.softmax_xent([int(a) for a in acc], label, 2**30 + 12345, -4)
            assert (e.tolist(), int(out[2]), int(out[0]), int(out[1]), bool(out[3])) == expected
