"""The comparison of methods: its arithmetic, its files, and how its command ends."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from energy import compare as command
from energy.comparison import FULL, METHODS, TARGETS, Run, compare, run_of, saving_interval
from energy.errors import EnergyError
from energy.saving import energy_saving


def summary(energy_j: float, kind: str = "modelled", spread: float = 0.1) -> dict[str, Any]:
    """The part of an `energy.json` that a comparison reads."""
    return {
        "kind": kind,
        "complete": True,
        "groups": {
            "fine_tuning": {
                "energy_j": energy_j,
                "energy_range_j": [energy_j * (1 - spread), energy_j * (1 + 2 * spread)],
                "uncertainty": {
                    "gain": 0.05,
                    "offset_j": 0.1,
                    "alignment_j": 0.3,
                    "independent_j": 0.4,
                },
                "duration_s": 10 * energy_j,
                "macs": int(1e6 * energy_j),
            }
        },
        "metrics": {"accuracy_before": 0.3, "accuracy_after": 0.7, "arena_bytes": 1024},
    }


def run(blocks: str, energy_j: float, kind: str = "modelled") -> Run:
    return run_of(blocks, summary(energy_j, kind), "folder")


def test_saving_of_the_means_with_the_ends_taken_together() -> None:
    es, low, high = saving_interval([run(FULL, 10.0)], [run("fc", 2.5)])
    # What is uncertain of the board is uncertain of both alike: a common factor leaves ES alone.
    assert (es, low, high) == pytest.approx((0.75, 0.75, 0.75))
    full = [run(FULL, e) for e in (9.0, 11.0)]
    es, low, high = saving_interval(full, [run("fc", 2.5)])
    assert es == pytest.approx(0.75)
    assert low < 0.75 < high and high - es == pytest.approx(2 * 1.0 * 2.5 / 100)


def test_the_interval_of_a_measured_saving_has_all_its_parts() -> None:
    full, block = run(FULL, 10.0, "measured"), run("fc", 2.5, "measured")
    es, low, high = saving_interval([full], [block])
    assert full.measured is not None and block.measured is not None
    alone = energy_saving(full.measured, block.measured)
    assert (es, low, high) == pytest.approx((0.75, alone.low, alone.high))
    # Alignment and independent parts of both runs in quadrature, the offset at its worst; the gain cancels.
    apart = math.hypot(0.05, 0.25 * 0.05)
    assert low == pytest.approx(1 - 2.6 / 10.1 - apart)
    assert high == pytest.approx(1 - 2.4 / 9.9 + apart)
    again = saving_interval([full] * 4, [block] * 4)
    assert again[2] - again[1] < high - low


def test_an_instrument_too_coarse_for_the_energy_is_said() -> None:
    with pytest.raises(EnergyError, match="limits are as large as"):
        compare([run(FULL, 0.09, "measured"), run("fc", 0.05, "measured")], "output")


def test_outcomes_know_target_reference_and_paper() -> None:
    runs = [run(name, 2.0 + k) for k, name in enumerate(METHODS)]
    for shift, block in TARGETS.items():
        outcomes = compare(runs, shift)
        assert [o.blocks for o in outcomes] == list(METHODS)
        assert [o.blocks for o in outcomes if o.target] == [block]
        assert [o.es is None for o in outcomes] == [o.blocks == FULL for o in outcomes]
    paper = {o.blocks: o.paper_es for o in compare(runs, "input")}
    assert [round(100 * (paper[b] or 0), 2) for b in ("block1", "block2", "block3", "fc")] == [
        15.09,
        37.74,
        45.28,
        67.92,
    ]


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        ([run("fc", 1.0)], "full fine-tuning"),
        ([run(FULL, 1.0), run("fc", 1.0, "measured")], "measured and modelled"),
        ([run(FULL, 0.0), run("fc", 0.0)], "took no energy"),
    ],
)
def test_what_cannot_be_compared_is_said(runs: list[Run], words: str) -> None:
    with pytest.raises(EnergyError, match=words):
        compare(runs, "output")


@pytest.mark.parametrize("value", [None, float("nan"), "1"])
def test_a_run_without_its_figure_is_named(value: object) -> None:
    broken = summary(1.0)
    broken["groups"]["fine_tuning"]["energy_j"] = value
    with pytest.raises(EnergyError, match="block1 in there"):
        run_of("block1", broken, "there")


@dataclass
class Captured:
    """Stands for what energy.capture returns."""

    summary: dict[str, Any]
    run_dir: Path


def captured_by(monkeypatch: pytest.MonkeyPatch, kind: str, fail_at: int = 99) -> list[str]:
    """Replaces the capture; returns the list of what it was asked to train."""
    asked: list[str] = []

    def capture(port: str, board: object, options: tuple[str, ...], *, probe: str) -> Captured:
        if len(asked) == fail_at:
            raise KeyboardInterrupt
        blocks = options[options.index("--blocks") + 1]
        asked.append(blocks)
        energy_j = {"all": 10.0, "fc": 1.0}.get(blocks, 7.0)
        return Captured(summary(energy_j, kind), Path(options[options.index("--runs") + 1]))

    monkeypatch.setattr(command, "capture", capture)
    return asked


def invoke(tmp_path: Path, *words: str) -> tuple[int, dict[str, Any] | None]:
    result = CliRunner().invoke(
        command.main, [*words, "--runs", str(tmp_path)], catch_exceptions=True
    )
    found = list(tmp_path.glob("*-compare-*/compare.json"))
    return result.exit_code, json.loads(found[0].read_text()) if found else None


def test_methods_take_turns_and_a_measured_one_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = captured_by(monkeypatch, "measured")
    status, document = invoke(
        tmp_path, "--shift", "output", "--methods", "fc,block1", "--epochs", "1"
    )
    assert status == 0 and document is not None
    assert asked == ["all", "block1", "fc"] * 3
    es = {m["name"]: m["es"] for m in document["methods"]}
    assert es == {"block1": pytest.approx(0.3), "fc": pytest.approx(0.9), "full": None}
    assert document["kind"] == "measured" and document["rounds"] == 3
    assert list(tmp_path.glob("*/compare.png"))


def test_an_interrupted_comparison_keeps_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    captured_by(monkeypatch, "modelled", fail_at=2)
    status, document = invoke(tmp_path, "--shift", "input")
    assert status != 0 and document is not None
    assert [m["name"] for m in document["methods"]] == ["block1", "full"]


def test_bad_usage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    captured_by(monkeypatch, "modelled")
    assert invoke(tmp_path, "--shift", "output", "--methods", "block9")[0] == 2
    assert invoke(tmp_path, "--shift", "output", "--blocks", "fc")[0] == 2
    assert invoke(tmp_path, "--shift", "sideways")[0] == 2
