"""The pyserial scheme `native://`: the firmware as a process of this computer, over its pipes.

    native://?flash=FILE&artifact=FILE&board-name=NAME&arena-bytes=N&cache-bytes=N

passes each as an option to the program. The program is the one that the environment variable
`TBFT_NATIVE` names, else `build/native/tbft_native` of this checkout (`make firmware`).
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import tempfile
import time
from pathlib import Path
from typing import IO, Any
from urllib.parse import parse_qsl, urlsplit

from serial.serialutil import PortNotOpenError, SerialException

from host.transport import PortError
from host.transport.lineless import LinelessPort

ENVIRONMENT = "TBFT_NATIVE"
DEFAULT_PROGRAM = Path(__file__).resolve().parents[2] / "build" / "native" / "tbft_native"
OPTIONS = ("flash", "artifact", "board-name", "arena-bytes", "cache-bytes")
CLOSE_TIMEOUT_S = 2.0
_READ_BYTES = 1 << 16


def program() -> Path:
    """The firmware's program. Raises PortError where it was not built."""
    named = os.environ.get(ENVIRONMENT)
    path = Path(named) if named else DEFAULT_PROGRAM
    if not (path.is_file() and os.access(path, os.X_OK)):
        origin = f"that {ENVIRONMENT} names" if named else "for this computer"
        raise PortError(
            f"the firmware {origin} was not found, expected the program {path}; build it with: "
            "make firmware"
        )
    return path


def arguments(url: str) -> list[str]:
    """Command-line words for the options in `url`. Raises PortError for one that does not exist."""
    parts = urlsplit(url)
    if parts.netloc or parts.path.strip("/"):
        raise PortError(
            f"the port {url} names a place, expected native:// and options, such as "
            "native://?flash=weights.bin"
        )
    words = []
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in OPTIONS:
            raise PortError(
                f"the port {url} has the unknown option {name!r}, expected {', '.join(OPTIONS)}"
            )
        words += [f"--{name}", value]
    return words


class Serial(LinelessPort):
    """A started firmware process; what a serial port would carry goes through its pipes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._stderr: IO[bytes] | None = None
        super().__init__(*args, **kwargs)

    def open(self) -> None:
        """Starts the program. Raises PortError where it is missing or does not start."""
        if self.is_open:
            raise SerialException("Port is already open.")
        command = [str(program()), *arguments(str(self.port))]
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()
        try:
            # In a session of its own, so that Ctrl-C reaches the host alone, which then stops the board in order.
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                bufsize=0,
                start_new_session=True,
            )
        except OSError as exc:
            self._stderr.close()
            raise PortError(
                f"the firmware {command[0]} does not start ({exc.strerror}); build it again with: "
                "make firmware"
            ) from exc
        self.is_open = True

    def close(self) -> None:
        """Ends the program: its input is closed, and it is stopped where that is not enough."""
        process, self._process = self._process, None
        self.is_open = False
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        try:
            process.wait(CLOSE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if self._stderr is not None:
            self._stderr.close()

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        if self._process is None or self._process.stdin is None or self._process.stdout is None:
            raise PortNotOpenError()
        return self._process.stdin, self._process.stdout

    @property
    def in_waiting(self) -> int:
        """1 when at least one byte (or the end) can be read at once, else 0."""
        ready, _, _ = select.select([self._pipes()[1]], [], [], 0)
        return len(ready)

    def read(self, size: int = 1) -> bytes:
        """Up to `size` bytes within the port's timeout. Raises PortError when the program ended."""
        pipe = self._pipes()[1]
        data = bytearray()
        timeout = self.timeout
        deadline = None if timeout is None else time.monotonic() + timeout
        while len(data) < size:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            ready, _, _ = select.select([pipe], [], [], left)
            if not ready:
                break
            piece = os.read(pipe.fileno(), min(size - len(data), _READ_BYTES))
            if not piece:
                raise self._ended()
            data += piece
        return bytes(data)

    def write(self, b: Any, /) -> int:
        """Writes all of `b`. Raises PortError when the program ended."""
        pipe = self._pipes()[0]
        data = bytes(b)
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(pipe.fileno(), view) :]
        except OSError as exc:
            raise self._ended() from exc
        return len(data)

    def _ended(self) -> PortError:
        """What to say when the process is gone."""
        assert self._process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(CLOSE_TIMEOUT_S)
        said = ""
        if self._stderr is not None:
            self._stderr.seek(0)
            lines = self._stderr.read().decode(errors="replace").strip().splitlines()
            said = f" and said {lines[0]!r}" if lines else ""
        status = self._process.returncode
        return PortError(
            f"the firmware process ended with status {status}{said}; expected it to run until the "
            "port is closed: start again, and report this if it happens twice"
        )

    def reset_input_buffer(self) -> None:
        """Forgets what the program has sent so far."""
        pipe = self._pipes()[1]
        while self.in_waiting and os.read(pipe.fileno(), _READ_BYTES):
            pass
