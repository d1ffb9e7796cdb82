"""An epoch as requests: every sample once, in order, updates where they belong."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.scaling import normalised_pair
from host.order import epoch_order
from host.protocol.messages import MAX_SLOTS
from host.protocol.training import UPDATE, epoch_requests, rate_pair


@given(st.floats(1e-30, 1e10))
def test_rate_pair_is_the_exporters(value: float) -> None:
    mantissa, exponent = rate_pair(value)
    assert 1 << 30 <= mantissa < 1 << 31
    assert math.isclose(mantissa * 2.0 ** (exponent - 31), value, rel_tol=2**-31)
    assert (mantissa, exponent) == normalised_pair(value)


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_rate_pair_refuses(value: float) -> None:
    with pytest.raises(ValueError, match="learning rate"):
        rate_pair(value)


def test_rate_pair_of_zero_and_of_a_mantissa_that_rounds_up() -> None:
    assert rate_pair(0.0) == (0, 0)
    assert rate_pair(1.0 - 2.0**-40) == (1 << 30, 1)


@given(st.integers(0, 300), st.integers(1, 200), st.integers(1, MAX_SLOTS))
def test_epoch_covers_all_samples_in_batches(count: int, batch: int, limit: int) -> None:
    order = epoch_order(7, 3, count).tolist()
    seen: list[int] = []
    updates: list[tuple[int, int]] = []  # batch size, learning rate's mantissa
    open_samples = 0
    for request in epoch_requests(order, batch, 0.1, limit):
        message = request.message
        assert 0 < len(message.slots) <= limit
        ended = 0
        for number, slot in enumerate(message.slots, 1):
            seen.append(slot)
            open_samples += 1
            last = number == len(message.slots)
            due = message.update_every and number % message.update_every == 0
            if due or (last and message.flags & UPDATE):
                assert (message.lr_mantissa, message.lr_exponent) == rate_pair(0.1 / open_samples)
                updates.append((open_samples, message.lr_mantissa))
                open_samples = 0
                ended += 1
        assert ended == request.batches
    assert seen == order
    assert open_samples == 0
    sizes = [size for size, _ in updates]
    assert sizes == [batch] * (count // batch) + ([count % batch] if count % batch else [])


def test_order_is_fixed_for_good() -> None:
    """Whoever repeats a run elsewhere relies on it."""
    assert epoch_order(0, 0, 8).tolist() == np.random.default_rng([0, 0]).permutation(8).tolist()
    assert epoch_order(5, 2, 10).tolist() == GOLDEN
    assert sorted(epoch_order(1, 9, 1000)) == list(range(1000))
    assert epoch_order(1, 0, 100).tolist() != epoch_order(1, 1, 100).tolist()


GOLDEN = [2, 4, 0, 9, 5, 8, 6, 3, 1, 7]
