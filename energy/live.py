"""The live view while a session runs: what it does, the phase, energy and board time so far."""

from __future__ import annotations

import time

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
)

from energy.probes.model import ModelProbe
from energy.session import PhaseEvent
from energy.units import duration, si

_REFRESH_S = 0.1


class LiveView:
    """The live view: what the session does, the phase on the board, energy and time so far."""

    def __init__(self, probe: ModelProbe, console: Console) -> None:
        self._probe = probe
        self._energy_j = 0.0
        self._shown_at = 0.0
        self._text, self._figures = "opening the board", ""
        self.progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=12),
            TaskProgressColumn(),
            console=console,
        )
        self._task = self.progress.add_task(self._text, total=None)

    def on_event(self, event: PhaseEvent) -> None:
        """Record the span; show it a few times a second."""
        window = self._probe.on_event(event)
        self._energy_j += window.energy_j
        now = time.monotonic()
        if now - self._shown_at >= _REFRESH_S:
            self._shown_at = now
            self._show(f": {event.phase.label.replace('_', ' ')}")

    def settle(self) -> None:
        """Show the last figures, once no more events come."""
        if len(self._probe.windows):
            self._show("")

    def _show(self, phase: str) -> None:
        self._figures = (
            f"\n[bold]{si(self._energy_j, 'J')}[/] {self._probe.capabilities.kind}, "
            f"{duration(self._probe.duration_s)} on the board{phase}"
        )
        self.progress.update(self._task, description=self._text + self._figures)

    def on_progress(self, done: int, total: int, text: str) -> None:
        """What the session itself says of its progress."""
        self._text = escape(text)
        # `update` cannot make a total unknown again: for it, None means 'as it was'.
        self.progress.tasks[0].total = total if total > 0 else None
        self.progress.update(self._task, completed=done, description=self._text + self._figures)
