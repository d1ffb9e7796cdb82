"""An epoch of training as requests: which slots, where the updates fall, which learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from host.protocol.messages import MAX_SLOTS, Train

UPDATE = 1
"""Flag of Train and TrainInput: update the weights at the end."""
_ONE = 1 << 31


def rate_pair(value: float) -> tuple[int, int]:
    """`value` as (mantissa, exponent): value = mantissa · 2^(exponent − 31), mantissa in [2^30, 2^31).

    0 is (0, 0). Raises ValueError for a negative or infinite value or NaN.
    """
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"learning rate per sample {value}, expected a number of at least 0")
    if value == 0:
        return 0, 0
    fraction, exponent = math.frexp(value)
    mantissa = math.floor(fraction * _ONE + 0.5)
    return (mantissa // 2, exponent + 1) if mantissa == _ONE else (mantissa, exponent)


@dataclass(frozen=True)
class TrainRequest:
    """A request and the number of batches that it ends."""

    message: Train
    batches: int


def epoch_requests(
    order: Sequence[int], batch: int, lr: float, limit: int = MAX_SLOTS
) -> Iterator[TrainRequest]:
    """Requests that train on the slots `order` in batches of `batch`, the last one perhaps smaller,
    with no more than `limit` slots in a request.

    `lr` is that of a mean over the batch: each batch's sum of gradients is weighted lr / its size.
    """
    whole = len(order) // batch * batch
    yield from _requests(order[:whole], batch, lr, limit)
    if whole < len(order):
        yield from _requests(order[whole:], len(order) - whole, lr, limit)


def _requests(order: Sequence[int], batch: int, lr: float, limit: int) -> Iterator[TrainRequest]:
    """The same where `batch` divides the number of slots."""
    mantissa, exponent = rate_pair(lr / batch)
    if batch <= limit:
        size = limit // batch * batch
        for start in range(0, len(order), size):
            slots = tuple(order[start : start + size])
            yield TrainRequest(Train(mantissa, exponent, batch, 0, slots), len(slots) // batch)
        return
    for first in range(0, len(order), batch):
        for start in range(first, first + batch, limit):
            stop = min(start + limit, first + batch)
            last = stop == first + batch
            message = Train(mantissa, exponent, 0, UPDATE if last else 0, tuple(order[start:stop]))
            yield TrainRequest(message, int(last))
