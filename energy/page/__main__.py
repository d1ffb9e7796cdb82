"""`python -m energy.page RUN`: writes `report.html` into a run folder again."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from energy.ending import end_well
from energy.page import write_page


@click.command(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="""\b
Example:
  python -m energy.page runs/20260101-120000-cifar-flip-fc""",
)
@click.argument("run", type=click.Path(path_type=Path, exists=True, file_okay=False))
def main(run: Path) -> None:
    """Write report.html from the files of the run folder RUN."""
    click.echo(f"Written: {write_page(run)}")


if __name__ == "__main__":
    sys.exit(end_well(main))
