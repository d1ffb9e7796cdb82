"""`python -m energy.battery`: how long a battery lasts when the device adapts every so often."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console

from energy import battery_plot
from energy.battery_model import (
    HOURS_A_DAY,
    Battery,
    Joules,
    Plan,
    implied_activity,
    life_of,
    what_if,
)
from energy.battery_view import document, every, sentences, table, write_json
from energy.battery_work import (
    FORWARD_ELEMENTS,
    FORWARD_MACS,
    Energies,
    energies_of_comparison,
    energies_of_run,
    energies_of_work,
)
from energy.board import Board, board_names, load_board
from energy.ending import end_well
from energy.errors import EnergyError
from energy.session import Phase

JSON, PICTURE = "battery.json", "battery.png"
PUBLISHED = {"terracorder": (6700.0, 1.5)}
"""Battery in mA h and life in years that were published for a board: the Terracorder, about 70 uA asleep,
'1.5+ years on one 6700 mAh charge without communication'."""

_NOTHING = Joules(0.0, 0.0, 0.0)
_Command = TypeVar("_Command", bound=Callable[..., Any])
_positive = click.FloatRange(min=0, min_open=True)
_never = click.FloatRange(min=0)


def _option(
    name: str, text: str, default: Any = None, kind: Any = _positive
) -> Callable[[_Command], _Command]:
    return click.option(
        name, default=default, show_default=default is not None, type=kind, help=text
    )


@click.command(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="""\b
Examples:
  python -m energy.battery --board terracorder
  python -m energy.battery --board terracorder --tune-days 7 --blocks block1 --wake-minutes 60
  python -m energy.battery --run runs/20260101-120000-cifar-flip-fc --out runs/20260101-120000-cifar-flip-fc
  python -m energy.battery --compare runs/compare-output --blocks fc
  python -m energy.battery --board esp32c3 --capacity-mah 2000 --sleep-ua 40 --radio-seconds 30 --radio-ma 80""",
)
@_option("--board", f"{', '.join(board_names())}, or a TOML file.", "terracorder", str)
@_option(
    "--run",
    "Energy of an inference and of a fine-tuning from this run folder (energy.json).",
    None,
    click.Path(path_type=Path),
)
@_option(
    "--compare",
    "Energy of a fine-tuning by each method from this folder (compare.json).",
    None,
    click.Path(path_type=Path),
)
@_option(
    "--capacity-mah",
    "The battery's capacity.  [default: the published one of the board, terracorder: 6700]",
)
@_option("--battery-v", "The battery's mean voltage.", 3.7)
@_option(
    "--efficiency",
    "Share of its energy that arrives at the board's supply.",
    0.9,
    click.FloatRange(0, 1, min_open=True),
)
@_option(
    "--usable",
    "Share of the capacity that can be used.",
    1.0,
    click.FloatRange(0, 1, min_open=True),
)
@_option(
    "--self-discharge",
    "Percent of what is left that the battery loses a month.",
    1.0,
    click.FloatRange(0, 50),
)
@_option(
    "--sleep-ua", "Current of the whole device asleep, at the battery.  [default: the board's]"
)
@_option("--wake-minutes", "From one waking to the next; 0: never.", 10.0, _never)
@_option(
    "--wake-seconds",
    "Awake for starting and sensors, besides inference, at the idle current.",
    0.5,
    _never,
)
@_option("--inferences", "Inferences each time it wakes.", 1.0, _never)
@_option(
    "--inference-macs", "Multiply-accumulates of an inference.", FORWARD_MACS, click.IntRange(min=1)
)
@_option(
    "--inference-elements", "Elements of an inference.", FORWARD_ELEMENTS, click.IntRange(min=0)
)
@_option("--tune-days", "Days from one fine-tuning to the next; 0: never.", 7.0, _never)
@_option("--blocks", "What is fine-tuned.  [default: the run's, else fc]", None, str)
@_option("--samples", "Samples of a fine-tuning.", 200, click.IntRange(min=1))
@_option("--epochs", "Epochs of a fine-tuning.", 10, click.IntRange(min=1))
@_option("--batch", "Samples of an update.", 8, click.IntRange(min=1))
@click.option(
    "--cache/--no-cache",
    default=True,
    show_default=True,
    help="Frozen layers run once for each sample.",
)
@_option("--radio-seconds", "Seconds a day that the radio is on.", 0.0, _never)
@_option("--radio-ma", "Current of the board meanwhile, at its supply.", 100.0)
@_option("--claim-years", "Say which activity this life implies.  [default: the published one]")
@_option(
    "--out",
    "Folder for battery.json and battery.png.",
    Path(),
    click.Path(path_type=Path, file_okay=False),
)
def main(**options: Any) -> None:
    """How long a battery lasts: sleeping, waking, inferring, and fine-tuning every N days.

    The life is MODELLED, even where energies of a measured run go in: average currents against a
    capacity, at one temperature, without ageing.
    """
    board = load_board(options["board"])
    battery = _battery(board, options)
    energies, blocks = _energies(board, options)
    plan = _plan(board, energies, blocks, options)
    rows = [
        (name, life_of(other, cell))
        for name, other, cell in what_if(plan, battery, energies.tunings, blocks)
    ]
    claim = options["claim_years"] or PUBLISHED.get(board.name, (0.0, 0.0))[1]
    awake_w = board.supply_v.value * board.current(Phase.INFER).value
    implied = implied_activity(claim, plan, battery, awake_w) if claim else None
    if implied and implied.wakings_a_day > 0 and math.isfinite(implied.wakings_a_day):
        hours = HOURS_A_DAY / implied.wakings_a_day
        busy = replace(plan, wake_every_h=hours, tune_every_h=math.inf, radio_a_day=_NOTHING)
        name = f"{claim:g} years: wake every {3600 * hours:.0f} s"
        rows.append((name, life_of(busy, battery)))
    out: Path = options["out"]
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise EnergyError(
            f"cannot make the folder {out} ({exc.strerror}); choose another --out"
        ) from exc
    write_json(out / JSON, document(board, battery, plan, energies, blocks, rows, implied, options))
    subheading = (
        f"{board.title}\n{1e3 * battery.capacity_ah:g} mAh, {blocks} fine-tuned {every(plan)}"
    )
    battery_plot.draw(out / PICTURE, battery, rows, "Battery life, modelled", subheading)
    console = Console()
    console.print(table(rows, board))
    for line in sentences(plan, battery, energies, rows[0][1], implied):
        console.print(line, soft_wrap=True, highlight=False)
    console.print(f"Written to {out}: {JSON}, {PICTURE}", soft_wrap=True)


def _battery(board: Board, options: dict[str, Any]) -> Battery:
    capacity_mah = options["capacity_mah"] or PUBLISHED.get(board.name, (0.0, 0.0))[0]
    if not capacity_mah:
        raise EnergyError(
            f"no battery is known for the board {board.name}; expected its capacity: give --capacity-mah"
        )
    return Battery(
        capacity_ah=capacity_mah / 1e3,
        voltage_v=options["battery_v"],
        efficiency=options["efficiency"],
        usable=options["usable"],
        self_discharge=options["self_discharge"] / 100.0,
    )


def _energies(board: Board, options: dict[str, Any]) -> tuple[Energies, str]:
    energies = energies_of_work(
        board,
        samples=options["samples"],
        epochs=options["epochs"],
        batch=options["batch"],
        cached=options["cache"],
        inference_macs=options["inference_macs"],
        inference_elements=options["inference_elements"],
    )
    if options["run"] and options["compare"]:
        raise EnergyError("--run and --compare name two origins of one energy; give one of them")
    blocks = options["blocks"]
    if options["run"]:
        known = set(energies.tunings)
        energies = energies_of_run(options["run"], energies)
        found = energies.origin.rsplit("fine-tuning ", 1)[-1].rstrip(")")
        blocks = blocks or found
        # Other methods' work need not be that of this run's session.
        keep = {found} | ({blocks} & known)
        energies = Energies(
            energies.inference,
            {name: e for name, e in energies.tunings.items() if name in keep},
            energies.commits,
            energies.origin,
            energies.kind,
        )
    elif options["compare"]:
        energies = energies_of_comparison(options["compare"], energies)
    blocks = blocks or "fc"
    if blocks not in energies.tunings:
        raise EnergyError(
            f"nothing is known of fine-tuning {blocks!r}, expected one of {', '.join(energies.tunings)}; "
            "capture a run of it and give it with --run"
        )
    return energies, blocks


def _plan(board: Board, energies: Energies, blocks: str, options: dict[str, Any]) -> Plan:
    def power(current: float, volts: float, seconds: float) -> float:
        return current * volts * seconds

    idle, supply, seconds = board.current(Phase.IDLE), board.supply_v, options["wake_seconds"]
    radio_j = power(options["radio_ma"] / 1e3, supply.value, options["radio_seconds"])
    sleep = options["sleep_ua"]
    return Plan(
        sleep_a=sleep / 1e6 if sleep else board.current(Phase.SLEEP).value,
        wake_every_h=options["wake_minutes"] / 60.0 or math.inf,
        wake=Joules(
            power(idle.value, supply.value, seconds),
            power(idle.low, supply.low, seconds),
            power(idle.high, supply.high, seconds),
        ),
        inferences=options["inferences"],
        inference=energies.inference,
        tune_every_h=options["tune_days"] * HOURS_A_DAY or math.inf,
        tuning=energies.tunings[blocks],
        commit=energies.commits.get(blocks, _NOTHING),
        radio_a_day=Joules(radio_j, radio_j, radio_j),
    )


def run_cli() -> None:
    """The command line; exit status as `energy.ending` says."""
    sys.exit(end_well(main))


if __name__ == "__main__":
    run_cli()
