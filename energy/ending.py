"""How the commands of this package end: one sentence and an exit status, never a traceback."""

from __future__ import annotations

import signal

import click

from energy.errors import EnergyError


def end_well(command: click.Command) -> int:
    """Run `command` with the program's arguments and return its exit status.

    0, 1 for an `EnergyError` or a file that cannot be written, 2 for bad usage, 130 for Ctrl-C (or
    SIGTERM).
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        status = command.main(standalone_mode=False)
        return status if isinstance(status, int) else 0
    except click.exceptions.Exit as exc:
        return exc.exit_code
    except click.ClickException as exc:
        exc.show()
        return exc.exit_code
    except EnergyError as exc:
        click.echo(f"error: {exc}", err=True)
        return 1
    except OSError as exc:
        where = exc.filename or "a file of the capture"
        click.echo(
            f"error: {where} could not be written ({exc.strerror or exc}), expected a folder with "
            "room that you may write into; make room or choose another one with --runs",
            err=True,
        )
        return 1
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        return 130
