"""The spans of a measured run, integrated over its trace, as `energy.calibration` needs them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from energy.errors import EnergyError
from energy.integrate import WindowIntegrator
from energy.session import Phase, PhaseEvent
from energy.trace import TraceReader

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_WORK = (
    *("macs", "weight_macs", "sums", "masks", "elements", "updates", "instructions"),
    *("flash_bytes", "wire_bytes"),
)


@dataclass(frozen=True)
class Run:
    """The spans of a measured run; arrays of shape (w,). `cpu`: whose instructions were counted."""

    phases: NDArray[np.int64]
    events: list[PhaseEvent]
    duration_s: Floats
    charge_c: Floats
    energy_j: Floats
    usable: Bools
    cpu: str = ""


def read_run(folder: Path) -> Run:
    """The spans of the run in `folder`, integrated over its trace.

    Raises `EnergyError` where the run was modelled or its files cannot be used.
    """
    summary = _read_json(folder / "energy.json")
    reader = TraceReader(folder / "trace.parquet")
    if reader.info.kind != "measured" or summary.get("kind") != "measured":
        raise EnergyError(
            f"the run {folder} is modelled, expected one that an instrument measured: a model fitted to a model "
            "says nothing; capture a run with a probe, or replay a recorded one"
        )
    table = _read_windows(folder / "windows.parquet")
    labels = {phase.label: phase for phase in Phase}
    phases = [labels[str(name)] for name in table["phase"]]
    start_s, stop_s = (np.asarray(table[name], dtype=np.float64) for name in ("start_s", "stop_s"))
    known = np.isfinite(start_s) & np.isfinite(stop_s) & (stop_s >= start_s)
    integrator = WindowIntegrator(
        np.where(known, start_s, 0.0),
        np.where(known, stop_s, 0.0),
        rate_hz=reader.info.rate_hz,
        sampling=reader.info.sampling,
    )
    for chunk in reader.chunks():
        integrator.feed(chunk)
    figures = integrator.finish()
    events = [
        PhaseEvent(phase, 0, 0, **{name: int(table[name][k]) for name in _WORK})
        for k, phase in enumerate(phases)
    ]
    session = summary.get("session")
    return Run(
        phases=np.array([int(phase) for phase in phases], dtype=np.int64),
        events=events,
        duration_s=figures.duration_s,
        charge_c=figures.charge_c,
        energy_j=figures.energy_j,
        usable=known & figures.valid & ~figures.coarse & (figures.charge_c > 0),
        cpu=str(session.get("cpu", "")) if isinstance(session, dict) else "",
    )


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        raise EnergyError(f"there is no {path}; expected a run folder of energy.capture") from exc
    except (OSError, ValueError) as exc:
        raise EnergyError(
            f"{path} cannot be read ({exc}); expected what energy.capture wrote"
        ) from exc
    if not isinstance(found, dict):
        raise EnergyError(f"{path} holds no object; expected what energy.capture wrote")
    return found


def _read_windows(path: Path) -> dict[str, list[Any]]:
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as exc:
        raise EnergyError(
            f"{path} cannot be read ({exc}); expected the windows of energy.capture"
        ) from exc
    missing = {"phase", "start_s", "stop_s", *_WORK} - set(table.column_names)
    if missing:
        raise EnergyError(
            f"{path} has no column {sorted(missing)[0]!r}, expected the windows that this version of energy.capture writes; "
            "capture the run again"
        )
    return {name: table[name].to_pylist() for name in table.column_names}
