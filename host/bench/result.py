"""One measured figure and its bar."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Result:
    """``value`` against ``bar``; ``sense`` says whether the bar is the least (``>=``) or the most (``<=``) that is asked."""

    name: str
    value: float
    unit: str
    bar: float
    sense: str
    reference: str = ""
    note: str = ""

    @property
    def reached(self) -> bool:
        """NaN reaches nothing."""
        if not math.isfinite(self.value):
            return False
        return self.value >= self.bar if self.sense == ">=" else self.value <= self.bar

    def as_json(self) -> dict[str, object]:
        """The object written to ``bench.json``."""
        return asdict(self) | {"reached": self.reached}
