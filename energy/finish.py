"""The files of a run folder, made from what was recorded: after a session, or by `energy.recover`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from energy import plot, report
from energy.errors import TraceError
from energy.measured import Arrivals, measure
from energy.memory import release
from energy.page import write_page
from energy.probes.model import MAX_SAMPLES, ModelProbe
from energy.recording import TRACE, with_provenance
from energy.summary import build_summary, integrate_windows, write_summary
from energy.trace import TraceReader, TraceWriter
from energy.trace_csv import export_csv
from energy.units import si
from energy.windows import WindowLog

WINDOWS, SUMMARY, PICTURE, CSV = "windows.parquet", "energy.json", "energy.png", "trace.csv"


class Finisher:
    """Writes a run's files into `folder` and shows the summary on `console`.

    `session`: what the session said of itself, `result`: its metrics; `complete`: it ran to its end.
    """

    def __init__(
        self,
        folder: Path,
        console: Console,
        *,
        session_id: str,
        session: Mapping[str, object],
        result: Mapping[str, object],
        complete: bool,
        csv_too: bool = False,
    ) -> None:
        self._folder, self._console = folder, console
        self._id, self._session, self._result = session_id, session, result
        self._complete, self._csv = complete, csv_too

    def modelled(self, probe: ModelProbe) -> dict[str, object]:
        """The files of a modelled run; returns the summary."""
        info = with_provenance(probe.stop(), {"session_id": self._id})
        if probe.lowered:
            self._console.print(
                f"The trace is sampled at {si(info.rate_hz, 'S/s')} to stay within "
                f"{MAX_SAMPLES:,} samples; the energies are summed exactly over the spans."
            )
        path = self._folder / TRACE
        with TraceWriter(path, info, complete=self._complete) as writer:
            for chunk in probe.read():
                writer.write(chunk)
        reader = TraceReader(path)
        figures = integrate_windows(probe.windows, info, reader.chunks())
        summary = build_summary(
            probe.windows, figures, info, probe.board, **self._common(reader, self._complete)
        )
        self._write(summary, reader, probe.windows, probe.board.title)
        return summary

    def measured(self, log: WindowLog, lines: int, arrivals: Arrivals | None) -> dict[str, object]:
        """The files of a measured run whose trace is written; returns the summary.

        Raises `TraceError` where the trace is of another session, `AlignmentError` where it does
        not fit the events; the trace stays.
        """
        reader = TraceReader(self._folder / TRACE)
        check_session(reader, self._id)
        measurement = measure(log, reader, lines, arrivals)
        summary = build_summary(
            measurement.log,
            measurement.windows.figures,
            reader.info,
            None,
            measurement=measurement,
            **self._common(reader, self._complete and reader.complete),
        )
        title = f"{self._session.get('board', 'board')}, {reader.info.probe}"
        placed = measurement.log
        del measurement  # its figures take as much as the windows, and are in the summary now
        release()
        self._write(summary, reader, placed, title)
        return summary

    def _common(self, reader: TraceReader, complete: bool) -> dict[str, Any]:
        facts = {"samples": reader.samples, "gaps": reader.gaps, "complete": complete}
        return {**facts, "session": self._session, "result": self._result}

    def _write(
        self, summary: dict[str, object], reader: TraceReader, log: WindowLog, title: str
    ) -> None:
        kind = reader.info.kind
        log.write_parquet(self._folder / WINDOWS, kind, self._id)
        write_summary(self._folder / SUMMARY, summary)
        release()
        names = [TRACE, WINDOWS, SUMMARY]
        if self._csv:
            export_csv(reader, self._folder / CSV)
            names.append(CSV)
        self._console.print(report.render(summary))
        # The picture is last: what draws it stays in memory, while the page reads the whole trace.
        names.append(write_page(self._folder).name)
        release()
        known = np.isfinite(log.floats("energy_j"))
        drawn = log if bool(np.all(known)) else log.selected(known)
        if np.any(drawn.floats("stop_s") > drawn.floats("start_s")):
            plot.draw(
                self._folder / PICTURE,
                drawn,
                kind,
                f"Energy of one fine-tuning session, {kind}",
                self._subheading(title),
            )
            names.append(PICTURE)
        self._console.print(f"Written to {self._folder}: {', '.join(names)}", soft_wrap=True)

    def _subheading(self, title: str) -> str:
        described = self._session
        facts = [str(described[key]) for key in ("blocks", "data") if described.get(key)]
        if described.get("epochs"):
            facts.append(f"{described['epochs']} epochs")
        parts = [title, ", ".join(facts), "" if self._complete else "interrupted"]
        return "\n".join(part for part in parts if part)


def check_session(reader: TraceReader, session_id: str) -> None:
    """Raise `TraceError` unless the trace is of the session `session_id`, as far as it says."""
    found = reader.info.provenance.get("session_id", "")
    if found and session_id and found != session_id:
        raise TraceError(
            f"{reader.path} is of session {found}, expected {session_id} as in the rest of the run "
            "folder: trace and run do not belong together; copy the trace of this run back"
        )
