"""Gradient accumulators of one trained node over a batch (docs/numerics.md, section 4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from exporter.oracle.fixed import I64, bitlen_array, rshift_round, rshift_round_rows

EMPTY = np.int64(-32768)


@dataclass
class RowAccumulator:
    """Block-floating-point sums: ``weights`` int16 range (rows, K), ``biases`` int32 range (rows,), exponents per row."""

    weights: I64 | None = None
    weight_exponents: I64 = None  # type: ignore[assignment]
    biases: I64 = None  # type: ignore[assignment]
    bias_exponents: I64 = None  # type: ignore[assignment]

    def add(self, matrix: I64 | None, biases: I64, exponent: int) -> None:
        """Add one sample's gradient, ``matrix`` (rows, K) or None for a bias alone, both in units of ``2**exponent``."""
        rows = biases.size
        if self.biases is None:
            self.biases = np.zeros(rows, dtype=np.int64)
            self.bias_exponents = np.full(rows, EMPTY)
            self.weight_exponents = np.full(rows, EMPTY)
            if matrix is not None:
                self.weights = np.zeros(matrix.shape, dtype=np.int64)
        if matrix is not None:
            assert self.weights is not None
            self.weights, self.weight_exponents = _add_rows(
                self.weights, self.weight_exponents, matrix, exponent, 14, (1 << 15) - 1
            )
        column, self.bias_exponents = _add_rows(
            self.biases[:, None], self.bias_exponents, biases[:, None], exponent, 30, (1 << 31) - 1
        )
        self.biases = column[:, 0]

    def clear_biases(self) -> None:
        """The biases' part is empty again, as after an update."""
        self.biases = np.zeros_like(self.biases)
        self.bias_exponents = np.full(self.biases.size, EMPTY)


def _add_rows(
    held: I64, exponents: I64, new: I64, exponent: int, bits: int, limit: int
) -> tuple[I64, I64]:
    largest = np.abs(new).max(axis=1)
    target = np.maximum(exponents, exponent + np.maximum(0, bitlen_array(largest) - bits))
    empty = exponents == EMPTY
    moved = rshift_round_rows(held, np.where(empty, 0, target - exponents))
    total = moved + rshift_round_rows(new, target - exponent)
    over = np.abs(total).max(axis=1) > limit
    total = np.where(over[:, None], rshift_round(total, 1), total)
    target = np.where(over, target + 1, target)
    unchanged = largest == 0
    return (
        np.where(unchanged[:, None], held, total),
        np.where(unchanged, exponents, target),
    )
