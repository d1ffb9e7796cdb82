"""Kernels on the emulated CPUs: every fast form equals its plain form, and takes no more instructions than its budget."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from host.bench import boards_budget, boards_programs
from host.bench.boards_bars import Kernels, measure_kernels
from host.errors import HostError
from tests import native

pytestmark = pytest.mark.timeout(1200)

BOARDS = boards_programs.BOARDS
# What the plugin counts beyond the emulator's clock: a few instructions between the markers and the clock.
MOST_BEYOND = 60
GROUPS = 8
LEAST_CASES = 200


def assert_all_equal(text: str, where: str) -> None:
    """The closing line says so, and every group ran its cases."""
    found = re.findall(r"^(.+): (\d+) cases, (\d+) wrong$", text, re.MULTILINE)
    assert len(found) == GROUPS, text[-4000:]
    assert all(int(cases) >= LEAST_CASES and wrong == "0" for _, cases, wrong in found), text
    assert f"kernel_grid on {where}: all equal" in text


@pytest.mark.parametrize("board", BOARDS)
def test_fast_kernels_equal_the_plain_ones(board: str, tmp_path: Path) -> None:
    assert_all_equal(boards_programs.run(board, "kernel_grid", tmp_path).text, board)


@pytest.mark.parametrize("preset", ["native", "sanitize"])
def test_fast_kernels_equal_the_plain_ones_here(preset: str) -> None:
    build = native.native() if preset == "native" else native.sanitized()
    done = subprocess.run(
        [str(build.folder / "board_kernel_grid")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    assert done.returncode == 0, done.stdout[-6000:]
    assert_all_equal(done.stdout, "native")


@cache
def kernels(board: str) -> Kernels:
    return measure_kernels(board)


@pytest.mark.parametrize("board", BOARDS)
def test_kernels_keep_to_their_budget(board: str) -> None:
    found = boards_budget.budgeted(kernels(board).counts.values())
    assert found
    complaints = boards_budget.exceeded(found, boards_budget.read_budget().get(board, {}))
    assert not complaints, f"{board}:\n" + "\n".join(complaints)


@pytest.mark.parametrize("board", BOARDS)
def test_budget_names_what_is_counted(board: str) -> None:
    """A kernel that is no longer counted is no longer held to anything."""
    counted = set(kernels(board).counts)
    named = {n for n in boards_budget.read_budget().get(board, {}) if not n.startswith("step/")}
    assert named <= counted, named - counted


@pytest.mark.parametrize("board", BOARDS)
def test_both_ways_to_count_agree(board: str) -> None:
    """The emulator's clock, which every machine has, and the plugin."""
    assert boards_programs.plugin() is not None, (
        f"QEMU's plugin header {boards_programs.PLUGIN_HEADER} is missing; run: make toolchain"
    )
    for count in kernels(board).counts.values():
        assert count.section is not None
        beyond = count.section.total - count.instructions
        assert 0 <= beyond <= MOST_BEYOND, (
            f"{count.name}: {count.section.total}, {count.instructions}"
        )


def test_missing_emulator_is_told_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boards_programs.build("m4")
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(HostError, match="apt-get install qemu-system-arm"):
        boards_programs.run("m4", "kernel_grid", tmp_path)


def test_missing_program_is_told_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="board m4 has no program nonsense"):
        boards_programs.run("m4", "nonsense", tmp_path)


def test_program_that_fails_is_told_in_a_sentence(tmp_path: Path) -> None:
    """training_step finds no files here."""
    with pytest.raises(
        HostError, match=r"(?s)ended with status 1.*model\.tbfa or run\.bin cannot be read"
    ):
        boards_programs.run("m4", "training_step", tmp_path)


def test_program_without_end_is_ended(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="did not end within"):
        boards_programs.run("m4", "kernel_grid", tmp_path, limit_s=0.05)


def test_plugin_is_silent_without_warnings(tmp_path: Path) -> None:
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    assert compiler is not None, (
        "a C compiler was not found; install one with: sudo apt-get install gcc"
    )
    command = [compiler, "-std=c11", "-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Werror"]
    command += ["-fsyntax-only", "-I", str(boards_programs.PLUGIN_HEADER.parent)]
    done = subprocess.run(
        [*command, str(boards_programs.PLUGIN_SOURCE)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
