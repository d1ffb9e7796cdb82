"""Samples of current and voltage in memory, and what must be known about them.

Sample `k` belongs to the time `k / rate_hz` seconds after the start of the trace:

- `sampling = "mean"`: the sample is the mean over `[k, k + 1) / rate_hz` (integrating instruments,
  and the model); the trace covers `[0, n) / rate_hz`.
- `sampling = "point"`: the sample is the value at that instant; the trace covers
  `[0, n - 1] / rate_hz` and is linear in between.

Indices are those of the instrument: an index that is not there is a gap, never closed up.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from energy.errors import TraceError

Kind = Literal["measured", "modelled"]
Sampling = Literal["mean", "point"]


class Flag(enum.IntFlag):
    """What is special about a sample. One over range is a bound, not a reading: no window may hold it."""

    OVER_RANGE = 1
    RANGE_SWITCH = 2
    REPAIRED = 4


@dataclass(frozen=True, slots=True)
class Accuracy:
    """What the instrument's data sheet promises, as limits: reading = true value ± (gain · value + offset).

    `gain_error` and `voltage_gain_error` are fractions, `offset_a` in A, `voltage_offset_v` in V;
    `clock_error` is the relative error of the sample clock.
    """

    gain_error: float = 0.0
    offset_a: float = 0.0
    voltage_gain_error: float = 0.0
    voltage_offset_v: float = 0.0
    clock_error: float = 0.0
    source: str = ""


@dataclass(frozen=True, slots=True)
class TraceInfo:
    """What one must know to read a trace. `kind` says whether an instrument stands behind it."""

    kind: Kind
    rate_hz: float
    sampling: Sampling
    probe: str
    board: str = ""
    provenance: dict[str, str] = field(default_factory=dict)
    accuracy: Accuracy = field(default_factory=Accuracy)

    def __post_init__(self) -> None:
        if not (np.isfinite(self.rate_hz) and self.rate_hz > 0):
            raise TraceError(f"the sample rate is {self.rate_hz!r} Hz, expected a number above 0")

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Self:
        """The description that `dataclasses.asdict` took apart; ValueError or TypeError if it is none."""
        fields = dict(facts)
        return cls(accuracy=Accuracy(**fields.pop("accuracy", {})), **fields)


@dataclass(frozen=True, slots=True)
class Gap:
    """`count` samples from `first_index` on that the instrument did not deliver."""

    first_index: int
    count: int


_NO_FLAGS: NDArray[np.uint8] = np.empty(0, dtype=np.uint8)


@dataclass(frozen=True, slots=True)
class TraceChunk:
    """Consecutive samples from `first_index` on.

    `current_a`, `voltage_v`: float64, shape (n,), in A and V, NaN where lost or out of range;
    `trigger`, `flags`: uint8, shape (n,); `flags` of `Flag`, zeros unless given.
    """

    first_index: int
    current_a: NDArray[np.float64]
    voltage_v: NDArray[np.float64]
    trigger: NDArray[np.uint8]
    flags: NDArray[np.uint8] = field(default_factory=lambda: _NO_FLAGS)

    def __post_init__(self) -> None:
        shape = self.current_a.shape
        if len(shape) != 1 or self.voltage_v.shape != shape or self.trigger.shape != shape:
            raise TraceError(
                f"a chunk has shapes {shape}, {self.voltage_v.shape}, {self.trigger.shape}; "
                "expected three of the same length"
            )
        if self.flags is _NO_FLAGS:
            object.__setattr__(self, "flags", np.zeros(shape, dtype=np.uint8))
        elif self.flags.shape != shape:
            raise TraceError(f"a chunk has {self.flags.shape} flags for {shape} samples")

    def __len__(self) -> int:
        return int(self.current_a.shape[0])
