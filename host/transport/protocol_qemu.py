"""The pyserial scheme `qemu://`: the firmware on an emulated board, whose UART is a socket of QEMU.

    qemu://lx7?flash=FILE&artifact=FILE&board-name=NAME&arena-bytes=N,N&cache-bytes=N

names one of `firmware/boards/*.json`; the options are passed to the program. `flash` and `artifact`
are files that keep what the board's flash would keep. The image is the one that the environment
variable `TBFT_QEMU_<BOARD>` names, else what PlatformIO or CMake built last.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import socket
import subprocess
import tempfile
import time
from typing import IO, Any

from serial.serialutil import PortNotOpenError, SerialException

from host.transport import PortError, qemu_board
from host.transport.lineless import LinelessPort

CLOSE_TIMEOUT_S = 2.0
BOOT_TIMEOUT_S = 10.0
"""How long the board may take until its first byte."""
_READ_BYTES = 1 << 16


class Serial(LinelessPort):
    """A started emulator; the bytes of the board's UART go through a pair of sockets."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._stderr: IO[bytes] | None = None
        self._board: qemu_board.Board | None = None
        super().__init__(*args, **kwargs)

    def open(self) -> None:
        """Starts the emulator and waits until the board is up: what is sent before its UART is on would be lost.

        Raises PortError where the board, its image or the emulator is missing, or it does not start.
        """
        if self.is_open:
            raise SerialException("Port is already open.")
        self._board, options = qemu_board.parse_url(str(self.port))
        image = qemu_board.find_image(self._board)
        ours, theirs = socket.socketpair()
        command = self._board.command(
            image, options, f"-chardev socket,id=port,fd={theirs.fileno()}"
        )
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()
        try:
            # In a session of its own, so that Ctrl-C reaches the host alone, which then stops the board in order.
            self._process = subprocess.Popen(
                [*_dying_with_us(), *command],
                stdin=subprocess.DEVNULL,
                stdout=self._stderr,
                stderr=self._stderr,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        except FileNotFoundError as exc:
            ours.close()
            self._stderr.close()
            raise qemu_board.emulator_missing(self._board) from exc
        finally:
            theirs.close()
        self._socket = ours
        self.is_open = True
        try:
            self._wait_for_board(ours)
        except BaseException:
            self.close()
            raise

    def _wait_for_board(self, port: socket.socket) -> None:
        """The board says why it started as soon as it can receive."""
        ready, _, _ = select.select([port], [], [], BOOT_TIMEOUT_S)
        if ready and not port.recv(1, socket.MSG_PEEK):
            raise self._ended()
        if not ready:
            assert self._board is not None
            raise PortError(
                f"the board {self._board.name} on {self._board.program} says nothing for "
                f"{BOOT_TIMEOUT_S:.0f} s, expected it to start at once; build its image again with: "
                f"{self._board.build_command}"
            )

    def close(self) -> None:
        """Ends the emulator, as if the board's power were cut."""
        process, self._process = self._process, None
        self.is_open = False
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if process is not None:
            process.terminate()
            try:
                process.wait(CLOSE_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._stderr is not None:
            self._stderr.close()
            self._stderr = None

    def _line(self) -> socket.socket:
        if self._socket is None:
            raise PortNotOpenError()
        return self._socket

    @property
    def in_waiting(self) -> int:
        """1 when at least one byte (or the end) can be read at once, else 0."""
        ready, _, _ = select.select([self._line()], [], [], 0)
        return len(ready)

    def read(self, size: int = 1) -> bytes:
        """Up to `size` bytes within the port's timeout. Raises PortError when the emulator ended."""
        port = self._line()
        data = bytearray()
        timeout = self.timeout
        deadline = None if timeout is None else time.monotonic() + timeout
        while len(data) < size:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            ready, _, _ = select.select([port], [], [], left)
            if not ready:
                break
            try:
                piece = port.recv(min(size - len(data), _READ_BYTES))
            except ConnectionError:
                piece = b""
            if not piece:
                if data:
                    break  # the end shows again at the next read
                raise self._ended()
            data += piece
        return bytes(data)

    def write(self, b: Any, /) -> int:
        """Writes all of `b`; waits where the board does not take it. Raises PortError when the emulator ended."""
        data = bytes(b)
        try:
            self._line().sendall(data)
        except OSError as exc:
            raise self._ended() from exc
        return len(data)

    def _ended(self) -> PortError:
        """What to say when the emulator is gone."""
        assert self._process is not None and self._board is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(CLOSE_TIMEOUT_S)
        said = ""
        if self._stderr is not None:
            self._stderr.seek(0)
            lines = self._stderr.read().decode(errors="replace").strip().splitlines()
            said = f" and said {qemu_board.telling_line(lines)!r}" if lines else ""
        return PortError(
            f"the emulator of board {self._board.name} ended with status {self._process.returncode}"
            f"{said}; expected it to run until the port is closed: start again, and build the image "
            f"anew if it happens twice ({self._board.build_command})"
        )

    def reset_input_buffer(self) -> None:
        """Forgets what the board has sent so far."""
        port = self._line()
        while self.in_waiting and port.recv(_READ_BYTES):
            pass


def _dying_with_us() -> list[str]:
    """Words before a command that make the kernel end it when this process is killed; none where there is no such tool."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", "--"] if setpriv and os.name == "posix" else []
