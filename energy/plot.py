"""The picture of a capture: current over time, one step of it, and energy per phase.

Made for a phone: 1080 pixels wide, large type. Every axis carries its unit and `modelled` or
`measured`. Drawn from the exact spans, not from the decimated trace.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from energy.errors import TraceError
from energy.session import Phase
from energy.trace import Kind
from energy.units import duration, si
from energy.windows import WindowLog

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]

# Okabe and Ito's palette, told apart by colour-blind eyes; greys for what does no work.
COLOURS = {
    Phase.IDLE: "#d0d0d0",
    Phase.LOAD: "#999999",
    Phase.FROZEN_FORWARD: "#56b4e9",
    Phase.TRAIN_FORWARD: "#0072b2",
    Phase.BACKWARD: "#d55e00",
    Phase.UPDATE: "#e69f00",
    Phase.COMMIT: "#cc79a7",
    Phase.SLEEP: "#ececec",
    Phase.INFER: "#009e73",
}
_COLUMNS = 320
_STEP_WINDOWS = 32
_WIDTH_IN, _HEIGHT_IN, _DPI = 9.0, 16.0, 120


def draw(path: Path, log: WindowLog, kind: Kind, heading: str, subheading: str) -> None:
    """Draw the windows of `log` into the PNG `path`. Needs at least one window with a duration."""
    # Not before there is something to draw: these take 40 MB, and half a second.
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    with mpl.rc_context({"font.size": 17, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(_WIDTH_IN, _HEIGHT_IN), dpi=_DPI, layout="constrained")
        whole, step, bars = figure.subplots(3, 1, height_ratios=[1.0, 1.0, 1.15])
        # Room above the axes for the heading and up to three lines below it.
        layout = figure.get_layout_engine()
        if layout is not None:
            layout.set(rect=(0.0, 0.0, 1.0, 0.91))  # type: ignore[call-arg]
        figure.text(0.5, 0.99, heading, ha="center", va="top", fontsize=24, fontweight="bold")
        figure.text(0.5, 0.965, subheading, ha="center", va="top", fontsize=16, color="#555555")
        phases = [p for p in Phase if np.any(_mask(log, p))]
        _draw_session(whole, log, phases, kind)
        _draw_step(step, log, kind)
        _draw_bars(bars, log, phases, kind)
        handles = [Patch(color=COLOURS[p], label=_label(p)) for p in phases]
        figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
        temporary = path.with_name(f".{path.name}.part")
        try:
            figure.savefig(temporary, format="png", metadata={"Description": f"kind={kind}"})
            temporary.replace(path)
        except OSError as exc:
            temporary.unlink(missing_ok=True)
            raise TraceError(
                f"cannot write {path} ({exc.strerror or exc}); check the folder and its free space"
            ) from exc


def mean_current(log: WindowLog, phase: Phase, edges_s: Floats) -> Floats:
    """Mean current in A that `phase` contributes to each bin: shape (len(edges_s) - 1,).

    The sum over all phases is the mean current of the bin.
    """
    mask = _mask(log, phase)
    start_s, stop_s = log.floats("start_s")[mask], log.floats("stop_s")[mask]
    if len(start_s) == 0:
        return np.zeros(len(edges_s) - 1)
    charge_c = np.cumsum(log.floats("current_a")[mask] * (stop_s - start_s))
    at_s = np.stack([start_s, stop_s], axis=1).ravel()
    until_c = np.stack([np.append(0.0, charge_c[:-1]), charge_c], axis=1).ravel()
    shares: Floats = np.diff(np.interp(edges_s, at_s, until_c)) / np.diff(edges_s)
    return shares


def _mask(log: WindowLog, phase: Phase) -> NDArray[np.bool_]:
    mask: NDArray[np.bool_] = log.ints("phase") == phase
    mask &= log.floats("stop_s") > log.floats("start_s")
    return mask


def _label(phase: Phase) -> str:
    return phase.label.replace("_", " ")


def _time_unit(seconds: float) -> tuple[float, str]:
    for scale, unit in ((3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms")):
        if seconds >= 2 * scale:
            return scale, unit
    return 1e-6, "µs"


def _clock(kind: Kind) -> str:
    return "Time on the board" if kind == "modelled" else "Time"


def _draw_session(axes: Axes, log: WindowLog, phases: list[Phase], kind: Kind) -> None:
    end_s = float(np.max(log.floats("stop_s")))
    edges_s = np.linspace(0.0, end_s, _COLUMNS + 1)
    scale, unit = _time_unit(end_s)
    heights = np.stack([mean_current(log, p, edges_s) for p in phases]) * 1e3
    below = np.zeros(_COLUMNS)
    for phase, height in zip(phases, heights, strict=True):
        axes.stairs(
            below + height, edges_s / scale, baseline=below, fill=True, color=COLOURS[phase], lw=0
        )
        below = below + height
    axes.set_xlim(0.0, end_s / scale)
    axes.set_ylim(0.0, float(below.max()) * 1.08)
    axes.set_title(f"Whole session: {duration(end_s)}, by phase", loc="left")
    axes.set_xlabel(f"{_clock(kind)} ({unit}, {kind})")
    axes.set_ylabel(f"Current (mA, {kind})")


def _step_slice(log: WindowLog) -> slice:
    """From a step of the second epoch (with a warm cache), else of the first, to its update."""
    phase, epoch = log.ints("phase"), log.ints("epoch")
    backward = np.flatnonzero(phase == Phase.BACKWARD)
    warm = backward[epoch[backward] >= 1]
    pick = warm if len(warm) else backward
    first = int(pick[0]) if len(pick) else 0
    # Begin with the step's own data and forward pass, a few windows before its backward pass.
    while first > 0 and phase[first - 1] in (
        Phase.LOAD,
        Phase.FROZEN_FORWARD,
        Phase.TRAIN_FORWARD,
    ):
        first -= 1
    last = min(first + _STEP_WINDOWS, len(log))
    updates = np.flatnonzero(phase[first:last] == Phase.UPDATE)
    return slice(first, first + int(updates[0]) + 1 if len(updates) else last)


def _draw_step(axes: Axes, log: WindowLog, kind: Kind) -> None:
    part = _step_slice(log)
    start_s, stop_s = log.floats("start_s")[part], log.floats("stop_s")[part]
    origin_s, end_s = float(start_s[0]), float(stop_s[-1])
    scale, unit = _time_unit(end_s - origin_s)
    current_ma = log.floats("current_a")[part] * 1e3
    for begin, end, height, phase in zip(
        start_s, stop_s, current_ma, log.ints("phase")[part], strict=True
    ):
        left, right = (begin - origin_s) / scale, (end - origin_s) / scale
        axes.fill_between([left, right], height, color=COLOURS[Phase(int(phase))], lw=0)
    edges = np.append(start_s, end_s) - origin_s
    axes.stairs(current_ma, edges / scale, color="#222222", lw=1.5, baseline=None)
    axes.set_xlim(0.0, max((end_s - origin_s) / scale, 1e-9))
    axes.set_ylim(0.0, float(np.max(current_ma)) * 1.08)
    epoch = int(log.ints("epoch")[part][0])
    where = f" of epoch {epoch + 1}" if epoch >= 0 else ""
    axes.set_title(f"Training steps{where}, at {duration(origin_s)}", loc="left")
    axes.set_xlabel(f"{_clock(kind)} from there ({unit}, {kind})")
    axes.set_ylabel(f"Current (mA, {kind})")


def _draw_bars(axes: Axes, log: WindowLog, phases: list[Phase], kind: Kind) -> None:
    energy_j = np.array([np.sum(log.floats("energy_j")[_mask(log, p)]) for p in phases])
    low_j = np.array([np.sum(log.floats("energy_low_j")[_mask(log, p)]) for p in phases])
    high_j = np.array([np.sum(log.floats("energy_high_j")[_mask(log, p)]) for p in phases])
    rows = np.arange(len(phases))
    axes.barh(rows, energy_j, color=[COLOURS[p] for p in phases])
    ranged = high_j > low_j
    if np.any(ranged):
        whiskers = [(energy_j - low_j)[ranged], (high_j - energy_j)[ranged]]
        axes.errorbar(
            energy_j[ranged], rows[ranged], xerr=whiskers, fmt="none", ecolor="#222222", capsize=6
        )
    top_j = float(np.max(high_j))
    for row, value, high in zip(rows, energy_j, high_j, strict=True):
        axes.text(max(value, high) + 0.015 * top_j, float(row), si(float(value), "J"), va="center")
    axes.set_yticks(rows, [_label(p) for p in phases])
    axes.invert_yaxis()
    axes.set_xlim(0.0, top_j * 1.22)
    axes.set_title("Energy per phase", loc="left")
    note = "\nwhiskers: range of the board's figures" if np.any(ranged) else ""
    axes.set_xlabel(f"Energy (J, {kind}){note}")
