"""One request at a time over a port, exactly once, whatever the port loses or damages."""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol, TypeVar

from serial.serialutil import SerialException

from host.errors import HostError
from host.protocol import messages as m
from host.protocol import timing
from host.protocol.codec import BodyError, Message, Request
from host.protocol.frame import DELIMITER, Frame, FrameDecoder, FrameResult, encode_frame
from host.transport import PortError

R = TypeVar("R", bound=Message)

_READ_BYTES = 4096
_RESEND_AFTER_DAMAGE = 16
"""Damaged frames per request that are answered by sending it again at once; then only time does."""


class Port(Protocol):
    """What the link needs of a serial port (pyserial's `SerialBase`)."""

    timeout: float | None

    def read(self, size: int = 1, /) -> bytes: ...
    def write(self, data: bytes, /) -> int | None: ...
    def close(self) -> None: ...


class DeviceError(HostError):
    """The board refused a request. `code` and `record` as in the Error message."""

    def __init__(self, message: str, code: int, record: int) -> None:
        super().__init__(message)
        self.code = code
        self.record = record


class Link:
    """Sends requests and waits for their responses; hands notices to the callbacks.

    `on_events` gets every Events message as it comes (possibly with gaps), `on_current` the readings
    of the board's current sensor (SensorStart), `on_duty` what happens on duty (DutyStart),
    `on_log` every line of the board, `on_progress` done and total samples of a long request.
    """

    def __init__(
        self,
        port: Port,
        name: str,
        *,
        baud_rate: int = 921_600,
        time_scale: float = 1.0,
        version: int = m.PROTOCOL_VERSION,
    ) -> None:
        self._port = port
        self.name = name
        self._baud_rate = baud_rate
        self._time_scale = time_scale
        self._version = version
        self._decoder = FrameDecoder()
        self._left: deque[Frame] = deque()
        """Frames read and not looked at yet: notices that came behind an answer."""
        self._sequence = secrets.randbelow(1 << 16)
        self._answered = False
        self.dead = False
        """Whether the port is gone or the board has stopped answering."""
        self.retries = 0
        """Frames sent again so far."""
        self.damaged = 0
        """Damaged frames received so far."""
        self.on_events: Callable[[m.Events], None] = lambda _: None
        self.on_current: Callable[[m.CurrentSamples], None] = lambda _: None
        self.on_duty: Callable[[m.DutyEvents], None] = lambda _: None
        self.on_log: Callable[[m.Log], None] = lambda _: None
        self.on_progress: Callable[[int, int], None] = lambda _done, _total: None

    def close(self) -> None:
        """Closes the port."""
        self._port.close()

    def end_noise(self) -> None:
        """Ends whatever half a frame may be on its way to the board."""
        self._write(DELIMITER, "")

    def request(self, request: Request[R], timeouts: timing.Timeouts | None = None) -> R:
        """The answer to `request`, waiting as its kind may take unless `timeouts` are given.

        Raises DeviceError where the board refuses it, HostError where it does not answer or the
        port is gone.
        """
        self._sequence = (self._sequence + 1) & 0xFFFF
        name = type(request).__name__
        wait = timeouts or timing.timeouts(type(request))
        encoded = encode_frame(request.TYPE, self._sequence, request.pack(), self._version)
        on_wire_s = timing.transfer_s(len(encoded) + m.BODY_LIMIT, self._baud_rate)
        first_s = wait.first_retry_s * self._time_scale + on_wire_s
        retry_s = first_s
        resends_left = _RESEND_AFTER_DAMAGE
        self._write(encoded, name)
        heard = sent = time.monotonic()
        while True:
            now = time.monotonic()
            if now - heard >= wait.silence_s * self._time_scale + on_wire_s:
                raise self._silent(name, now - heard)
            if not self._left:
                self._left += self._read(max(0.0, min(0.25, sent + retry_s - now)), name)
            again = False
            while self._left:
                frame = self._left.popleft()
                answer, damage = self._take(frame, request)
                if answer is not None:
                    return answer
                again |= damage
                of_this = frame.result is FrameResult.FRAME and frame.sequence == self._sequence
                if of_this and frame.type != request.TYPE:
                    # The board is at it. (What echoes the request itself is no board.)
                    heard = sent = time.monotonic()
                    retry_s = first_s
            now = time.monotonic()
            if again and resends_left:
                resends_left -= 1
            elif now - sent >= retry_s:
                retry_s = min(retry_s * timing.FACTOR, timing.MAX_RETRY_S)
            else:
                continue
            self.retries += 1
            self._write(DELIMITER + encoded, name)
            sent = now

    def _take(self, frame: Frame, request: Request[R]) -> tuple[R | None, bool]:
        """The answer, if `frame` is it; and whether something was damaged on the way."""
        if frame.result is not FrameResult.FRAME:
            self.damaged += 1
            return None, True
        try:
            if frame.type == m.Damaged.TYPE:
                return None, True
            if frame.type == m.Log.TYPE:
                self.on_log(m.Log.unpack(frame.body))
            elif frame.type == m.Events.TYPE:
                self.on_events(m.Events.unpack(frame.body))
            elif frame.type == m.DutyEvents.TYPE:
                self.on_duty(m.DutyEvents.unpack(frame.body))
            elif frame.type == m.CurrentSamples.TYPE:
                self.on_current(m.CurrentSamples.unpack(frame.body))
            elif frame.sequence != self._sequence:
                pass  # an answer that came twice
            elif frame.type == m.Progress.TYPE:
                progress = m.Progress.unpack(frame.body)
                self.on_progress(progress.done, progress.total)
            elif frame.type == m.Error.TYPE:
                self._answered = True
                raise self._refused(m.Error.unpack(frame.body), type(request).__name__)
            elif frame.type == request.TYPE | 0x80:
                self._answered = True
                return request.response(frame.body), False
        except BodyError as exc:
            raise HostError(
                f"the board at {self.name} answered {type(request).__name__} in another form "
                f"({exc}), expected that of protocol version {m.PROTOCOL_VERSION}; update host and "
                "firmware to the same release"
            ) from exc
        return None, False

    def _refused(self, error: m.Error, name: str) -> DeviceError:
        if error.code == m.WireStatus.WRONG_VERSION:
            text = (
                f"the board at {self.name} speaks protocol version {error.record}, expected "
                f"{m.PROTOCOL_VERSION}; update the firmware and the host to the same release"
            )
        else:
            text = (
                f"the board at {self.name} refused {name}: {error.text} (code {error.code}, record "
                f"{error.record})"
            )
        return DeviceError(text, error.code, error.record)

    def _silent(self, name: str, seconds: float) -> HostError:
        self.dead = True
        if self._answered:
            return HostError(
                f"the board at {self.name} stopped answering: {name} got no answer for {seconds:.0f} "
                "s, expected one; check cable and power, then start again"
            )
        return HostError(
            f"nothing at {self.name} answers ({name}, {seconds:.0f} s), expected a board with this "
            "tool's firmware; check the cable and the port, and that the firmware is on the board"
        )

    def _write(self, data: bytes, name: str) -> None:
        try:
            self._port.write(data)
        except (SerialException, OSError) as exc:
            raise self._gone(name, exc) from exc

    def _read(self, timeout_s: float, name: str) -> list[Frame]:
        """The frames that end within what comes next, after waiting at most `timeout_s` for it."""
        try:
            self._port.timeout = timeout_s
            data = self._port.read(1)
            if data:
                self._port.timeout = 0
                data += self._port.read(_READ_BYTES)
        except (SerialException, OSError, TypeError) as exc:
            # TypeError: pyserial, when the port is closed under it
            raise self._gone(name, exc) from exc
        return list(self._decoder.push(data))

    def _gone(self, name: str, exc: Exception) -> HostError:
        self.dead = True
        if isinstance(exc, PortError):
            return HostError(str(exc))
        return HostError(
            f"the port {self.name} is gone ({name}: {exc}); expected it to stay connected: plug the "
            "board in again and repeat"
        )
