"""Energies with what bounds them, and the share that block fine-tuning saves.

A limit that is the same for every window and run of one instrument (its gain, its offset) is
systematic: it adds up linearly, and a common factor cancels in a ratio. What differs at random from
window to window (where in a sample an edge falls) is independent and adds up in quadrature.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from energy.errors import EnergyError


@dataclass(frozen=True, slots=True)
class EnergyValue:
    """An energy in J with its limits.

    `gain`: fraction by which all energies of one instrument are too high or low together;
    `offset_j`: what the instrument's current and voltage offset may add or take, of one sign for
    all energies of one instrument; `alignment_j`: what a shift of all windows of the run may;
    `independent_j`: everything that has nothing to do with other windows and runs.
    """

    energy_j: float
    gain: float = 0.0
    offset_j: float = 0.0
    alignment_j: float = 0.0
    independent_j: float = 0.0

    @property
    def uncertainty_j(self) -> float:
        """Half the width of the range: the systematic parts and the independent one, added."""
        systematic = self.gain * abs(self.energy_j) + self.offset_j + self.alignment_j
        return systematic + self.independent_j

    @property
    def range_j(self) -> tuple[float, float]:
        """Lowest and highest energy in J that the limits allow."""
        return self.energy_j - self.uncertainty_j, self.energy_j + self.uncertainty_j


@dataclass(frozen=True, slots=True)
class Saving:
    """`ES` with its interval: `low <= value <= high`; a fraction, below 0 where nothing is saved."""

    value: float
    low: float
    high: float

    def __float__(self) -> float:
        return self.value


def energy_saving(
    full: EnergyValue | float, block: EnergyValue | float, *, same_instrument: bool = True
) -> Saving:
    """`ES = (E_FFT - E_TBFT) / E_FFT`: the share of full fine-tuning's energy that is saved.

    `full` (above 0) and `block` (not negative) in J, both finite, else `EnergyError`. With
    `same_instrument` the gain error cancels, and the offset has one sign for both; otherwise both
    are taken at their worst. The runs' alignments and independent parts add in quadrature. Where
    the limits reach down to no energy at all for `full`, nothing can be said: the interval is
    unbounded below.
    """
    full = EnergyValue(float(full)) if isinstance(full, int | float) else full
    block = EnergyValue(float(block)) if isinstance(block, int | float) else block
    full_j, block_j = full.energy_j, block.energy_j
    if not (math.isfinite(full_j) and full_j > 0):
        raise EnergyError(f"the energy of full fine-tuning is {full_j!r} J, expected more than 0")
    if not (math.isfinite(block_j) and block_j >= 0):
        raise EnergyError(f"the energy of block fine-tuning is {block_j!r} J, expected 0 or more")
    ratio = block_j / full_j
    gains = (0.0,) if same_instrument else (-1.0, 1.0)
    ratios = []
    for sign in (-1.0, 1.0):
        for gain in gains:
            other = sign if same_instrument else -sign
            above = block_j * (1 + gain * block.gain) + sign * block.offset_j
            below = full_j * (1 - gain * full.gain) + other * full.offset_j
            ratios.append(above / below if below > 0 else math.inf)
    own = math.hypot(block.alignment_j, block.independent_j) / full_j
    others = ratio * math.hypot(full.alignment_j, full.independent_j) / full_j
    spread = math.hypot(own, others)
    low = 1.0 - max(*ratios, ratio) - spread
    high = 1.0 - min(*ratios, ratio) + spread
    return Saving(1.0 - ratio, low, min(high, 1.0))
