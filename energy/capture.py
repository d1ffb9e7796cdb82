"""`python -m energy.capture`: one fine-tuning session with its current trace.

Runs the session that `host.tune` runs, through the plug-in of `energy.session`, and leaves in its
run folder `trace.parquet`, `windows.parquet`, `energy.json`, `energy.png` and, asked for,
`trace.csv`. Whatever ends the session, what was recorded until then is written.
"""

from __future__ import annotations

import gc
import secrets
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console

from energy.board import Board, board_names, load_board
from energy.ending import end_well
from energy.errors import EnergyError, ProbeError
from energy.finish import Finisher
from energy.live import LiveView
from energy.memory import release
from energy.probes import MODEL, Probe, ProbeOptions
from energy.probes.model import DEFAULT_RATE_HZ, MAX_SAMPLES, ModelProbe
from energy.probes.registry import BOARD_SENSOR, ENTRIES, Choice, choose_probe, create_probe
from energy.recording import Recording
from energy.session import SessionPlugin, find_plugin

__all__ = ["DEFAULT_PORT", "Captured", "capture", "end_well", "main"]

DEFAULT_PORT = "native://"


class _Command(click.Command):
    """Adds the plug-in's own options to `--help`."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(ctx, formatter)
        try:
            text = textwrap.dedent(find_plugin().options_help).strip("\n")
        except EnergyError:
            return
        if text:
            with formatter.section("Options of the session"):
                for line in text.splitlines():
                    formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


@click.command(
    cls=_Command,
    context_settings={"ignore_unknown_options": True, "help_option_names": ["-h", "--help"]},
    epilog="""\b
