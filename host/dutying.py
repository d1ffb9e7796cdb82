"""A board's days on duty in virtual time, from data to run folder: what `host.duty` does."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from host import duty_picture
from host.cli import Report
from host.datasets.registry import Task, load_task
from host.device import Device, Progress
from host.duty_link import KINDS, RUNNING, BatteryPoint, DutyLink
from host.duty_schedule import DAY_S, Entry, read_schedule
from host.errors import HostError
from host.export_folder import Export, make_export, newest_export, read_export
from host.protocol import messages as m
from host.protocol.events import OnPhase
from host.runfolder import RunFolder, versions
from host.tuned_weights import write_weights
from host.tuning import METRICS, default_rate

PICTURE = "duty.png"
EVENTS = "events.csv"
BATTERIES = ("full", "solar")
POLL_S = 0.1
_FULL_MV, _EMPTY_MV = 4150, 3500


@dataclass(frozen=True)
class DutyOptions:
    """What a run is asked to do; times in seconds, `None` means: choose."""

    port: str = "native://"
    data: str = "cifar-flip"
    days: float = 14.0
    artifact: Path | None = None
    shift: str | None = None
    mode: str = "accumulate"
    schedule: Path | None = None
    sample_every: int = 900
    tune_every: int = DAY_S
    min_labelled: int = 64
    max_samples: int = 256
    rehearse: int = 0
    epochs: int = 5
    batch: int = 8
    lr: float | None = None
    quiet: tuple[int, int] = (0, 0)
    min_battery_mv: int = 3700
    label_delay: int = 4 * 3600
    battery: str = "solar"
    start_hour: int = 8
    images: int = 1000
    test_images: int = 200
    seed: int = 0
    data_dir: Path | None = None
    data_source: str = "auto"
    runs: Path = Path("runs")


def battery_course(
    kind: str, start_s: int, days: float, limit: int, seed: int
) -> list[BatteryPoint]:
    """A course for the board to replay: full all the time, or lowest at sunrise and highest in the afternoon, with clouds."""
    if kind == "full":
        return [(0, _FULL_MV, 100)]
    rng = np.random.default_rng(seed)
    points: list[BatteryPoint] = []
    for day in range(start_s // DAY_S, math.ceil(start_s / DAY_S + days) + 1):
        sun = float(rng.uniform(0.15, 1.0))
        for hour, part in ((6, 0.25 * sun), (16, 0.35 + 0.65 * sun)):
            mv = round(_EMPTY_MV + part * (_FULL_MV - _EMPTY_MV))
            points.append((day * DAY_S + hour * 3600, mv, round(100 * part)))
    return points[:limit]


@dataclass
class Duty:
    """One run. `prepare`, then `run` with the open board; the run folder is readable at any time."""

    options: DutyOptions
    report: Report
    metrics: dict[str, Any] = field(default_factory=dict)
    events: list[m.DutyEvent] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    task: Task = field(init=False)
    export: Export = field(init=False)
    folder: RunFolder = field(init=False)
    entries: list[Entry] = field(init=False)

    def prepare(self) -> None:
        """Loads the data, reads or makes the export, makes the run folder. Raises HostError and ExporterError."""
        o = self.options
        self.report(0, 0, "loading data")
        self.task = load_task(
            o.data,
            train_images=o.images,
            seed=o.seed,
            data_dir=o.data_dir,
            data_source=o.data_source,
        )
        self.export = self._find_export()
        classes = self.export.artifact.classes
        if classes != len(self.task.test.classes):
            raise HostError(
                f"the data set {self.task.name} has {len(self.task.test.classes)} classes, the network "
                f"in {self.export.folder} {classes}; export a network for this data: python -m host.export"
            )
        self.entries = read_schedule(o.schedule) if o.schedule else self._entries()
        self.folder = RunFolder.create(f"duty-{self.task.name}", o.runs)
        config = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(o).items()}
        config |= {
            "schedule": [asdict(entry) for entry in self.entries],
            "artifact": str(self.export.folder),
            "artifact_sha256": self.export.sha256,
            "data_description": self.task.description,
            "data_source": self.task.source,
            "versions": versions(),
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        }
        self.folder.write_json("config.json", config)
        self.metrics = {
            "status": "prepared",
            "port": o.port,
            "data": self.task.name,
            "days": o.days,
        }
        self.metrics |= {
            "seed": o.seed,
            "epochs": o.epochs,
            "blocks": list(self.export.blocks),
            "model_sha256": self.export.artifact.model_hash.hex(),
        }
        self.save("prepared")

    def _find_export(self) -> Export:
        o = self.options
        if o.artifact is not None:
            return read_export(o.artifact)
        newest = newest_export()
        if newest is not None and o.shift is None:
            return read_export(newest)
        shift = self.task.shift if self.task.shift != "none" else "output"
        return make_export(self.task.name, o.shift or shift, None, None, o.mode, self.report)

    def _entries(self) -> list[Entry]:
        o = self.options
        lr = default_rate(self.export.blocks) if o.lr is None else o.lr
        sample = Entry("sample", o.sample_every, 0, *o.quiet)
        tune = Entry(
            "tune", o.tune_every, 0, *o.quiet, o.min_battery_mv, 0, o.min_labelled, o.max_samples,
            o.rehearse, o.epochs, o.batch, lr,
        )  # fmt: skip
        return [sample, tune]

    def save(self, status: str) -> None:
        """Writes `metrics.json` as it stands."""
        self.metrics["status"] = status
        self.folder.write_json(METRICS, self.metrics)

    def run(self, device: Device, on_phase: OnPhase | None = None) -> Mapping[str, object]:
        """The days on the board; returns the metrics. On an exception the folder says `interrupted` or `failed`."""
        try:
            self._run(device, on_phase)
        except KeyboardInterrupt:
            self.save("interrupted")
            raise
        except BaseException:
            self.save("failed")
            raise
        return self.metrics

    def _run(self, device: Device, on_phase: OnPhase | None) -> None:
        o = self.options
        started = time.monotonic()
        link = DutyLink(device, self.events.append)
        device.link.on_log = lambda log: self.messages.append(log.text)
        link.stop()
        device.push_artifact(self.export.data, self._progress("uploading the network"))
        device.configure(o.seed, on_phase=on_phase)
        device.commit()  # of the network's own weights: earlier ones in flash are not where this run begins
        self.metrics |= {"board": device.identity.board, "firmware": device.identity.firmware}
        count = min(len(self.task.train), link.status().replay_limit)
        if count == 0:
            raise HostError(
                f"the board at {o.port} takes its own samples, expected one that replays them; put it on duty "
                "with --field"
            )
        train, test = self.task.train, self.task.test
        images, labels = test.images[: o.test_images], test.labels[: o.test_images]
        before = device.evaluate(images, labels, self._progress("testing before"))
        self.metrics |= {"images": count, "test_images": len(labels), "accuracy_before": before}
        link.load_replay(
            train.images[:count],
            train.labels[:count],
            o.label_delay,
            self._progress("sending samples"),
        )
        start_s = o.start_hour * 3600
        until_s = start_s + round(o.days * DAY_S)
        limit = link.status().battery_limit
        link.load_battery(battery_course(o.battery, start_s, o.days, limit, o.seed))
        link.write_schedule(self.entries)
        self.save("running")
        link.start(start_s, until_s, o.seed)
        self._watch(device, link, start_s, until_s)
        self.metrics["weights_sha256"] = device.weights_sha256().hex()
        after = device.evaluate(images, labels, self._progress("testing after"))
        self.metrics |= {"accuracy_after": after, "seconds": round(time.monotonic() - started, 3)}
        self._finish(device)

    def _watch(self, device: Device, link: DutyLink, start_s: int, until_s: int) -> None:
        """Until the time is over. Days are virtual: the board does not wait for them."""
        while True:
            status = link.status()
            link.fill()
            if device.events:
                device.events.complete()
            hours = min(status.time_s, until_s) - start_s
            self.report(hours // 3600, (until_s - start_s) // 3600, "hours on duty")
            self._note(status)
            if status.mode != RUNNING:
                break
            time.sleep(POLL_S)
        link.complete()
        device.complete_events()
        if link.lost:
            raise HostError(
                f"{link.lost} events were lost on the way, expected all; use a better cable"
            )
        if status.time_s < until_s:
            raise HostError(
                f"the board at {self.options.port} stopped before its time was over: "
                f"{self.messages[-1] if self.messages else 'no reason was given'}; see {EVENTS}"
            )

    def _note(self, status: m.DutyStatusResponse) -> None:
        numbers = asdict(status)
        names = ("wakes", "samples", "labels", "right", "tunings", "skipped", "failures", "stored")
        self.metrics |= {name: numbers[name] for name in names}
        self.metrics |= {"checkpoint": status.checkpoint, "time_s": status.time_s}

    def _finish(self, device: Device) -> None:
        start_s = self.options.start_hour * 3600
        self.metrics["per_day"] = per_day(self.events, start_s)
        self.metrics["fine_tunings"] = fine_tunings(self.events, start_s)
        self.metrics["messages"] = self.messages[-100:]
        self.folder.write_text(EVENTS, events_csv(self.events))
        tensors = device.read_weights(self.export.nodes)
        self.metrics["files"] = write_weights(self.folder, self.export, tensors, self.metrics, None)
        self.save("complete")
        with self.folder.writing(PICTURE) as path:
            duty_picture.draw(path, self.metrics, self.events, start_s)

    def _progress(self, what: str) -> Progress:
        return lambda done, total: self.report(done, total, what)


def sample_times(events: list[m.DutyEvent]) -> dict[int, int]:
    """When each sample was taken, by its id."""
    return {e.id: e.time_s for e in events if KINDS[e.kind] == "sample"}


def per_day(events: list[m.DutyEvent], start_s: int) -> list[dict[str, float | int]]:
    """Labelled samples by the day on which they were taken: how many, and the fraction classified right then."""
    taken = sample_times(events)
    seen: Counter[int] = Counter()
    right: Counter[int] = Counter()
    for event in events:
        if KINDS[event.kind] == "label" and event.id in taken:
            day = (taken[event.id] - start_s) // DAY_S
            seen[day] += 1
            right[day] += event.value
    return [{"day": d, "labelled": seen[d], "accuracy": right[d] / seen[d]} for d in sorted(seen)]


def fine_tunings(events: list[m.DutyEvent], start_s: int) -> list[dict[str, float | int]]:
    """The committed ones: day, samples, fraction right in the last epoch."""
    tuned = {e.id: e for e in events if KINDS[e.kind] == "tuned"}
    return [
        {
            "number": e.id,
            "day": round((e.time_s - start_s) / DAY_S, 4),
            "samples": tuned[e.id].value,
            "train_accuracy": tuned[e.id].code / 100,
            "battery_mv": e.battery_mv,
        }
        for e in events
        if KINDS[e.kind] == "committed" and e.id in tuned
    ]


def events_csv(events: list[m.DutyEvent]) -> str:
    """All events, one line each."""
    lines = ["time_s,kind,entry,code,id,value,battery_mv"]
    lines += [
        f"{e.time_s},{KINDS[e.kind]},{e.entry},{e.code},{e.id},{e.value},{e.battery_mv}"
        for e in events
    ]
    return "\n".join(lines) + "\n"
