"""Duty-cycled operation on an emulated board: the weights of the native board, also when QEMU is killed on the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from host.device import Device
from tests import boards
from tests.native import NativeBuild
from tests.python.duty_session import days_with_kills
from tests.python.small_board import open_native, small_task

BOARD = "m4"
DAYS = 2
KILLS = (12, 13, 60, 110)
"""Samples taken, of 96 a day."""


def test_an_emulated_board_that_is_killed_equals_the_native_one(
    tmp_path: Path, native_build: NativeBuild, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TBFT_NATIVE", str(native_build.binary))
    monkeypatch.setenv(f"TBFT_QEMU_{BOARD.upper()}", str(boards.image(BOARD)))
    artifact = tmp_path / "small.tbfa"
    artifact.write_bytes(small_task().data)

    def emulated() -> Device:
        return Device.open(f"qemu://{BOARD}?flash={tmp_path / 'm4.bin'}&artifact={artifact}")

    cut, cut_weights, killed = days_with_kills(emulated, DAYS, KILLS)
    whole, weights, _ = days_with_kills(
        lambda: open_native(flash=tmp_path / "native.bin", artifact=artifact), DAYS, []
    )
    assert killed >= 3
    for name in ("samples", "labels", "right", "tunings", "new_labelled"):
        assert getattr(cut, name) == getattr(whole, name), name
    assert cut_weights == weights
