"""The figures of one capture: per phase, per epoch, per group; written as JSON.

Modelled: two figures stand side by side for each phase, the exact sum over the spans of the model
and the integral of the recorded trace over the same windows. They must agree within what sampling
hides. Measured: the integral of the trace is all there is, with what bounds it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from energy.board import Board
from energy.errors import TraceError
from energy.integrate import WindowFigures, WindowIntegrator
from energy.measured import Measurement
from energy.measured_summary import measured_facts, measured_figures
from energy.session import Phase
from energy.trace import Gap, TraceChunk, TraceInfo
from energy.windows import WindowLog

FORMAT = "tbft-energy-1"
_TRAINING = (Phase.FROZEN_FORWARD, Phase.TRAIN_FORWARD, Phase.BACKWARD, Phase.UPDATE, Phase.COMMIT)
Mask = NDArray[np.bool_]


def integrate_windows(
    log: WindowLog, info: TraceInfo, chunks: Iterable[TraceChunk]
) -> WindowFigures:
    """The windows of `log` over the samples `chunks` of the trace that `info` describes."""
    integrator = WindowIntegrator(
        log.floats("start_s"),
        log.floats("stop_s"),
        rate_hz=info.rate_hz,
        sampling=info.sampling,
    )
    for chunk in chunks:
        integrator.feed(chunk)
    return integrator.finish()


def build_summary(
    log: WindowLog,
    figures: WindowFigures,
    info: TraceInfo,
    board: Board | None,
    *,
    samples: int,
    gaps: list[Gap],
    complete: bool,
    session: Mapping[str, object],
    result: Mapping[str, object],
    measurement: Measurement | None = None,
) -> dict[str, object]:
    """Everything `energy.json` holds; energies in J, charge in C, currents in A, times in s.

    `board`: the description that a model stands for; `measurement`: where an instrument stands
    behind the figures, whose windows are those of `log` and `figures`.
    """

    def _figures(_log: WindowLog, _all: WindowFigures, mask: Mask) -> dict[str, object]:
        if measurement is not None:
            return measured_figures(measurement, mask)
        return modelled_figures(log, figures, mask)

    phase = log.ints("phase")
    masks = {p.label: phase == p for p in Phase if bool(np.any(phase == p))}
    epoch = log.ints("epoch")
    everything = np.ones(len(log), dtype=np.bool_)
    trained = np.isin(phase, [int(p) for p in (Phase.TRAIN_FORWARD, Phase.BACKWARD)])
    trained &= log.ints("sample") >= 0
    pairs = np.stack([epoch[trained], log.ints("sample")[trained]])
    steps = int(np.unique(pairs, axis=1).shape[1])
    groups = _groups(phase)
    lost = result.get("events_lost", 0)
    events_lost = lost if isinstance(lost, int) and lost > 0 else 0
    tuning = {name: _figures(log, figures, mask) for name, mask in groups.items()}
    tuning_j = tuning["fine_tuning"]["energy_j"]
    return {
        "format": FORMAT,
        "kind": info.kind,
        "note": "Every figure here is modelled from the work the board reported, not measured."
        if info.kind == "modelled"
        else "Every energy and current here is measured by an instrument.",
        "session_id": info.provenance.get("session_id", ""),
        "complete": complete and not events_lost,
        "events_lost": events_lost,
        "probe": info.probe,
        "board": _board(board) if board is not None else _named(session),
        "session": _plain(session),
        "metrics": _plain(result),
        "trace": {
            "rate_hz": info.rate_hz,
            "samples": samples,
            "sampling": info.sampling,
            "gaps": [[gap.first_index, gap.count] for gap in gaps],
            "provenance": dict(info.provenance),
        },
        **(measured_facts(measurement, info) if measurement is not None else {}),
        "total": _figures(log, figures, everything),
        "groups": tuning,
        "phases": {name: _figures(log, figures, mask) for name, mask in masks.items()},
        "epochs": [
            {"epoch": int(e), **_figures(log, figures, (epoch == e) & groups["fine_tuning"])}
            for e in np.unique(epoch[groups["fine_tuning"] & (epoch >= 0)])
        ],
        "training_steps": steps,
        "energy_per_training_step_j": tuning_j / steps
        if steps and isinstance(tuning_j, float)
        else None,
        "training_samples": sample_figures(log, trained),
    }


def _groups(phase: NDArray[np.int64]) -> dict[str, Mask]:
    """What a user asks for: fine-tuning and evaluation, each with the data loaded for it, the rest.

    Data is loaded for what the board does next, so a load belongs to the first span after it that
    is none.
    """
    behind = np.append(np.where(phase == Phase.LOAD, len(phase), np.arange(len(phase))), len(phase))
    following = np.minimum.accumulate(behind[::-1])[::-1][:-1]
    purpose = np.append(phase, int(Phase.IDLE))[following]
    tuning = np.isin(purpose, [int(p) for p in _TRAINING])
    evaluation = purpose == Phase.INFER
    return {"fine_tuning": tuning, "evaluation": evaluation, "other": ~tuning & ~evaluation}


def sample_figures(log: WindowLog, trained: Mask) -> dict[str, object] | None:
    """Energy of a sample's forward and backward pass in J, over all samples and epochs."""
    energy_j = log.floats("energy_j")[trained]
    keys = np.stack([log.ints("epoch")[trained], log.ints("sample")[trained]])
    if energy_j.size == 0:
        return None
    _, which = np.unique(keys, axis=1, return_inverse=True)
    sums = np.bincount(which.ravel(), weights=energy_j)
    sums = sums[np.isfinite(sums)]
    if sums.size == 0:
        return None
    low, middle, high = (float(value) for value in np.percentile(sums, (5, 50, 95)))
    spread = {"median_j": middle, "percentile_5_j": low, "percentile_95_j": high}
    return {"count": int(sums.size), "mean_j": float(np.mean(sums)), **spread}


