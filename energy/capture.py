"""`python -m energy.capture`: one fine-tuning session with its current trace.

Runs the session that `host.tune` runs, through the plug-in of `energy.session`, and leaves in its
run folder `trace.parquet`, `windows.parquet`, `energy.json`, `energy.png` and, asked for,
`trace.csv`. Whatever ends the session, what was recorded until then is written.
"""

from __future__ import annotations

import signal
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

import click
from rich.console import Console

from energy import plot, report
from energy.board import Board, board_names, load_board
from energy.errors import EnergyError
from energy.live import LiveView
from energy.probes.model import DEFAULT_RATE_HZ, MAX_SAMPLES, ModelProbe
from energy.probes.registry import choose_probe
from energy.session import find_plugin
from energy.summary import build_summary, integrate_windows, write_summary
from energy.trace import TraceReader, TraceWriter
from energy.trace_csv import export_csv
from energy.units import si

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
  python -m energy.capture --board esp32 --data cifar-flip""",
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
    metavar="auto|model",
    help="Where the current comes from; auto takes the model for emulated boards only.",
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
    default=DEFAULT_RATE_HZ,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help=f"Samples a second in the trace; lowered where it would exceed {MAX_SAMPLES:,} samples.",
)
@click.option("--csv", "csv_too", is_flag=True, help="Write trace.csv beside trace.parquet.")
@click.argument("session_options", nargs=-1, type=click.UNPROCESSED, metavar="[SESSION OPTIONS]")
def main(
    port: str,
    probe: str,
    board_name: str,
    rate_hz: float,
    csv_too: bool,
    session_options: tuple[str, ...],
) -> None:
    """Fine-tune once, as host.tune does, and record the current it takes, phase by phase.

    With native:// the current is MODELLED: the work that the firmware reports, times the cycles
    and currents of a described board. Every file, table and picture says so. All options that are
    not listed here go to the session.
    """
    choose_probe(probe, port)
    board = load_board(board_name)
    capture(port, board, rate_hz, csv_too, session_options)


def capture(
    port: str, board: Board, rate_hz: float, csv_too: bool, options: tuple[str, ...]
) -> dict[str, object]:
    """Run one session on `port` and write its files; returns the summary (`energy.json`).

    Raises `EnergyError`, or `KeyboardInterrupt` after Ctrl-C; both after writing what there is.
    """
    console = Console()
    if port == DEFAULT_PORT:
        console.print("No board attached: the firmware runs as a process of this computer.")
    console.print(f"The current is [bold]modelled[/] for {board.title}, not measured.")
    probe = ModelProbe(board, rate_hz)
    live = LiveView(probe, console)
    plugin = find_plugin()
    description: dict[str, str | int] = {}
    result: Mapping[str, object] = {}
    summary: dict[str, object] = {}
    complete = False
    try:
        with live.progress, plugin.open_session(port, options) as session:
            description = dict(session.describe())
            _run_dir(description)
            probe.open()
            probe.start()
            try:
                result = session.run(live.on_event, live.on_progress)
                complete = True
            finally:
                live.settle()
    finally:
        # The session is closed and the board idle by now, however it ended.
        if probe.duration_s > 0:
            summary = _write(probe, complete, csv_too, description, result, console)
        probe.close()
    if not summary:
        raise EnergyError(
            f"the session ended with {len(probe.windows)} phase events and no work in them, so "
            "there is no energy to tell; expected a firmware that reports its phases and their "
            "work: update it and repeat"
        )
    return summary


def _run_dir(description: Mapping[str, object]) -> Path:
    run_dir = Path(str(description.get("run_dir", "")))
    if not description.get("run_dir") or not run_dir.is_dir():
        raise EnergyError(
            f"the session's run folder {str(run_dir)!r} is not a folder; "
            "the capture writes its files there"
        )
    return run_dir


def _write(
    probe: ModelProbe,
    complete: bool,
    csv_too: bool,
    description: Mapping[str, object],
    result: Mapping[str, object],
    console: Console,
) -> dict[str, object]:
    run_dir = _run_dir(description)
    info = probe.stop()
    if probe.lowered:
        console.print(
            f"The trace is sampled at {si(info.rate_hz, 'S/s')} to stay within "
            f"{MAX_SAMPLES:,} samples; the energies are summed exactly over the spans."
        )
    trace_path = run_dir / "trace.parquet"
    with TraceWriter(trace_path, info, complete=complete) as writer:
        for chunk in probe.read():
            writer.write(chunk)
    probe.windows.write_parquet(run_dir / "windows.parquet", info.kind)
    reader = TraceReader(trace_path)
    figures = integrate_windows(probe.windows, info, reader.chunks())
    summary = build_summary(
        probe.windows,
        figures,
        info,
        probe.board,
        samples=reader.samples,
        gaps=reader.gaps,
        complete=complete,
        session=description,
        result=result,
    )
    write_summary(run_dir / "energy.json", summary)
    if csv_too:
        export_csv(reader, run_dir / "trace.csv")
    plot.draw(
        run_dir / "energy.png",
        probe.windows,
        info.kind,
        f"Energy of one fine-tuning session, {info.kind}",
        _subheading(probe.board, description, complete),
    )
    console.print(report.render(summary))
    names = ["trace.parquet", "windows.parquet", "energy.json", "energy.png"]
    names += ["trace.csv"] if csv_too else []
    console.print(f"Written to {run_dir}: {', '.join(names)}", soft_wrap=True)
    return summary


def _subheading(board: Board, description: Mapping[str, object], complete: bool) -> str:
    facts = [str(description[key]) for key in ("blocks", "data") if description.get(key)]
    if description.get("epochs"):
        facts.append(f"{description['epochs']} epochs")
    parts = [board.title, ", ".join(facts), "" if complete else "interrupted"]
    return "\n".join(part for part in parts if part)


def run_cli() -> None:
    """The command line: exit status 0, 1 for an `EnergyError`, 2 for bad usage, 130 for Ctrl-C (or SIGTERM)."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main(standalone_mode=False)
    except click.exceptions.Exit as exc:
        sys.exit(exc.exit_code)
    except click.ClickException as exc:
        exc.show()
        sys.exit(exc.exit_code)
    except EnergyError as exc:
        click.echo(f"error: {exc}", err=True)
        sys.exit(1)
    except OSError as exc:
        where = exc.filename or "a file of the capture"
        click.echo(
            f"error: {where} could not be written ({exc.strerror or exc}), expected a folder with room "
            "that you may write into; make room or choose another one with --runs",
            err=True,
        )
        sys.exit(1)
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        sys.exit(130)


if __name__ == "__main__":
    run_cli()
