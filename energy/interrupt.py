"""Ctrl-C while a command is still importing what it needs: one word instead of a traceback."""

from __future__ import annotations

import sys
from types import TracebackType


def quiet_interrupts() -> None:
    """Makes a KeyboardInterrupt that nobody catches end the program with `interrupted`, for programs run by `python -m`.

    Libraries leave the interpreter's hooks alone: nothing happens where this package is only imported.
    """
    if sys.argv[:1] == ["-m"]:  # what runpy shows while it looks for the module
        sys.excepthook = _hook


def _hook(kind: type[BaseException], value: BaseException, traceback: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.stderr.write("interrupted\n")
    else:
        sys.__excepthook__(kind, value, traceback)