Examples:
  python -m energy.capture --port native://
  python -m energy.capture --data cifar-flip --epochs 2 --csv
  python -m energy.capture --board esp32 --data cifar-flip
  python -m energy.capture --port /dev/ttyUSB0 --probe ppk2 --voltage 3.7""",
)
@click.option(
    "--port",
    default=DEFAULT_PORT,
    show_default=True,
    help="The board: native:// is the firmware as a process of this computer.",
)
@click.option(
    "--probe",
    default="auto",
    show_default=True,
    metavar="auto|NAME[:ADDRESS]",
    help=f"Where the current comes from: {', '.join(ENTRIES)}; auto takes the model for emulated "
    "boards and what is plugged in for others.",
)
@click.option(
    "--voltage",
    "voltage_v",
    default=None,
    type=click.FloatRange(min=0, min_open=True, max=60),
    metavar="V",
    help="The board's supply: set on an instrument that is the source, taken as given by one that "
    "measures current only.",
)
@click.option(
    "--board",
    "board_name",
    default="terracorder",
    show_default=True,
    metavar="NAME|FILE.toml",
    help=f"The board that the model stands for: {', '.join(board_names())}, or a TOML file.",
)
@click.option(
    "--rate",
    "rate_hz",
    default=None,
    type=click.FloatRange(min=0, min_open=True),
    metavar="HZ",
    help="Samples a second.  [default: the instrument's; the model's is "
    f"{DEFAULT_RATE_HZ:g}, lowered where the trace would exceed {MAX_SAMPLES:,} samples]",
)
@click.option("--csv", "csv_too", is_flag=True, help="Write trace.csv beside trace.parquet.")
@click.argument("session_options", nargs=-1, type=click.UNPROCESSED, metavar="[SESSION OPTIONS]")
def main(
    port: str,
    probe: str,
    voltage_v: float | None,
    board_name: str,
    rate_hz: float | None,
    csv_too: bool,
    session_options: tuple[str, ...],
) -> None:
    """Fine-tune once, as host.tune does, and record the current it takes, phase by phase.

    With native:// the current is MODELLED: the work that the firmware reports, times the cycles
    and currents of a described board. Every file, table and picture says so. All options that are
    not listed here go to the session.
    """
    board = load_board(board_name)
    capture(
        port,
        board,
        session_options,
        probe=probe,
        rate_hz=rate_hz,
        voltage_v=voltage_v,
        csv_too=csv_too,
    )


@dataclass(frozen=True)
class Captured:
    """What a capture left: `summary` as in `energy.json`, and the run folder."""

    summary: dict[str, object]
    run_dir: Path


def capture(
    port: str,
    board: Board,
    options: Sequence[str],
    *,
    probe: str = "auto",
    rate_hz: float | None = None,
    voltage_v: float | None = None,
    csv_too: bool = False,
) -> Captured:
    """Run one session on `port` and write its files.

    `board` is what a model stands for; `options` go to the session; `voltage_v` in V, `rate_hz` in
    samples a second. Raises `EnergyError`, or `KeyboardInterrupt` after Ctrl-C; both after writing
    what there is.
    """
    console = Console()
    choice = choose_probe(probe, port)
    asked = ProbeOptions(choice.address, voltage_v, rate_hz, port, board)
    device = create_probe(choice, asked)
    _introduce(console, choice, port, board)
    plugin = find_plugin()
    try:
        return _run(device, plugin, port, options, board, csv_too, console)
    except ProbeError as exc:
        if probe == "auto" and choice.name == BOARD_SENSOR:
            raise ProbeError(
                f"{exc}. No instrument is plugged in either; plug one in or name it with --probe, "
                "or use --probe model, whose figures are modelled from the board's work"
            ) from exc
        raise
    finally:
        device.close()


def _introduce(console: Console, choice: Choice, port: str, board: Board) -> None:
    if choice.name == MODEL:
        if port == DEFAULT_PORT:
            console.print("No board attached: the firmware runs as a process of this computer.")
        console.print(f"The current is [bold]modelled[/] for {board.title}, not measured.")
        return
    for found in choice.found:
        console.print(f"Plugged in: {found.title} (--probe {found.name}:{found.address})")
    console.print(f"Current from the {choice.entry.title}: {choice.because}.", soft_wrap=True)


def _run(
    device: Probe,
    plugin: SessionPlugin,
    port: str,
    options: Sequence[str],
    board: Board,
    csv_too: bool,
    console: Console,
) -> Captured:
    description: dict[str, str | int] = {}
    result: Mapping[str, object] = {}
    recording: Recording | None = None
    session_id = secrets.token_hex(8)
    complete = False
    summary: dict[str, object] = {}
    if device.name != BOARD_SENSOR:
        device.open()  # first: it may be what supplies the board
    try:
        with plugin.open_session(port, options) as session:
            description = dict(session.describe())
            folder = _run_dir(description)
            facts: dict[str, object] = {
                "session": description,
                "model": board.name,
                "port": port,
                "rate_hz": device.rate_hz,
                "trigger_lines": device.capabilities.trigger_lines,
            }
            device.attach(session)
            if device.name == BOARD_SENSOR:
                device.open()
            recording = Recording(device, folder, facts)
            live = LiveView(recording, console)
            with live.progress:
                recording.start(session_id)
                try:
                    result = session.run(live.on_event, live.on_progress)
                    complete = True
                finally:
                    live.settle()
                    # The instrument goes on until the board is done, not until its port is closed.
                    recording.end({"session_id": session_id}, complete=complete)
        del session  # its weights and images, 20 MB, while the trace is read
        gc.collect()
    finally:
        # The session is closed and the board idle by now, however it ended.
        release()
        if recording is not None:
            summary = _finish(
                recording,
                Finisher(
                    recording.folder,
                    console,
                    session_id=session_id,
                    session=description,
                    result=result,
                    complete=complete,
                    csv_too=csv_too,
                ),
            )
    recording.check()
    if not summary:
        raise EnergyError(
            f"the session ended with {recording.events} phase events and no work in them, so "
            "there is no energy to tell; expected a firmware that reports its phases and their "
            "work: update it and repeat"
        )
    return Captured(summary, recording.folder)


def _finish(recording: Recording, finisher: Finisher) -> dict[str, object]:
    """Write the run's files; without anything to write, nothing is left but a measured trace.

    An exception on its way is not replaced by what goes wrong here as a consequence.
    """
    ended_early = sys.exc_info()[1] is not None
    summary: dict[str, object] = {}
    try:
        if isinstance(recording.probe, ModelProbe):
            if recording.probe.duration_s > 0:
                summary = finisher.modelled(recording.probe)
        elif recording.recorder is not None:
            lines = recording.probe.capabilities.trigger_lines
            summary = finisher.measured(recording.log, lines, recording.arrivals())
    except EnergyError:
        if recording.events == 0:
            recording.discard()
        if not ended_early:
            raise
        return summary
    recording.discard()
    return summary


def _run_dir(description: Mapping[str, object]) -> Path:
    run_dir = Path(str(description.get("run_dir", "")))
    if not description.get("run_dir") or not run_dir.is_dir():
        raise EnergyError(
            f"the session's run folder {str(run_dir)!r} is not a folder; "
            "the capture writes its files there"
        )
    return run_dir


if __name__ == "__main__":
    sys.exit(end_well(main))
