"""`python -m energy.recover RUN`: the files of a capture that was killed, from its journals."""

from __future__ import annotations

import sys
from array import array
from pathlib import Path

import click
import numpy as np
from rich.console import Console

from energy.board import load_board
from energy.ending import end_well
from energy.errors import TraceError
from energy.finish import Finisher
from energy.journal import EVENT_JOURNAL, TRACE_JOURNAL, TraceJournalReader, read_events
from energy.measured import Arrivals
from energy.probes.model import DEFAULT_RATE_HZ, ModelProbe
from energy.recording import TRACE
from energy.trace import TraceWriter, split_batch
from energy.windows import WindowLog

# Between asking for samples and the first of them, at most, where nobody noted its arrival.
_START_S = 0.2


def recover(folder: Path, console: Console, board: str = "") -> dict[str, object]:
    """Make the files of `folder` from its journals, marked incomplete; returns the summary.

    `board`: name or path of the description that a model stands for, if not the one of that name
    that comes with this package. The journals are deleted when all files are whole. Raises `EnergyError`.
    """
    events_path, trace_path = folder / EVENT_JOURNAL, folder / TRACE_JOURNAL
    if not events_path.exists() and not trace_path.exists():
        raise TraceError(
            f"{folder} holds no unfinished recording, expected {EVENT_JOURNAL} or {TRACE_JOURNAL}; "
            "a capture that ended by itself needs no recovery"
        )
    if trace_path.exists():
        samples = recover_trace(trace_path, folder / TRACE)
        console.print(f"Recovered {samples:,} samples into {folder / TRACE}", soft_wrap=True)
    run, events = read_events(events_path)
    finisher = Finisher(
        folder,
        console,
        session_id=str(run.get("session_id", "")),
        session=run.get("session", {}),
        result={},
        complete=False,
    )
    if run.get("kind") == "measured":
        log, arrived = WindowLog(), array("d")
        for event, host_s in events:
            log.add_event(event)
            arrived.append(host_s)
        console.print(f"Recovered {len(log):,} phase events")
        started_s = float(run.get("started_s", 0.0))
        arrivals = Arrivals(
            np.array(arrived),
            np.zeros(1),
            np.array([started_s + _START_S]),
            started_s,
        )
        summary = finisher.measured(log, int(run.get("trigger_lines", 0)), arrivals)
    else:
        probe = ModelProbe(
            load_board(board or str(run.get("model", ""))),
            float(run.get("rate_hz", DEFAULT_RATE_HZ)),
        )
        probe.use_cpu(str(run.get("session", {}).get("cpu", "")))
        probe.start()
        for event, _ in events:
            probe.on_event(event)
        console.print(f"Recovered {len(probe.windows):,} phase events")
        if not probe.duration_s > 0:
            raise TraceError(
                f"{events_path} holds {len(probe.windows)} phase events and no work in them: there is "
                "nothing to recover; repeat the capture"
            )
        summary = finisher.modelled(probe)
    events_path.unlink(missing_ok=True)
    return summary


def recover_trace(journal: Path, trace: Path) -> int:
    """Write the samples of `journal` as the Parquet file `trace` and delete it; their number."""
    reader = TraceJournalReader(journal)
    with TraceWriter(trace, reader.info, complete=False) as writer:
        for batch in reader.batches():
            for chunk in split_batch(batch, has_flags=True):
                writer.write(chunk)
    trace.with_name(f".{trace.name}.part").unlink(missing_ok=True)
    journal.unlink()
    return writer.samples


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("run", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option(
    "--board",
    default="",
    metavar="NAME|FILE.toml",
    help="The board a model stands for, where the capture was given a file.",
)
def main(run: Path, board: str) -> None:
    """Make trace, windows, summary and picture of RUN, whose capture was killed."""
    recover(run, Console(), board)


if __name__ == "__main__":
    sys.exit(end_well(main))
