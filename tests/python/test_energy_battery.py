"""Battery life: closed forms, the published Terracorder figures, inputs and their errors."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from energy.battery import main
from energy.battery_model import (
    HOURS_A_YEAR,
    Battery,
    Joules,
    Plan,
    implied_activity,
    life_of,
)
from energy.battery_work import energies_of_comparison, energies_of_run, energies_of_work
from energy.board import load_board
from energy.errors import EnergyError

NOTHING = Joules(0.0, 0.0, 0.0)
SLEEPING = Plan(70e-6, math.inf, NOTHING, 0.0, NOTHING, math.inf, NOTHING, NOTHING, NOTHING)


def run(*words: str) -> Result:
    return CliRunner().invoke(main, list(words), standalone_mode=False)


def test_a_sleeping_device_without_losses_lasts_capacity_over_current() -> None:
    life = life_of(SLEEPING, Battery(6.7, self_discharge=0.0))
    assert life.years == pytest.approx(6.7 / 70e-6 / HOURS_A_YEAR)
    assert life.low == life.high == life.years
    assert life.charges_ah["sleep"] == pytest.approx(6.7)


@pytest.mark.parametrize("loss", [0.0, 0.01, 0.03])
def test_life_solves_the_battery_equation(loss: float) -> None:
    """Integrated in small steps, the charge is gone when `life_h` says."""
    battery, current_a = Battery(2.0, self_discharge=loss), 1e-4
    hours = battery.life_h(current_a)
    left, step_h = battery.usable_ah, hours / 20_000
    for _ in range(20_000):
        left -= step_h * (current_a + battery.loss_per_h * left)
    assert left == pytest.approx(0.0, abs=2e-3)
    assert battery.left_ah(current_a, hours) == pytest.approx(0.0, abs=1e-9)
    assert battery.current_for(hours) == pytest.approx(current_a)
    month_h = HOURS_A_YEAR / 12
    assert battery.left_ah(0.0, month_h) == pytest.approx(2.0 * (1 - loss))


def test_the_published_life_and_the_activity_it_implies() -> None:
    battery = Battery(6.7, self_discharge=0.0)
    implied = implied_activity(1.5, SLEEPING, battery, awake_w=0.169)
    assert implied.average_a == pytest.approx(510e-6, rel=0.01)
    assert implied.activity_a == pytest.approx(440e-6, rel=0.01)
    again = Plan(70e-6 + implied.activity_a, *tuple(vars(SLEEPING).values())[1:])
    assert life_of(again, battery).years == pytest.approx(1.5)
    lossy = implied_activity(1.5, SLEEPING, Battery(6.7, self_discharge=0.01), awake_w=0.169)
    assert lossy.activity_a < implied.activity_a
    assert lossy.activity_without_self_discharge_a == pytest.approx(implied.activity_a)
    with pytest.raises(EnergyError, match="sleep"):
        implied_activity(50.0, SLEEPING, battery, awake_w=0.169)


def test_blocks_cost_less_than_full_and_the_cache_less_again() -> None:
    board = load_board("terracorder")
    cached = energies_of_work(board, samples=200, epochs=10, batch=8)
    plain = energies_of_work(board, samples=200, epochs=10, batch=8, cached=False)
    full = cached.tunings["all"].value
    saved = {name: 1 - energy.value / full for name, energy in cached.tunings.items()}
    assert saved["fc"] > 0.9 and saved["block3"] > 0.5 > saved["block1"] > 0
    assert plain.tunings["all"] == cached.tunings["all"]
    assert plain.tunings["fc"].value > 5 * cached.tunings["fc"].value


def test_the_command_prints_draws_and_writes(tmp_path: Path) -> None:
    done = run("--board", "terracorder", "--out", str(tmp_path))
    assert done.exception is None, done.exception
    assert "modelled" in done.output and "wakings" in done.output
    found = json.loads((tmp_path / "battery.json").read_text(encoding="utf-8"))
    rows = {row["name"]: row for row in found["what_if"]}
    assert found["kind"] == "modelled"
    assert (tmp_path / "battery.png").read_bytes().startswith(b"\x89PNG")
    base = rows["as planned"]
    assert sum(base["charges_ah"].values()) == pytest.approx(6.7)
    low, high = base["life_range_years"]
    assert low <= base["life_years"] <= high
    assert rows["wake every 1 min"]["life_years"] < base["life_years"]
    assert rows["sleep current × 2"]["life_years"] < base["life_years"]
    assert rows["full (all blocks), every 7 days"]["life_years"] < base["life_years"]
    assert rows["never fine-tune"]["currents_a"]["fine-tuning"] == 0
    [claimed] = [row for name, row in rows.items() if name.startswith("1.5 years")]
    assert claimed["life_years"] == pytest.approx(1.5, rel=1e-6)


def energy_json(folder: Path, **changes: object) -> Path:
    figures = {"energy_j": 20.0, "energy_range_j": [15.0, 30.0], "count": 4}
    document = {
        "kind": "measured",
        "complete": True,
        "session": {"blocks": "fc"},
        "groups": {"fine_tuning": figures},
        "phases": {"infer": figures, "commit": figures},
    } | changes
    (folder / "energy.json").write_text(json.dumps(document), encoding="utf-8")
    return folder


def test_energies_of_a_run_and_of_a_comparison(tmp_path: Path) -> None:
    board = load_board("terracorder")
    otherwise = energies_of_work(board, samples=10, epochs=1, batch=8)
    found = energies_of_run(energy_json(tmp_path), otherwise)
    assert found.inference == Joules(5.0, 3.75, 7.5)
    assert found.tunings["fc"] == Joules(20.0, 15.0, 30.0)
    assert found.commits["fc"].value == 0 and found.kind == "measured"
    method = {"blocks": "block1", "energy_j": 7.0, "energy_low_j": 6.0, "energy_high_j": 9.0}
    (tmp_path / "compare.json").write_text(
        json.dumps({"kind": "modelled", "methods": [method]}), encoding="utf-8"
    )
    compared = energies_of_comparison(tmp_path, otherwise)
    assert compared.tunings["block1"] == Joules(7.0, 6.0, 9.0)
    done = run("--run", str(tmp_path), "--out", str(tmp_path), "--tune-days", "1")
    assert done.exception is None and "measured" in done.output


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--board", "esp32"], "--capacity-mah"),
        (["--run", "nowhere"], "nowhere"),
        (["--compare", "nowhere"], "nowhere"),
        (["--run", "a", "--compare", "b"], "one of them"),
        (["--blocks", "block9"], "block9.*fc"),
        (["--claim-years", "40"], "--claim-years"),
    ],
)
def test_bad_input_is_a_sentence(words: list[str], named: str, tmp_path: Path) -> None:
    done = run(*words, "--out", str(tmp_path))
    assert isinstance(done.exception, EnergyError), done.output
    assert re.search(named, str(done.exception))


def test_a_run_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    otherwise = energies_of_work(load_board("esp32"), samples=1, epochs=1, batch=8)
    with pytest.raises(EnergyError, match="not complete"):
        energies_of_run(energy_json(tmp_path, complete=False), otherwise)
    bad = {"fine_tuning": {"energy_j": None}}
    with pytest.raises(EnergyError, match="more than 0 J"):
        energies_of_run(energy_json(tmp_path, groups=bad), otherwise)
