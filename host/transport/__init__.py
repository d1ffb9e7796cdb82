"""Ports: whatever pyserial's `serial_for_url` takes, and schemes of our own.

A scheme `NAME://` of ours is a module `protocol_NAME.py` in this package: `native://` starts the
firmware as a process of this computer, `qemu://lx7` on an emulated board.
"""

from __future__ import annotations

import serial

from host.errors import HostError

PACKAGE = __name__
DEFAULT_PORT = "native://"
BAUD_RATE = 921_600


def register() -> None:
    """Makes our schemes known to pyserial; doing it again changes nothing."""
    if PACKAGE not in serial.protocol_handler_packages:
        serial.protocol_handler_packages.append(PACKAGE)


def open_port(url: str, baud_rate: int = BAUD_RATE) -> serial.SerialBase:
    """Opens `url`: `/dev/ttyUSB0`, `COM5`, `socket://HOST:PORT`, `native://`, `qemu://lx7`, …

    Raises HostError when there is no such port or it cannot be opened.
    """
    register()
    try:
        port = serial.serial_for_url(url, baudrate=baud_rate, timeout=0, do_not_open=True)
        port.open()
    except (serial.SerialException, OSError, ValueError) as exc:
        if isinstance(exc, _Sentence):
            raise HostError(str(exc)) from exc
        raise HostError(
            f"the port {url} cannot be opened ({exc}); expected a serial port such as /dev/ttyUSB0 "
            "or COM5, socket://HOST:PORT, native:// for the firmware as a process of this computer, or "
            "qemu://lx7 for an emulated board: check the cable, the name and your rights to the port"
        ) from exc
    return port


class _Sentence(serial.SerialException):
    """An error of a scheme of ours, whose message is a sentence for people already."""


PortError = _Sentence
