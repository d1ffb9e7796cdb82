"""Images of the firmware for the emulated boards, made once per checkout however many test processes run."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

from tests.native import REPO, file_lock, tool

BOARDS = ("m4", "m7", "rv32", "lx7")


@cache
def image(board: str) -> Path:
    """The firmware for `board`, built in build/<board>.

    Raises AssertionError, with the command that installs what is missing or with the compiler's output.
    """
    folder = REPO / "build" / board
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    configure = [tool("cmake"), "-S", str(REPO / "firmware"), "-B", str(folder), "-G", "Ninja"]
    configure += [f"-DTBFT_BOARD={board}", f"-DCMAKE_MAKE_PROGRAM={tool('ninja')}"]
    with file_lock(REPO / "build" / f".{board}.lock"):
        for command in (
            [str(REPO / "firmware" / "toolchain" / "check_packages.sh")],
            configure,
            [tool("cmake"), "--build", str(folder), "--target", f"tbft_{board}"],
        ):
            done = subprocess.run(
                command,
                env={**os.environ, "PATH": path},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            assert done.returncode == 0, f"{' '.join(command)} failed:\n{done.stdout[-8000:]}"
    return folder / f"tbft_{board}.elf"


def variable(board: str) -> str:
    """The environment variable that names the image for qemu://<board>."""
    return f"TBFT_QEMU_{board.upper()}"
