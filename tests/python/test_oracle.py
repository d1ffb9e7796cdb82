"""The oracle's own pieces against independent formulas, and its rules on small graphs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.graph import Conv2d
from exporter.oracle import Oracle, forward
from exporter.oracle.accumulate import EMPTY, RowAccumulator
from exporter.oracle.backward import Error, add_errors, narrow, store_exact
from exporter.oracle.fixed import (
    log2_q16,
    mbqm,
    needed,
    normalised,
    random16,
    rshift_round,
    rshift_round_rows,
)
from exporter.oracle.loss import softmax_cross_entropy
from exporter.oracle.update import weight_step
from tests.python.graph_factory import random_input, small_graph


@given(st.integers(-(2**31), 2**31 - 1), st.integers(1 << 30, (1 << 31) - 1), st.integers(-31, 0))
def test_mbqm_is_within_one_of_the_real_product(x: int, multiplier: int, shift: int) -> None:
    exact = x * multiplier / 2**31 * 2.0**shift
    assert abs(int(mbqm(np.array(x), multiplier, shift)) - exact) <= 1.0


@given(st.integers(-(2**40), 2**40), st.integers(0, 30))
def test_rshift_round_rounds_half_up(a: int, n: int) -> None:
    assert int(rshift_round(np.array(a), n)) == math.floor(a / 2**n + 0.5)


def test_row_shifts_of_31_and_more_give_zero() -> None:
    values = np.array([[-(2**30)], [2**30], [-(2**30)]])
    assert rshift_round_rows(values, np.array([31, 40, 30])).ravel().tolist() == [0, 0, -1]


@given(st.floats(1e-9, 1e6))
def test_normalised_pairs_are_exact_to_31_bits(value: float) -> None:
    mantissa, exponent = normalised(value)
    assert 1 << 30 <= mantissa < 1 << 31
    assert abs(mantissa * 2.0 ** (exponent - 31) / value - 1.0) <= 2.0**-30


@given(st.integers(1, 2**40))
def test_log2_is_accurate_to_a_thousandth(value: int) -> None:
    assert abs(log2_q16(value) / 65536 - math.log2(value)) < 1e-3 * 0.5


@given(
    st.lists(st.integers(-200_000, 200_000), min_size=2, max_size=20), st.integers(0, 19), st.data()
)
def test_softmax_matches_the_float_one(values: list[int], label: int, data: st.DataObject) -> None:
    label %= len(values)
    # A multiplier of one half with shift 1 leaves the accumulators as Q12 base-2 logits.
    result = softmax_cross_entropy(np.array(values, dtype=np.int64), label, (1 << 30, 1))
    u = np.array(values, dtype=np.float64) / 4096
    p = np.exp2(u - u.max())
    p /= p.sum()
    expected = p - np.eye(len(values))[label]
    assert np.abs(result.gradient / 32768 - expected).max() <= 1.5e-4
    assert result.prediction == int(np.argmax(values))
    if p[label] > 1e-6:
        assert abs(result.loss_q16 / 65536 + math.log(p[label])) < 5e-3 + 1e-3 / p[label] * 0.01


def test_random_bits_are_uniform_and_depend_on_every_key() -> None:
    bits = random16(1, 2, 3, 1 << 16)
    assert abs(bits.mean() - 32767.5) < 4 * 65536 / math.sqrt(12 * bits.size)
    assert np.unique(bits).size > 40_000
    for other in (random16(2, 2, 3, 64), random16(1, 3, 3, 64), random16(1, 2, 4, 64)):
        assert (other != bits[:64]).mean() > 0.9


@given(
    st.lists(st.integers(-127, 127), min_size=4, max_size=4),
    st.lists(st.integers(-127, 127), min_size=4, max_size=4),
    st.integers(-20, 0),
    st.integers(-20, 0),
)
def test_sum_of_errors_is_symmetric_and_precise(
    a: list[int], b: list[int], ea: int, eb: int
) -> None:
    left = Error(np.array(a, dtype=np.int8).reshape(2, 2, 1), ea)
    right = Error(np.array(b, dtype=np.int8).reshape(2, 2, 1), eb)
    total, swapped = add_errors(left, right), add_errors(right, left)
    assert total.exponent == swapped.exponent and np.array_equal(total.values, swapped.values)
    real = np.array(a) * 2.0**ea + np.array(b) * 2.0**eb
    tolerance = 2.0**total.exponent * 0.5 + 127 * 2.0 ** min(ea, eb) * (abs(ea - eb) > 15)
    assert np.abs(total.values.ravel() * 2.0**total.exponent - real).max() <= tolerance


def test_narrowing_keeps_the_largest_value() -> None:
    wide = Error(np.array([[[32767, -1, 200]]], dtype=np.int16), -20)
    values = narrow(wide)
    assert values.values.ravel().tolist() == [127, 0, 1] and values.exponent == -12
    assert narrow(values) is not wide and needed(32767) == 8


@given(st.lists(st.integers(-(2**24), 2**24), min_size=2, max_size=6), st.integers(-8, 8))
def test_accumulator_tracks_the_exact_sum(samples: list[int], spread: int) -> None:
    held, exact, coarsest = RowAccumulator(), 0.0, -99
    for i, value in enumerate(samples):
        exponent = -30 + (i * spread) % 5
        held.add(np.array([[value]]), np.array([value]), exponent)
        exact += value * 2.0**exponent
    if held.weight_exponents[0] == EMPTY:
        assert exact == 0.0
        return
    assert held.weights is not None
    coarsest = int(held.weight_exponents[0])
    error = abs(float(held.weights[0, 0]) * 2.0**coarsest - exact)
    assert error <= 2.0**coarsest * len(samples)
    assert abs(int(held.weights[0, 0])) <= 32767


def test_stochastic_rounding_is_unbiased() -> None:
    rows, length, rate = 8, 4096, 2.0**-6
    weight = np.zeros((rows, length), dtype=np.int8)
    gradient = np.full((rows, length), 21, dtype=np.int64)
    new = weight_step(
        weight,
        gradient,
        np.zeros(rows, dtype=np.int64),
        [normalised(1.0)] * rows,
        normalised(rate),
        (3, 0, 0),
        False,
    )
    expected = -21 * rate
    assert abs(new.mean() - expected) < 5 * 0.5 / math.sqrt(new.size)
    assert set(np.unique(new)) <= {-1, 0}


@pytest.mark.parametrize("seed", range(6))
def test_training_lowers_the_loss_on_what_it_saw(seed: int) -> None:
    graph = small_graph(seed)
    oracle = Oracle(graph, graph.blocks[-1:], seed=seed)
    images = random_input(graph, 8, seed)
    rate = normalised(0.02 / 8)

    def epoch() -> float:
        losses = [oracle.train_sample(x, i % 5).loss_q16 for i, x in enumerate(images)]
        oracle.end_batch(rate)
        return sum(losses)

    first = epoch()
    for _ in range(15):
        last = epoch()
    assert last < first


def test_same_seed_same_hash_other_seed_another() -> None:
    graph = small_graph(3)
    images = random_input(graph, 6, 1)

    def run(seed: int) -> str:
        oracle = Oracle(graph, graph.blocks, seed=seed)
        for i, x in enumerate(images):
            oracle.train_sample(x, i % 5)
        oracle.end_batch(normalised(0.05))
        return oracle.weights_sha256()

    assert run(1) == run(1) != run(2)


def test_frozen_parameters_do_not_move() -> None:
    graph = small_graph(4)
    oracle = Oracle(graph, ("fc",), immediate=True)
    for i, x in enumerate(random_input(graph, 4)):
        oracle.train_sample(x, i, normalised(0.5))
    assert set(oracle.parameters) == {"fc"}
    last = graph.nodes[-1]
    assert isinstance(last, Conv2d) and last.quant is not None
    assert not np.array_equal(oracle.parameters["fc"][0], last.quant.weight)
    before = forward(graph, random_input(graph, 2))
    after = forward(graph, random_input(graph, 2), oracle.parameters)
    for node in graph.nodes[:-1]:
        assert np.array_equal(before[node.output], after[node.output])


def test_store_exact_uses_the_smallest_shift() -> None:
    stored = store_exact(np.array([[[1000, -3]]], dtype=np.int64), -4)
    assert stored.exponent == -1 and stored.values.ravel().tolist() == [125, 0]
