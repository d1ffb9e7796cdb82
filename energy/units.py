"""Quantities as people read them: `3.42 mJ`, `41 min 07 s`."""

from __future__ import annotations

import math

_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))


def si(value: float | None, unit: str) -> str:
    """`value` with three significant digits and a prefix; an en dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0:
        return f"0 {unit}".rstrip()
    for scale, prefix in _PREFIXES:
        # 0.9995: what would be rounded up to 1000 of the smaller prefix belongs to this one.
        if abs(value) >= 0.9995 * scale or scale == _PREFIXES[-1][0]:
            scaled = value / scale
            digits = 0 if abs(scaled) >= 99.95 else 1 if abs(scaled) >= 9.995 else 2
            return f"{scaled:.{digits}f} {prefix}{unit}".rstrip()
    raise AssertionError("the last prefix takes everything")


def duration(seconds: float) -> str:
    """`1.25 s`, `41 min 07 s`, `5 h 32 min`."""
    if not math.isfinite(seconds):
        return "–"
    if seconds < 99.95:
        return si(seconds, "s")
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min"
