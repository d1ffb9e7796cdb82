"""Builds the bare-metal test programs of the emulated boards and runs them in QEMU, with exact counts of instructions."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from host.bench.boards_counts import Section, read_sections
from host.errors import HostError
from host.transport import PortError
from host.transport.qemu_board import read_board

REPO = Path(__file__).resolve().parents[2]
BOARDS = ("m4", "m7", "rv32", "lx7")
PROGRAMS = REPO / "tests" / "firmware" / "boards"
PLUGIN_SOURCE = PROGRAMS / "plugin" / "insn_counts.c"
PLUGIN_HEADER = REPO / "build" / "toolchain" / "qemu" / "qemu-plugin.h"
BUILT = ("kernel_grid", "kernel_bench", "training_step")
MARKERS = ("tbft_count_begin", "tbft_count_end")
TIME_LIMIT_S = 600.0


@dataclass(frozen=True)
class Count:
    """One `count` line of a program."""

    name: str
    """`GROUP/WHAT/FORM`, or `phase/NAME`."""
    units: int
    """Multiply-accumulates, or elements."""
    instructions: int
    """By the emulator's virtual time: right to a few."""
    work: tuple[int, ...] = ()
    """Of a phase: MACs of weight gradients, sums, masks, elements and updates (`Work` of runtime/phase.h)."""
    section: Section | None = None
    """By the plugin: exact, and by instruction; None where it did not run."""

    @property
    def exact(self) -> int:
        """The plugin's count, or else the emulator's."""
        return self.section.total if self.section is not None else self.instructions


@dataclass(frozen=True)
class Output:
    """What a program printed."""

    text: str
    counts: tuple[Count, ...]

    def lines(self, first: str) -> list[list[str]]:
        """The words behind `first` on the lines that begin with it."""
        split = (line.split() for line in self.text.splitlines())
        return [words[1:] for words in split if words and words[0] == first]


@cache
def board_file(board: str) -> dict[str, Any]:
    """Content of firmware/boards/BOARD.json."""
    path = REPO / "firmware" / "boards" / f"{board}.json"
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise HostError(
            f"there is no emulated board {board}; take one of {', '.join(BOARDS)}"
        ) from None
    return content


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _tool(name: str) -> str:
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise HostError(f"{name} was not found, and the boards' programs need it; run: make setup")
    return found


def _run(command: list[str], what: str) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    done = subprocess.run(
        command,
        cwd=REPO,
        env={**os.environ, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if done.returncode != 0:
        raise HostError(
            f"{what} failed, expected it to build; the compiler said:\n{done.stdout[-6000:]}"
        )


@cache
def build(board: str, *targets: str) -> Path:
    """Builds the test programs of a board, or these targets, in build/BOARD, once per process; returns that folder.

    Raises:
        HostError: the compiler is missing, or does not like what it reads.
    """
    board_file(board)
    folder = REPO / "build" / board
    ninja = _tool("ninja")
    configure = [_tool("cmake"), "-S", "firmware", "-B", str(folder), "-G", "Ninja"]
    configure += [f"-DTBFT_BOARD={board}", f"-DCMAKE_MAKE_PROGRAM={ninja}", "--log-level=WARNING"]
    with _locked(REPO / "build" / f".{board}.lock"):
        _run(configure, f"configuring the programs of board {board}")
        _run([ninja, "-C", str(folder), *(targets or BUILT)], f"building for board {board}")
    return folder


def image(board: str, program: str) -> Path:
    """Path of a built program."""
    path = build(board) / f"{program}.elf"
    if not path.exists():
        raise HostError(f"board {board} has no program {program}, expected {path}; see {PROGRAMS}")
    return path


@cache
def plugin() -> Path | None:
    """The plugin that counts by instruction, built in build/boards; None where QEMU's header or a C compiler is missing."""
    compiler = next((c for c in ("cc", "gcc", "clang") if shutil.which(c)), None)
    if not PLUGIN_HEADER.exists() or compiler is None:
        return None
    target = REPO / "build" / "boards" / "insn_counts.so"
    with _locked(target.parent / ".plugin.lock"):
        newest = max(PLUGIN_SOURCE.stat().st_mtime, PLUGIN_HEADER.stat().st_mtime)
        if not target.exists() or target.stat().st_mtime < newest:
            built = target.with_suffix(f".{os.getpid()}")
            warnings = ["-Wall", "-Wextra", "-Werror"]
            flags = [
                "-std=c11",
                "-O2",
                *warnings,
                "-shared",
                "-fPIC",
                "-I",
                str(PLUGIN_HEADER.parent),
            ]
            _run(
                [compiler, *flags, str(PLUGIN_SOURCE), "-o", str(built)],
                "building the plugin insn_counts",
            )
            os.replace(built, target)
    return target


@cache
def _marker_addresses(board: str, elf: Path) -> tuple[int, ...]:
    prefix = board_file(board)["compiler"]["prefix"]
    nm = str(REPO / f"{prefix}nm") if "/" in prefix else f"{prefix}nm"
    listed = subprocess.run([nm, str(elf)], capture_output=True, text=True, check=True).stdout
    found = {
        words[-1]: int(words[0], 16)
        for line in listed.splitlines()
        if len(words := line.split()) == 3
    }
    # Bit 0 of a function's address says Thumb on ARM; no other instruction set here has odd addresses that begin with
    # a marker (Xtensa aligns functions to 4).
    return tuple(found[name] & ~1 for name in MARKERS)


def run(
    board: str,
    program: str,
    folder: Path,
    *,
    by_instruction: bool = False,
    limit_s: float = TIME_LIMIT_S,
) -> Output:
    """Runs a program with `folder` as its working directory.

    Args:
        board: m4, m7, rv32 or lx7.
        program: name of the program.
        folder: where it finds its files.
        by_instruction: let the plugin count, too (where it can be built).
        limit_s: seconds after which the emulator is ended.

    Raises:
        HostError: the emulator is missing, does not end, or the program says that something is wrong.
    """
    elf = image(board, program)
    try:
        command = read_board(board).command(elf, [], "-chardev null,id=port")
    except PortError as error:
        raise HostError(str(error)) from None
    library = plugin() if by_instruction else None
    counts_file = folder / f"{program}.counts"
    if library is not None:
        begin, end = _marker_addresses(board, elf)
        command += ["-plugin", f"{library},begin={begin:#x},end={end:#x},out={counts_file}"]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=limit_s,
        )
    except subprocess.TimeoutExpired as error:
        raise HostError(
            f"{program} on {board} did not end within {limit_s:.0f} s; its output so far: {error.output!s:.500}"
        ) from None
    if done.returncode != 0:
        raise HostError(
            f"{program} on {board} ended with status {done.returncode}, expected 0; it said:\n{done.stdout[-4000:]}"
        )
    sections = read_sections(counts_file) if library is not None else []
    return Output(done.stdout, _counts(done.stdout, sections, f"{program} on {board}"))


def _counts(text: str, sections: list[Section], what: str) -> tuple[Count, ...]:
    lines = [line.split() for line in text.splitlines() if line.startswith("count ")]
    if sections and len(sections) != len(lines):
        raise HostError(
            f"{what} printed {len(lines)} counts and the plugin saw {len(sections)}, expected as many; "
            "was a marker inlined?"
        )
    return tuple(
        Count(
            name,
            int(units),
            int(instructions),
            tuple(map(int, work)),
            sections[i] if sections else None,
        )
        for i, (_, name, units, instructions, *work) in enumerate(lines)
    )
