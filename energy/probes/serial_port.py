"""Serial instruments: opening their port with a sentence for whatever is wrong, and reading it.

An instrument streams whether or not anybody reads, and the operating system keeps a fraction of a
second of it. So a thread does nothing but read (`Pump`), and notes when each piece came.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
import time
from collections import deque
from pathlib import Path

import serial
from serial.serialutil import SerialException
from serial.tools import list_ports

from energy.errors import ProbeError, ProbeLostError

READ_BYTES = 1 << 16
READ_WAIT_S = 0.05
MAX_WAITING_BYTES = 64 << 20  # 160 s of the fastest instrument
_GONE = (
    SerialException,
    OSError,
    TypeError,
)  # TypeError: pyserial, when the port is closed under it


class SerialLink:
    """An instrument's port, held for this program alone."""

    def __init__(self, device: str, baud_rate: int, title: str) -> None:
        """`title` names the instrument in messages. Raises `ProbeError`, a sentence with what to do."""
        self.device = device
        self.title = title
        try:
            self._port = serial.Serial(
                device, baud_rate, timeout=0, write_timeout=1.0, exclusive=True
            )
        except (OSError, ValueError) as exc:
            raise ProbeError(_why_not(device, title, exc)) from exc

    def write(self, data: bytes) -> None:
        """Send a command. Raises `ProbeLostError`."""
        try:
            self._port.write(data)
        except _GONE as exc:
            raise self._lost(exc) from exc

    def read(self, wait_s: float) -> bytes:
        """What is there, after waiting at most `wait_s` for the first byte. Raises `ProbeLostError`."""
        try:
            self._port.timeout = wait_s
            data = self._port.read(1)
            if data:
                self._port.timeout = 0
                data += self._port.read(READ_BYTES)
        except _GONE as exc:
            raise self._lost(exc) from exc
        return bytes(data)

    def drain(self, quiet_s: float = 0.1, limit_s: float = 2.0) -> int:
        """Read and forget until nothing came for `quiet_s`; returns the number of bytes."""
        count, until = 0, time.monotonic() + limit_s
        while time.monotonic() < until:
            data = self.read(quiet_s)
            if not data:
                break
            count += len(data)
        return count

    def close(self) -> None:
        """May be called more than once."""
        with contextlib.suppress(*_GONE):
            self._port.close()

    def _lost(self, exc: Exception) -> ProbeLostError:
        return ProbeLostError(
            f"{self.title} at {self.device} is gone ({exc}), expected it to stay connected; what it "
            "sent until then is kept: check its cable and repeat"
        )


class Pump(threading.Thread):
    """Reads a link until `stop`; keeps what came with the time (s, `time.monotonic`) it came at."""

    def __init__(self, link: SerialLink) -> None:
        super().__init__(name=f"read {link.device}", daemon=True)
        self._link = link
        self._pieces: deque[tuple[float, bytes]] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._ending = False
        self._error: ProbeLostError | None = None

    def run(self) -> None:
        """The thread's work."""
        while not self._ending:
            try:
                data = self._link.read(READ_WAIT_S)
            except ProbeLostError as exc:
                with self._changed:
                    self._error = exc
                    self._changed.notify()
                return
            if not data:
                continue
            with self._changed:
                self._pieces.append((time.monotonic(), data))
                self._bytes += len(data)
                self._changed.notify()
                while self._bytes > MAX_WAITING_BYTES and not self._ending:
                    self._changed.wait(READ_WAIT_S)

    def take(self, wait_s: float) -> list[tuple[float, bytes]]:
        """All pieces so far, after waiting at most `wait_s` for the first.

        Raises `ProbeLostError` once, when the instrument is gone and all it sent has been taken.
        """
        with self._changed:
            if not self._pieces and self._error is None and not self._ending:
                self._changed.wait(wait_s)
            if not self._pieces and self._error is not None:
                error, self._error = self._error, None
                raise error
            pieces = list(self._pieces)
            self._pieces.clear()
            self._bytes = 0
            self._changed.notify()
            return pieces

    def stop(self) -> None:
        """End the thread; what it has read can still be taken."""
        self._ending = True
        if self.is_alive():
            self.join()


def ports_of(vid: int, pid: int) -> list[tuple[str, str, str]]:
    """Device, serial number and description of every USB serial port with these numbers."""
    return [
        (port.device, port.serial_number or "", " ".join(filter(None, _names(port))))
        for port in sorted(
            list_ports.comports(), key=lambda port: (port.location or "", port.device)
        )
        if (port.vid, port.pid) == (vid, pid)
    ]


def _names(port: object) -> list[str | None]:
    return [getattr(port, name, None) for name in ("manufacturer", "product", "description")]


def _why_not(device: str, title: str, exc: Exception) -> str:
    number = getattr(exc, "errno", None)
    if number in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return (
            f"there is no {device}, expected {title} there; plug it in, and name its port with "
            "--probe NAME:PORT"
        )
    if number in (errno.EACCES, errno.EPERM):
        return f"you may not open {device} ({title}), expected the right to; {_right_to(device)}"
    if number in (errno.EBUSY, errno.EAGAIN) or "exclusively lock" in str(exc):
        return (
            f"{title} at {device} is in use by another program, expected it free; close that (the "
            "maker's own app, another capture, ModemManager) and repeat"
        )
    return f"{device} cannot be opened as {title} ({exc}), expected its serial port; check the name"


def _right_to(device: str) -> str:
    """What gives a user the right to open the serial port `device`."""
    try:
        import grp

        status = Path(device).stat()
        group = grp.getgrgid(status.st_gid).gr_name
    except (ImportError, KeyError, OSError):
        return "ask whoever administers this computer for it"
    if status.st_mode & stat.S_IRGRP and status.st_mode & stat.S_IWGRP and status.st_gid != 0:
        who = os.environ.get("USER", "$USER")
        return (
            f"it belongs to the group {group}: join it with `sudo usermod -aG {group} {who}`, log "
            "out and in again"
        )
    return (
        f"not even its group {group} may: add a udev rule that gives it to the group dialout "
        "(MODE 0660, GROUP dialout), join that, and plug the instrument in again"
    )
