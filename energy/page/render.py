"""`report.html` from the files of a run folder: `energy.json`, `trace.parquet`, `windows.parquet`, and `compare.json` above it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from energy.errors import EnergyError, TraceError
from energy.page.levels import Buckets, decimate, phases_of
from energy.plot import COLOURS
from energy.report import sentences
from energy.session import Phase
from energy.trace import TraceReader
from energy.units import duration, si

PAGE = "report.html"
BUCKETS = 60_000
"""Buckets kept for zooming: 17 bytes each before base64, so 1.4 MB of a page however long the trace."""
_COMPARE = "compare.json"


def write_page(run_dir: Path) -> Path:
    """Write `report.html` into `run_dir` and return its path; whole or not at all.

    Raises:
        EnergyError: a file of the run is missing, damaged, or belongs to another run.
    """
    summary = _json(run_dir / "energy.json")
    reader = TraceReader(run_dir / "trace.parquet")
    if summary.get("kind") != reader.info.kind or summary["trace"]["samples"] != reader.samples:
        raise EnergyError(
            f"{run_dir / 'trace.parquet'} does not belong to {run_dir / 'energy.json'} "
            f"({reader.samples:,} {reader.info.kind} samples against "
            f"{summary['trace']['samples']:,} {summary.get('kind')}); put the run's own trace back"
        )
    windows = _windows(run_dir / "windows.parquet")
    last = reader.samples + sum(gap.count for gap in reader.gaps) - 1
    buckets = decimate(reader.info, reader.chunks(), last, BUCKETS)
    phases = phases_of(buckets.width_s, len(buckets), *windows)
    # Piece by piece: the whole page as one text, with what makes it, would take 30 MB.
    pieces = (
        _environment()
        .get_template("template.html")
        .generate(
            **_context(summary, reader, _comparison(run_dir)),
            plotly=_plotly(),
            script=_resource("trace.js"),
            trace=_for_script(_trace(buckets, phases, reader.info.kind)),
        )
    )
    path = run_dir / PAGE
    temporary = run_dir / f".{PAGE}.part"
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.writelines(pieces)
        temporary.replace(path)
    except OSError as exc:
        temporary.unlink(missing_ok=True)
        raise TraceError(
            f"cannot write {path} ({exc.strerror or exc}); check the folder and its free space"
        ) from exc
    return path


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise EnergyError(
            f"{path} cannot be read ({exc}), expected the file that energy.capture leaves in a run folder; "
            "name such a folder, or record the run again"
        ) from exc
    if not isinstance(value, dict) or ("phases" not in value and "methods" not in value):
        raise EnergyError(f"{path} is no summary of a capture; name a run folder of energy.capture")
    return value


def _windows(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    try:
        # `read_table` would load Arrow's data sets, 10 MB, and read ahead.
        file = pq.ParquetFile(path, pre_buffer=False)
        table = file.read(columns=["start_s", "stop_s", "phase"], use_threads=False)
        labels = {phase.label: int(phase) for phase in Phase}
        names = table["phase"].unify_dictionaries().combine_chunks()
        values = np.array([labels[name] for name in names.dictionary.to_pylist()], dtype=np.int64)
        phase = values[names.indices.to_numpy()]
        start, stop = table["start_s"].to_numpy(), table["stop_s"].to_numpy()
        known = np.isfinite(start) & np.isfinite(stop)  # an instrument may have missed some
        return start[known], stop[known], phase[known]
    except (OSError, pa.ArrowInvalid, KeyError) as exc:
        raise EnergyError(
            f"{path} holds no windows of a capture ({exc}); record the run again"
        ) from exc


def _comparison(run_dir: Path) -> dict[str, Any] | None:
    for folder in (run_dir, run_dir.parent):
        if (folder / _COMPARE).is_file():
            return _json(folder / _COMPARE)
    return None


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FunctionLoader(_resource), autoescape=True, undefined=jinja2.StrictUndefined
    )


def _resource(name: str) -> str:
    return resources.files("energy.page").joinpath(name).read_text(encoding="utf-8")


def _plotly() -> Iterator[str]:
    """The library that draws the page, 4.8 million characters, in pieces."""
    with (
        resources.files("plotly")
        .joinpath("package_data/plotly.min.js")
        .open(encoding="utf-8") as file
    ):
        while piece := file.read(1 << 16):
            yield piece


def _for_script(value: object) -> str:
    """JSON that may stand inside a script element whatever texts it holds."""
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c")


def _trace(buckets: Buckets, phases: NDArray[np.uint8], kind: str) -> dict[str, object]:
    def packed(values: NDArray[np.float64]) -> str:
        return base64.b64encode(values.astype("<f4").tobytes()).decode()

    return {
        "width_s": buckets.width_s,
        "low": packed(buckets.low_w),
        "mean": packed(buckets.mean_w),
        "high": packed(buckets.high_w),
        "phases": base64.b64encode(phases.tobytes()).decode(),
        "names": [phase.label.replace("_", " ") for phase in Phase],
        "colours": [COLOURS[phase] for phase in Phase],
        "time_title": f"time on the board, {kind} (s)",
        "power_title": f"power, {kind} (W)",
    }


def _context(
    summary: Mapping[str, Any], reader: TraceReader, comparison: Mapping[str, Any] | None
) -> dict[str, object]:
    kind, metrics = str(summary["kind"]), summary["metrics"]
    tuning = summary["groups"]["fine_tuning"]
    session = summary["session"]
    described = summary["board"] or {}
    board = described.get("title") or session.get("board", "") or reader.info.probe
    figures = [
        ("energy of fine-tuning", si(tuning["energy_j"], "J")),
        ("time of fine-tuning", duration(tuning["duration_s"])),
        ("mean current", si(tuning["mean_a"], "A")),
        ("per image and epoch", si(summary["energy_per_training_step_j"], "J")),
    ]
    judged = {"accuracy_before", "accuracy_after"} <= set(metrics)
    if judged:
        before, after = (100 * float(metrics[f"accuracy_{k}"]) for k in ("before", "after"))
        figures.insert(0, ("accuracy before, after", f"{before:.1f} → {after:.1f} %"))
    used = [Phase[name.upper()] for name in summary["phases"]]
    facts = (session.get("data"), session.get("blocks"), session.get("epochs"))
    named = [
        text
        for text, fact in zip(
            (f"{facts[0]}", f"block {facts[1]}", f"{facts[2]} epochs"), facts, strict=True
        )
        if fact
    ]
    samples = reader.samples
    return {
        "title": "Energy of one fine-tuning session",
        "subtitle": ", ".join([str(board), *named]),
        "kind": kind,
        "warnings": _warnings(summary),
        "figures": figures,
        "legend": [(COLOURS[phase], phase.label.replace("_", " ")) for phase in used],
        "resolution": f"{samples:,} samples at {si(reader.info.rate_hz, 'S/s')}, kept in up to {BUCKETS:,} columns.",
        "phases": [_phase_row(name, figure) for name, figure in summary["phases"].items()],
        "accuracy": comparison is not None or judged,
        "methods": _methods(comparison),
        "methods_note": "ES = (E_full - E_block) / E_full. Paper: Huang, Millar et al., EuroMLSys 2024, a training step "
        "at 32 px on a Raspberry Pi, constant power times time.",
        "sentences": sentences(summary),
        "charts": _for_script(_charts(summary, used, comparison)),
    }


def _warnings(summary: Mapping[str, Any]) -> list[str]:
    lines = []
    if summary["kind"] == "modelled":
        lines.append(
            "Modelled, not measured: work the firmware reported, times the costs and currents of a described board."
        )
    if not summary["complete"]:
        lines.append(
            "This run did not reach its end, or lost events: the figures hold for what was recorded."
        )
    invalid = summary["total"]["from_trace"]["invalid_windows"]
    if invalid:
        lines.append(
            f"{invalid:,} windows touch a gap or a sample over range; they have no energy from the trace."
        )
    return lines


def _phase_row(name: str, figure: Mapping[str, Any]) -> list[str]:
    low, high = figure["energy_range_j"] or (None, None)
    return [
        name.replace("_", " "),
        si(figure["energy_j"], "J"),
        f"{si(low, 'J')} … {si(high, 'J')}",
        si(figure["charge_c"], "C"),
        si(figure["mean_a"], "A"),
        si(figure["peak_a"], "A"),
        duration(figure["duration_s"]),
        f"{figure['count']:,}",
    ]


def _methods(comparison: Mapping[str, Any] | None) -> list[dict[str, object]]:
    if comparison is None:
        return []
    rows = []
    for method in comparison["methods"]:
        es, paper = method["es"], method["paper_es"]
        rows.append(
            {
                "name": method["name"] + (" (target)" if method["target"] else ""),
                "target": method["target"],
                "accuracy": f"{100 * method['accuracy_after']:.2f} %",
                "energy": si(method["energy_j"], "J"),
                "es": "–"
                if es is None
                else f"{100 * es:.1f} % ({100 * method['es_low']:.1f} … {100 * method['es_high']:.1f})",
                "paper": "–" if paper is None else f"{100 * paper:.1f} %",
                "memory": f"{method['arena_bytes'] / 1024:.0f} KiB",
            }
        )
    return rows


_FONT = {"family": "system-ui, sans-serif", "size": 14}


def _charts(
    summary: Mapping[str, Any], used: Sequence[Phase], comparison: Mapping[str, Any] | None
) -> dict[str, object]:
    kind = summary["kind"]
    charts: dict[str, object] = {
        "phases": {
            "data": [
                {
                    "type": "bar",
                    "orientation": "h",
                    "y": [phase.label.replace("_", " ") for phase in used],
                    "x": [summary["phases"][phase.label]["energy_j"] for phase in used],
                    "marker": {"color": [COLOURS[phase] for phase in used]},
                }
            ],
            "layout": {
                "height": 60 + 44 * len(used),
                "margin": {"l": 120, "r": 12, "t": 8, "b": 48},
                "font": _FONT,
                "xaxis": {"title": {"text": f"energy, {kind} (J)"}, "rangemode": "tozero"},
                "yaxis": {"autorange": "reversed"},
            },
        }
    }
    metrics, tuning = summary["metrics"], summary["groups"]["fine_tuning"]
    points: list[tuple[str, float, float]] = []
    if comparison is not None:
        points = [
            (m["name"], m["energy_j"], 100 * m["accuracy_after"]) for m in comparison["methods"]
        ]
    elif {"accuracy_before", "accuracy_after"} <= set(metrics):
        points = [
            ("before", 0.0, 100 * metrics["accuracy_before"]),
            (
                str(summary["session"].get("blocks", "after")),
                tuning["energy_j"],
                100 * metrics["accuracy_after"],
            ),
        ]
    if points:
        charts["accuracy"] = {
            "data": [
                {
                    "type": "scatter",
                    "mode": "markers+text",
                    "x": [p[1] for p in points],
                    "y": [p[2] for p in points],
                    "text": [p[0] for p in points],
                    "textposition": "top center",
                    "marker": {"size": 13, "color": "#d55e00"},
                    "cliponaxis": False,
                }
            ],
            "layout": {
                "height": 380,
                "margin": {"l": 62, "r": 40, "t": 24, "b": 48},
                "font": _FONT,
                "xaxis": {
                    "title": {"text": f"energy of fine-tuning, {kind} (J)"},
                    "rangemode": "tozero",
                },
                "yaxis": {"title": {"text": "accuracy (%)"}, "range": [0, 105]},
            },
        }
    return charts
