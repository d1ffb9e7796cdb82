"""What all commands of the host share: how they end, and how they show progress."""

from __future__ import annotations

import contextlib
import errno
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from energy.errors import EnergyError
from exporter.errors import ExporterError
from host.errors import HostError

INTERRUPTED_STATUS = 130
Report = Callable[[int, int, str], None]
"""Called with what is done, the total (0 unknown), and what is being done."""


def run_command(command: click.Command) -> None:
    """Runs a click command and exits: 0, 1 after `error: …` on stderr, 2 for bad usage, 130 when
    interrupted (Ctrl-C or SIGTERM)."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        status = command.main(standalone_mode=False)
    except click.exceptions.Exit as exc:
        sys.exit(exc.exit_code)
    except click.ClickException as exc:
        exc.show()
        sys.exit(exc.exit_code)
    except (HostError, ExporterError, EnergyError) as exc:
        click.echo(f"error: {exc}", err=True)
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(1)
    except OSError as exc:
        if exc.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise
        click.echo(f"error: {file_error(exc)}", err=True)
        sys.exit(1)
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        sys.exit(INTERRUPTED_STATUS)
    sys.exit(status if isinstance(status, int) else 0)


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def file_error(exc: OSError) -> str:
    """One sentence on a file that could not be written."""
    where = f"{exc.filename}" if exc.filename else "a file"
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{where} could not be written, the disk is full; make room and run it again"
    return (
        f"{where} could not be written ({exc.strerror}), expected a folder that you may write into; "
        "choose another one or change its rights"
    )


@contextlib.contextmanager
def progress_bars(console: Console) -> Iterator[Report]:
    """One bar for each thing that is reported, for as long as the `with` block lasts."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def report(done: int, total: int, what: str) -> None:
            if what not in tasks:
                for other in tasks.values():
                    bars.update(other, visible=False)
                tasks[what] = bars.add_task(what, total=total or None)
            bars.update(tasks[what], completed=done, total=total or None, visible=True)

        yield report
