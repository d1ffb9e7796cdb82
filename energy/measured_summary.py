"""The parts of `energy.json` that only a measured run has."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from energy.measured import Measurement
from energy.samples import TraceInfo
from energy.saving import EnergyValue

Mask = NDArray[np.bool_]


def measured_facts(measurement: Measurement, info: TraceInfo) -> dict[str, object]:
    """Alignment, accuracy and idle power of the run; times in s, power in W."""
    idle = measurement.idle
    return {
        "alignment": measurement.alignment.facts(),
        "accuracy": asdict(info.accuracy),
        "idle": None if idle is None else asdict(idle),
    }


def measured_figures(measurement: Measurement, mask: Mask) -> dict[str, object]:
    """One entry of `energy.json`: the windows in `mask`, bool (w,).

    `energy_j` None where too much is invalid (`energy.uncertainty.ESTIMABLE_SHARE`);
    `above_idle_j`: less the idle power over the same time, None where no idle was seen.
    """
    log, windows = measurement.log, measurement.windows
    figures = windows.figures
    value = windows.total(mask, log.ints("phase"))
    good, busy = mask & figures.valid, figures.duration_s > 0
    duration_s = float(np.sum(figures.duration_s[mask]))
    good_s = float(np.sum(figures.duration_s[good]))
    charge_c = float(np.sum(figures.charge_c[good]))
    above = _above_idle(measurement, value, duration_s)
    lost = mask & ~figures.valid
    return {
        "energy_j": value.energy_j if value else None,
        "energy_range_j": list(value.range_j) if value else [None, None],
        "uncertainty": None if value is None else _parts(value),
        "above_idle_j": above.energy_j if above else None,
        "above_idle_range_j": list(above.range_j) if above else [None, None],
        "charge_c": charge_c,
        "mean_a": charge_c / good_s if good_s > 0 else 0.0,
        "peak_a": float(np.max(figures.peak_a[good & busy], initial=0.0)),
        "duration_s": duration_s,
        "count": int(np.count_nonzero(mask)),
        "macs": int(np.sum(log.ints("macs")[mask])),
        "elements": int(np.sum(log.ints("elements")[mask])),
        "flash_bytes": int(np.sum(log.ints("flash_bytes")[mask])),
        "wire_bytes": int(np.sum(log.ints("wire_bytes")[mask])),
        "from_trace": {
            "energy_j": value.energy_j if value else None,
            "sampling_uncertainty_j": float(np.sum(figures.uncertainty_j[good])),
            "coarse_windows": int(np.count_nonzero(figures.coarse[mask] & busy[mask])),
            "invalid_windows": int(np.count_nonzero(lost)),
            "invalid_s": float(np.sum(figures.duration_s[lost])),
            "estimated": bool(np.any(lost & busy)) and value is not None,
        },
    }


def _parts(value: EnergyValue) -> dict[str, float]:
    parts = asdict(value)
    del parts["energy_j"]
    return parts


def _above_idle(
    measurement: Measurement, value: EnergyValue | None, duration_s: float
) -> EnergyValue | None:
    """Less idle power: the instrument's offset is in both, and goes with it."""
    idle = measurement.idle
    if idle is None or value is None:
        return None
    independent_j = float(np.hypot(value.independent_j, idle.uncertainty_w * duration_s))
    net_j = value.energy_j - idle.power_w * duration_s
    return EnergyValue(net_j, value.gain, 0.0, value.alignment_j, independent_j)
