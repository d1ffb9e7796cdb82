"""A pseudo-terminal with an instrument behind it: the test's program talks to a real tty."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import tty
from typing import Self


class PtyInstrument:
    """Answers at `device`. A subclass has `received(data)` and `tick()`, called in its thread."""

    tick_s = 0.005

    def __init__(self) -> None:
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.device = os.ttyname(self._slave)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.unplug()

    def unplug(self) -> None:
        """The cable comes out."""
        self._ending.set()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join()
        for end in (self._slave, self._master):
            with contextlib.suppress(OSError):
                os.close(end)
        self._slave = self._master = -1

    def received(self, data: bytes) -> None:
        """What the host sent."""

    def tick(self) -> None:
        """Called about every `tick_s`."""

    def send(self, data: bytes) -> None:
        """To the host, waiting where its buffer is full."""
        while data and not self._ending.is_set():
            try:
                data = data[os.write(self._master, data) :]
            except BlockingIOError:
                select.select([], [self._master], [], 0.01)

    def _run(self) -> None:
        while not self._ending.is_set():
            ready, _, _ = select.select([self._master], [], [], self.tick_s)
            if ready:
                with contextlib.suppress(OSError):
                    self.received(os.read(self._master, 4096))
            self.tick()
