"""Data order and learning-rate schedule, shared by all engines."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from host.order import epoch_order, epoch_rate


def test_order_is_a_permutation_that_depends_on_seed_and_epoch() -> None:
    orders = [epoch_order(s, e, 50) for s in range(2) for e in range(2)]
    for order in orders:
        assert sorted(order.tolist()) == list(range(50))
    assert len({tuple(order.tolist()) for order in orders}) == 4
    np.testing.assert_array_equal(epoch_order(1, 1, 50), orders[3])


def test_rates() -> None:
    assert [epoch_rate(0.1, "constant", e, 3) for e in range(3)] == [0.1, 0.1, 0.1]
    cosine = [epoch_rate(0.1, "cosine", e, 4) for e in range(4)]
    assert cosine[0] == pytest.approx(0.1) and cosine[2] == pytest.approx(0.05)
    assert all(a > b > 0 for a, b in pairwise(cosine))
