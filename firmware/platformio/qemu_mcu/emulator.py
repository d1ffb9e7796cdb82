"""Starts and stops QEMU for the `upload` and `stop` targets; knows nothing of SCons.

The emulator's serial port is a TCP socket of this computer, which the host's tools open as
`--port socket://127.0.0.1:PORT`. It runs in the background until `stop`, the next `upload` of the
same environment, or the end of the session.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

_START_S = 20.0
_POLL_S = 0.1
"""An emulator that refuses its arguments or the image has ended by then."""
_STOP_S = 2.0


def read_board(path: Path) -> dict[str, Any]:
    """The description of a board. Raises SystemExit with a sentence where there is none."""
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.json")))
        sys.exit(f"error: there is no board {path.stem} in {path.parent}; there are {known}")
    board: dict[str, Any] = json.loads(path.read_text())
    return board


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def command(board: dict[str, Any], image: Path, port: int, flash: Path) -> list[str]:
    """QEMU's command line; committed weights are kept in the file `flash`."""
    serial = f"tcp:127.0.0.1:{port},server=on,wait=on"
    # The firmware decodes the value; so no character of the path means anything to QEMU.
    arguments = f",arg=tbft,arg=flash={quote(str(flash), safe='/')}"
    filled: list[str] = [
        part.replace("{serial}", serial)
        .replace("{arguments}", arguments)
        .replace("{image}", str(image))
        for part in board["emulator"]["command"]
    ]
    return filled


def _is_ours(pid: int, folder: Path) -> bool:
    """Whether that process still is an emulator with its flash in this folder."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"qemu" in Path(os.fsdecode(words[0])).name.encode() and any(
        quote(str(folder), safe="/").encode() in word for word in words
    )


def stop(folder: Path) -> int:
    """Ends the emulator that was started with this folder; 0 also where none runs."""
    folder = folder.resolve()
    note = folder / "emulator.pid"
    try:
        pid = int(note.read_text())
    except (OSError, ValueError):
        return 0
    if _is_ours(pid, folder):
        os.kill(pid, signal.SIGTERM)
        end = time.monotonic() + _STOP_S
        while _is_ours(pid, folder) and time.monotonic() < end:
            time.sleep(0.02)
        if _is_ours(pid, folder):
            os.kill(pid, signal.SIGKILL)
    note.unlink(missing_ok=True)
    return 0


def _taken(port: int) -> bool:
    """Whether somebody listens there; found out without a connection, of which the emulator takes one."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def start(board: dict[str, Any], image: Path, folder: Path, upload_port: str) -> int:
    """Starts the emulator; `upload_port` is a TCP port's number, or empty for a free one.

    `folder`, named after the environment, keeps its process number, log and flash.

    Returns 0 and prints the port to use, or returns 1 after a sentence.
    """
    words = upload_port.removeprefix("socket://127.0.0.1:")
    if words and not (words.isdigit() and 0 < int(words) < 65536):
        print(
            f"error: upload_port is {upload_port}, but an emulator needs the number of a TCP port "
            "(or nothing, for a free one)",
            file=sys.stderr,
        )
        return 1
    folder = folder.resolve()
    stop(folder)
    port = int(words) if words else _free_port()
    argv = command(board, image.resolve(), port, folder / "flash.bin")
    if shutil.which(argv[0]) is None:
        print(
            f"error: {argv[0]} was not found; install it with: "
            f"sudo apt-get install {board['emulator']['package']}",
            file=sys.stderr,
        )
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "emulator.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    (folder / "emulator.pid").write_text(str(process.pid))
    deadline = time.monotonic() + _START_S
    while process.poll() is None and not _taken(port) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    if process.poll() is None:
        time.sleep(_POLL_S)  # what is wrong with a board shows right after its port is open
    if process.poll() is not None:
        said = log.read_text(errors="replace").strip().splitlines()
        reason = said[-1] if said else f"it ended with status {process.returncode}"
        print(f"error: the emulator of {board['name']} did not start: {reason}", file=sys.stderr)
        return 1
    print(f"{board['title']} is running (process {process.pid}, log {log}).")
    print(f"Talk to it with  --port socket://127.0.0.1:{port}")
    print(f"or let the tools start one of their own with  --port qemu://{board['name']}")
    environment = folder.name
    print(f"It stops at the next upload, or with: pio run -e {environment} -t stop")
    return 0