def modelled_figures(log: WindowLog, figures: WindowFigures, mask: Mask) -> dict[str, object]:
    """One entry of `energy.json`: sums over the spans in `mask`, and the trace's beside them."""
    duration_s = log.floats("stop_s")[mask] - log.floats("start_s")[mask]
    total_s = float(np.sum(duration_s))
    current_a = log.floats("current_a")[mask]
    charge_c = float(np.sum(current_a * duration_s))
    busy = duration_s > 0
    valid = bool(np.all(figures.valid[mask]))
    return {
        "energy_j": float(np.sum(log.floats("energy_j")[mask])),
        "energy_range_j": [
            float(np.sum(log.floats("energy_low_j")[mask])),
            float(np.sum(log.floats("energy_high_j")[mask])),
        ],
        "charge_c": charge_c,
        "mean_a": charge_c / total_s if total_s > 0 else 0.0,
        "peak_a": float(np.max(current_a[busy], initial=0.0)),
        "duration_s": total_s,
        "count": int(np.count_nonzero(mask)),
        "macs": int(np.sum(log.ints("macs")[mask])),
        "elements": int(np.sum(log.ints("elements")[mask])),
        "flash_bytes": int(np.sum(log.ints("flash_bytes")[mask])),
        "wire_bytes": int(np.sum(log.ints("wire_bytes")[mask])),
        "from_trace": {
            "energy_j": float(np.sum(figures.energy_j[mask])) if valid else None,
            "sampling_uncertainty_j": float(np.sum(figures.uncertainty_j[mask])) if valid else None,
            "coarse_windows": int(np.count_nonzero(figures.coarse[mask] & busy)),
            "invalid_windows": int(np.count_nonzero(~figures.valid[mask])),
        },
    }


def _named(session: Mapping[str, object]) -> dict[str, object]:
    """What is known of a real board: what it says of itself."""
    name = str(session.get("board", "") or "board")
    return {"name": name, "title": name, "quantities": {}}


def _board(board: Board) -> dict[str, object]:
    return {
        "name": board.name,
        "title": board.title,
        "quantities": {
            name: {
                "value": quantity.value,
                "range": [quantity.low, quantity.high],
                "source": quantity.source,
                "assumed": quantity.assumed,
                **({"reason": quantity.reason} if quantity.assumed else {}),
            }
            for name, quantity in board.quantities().items()
        },
    }


def _plain(value: object) -> object:
    """`value` as JSON knows it: NaN and infinities become None, anything unknown its text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


def write_summary(path: Path, summary: Mapping[str, object]) -> None:
    """Write `summary` as JSON without NaN, whole or not at all."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        text = json.dumps(summary, indent=2, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError as exc:
        temporary.unlink(missing_ok=True)
        raise TraceError(
            f"cannot write {path} ({exc.strerror or exc}); check the folder and its free space"
        ) from exc
