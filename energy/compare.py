"""`python -m energy.compare`: target block, each other block and full fine-tuning on the same board and data.

The methods take turns, so that whatever drifts (temperature, a battery's voltage) drifts for all of them, and the round is repeated.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click
from rich.console import Console

from energy import compare_view
from energy.board import board_names, load_board
from energy.capture import DEFAULT_PORT, capture
from energy.comparison import DATA, FULL, METHODS, TARGETS, Outcome, Run, compare, run_of
from energy.ending import end_well
from energy.errors import EnergyError

JSON, PICTURE = "compare.json", "compare.png"
WIDTH = 100
"""Columns of the table where the output is no terminal."""


@click.command(
    context_settings={"ignore_unknown_options": True, "help_option_names": ["-h", "--help"]},
    epilog="""\b
Examples:
  python -m energy.compare --shift output
  python -m energy.compare --shift input --board esp32 --epochs 3 --train-images 300
  python -m energy.compare --shift output --port qemu://lx7 --epochs 1 --train-images 16 --test-images 16""",
)
@click.option(
    "--shift",
    required=True,
    type=click.Choice(sorted(TARGETS)),
    help="The kind of shift: it names the target block and, unless --data does, the data.",
)
@click.option("--port", default=DEFAULT_PORT, show_default=True, help="The board.")
@click.option(
    "--probe",
    default="auto",
    show_default=True,
    help="Where the current comes from, as for energy.capture.",
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
    "--methods",
    default=",".join(METHODS),
    show_default=True,
    metavar="BLOCK,…",
    help="Which to run; full fine-tuning (all) is always among them.",
)
@click.option(
    "--repeats",
    default=None,
    type=click.IntRange(min=1),
    help="Rounds.  [default: 1 where the current is modelled, which repeats itself exactly; else 3]",
)
@click.option(
    "--data",
    default=None,
    help="The shifted data.  [default: " + ", ".join(f"{k}: {v}" for k, v in DATA.items()) + "]",
)
@click.option(
    "--runs",
    default=Path("runs"),
    show_default=True,
    type=click.Path(path_type=Path),
    help="Where the run folder goes.",
)
@click.argument("session_options", nargs=-1, type=click.UNPROCESSED, metavar="[SESSION OPTIONS]")
def main(
    shift: str,
    port: str,
    probe: str,
    board_name: str,
    methods: str,
    repeats: int | None,
    data: str | None,
    runs: Path,
    session_options: tuple[str, ...],
) -> None:
    """Fine-tune with each method in turn and say what the target block saves: ES = (E_full - E_block) / E_full.

    Every method trains on the same images in the same order and is tested on the same ones. Options that are not listed here
    (--epochs, --train-images, …) go to the sessions.
    """
    wanted = _methods(methods)
    for word in session_options:
        if word.split("=")[0] in ("--blocks", "--shift", "--artifact"):
            raise click.UsageError(
                f"{word} chooses what is trained, which the comparison does itself"
            )
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    folder = _folder(runs, shift)
    options = ("--data", data or DATA[shift], "--runs", str(folder), *session_options)
    found: list[Run] = []
    rounds, kind = repeats or 1, ""
    number = 0
    try:
        while number < rounds:
            for blocks in wanted:
                console.rule(f"round {number + 1} of {rounds}: {blocks}")
                captured = capture(
                    port, load_board(board_name), (*options, "--blocks", blocks), probe=probe
                )
                found.append(run_of(blocks, captured.summary, str(captured.run_dir)))
                kind = found[-1].kind
            if repeats is None and kind == "measured":
                rounds = 3
            number += 1
    finally:
        # What is whole stays, also after Ctrl-C or a pulled cable in a later round.
        if any(run.blocks == FULL for run in found):
            _finish(
                console,
                folder,
                found,
                shift,
                kind,
                {"port": port, "board": board_name, "rounds": number, "data": options[1]},
            )


def _methods(text: str) -> tuple[str, ...]:
    named = [word.strip() for word in text.split(",") if word.strip()]
    unknown = [word for word in named if word not in METHODS]
    if unknown:
        raise click.UsageError(
            f"there is no method {unknown[0]!r}, expected some of {', '.join(METHODS)}"
        )
    # The reference goes first: an interrupted comparison has something to compare with.
    return (FULL, *(name for name in METHODS if name in named and name != FULL))


def _folder(runs: Path, shift: str) -> Path:
    stem = f"{time.strftime('%Y%m%d-%H%M%S')}-compare-{shift}"
    for number in range(1000):
        folder = runs / (f"{stem}-{number + 1}" if number else stem)
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as exc:
            raise EnergyError(
                f"the run folder {folder} cannot be made ({exc.strerror}), expected a folder that you may write into; "
                "choose another one with --runs"
            ) from exc
        return folder
    raise EnergyError(f"the run folder {runs / stem} exists a thousand times over; remove old ones")


def _finish(
    console: Console,
    folder: Path,
    found: list[Run],
    shift: str,
    kind: str,
    facts: dict[str, object],
) -> list[Outcome]:
    outcomes = compare(found, shift)
    title = f"Target block against full fine-tuning, {shift} shift ({kind})"
    compare_view.write_json(folder / JSON, outcomes, kind=kind, shift=shift, facts=facts)
    compare_view.draw(folder / PICTURE, outcomes, kind, f"{facts['data']}, {kind}")
    console.print(compare_view.table(outcomes, kind, title))
    console.print(
        "ES = (E_full - E_block) / E_full, fine-tuning phases with their data; paper: 32 px on a Raspberry Pi.",
        soft_wrap=True,
    )
    console.print(f"Written to {folder}: {JSON}, {PICTURE}, and one folder a run", soft_wrap=True)
    return outcomes


if __name__ == "__main__":
    sys.exit(end_well(main))
