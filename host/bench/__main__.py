"""``python -m host.bench``: run the benchmark, print it beside the references, write ``build/bench/bench.json``."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial

import click
from rich.console import Console
from rich.table import Table

from host.bench import engine
from host.bench.accuracy import CASES, run_case
from host.bench.result import Result
from host.cli import Report, progress_bars, run_command

PARTS: dict[str, Callable[[Report], list[Result]]] = {
    "arena": engine.arena_sizes,
    "cache": engine.prefix_cache,
    "speed": engine.training_step,
    "restart": engine.exact_restart,
    **{case.shift: partial(run_case, case) for case in CASES},
}

EPILOG = """\b
Example:
  python -m host.bench                      all parts, about half an hour on two cores
  python -m host.bench --part arena --part speed
"""


@click.command(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--part",
    "parts",
    multiple=True,
    type=click.Choice(list(PARTS)),
    help="Run only this part; may be repeated. Unless given, all run.",
)
def main(parts: tuple[str, ...]) -> int:
    """Measure what this project promises and compare it with the references.

    The exit status is 0 when every bar was reached, and 3 when one was missed.
    """
    console = Console()
    results: list[Result] = []
    for part in parts or PARTS:
        with progress_bars(console) as report:
            found = PARTS[part](report)
        results += found
        write(results)
        for result in found:
            mark = "[green]reached[/]" if result.reached else "[red]missed[/]"
            console.print(
                f"{mark} {result.name}: {result.value:.2f} {result.unit}", highlight=False
            )
    console.print(table(results))
    console.print(f"Written to {engine.bench_folder() / 'bench.json'}")
    return 0 if all(result.reached for result in results) else 3


def write(results: list[Result]) -> None:
    """Write ``bench.json`` whole."""
    folder = engine.bench_folder()
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "bench.json"
    temporary = target.with_suffix(".tmp")
    temporary.write_text(
        json.dumps([r.as_json() for r in results], indent=1, ensure_ascii=False) + "\n"
    )
    os.replace(temporary, target)


def table(results: list[Result]) -> Table:
    """The results for people."""
    out = Table(title="Benchmark", show_lines=True)
    for heading in ("what", "value", "bar", "", "reference", "how"):
        out.add_column(heading, justify="right" if heading in ("value", "bar") else "left")
    for r in results:
        mark = "[green]reached[/]" if r.reached else "[bold red]missed[/]"
        sense = "≥" if r.sense == ">=" else "≤"
        value, bar = f"{r.value:.2f} {r.unit}", f"{sense} {r.bar:g} {r.unit}"
        out.add_row(r.name, value, bar, mark, r.reference, r.note)
    return out


if __name__ == "__main__":
    run_command(main)
