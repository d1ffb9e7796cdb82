"""The live view while a session runs: what it does, the phase, energy and time so far."""

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
    TimeRemainingColumn,
)

from energy.recording import Recording
from energy.session import PhaseEvent
from energy.units import duration, si

_REFRESH_S = 0.1


class LiveView:
    """What the session does, the phase on the board, current, energy and time so far, time left."""

    def __init__(self, recording: Recording, console: Console) -> None:
        self._recording = recording
        self._energy_j = 0.0
        self._now_s = 0.0
        self._shown_at = 0.0
        self._phase = ""
        self._text, self._figures = "opening the board", ""
        self.progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=12),
            TaskProgressColumn(),
            TimeRemainingColumn(compact=True),
            console=console,
        )
        self._task = self.progress.add_task(self._text, total=None)

    def on_event(self, event: PhaseEvent) -> None:
        """Record the span; show it a few times a second."""
        window = self._recording.on_event(event)
        if self._recording.recorder is None:
            self._energy_j += window.energy_j
            self._now_s = window.stop_s
        self._phase = event.phase.label.replace("_", " ")
        self._refresh()

    def settle(self) -> None:
        """Show the last figures, once no more events come."""
        self._phase = ""
        if self._recording.events:
            self._show()

    def _refresh(self) -> None:
        now = time.monotonic()
        if now - self._shown_at >= _REFRESH_S:
            self._shown_at = now
            self._show()

    def _show(self) -> None:
        self._figures = f"\n{self._measured() or self._modelled()}"
        if self._phase:
            self._figures += f": {self._phase}"
        self.progress.update(self._task, description=self._text + self._figures)

    def _modelled(self) -> str:
        return f"[bold]{si(self._energy_j, 'J')}[/] modelled, {duration(self._now_s)} on the board"

    def _measured(self) -> str:
        recorder = self._recording.recorder
        if recorder is None:
            return ""
        words = [
            f"[bold]{si(recorder.energy_j, 'J')}[/] measured",
            si(recorder.current_a, "A"),
            duration(time.monotonic() - recorder.started_s),
        ]
        if recorder.gaps:
            words.append(f"[yellow]{recorder.gaps:,} samples lost[/]")
        if recorder.over_range:
            words.append(f"[red]{recorder.over_range:,} over range[/]")
        return ", ".join(words)

    def on_progress(self, done: int, total: int, text: str) -> None:
        """What the session itself says of its progress; raises what happened to the instrument."""
        self._recording.check()
        self._text = escape(text)
        # `update` cannot make a total unknown again: for it, None means 'as it was'.
        self.progress.tasks[0].total = total if total > 0 else None
        self.progress.update(self._task, completed=done, description=self._text + self._figures)
        if self._recording.recorder is not None:
            self._refresh()
