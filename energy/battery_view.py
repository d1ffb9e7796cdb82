"""What `energy.battery` says: its table, its sentences and `battery.json`."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from energy.battery_model import HOURS_A_DAY, Battery, Implied, Life, Plan
from energy.battery_work import Energies
from energy.board import Board
from energy.errors import EnergyError
from energy.units import duration, si


def every(plan: Plan) -> str:
    """How often `plan` fine-tunes, in words."""
    days = plan.tune_every_h / HOURS_A_DAY
    return f"every {days:g} days" if math.isfinite(days) else "never"


def table(rows: list[tuple[str, Life]], board: Board) -> Table:
    """The what-ifs, one a row, the plan first."""
    table = Table(
        title=f"Battery life (modelled, {board.name})", title_style="bold", box=box.SIMPLE_HEAD
    )
    table.add_column("what if", no_wrap=True)
    for heading in ("average", "tuning", "life", "range\n(years)"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row, (name, life) in enumerate(rows):
        total = sum(life.currents.values())
        tuning = life.currents["fine-tuning"] + life.currents["commit"]
        table.add_row(
            name,
            si(total, "A"),
            f"{100 * tuning / total:.1f} %",
            _life(life.years),
            f"{_short(life.low)} … {_short(life.high)}",
            style="bold" if row == 0 else "",
        )
    return table


def _life(years: float) -> str:
    if not math.isfinite(years):
        return "for ever"
    return f"{years:.2f} years" if years >= 1 else f"{years * 365.25:.0f} days"


def _short(years: float) -> str:
    return f"{years:.1f}"


def sentences(
    plan: Plan, battery: Battery, energies: Energies, life: Life, implied: Implied | None
) -> list[str]:
    """What the figures rest on, and what the published life implies."""
    lines = [
        f"Inference {si(plan.inference.value, 'J')}, fine-tuning {si(plan.tuning.value, 'J')} each ({energies.kind}: {energies.origin}).",
        f"Asleep {si(plan.sleep_a, 'A')}; the average over everything is {si(sum(life.currents.values()), 'A')}, "
        f"and the life of {_life(life.years)} is modelled, not measured.",
    ]
    if implied:
        lines.append(
            f"A life of {implied.years:g} years means {si(implied.average_a, 'A')} on average (modelled): "
            f"beside sleep {si(implied.activity_a, 'A')} of activity, {si(implied.activity_j_a_day, 'J')} a day, "
            f"that is {implied.wakings_a_day:,.0f} wakings with "
            f"inference a day "
            f"or {duration(implied.awake_s_a_day)} of computing. Without self-discharge it would be "
            f"{si(implied.activity_without_self_discharge_a, 'A')} of activity."
        )
    return lines


def document(
    board: Board,
    battery: Battery,
    plan: Plan,
    energies: Energies,
    blocks: str,
    rows: list[tuple[str, Life]],
    implied: Implied | None,
    options: dict[str, Any],
) -> dict[str, Any]:
    """What `battery.json` holds; currents in A, charges in A h, energies in J, lives in years."""
    return {
        "format": "tbft-battery-1",
        "kind": "modelled",
        "board": board.name,
        "energies": {"kind": energies.kind, "origin": energies.origin},
        "blocks": blocks,
        "options": {key: str(v) if isinstance(v, Path) else v for key, v in options.items()},
        "battery": asdict(battery),
        "plan": {
            key: (None if isinstance(value, float) and not math.isfinite(value) else value)
            for key, value in asdict(plan).items()
        },
        "fine_tunings_j": {name: asdict(energy) for name, energy in energies.tunings.items()},
        "what_if": [
            {
                "name": name,
                "life_years": life.years,
                "life_range_years": [life.low, life.high],
                "currents_a": life.currents,
                "charges_ah": life.charges_ah,
            }
            for name, life in rows
        ],
        "implied": None if implied is None else asdict(implied),
    }


def write_json(path: Path, found: dict[str, Any]) -> None:
    """Write `found` to `path`, whole or not at all."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        temporary.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError as exc:
        temporary.unlink(missing_ok=True)
        raise EnergyError(
            f"cannot write {path} ({exc.strerror or exc}); check the folder and its free space"
        ) from exc
