"""Calibration: a known board is found again from a noisy run, and a misfit is told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from energy.board import Board, load_board
from energy.calibrate import main
from energy.calibration import calibrate, proportional
from energy.calibration_run import read_run
from energy.errors import EnergyError
from energy.samples import Kind
from energy.session import Phase, PhaseEvent
from energy.trace import TraceChunk, TraceInfo, TraceWriter
from energy.windows import Window, WindowLog

RATE_HZ = 2000.0
NOISE = 0.02


def known_board() -> Board:
    """Unlike the description that calibration begins with, in every parameter."""
    board = load_board("terracorder")
    factors = {
        "cycles_per_instruction": 1.3,
        "instructions_per_mac_backward": 1.2,
        "instructions_per_weight_mac_backward": 1.2,
        "instructions_per_sum_backward": 1.2,
        "instructions_per_element_backward": 1.2,
        "instructions_per_update": 0.8,
        "seconds_per_flash_byte": 2.0,
        "seconds_per_wire_byte": 1.5,
    }
    costs = {
        name: replace(q, value=q.value * factors.get(name, 1.0)) for name, q in board.costs.items()
    }
    states = {
        name: replace(q, value=q.value * (0.9 if name == "compute" else 1.1))
        for name, q in board.states.items()
    }
    return replace(board, supply_v=replace(board.supply_v, value=3.4), costs=costs, states=states)


def events() -> list[PhaseEvent]:
    found = []
    for k in range(20):
        found += [
            PhaseEvent(Phase.LOAD, 0, 0, wire_bytes=3000 + 50 * k),
            PhaseEvent(Phase.TRAIN_FORWARD, 0, 0, macs=4_000_000 + 10**5 * k, elements=9000),
            PhaseEvent(
                *(Phase.BACKWARD, 0, 0, 7_000_000 - 10**5 * k, 25_000),
                weight_macs=3_000_000,
                sums=40_000,
            ),
        ]
        if k % 4 == 3:
            # Long enough that whole samples are a fine unit of it.
            found.append(PhaseEvent(Phase.UPDATE, 0, 0, elements=360_000, updates=360_000))
    found += [PhaseEvent(Phase.INFER, 0, 0, macs=4_000_000, elements=9000)] * 6
    return [*found, PhaseEvent(Phase.COMMIT, 0, 0, flash_bytes=4096)]


def write_run(folder: Path, board: Board, *, kind: Kind = "measured", slow: float = 1.0) -> Path:
    """A run of `board` as an instrument sees it; `slow`: what backward takes besides its work."""
    rng = np.random.default_rng(5)
    log, levels, now = WindowLog(), [], 0
    nan = float("nan")
    for k, event in enumerate(events()):
        seconds = board.seconds(event) * (1 + NOISE * rng.standard_normal())
        if event.phase is Phase.BACKWARD:
            seconds *= slow if k % 2 else 1.0
        if k in (7, 31):  # something else happened
            seconds *= 3.0
        count = max(3, round(seconds * RATE_HZ))
        level = board.current(event.phase).value
        levels.append(level * (1 + NOISE * rng.standard_normal(count)))
        log.append(
            Window(
                event.phase, now / RATE_HZ, (now + count) / RATE_HZ, nan, nan, nan, nan,
                event.macs, event.elements, event.flash_bytes, event.wire_bytes, -1, -1, event.updates,
                weight_macs=event.weight_macs, sums=event.sums,
            )
        )  # fmt: skip
        now += count
    folder.mkdir(exist_ok=True)
    info = TraceInfo(kind=kind, rate_hz=RATE_HZ, sampling="mean", probe="fake", board="fake")
    with TraceWriter(folder / "trace.parquet", info) as writer:
        current = np.concatenate(levels)
        writer.write(
            TraceChunk(
                0,
                current,
                np.full(len(current), board.supply_v.value),
                np.zeros(len(current), np.uint8),
            )
        )
    log.write_parquet(folder / "windows.parquet", kind)
    (folder / "energy.json").write_text(json.dumps({"kind": kind}), encoding="utf-8")
    return folder


def test_a_known_board_is_found_again(tmp_path: Path) -> None:
    """2 % noise on time and current, two spans three times as long: parameters within 2.5 %."""
    true = known_board()
    run = read_run(write_run(tmp_path / "run", true))
    result = calibrate(run, load_board("terracorder"), "run")
    fitted = result.board
    assert fitted.supply_v.value == pytest.approx(3.4, rel=1e-6)
    for state in ("compute", "wire"):
        assert fitted.states[state].value == pytest.approx(true.states[state].value, rel=0.025)
    assert fitted.states["flash"].value == load_board("terracorder").states["flash"].value
    for event in {e.phase: e for e in events() if e.phase is not Phase.COMMIT}.values():
        assert fitted.seconds(event) == pytest.approx(true.seconds(event), rel=0.025), event.phase
    flash = "seconds_per_flash_byte"
    assert fitted.costs[flash].value == pytest.approx(true.costs[flash].value, rel=0.06)
    assert "state.sleep" in result.kept and "state.sleep" not in result.fits_by_name
    assert sum(fit.outliers for fit in result.fits_by_name.values()) >= 2
    for name, fit in result.fits_by_name.items():
        assert fitted.quantities()[name].source.startswith("calibrated from run")
        assert fit.value > 0 and fit.error >= 0


def test_the_command_writes_a_board_that_loads(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", known_board())
    result = CliRunner().invoke(main, [str(run)], standalone_mode=False)
    assert result.exception is None, result.exception
    found = load_board(str(run / "terracorder-calibrated.toml"))
    assert found.name == "terracorder-calibrated" and found.cpu == "lx7"
    report = json.loads((run / "calibration.json").read_text(encoding="utf-8"))
    assert report["format"] == "tbft-calibration-1"
    assert set(report["phases"]) == {
        "load", "train_forward", "backward", "update", "commit", "infer",
    }  # fmt: skip


def test_a_model_that_does_not_fit_says_so(tmp_path: Path) -> None:
    """Every other backward span takes four times as long: no factor gives that back."""
    run = read_run(write_run(tmp_path / "run", known_board(), slow=4.0))
    result = calibrate(run, load_board("terracorder"), "run")
    residual = result.residuals[Phase.BACKWARD]
    modelled = sum(
        result.board.model(e).energy_j
        for e, usable in zip(run.events, run.usable, strict=True)
        if e.phase is Phase.BACKWARD and usable
    )
    assert residual.energy_deviation == pytest.approx(modelled / residual.energy_j - 1, abs=1e-9)
    assert residual.span_rms > 0.2
    assert not result.fits
    done = CliRunner().invoke(main, [str(tmp_path / "run")], standalone_mode=False)
    assert done.return_value == 3 and "does not fit" in done.output


def test_modelled_and_broken_runs_are_refused(tmp_path: Path) -> None:
    modelled = write_run(tmp_path / "modelled", known_board(), kind="modelled")
    with pytest.raises(EnergyError, match=r"is modelled.*probe"):
        read_run(modelled)
    with pytest.raises(EnergyError, match=r"energy\.json"):
        read_run(tmp_path / "nothing")
    run = write_run(tmp_path / "run", known_board())
    (run / "windows.parquet").write_bytes(b"PAR1")
    with pytest.raises(EnergyError, match=r"windows\.parquet"):
        read_run(run)


def test_proportional_fit_ignores_what_is_far_off() -> None:
    rng = np.random.default_rng(3)
    x = rng.uniform(1, 5, 200)
    y = 2.0 * x + 0.05 * np.sqrt(x) * rng.standard_normal(200)
    y[:20] *= 10
    fit = proportional(x, y)
    assert fit.value == pytest.approx(2.0, abs=0.02)
    assert fit.outliers == 20
    exact = proportional(np.array([1.0, 2.0]), np.array([3.0, 6.0]))
    assert (exact.value, exact.outliers) == (3.0, 0)
