"""`python -m energy.calibrate RUN`: a board description from one measured run.

The session's windows say what work was done in which span of the trace; the trace says how long it
took and what it drew. What is fitted, and how, is in `energy.calibration`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table

from energy.board import board_names, load_board
from energy.board_file import BoardFile, write_board
from energy.calibration import FITS_WITHIN, Calibration, calibrate
from energy.calibration_run import read_run
from energy.ending import end_well
from energy.errors import EnergyError
from energy.units import duration, si

REPORT = "calibration.json"
MISFIT_STATUS = 3


@click.command(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="""\b
Examples:
  python -m energy.calibrate runs/20260101-120000-cifar-flip-fc
  python -m energy.calibrate RUN --board esp32 --out my-board.toml
  python -m energy.capture --board my-board.toml          # then model with it""",
)
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@click.option(
    "--board",
    "board_name",
    default="terracorder",
    show_default=True,
    metavar="NAME|FILE.toml",
    help=f"The description to start from: {', '.join(board_names())}, or a TOML file. What the run does not tell stays as it is there.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The description to write; its file name is the board's name.  [default: RUN/NAME-calibrated.toml]",
)
def main(run: Path, board_name: str, out: Path | None) -> int:
    """Fit costs and currents of a board description to one measured (or replayed) run.

    The exit status is 0 when the fitted model gives the run's energy and every phase's within
    10 %, and 3 when it does not: the description is written all the same, and the table says where
    it is off.
    """
    board = load_board(board_name)
    where = run / f"{board.name}-calibrated.toml" if out is None else out
    if where.suffix != ".toml":
        raise EnergyError(
            f"the description {str(where)!r} has to be called NAME.toml; change --out"
        )
    result = calibrate(read_run(run), board, str(run))
    note = (
        f"Calibrated by python -m energy.calibrate {run} --board {board_name}\n"
        "from a measured run; what that run does not tell stays as in the description it began with."
    )
    _save(where, write_board(where.stem, _file(result), note))
    _save(run / REPORT, json.dumps(report(result, str(where)), indent=2, allow_nan=False) + "\n")
    console = Console()
    console.print(_table(result))
    for line in sentences(result):
        console.print(line, soft_wrap=True, highlight=False)
    console.print(f"Written to {where} and {run / REPORT}", soft_wrap=True)
    return 0 if result.fits else MISFIT_STATUS


def _file(result: Calibration) -> BoardFile:
    board = result.board
    return BoardFile(
        title=f"{board.title}, calibrated",
        cpu=board.cpu,
        supply_v=board.supply_v,
        clock_hz=board.clock_hz,
        costs=board.costs,
        states=board.states,
        phases=board.phases,
    )


def report(result: Calibration, path: str) -> dict[str, Any]:
    """What `calibration.json` holds; energies in J, times in s, deviations as fractions."""
    return {
        "format": "tbft-calibration-1",
        "run": result.run,
        "board": result.board.name,
        "description": path,
        "fits": result.fits,
        "fits_within": FITS_WITHIN,
        "energy_deviation": result.energy_deviation,
        "parameters": {
            name: {
                "before": fit.before,
                "value": fit.value,
                "standard_error": fit.error,
                "spans": fit.spans,
                "outlying_spans": fit.outliers,
            }
            for name, fit in result.fits_by_name.items()
        },
        "phases": {
            phase.label: {
                "spans": r.spans,
                "duration_s": r.duration_s,
                "duration_deviation": r.duration_deviation,
                "energy_j_measured": r.energy_j,
                "energy_deviation": r.energy_deviation,
                "span_deviation_rms": r.span_rms,
            }
            for phase, r in result.residuals.items()
        },
        "skipped_spans": result.skipped,
        "not_told_by_the_run": result.kept,
    }


def _table(result: Calibration) -> Table:
    table = Table(
        title="Fitted model against the measured run", title_style="bold", box=box.SIMPLE_HEAD
    )
    table.add_column("phase", no_wrap=True)
    for heading in (
        "spans",
        "time\n(measured)",
        "time\n(model)",
        "energy\n(measured)",
        "energy\n(model)",
        "a span\n(rms)",
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    for phase, r in result.residuals.items():
        table.add_row(
            phase.label.replace("_", " "),
            f"{r.spans:,}",
            duration(r.duration_s),
            _percent(r.duration_deviation),
            si(r.energy_j, "J"),
            _percent(r.energy_deviation),
            _percent(r.span_rms, sign=""),
        )
    return table


def _percent(fraction: float, sign: str = "+") -> str:
    return f"{100 * fraction:{sign}.1f} %"


def sentences(result: Calibration) -> list[str]:
    """The parameters, and what the fit is worth, a line each."""
    lines = [
        f"{name}: {fit.value:.4g} ± {fit.error:.2g} (was {fit.before:.4g}; {fit.spans:,} spans"
        + (f", {fit.outliers:,} of them outlying" if fit.outliers else "")
        + ")"
        for name, fit in result.fits_by_name.items()
    ]
    if result.kept:
        lines.append(f"Not told by this run, kept as they were: {', '.join(result.kept)}.")
    if result.skipped:
        lines.append(
            f"{result.skipped:,} spans were left out: shorter than two samples of the trace, or touching a gap."
        )
    lines.append(
        f"Over the run the model's energy is {_percent(result.energy_deviation)} from the measured one."
    )
    if not result.fits:
        worst = max(result.residuals, key=lambda p: abs(result.residuals[p].energy_deviation))
        off = result.residuals[worst].energy_deviation
        lines.append(
            f"The model does not fit this run: {worst.label.replace('_', ' ')} is {_percent(off)} off, expected within "
            f"{100 * FITS_WITHIN:.0f} %. Look at what that phase does besides the work reported (waiting, other tasks)."
        )
    return lines


def _save(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.part")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as exc:
        temporary.unlink(missing_ok=True)
        raise EnergyError(
            f"cannot write {path} ({exc.strerror or exc}); check the folder and its free space"
        ) from exc


def run_cli() -> None:
    """The command line; exit status as `energy.ending` says, 3 where the model does not fit."""
    sys.exit(end_well(main))


if __name__ == "__main__":
    run_cli()
