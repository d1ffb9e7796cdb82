"""A port without a line behind it: the parts of pyserial's interface that such a port has nothing to do for."""

from __future__ import annotations

from serial.serialutil import SerialBase


class LinelessPort(SerialBase):
    """Base of the ports that start a program: its pipe or socket has no rate, no control lines and no output buffer of ours."""

    def reset_output_buffer(self) -> None:
        """Nothing is buffered."""

    def flush(self) -> None:
        """Nothing is buffered."""

    def _reconfigure_port(self) -> None:
        """No rate, parity or stop bits."""

    def _update_rts_state(self) -> None:
        """No such line."""

    def _update_dtr_state(self) -> None:
        """No such line."""

    def _update_break_state(self) -> None:
        """No such line."""
