"""Fine-tuning on a board, from data to run folder: what `host.tune` and `host.session` both do."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from host import tune_picture
from host.datasets.registry import Task, load_task
from host.device import Device, EpochResult, Progress
from host.errors import HostError
from host.export_folder import Export, make_export, newest_export, read_export
from host.order import epoch_order, epoch_rate
from host.protocol.events import OnPhase
from host.runfolder import RunFolder, versions
from host.tuned_weights import write_weights

METRICS = "metrics.json"
PICTURE = "tune.png"
Report = Callable[[int, int, str], None]
RATES = {"fc": 0.1}
"""Learning rate that suits a block; all others take DEFAULT_RATE."""
DEFAULT_RATE = 5e-3
CHEAP_SAMPLE_BYTES = 1024
"""Where a cached sample is no larger, little of the network is left to run: test after every epoch."""


@dataclass(frozen=True)
class TuneOptions:
    """What a run is asked to do; `None` means: choose."""

    port: str = "native://"
    data: str = "cifar-flip"
    artifact: Path | None = None
    shift: str | None = None
    blocks: str | None = None
    checkpoint: Path | None = None
    mode: str = "accumulate"
    epochs: int = 10
    batch: int = 8
    lr: float | None = None
    schedule: str = "cosine"
    train_images: int = 1000
    test_images: int | None = None
    seed: int = 0
    cache: bool = True
    commit: bool = False
    data_dir: Path | None = None
    data_source: str = "auto"
    checkpoint_out: Path | None = None
    runs: Path = Path("runs")


def default_rate(blocks: Sequence[str]) -> float:
    """Learning rate for these blocks: the smallest that any of them takes."""
    return min(RATES.get(block, DEFAULT_RATE) for block in blocks)


def _check_wishes(o: TuneOptions) -> None:
    """Raises HostError for what would only come to light after the long work."""
    if o.artifact is not None and (o.shift or o.blocks):
        raise HostError(
            f"the artifact {o.artifact} was exported for its blocks already, expected no --shift and "
            "no --blocks beside it; leave these out, or --artifact"
        )
    if o.shift and o.blocks:
        raise HostError(
            "both a shift and the blocks to train were named, expected one of them; give either "
            "--shift or --blocks"
        )
    out = o.checkpoint_out
    if out is not None and (out.is_dir() or out.suffix not in (".safetensors", ".pt", ".pth")):
        raise HostError(
            f"the checkpoint {out} cannot be written, expected the name of a file that ends in "
            ".safetensors, .pt or .pth; choose another one with --checkpoint-out"
        )


@dataclass
class Tuning:
    """One run. `prepare`, then `run` with the open board; `metrics` grows meanwhile, and so does the
    run folder. `epoch` is the epoch in progress, −1 outside of training."""

    options: TuneOptions
    report: Report
    epoch: int = -1
    metrics: dict[str, Any] = field(default_factory=dict)
    _curves: list[dict[str, float]] = field(default_factory=list)

    task: Task = field(init=False)
    export: Export = field(init=False)
    folder: RunFolder = field(init=False)
    lr: float = field(init=False)

    def prepare(self) -> None:
        """Loads the data, reads or makes the export, makes the run folder.

        Raises HostError and ExporterError.
        """
        o = self.options
        _check_wishes(o)
        named = read_export(o.artifact, o.checkpoint) if o.artifact is not None else None
        self.report(0, 0, "loading data")
        self.task = load_task(
            o.data,
            train_images=o.train_images,
            seed=o.seed,
            data_dir=o.data_dir,
            data_source=o.data_source,
        )
        self.export = named or self._find_export()
        classes = self.export.artifact.classes
        if classes != len(self.task.test.classes):
            raise HostError(
                f"the data set {self.task.name} has {len(self.task.test.classes)} classes, the "
                f"network in {self.export.folder} {classes}; export a network for this data: "
                "python -m host.export --checkpoint FILE"
            )
        self.lr = default_rate(self.export.blocks) if o.lr is None else o.lr
        blocks = ",".join(self.export.blocks)
        self.folder = RunFolder.create(f"{self.task.name}-{blocks}", o.runs)
        self.folder.write_json("config.json", self._config())
        self.metrics = self._facts()
        self.save("prepared")

    def open(self) -> Device:
        """The board at the port; where it does not answer, the run folder says `failed`."""
        try:
            return Device.open(self.options.port)
        except KeyboardInterrupt:
            self._give_up("interrupted")
            raise
        except HostError:
            self._give_up("failed")
            raise

    def _find_export(self) -> Export:
        o = self.options
        newest = newest_export()
        chosen = o.shift or o.blocks or o.checkpoint
        if newest is not None and not chosen:
            return read_export(newest)
        shift = o.shift or (None if o.blocks else self._shift_of_task())
        return make_export(self.task.name, shift, o.blocks, o.checkpoint, o.mode, self.report)

    def _shift_of_task(self) -> str:
        return self.task.shift if self.task.shift != "none" else "output"

    def _config(self) -> dict[str, object]:
        config = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(self.options).items()}
        return config | {
            "lr": self.lr,
            "data": self.task.name,
            "data_description": self.task.description,
            "data_source": self.task.source,
            "train_sha256": self.task.train.sha256,
            "test_sha256": self.task.test.sha256,
            "artifact": str(self.export.folder),
            "artifact_sha256": self.export.sha256,
            "model_sha256": self.export.artifact.model_hash.hex(),
            "versions": versions(),
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        }

    def _facts(self) -> dict[str, object]:
        artifact = self.export.artifact
        return {
            "status": "prepared",
            "accuracy_before": None,
            "accuracy_after": None,
            "train_images": len(self.task.train),
            "test_images": len(self._test()[1]),
            "epochs": self.options.epochs,
            "seed": self.options.seed,
            "blocks": list(self.export.blocks),
            "arena_bytes": artifact.arena_bytes,
            "weights_sha256": None,
            "port": self.options.port,
            "data": self.task.name,
            "data_source": self.task.source,
            "lr": self.lr,
            "schedule": self.options.schedule,
            "batch": 1 if artifact.immediate else self.options.batch,
            "mode": "immediate" if artifact.immediate else "accumulate",
            "model_sha256": artifact.model_hash.hex(),
            "artifact_sha256": self.export.sha256,
            "epochs_done": 0,
            "per_epoch": self._curves,
        }

    def save(self, status: str) -> None:
        """Writes `metrics.json` as it stands."""
        self.metrics["status"] = status
        self.folder.write_json(METRICS, self.metrics)

    def _test(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        count = self.options.test_images
        return self.task.test.images[:count], self.task.test.labels[:count]

    def run(self, device: Device, on_phase: OnPhase | None = None) -> Mapping[str, object]:
        """Fine-tunes on the board and returns the metrics; the run folder has everything then.

        On an exception the folder is left readable, its status `interrupted` or `failed`.
        """
        try:
            self._run(device, on_phase)
        except KeyboardInterrupt:
            self._give_up("interrupted")
            raise
        except BaseException:
            self._give_up("failed")
            raise
        return self.metrics

    def _give_up(self, status: str) -> None:
        try:
            self.save(status)
        except HostError:
            return  # the disk is the trouble; what was written before is whole

    def _run(self, device: Device, on_phase: OnPhase | None) -> None:
        started = time.monotonic()
        device.push_artifact(self.export.data, self._progress("uploading the network"))
        device.configure(self.options.seed & 0xFFFFFFFF, on_phase=on_phase)
        identity = device.identity
        self.metrics |= {
            "board": identity.board,
            "firmware_version": identity.firmware,
            "clock_hz": identity.clock_hz,
        }
        board = _Samples(self, device)
        self.metrics |= {"prefix_cache": board.cached, "cache_slots": identity.cache_slots}
        self.save("running")
        board.load()
        before = time.monotonic()
        self.metrics["accuracy_before"] = board.accuracy("testing before")
        self.metrics["test_seconds"] = round(time.monotonic() - before, 3)
        self.save("running")
        training = time.monotonic()
        for epoch in range(self.options.epochs):
            self.epoch = epoch
            result = board.train(epoch)
            self.epoch = -1
            self._note_epoch(result, board, last=epoch + 1 == self.options.epochs)
        self.metrics["train_seconds"] = round(time.monotonic() - training, 3)
        after = self._curves[-1].get("test_accuracy") if self._curves else None
        self.metrics["accuracy_after"] = board.accuracy("testing after") if after is None else after
        self._finish(device)
        self.metrics["seconds"] = round(time.monotonic() - started, 3)
        self.metrics["retries"] = device.link.retries
        self.metrics["damaged_frames"] = device.link.damaged
        self.save("complete")
        with self.folder.writing(PICTURE) as path:
            tune_picture.draw(path, self.metrics)

    def _note_epoch(self, result: EpochResult, board: _Samples, *, last: bool) -> None:
        row = {"loss": result.loss, "train_accuracy": result.accuracy, "skipped": result.skipped}
        if board.test_is_cheap or last:
            row["test_accuracy"] = board.accuracy("testing")
        self._curves.append(row)
        self.metrics["epochs_done"] = len(self._curves)
        self.save("running")

    def _finish(self, device: Device) -> None:
        """Reads the weights back and writes them."""
        self.report(0, 2, "reading the weights")
        tensors = device.read_weights(self.export.nodes)
        self.metrics["weights_sha256"] = device.weights_sha256().hex()
        if self.options.commit:
            self.metrics["flash_bytes"] = device.commit()
        device.complete_events()
        self.report(1, 2, "reading the weights")
        self.metrics["files"] = write_weights(
            self.folder, self.export, tensors, self.metrics, self.options.checkpoint_out
        )
        self.report(2, 2, "reading the weights")

    def _progress(self, what: str) -> Progress:
        return lambda done, total: self.report(done, total, what)


class _Samples:
    """How images get to the board: cached once, cached anew for every epoch, or sent each time."""

    def __init__(self, tuning: Tuning, device: Device) -> None:
        self._tuning = tuning
        self._device = device
        self._train = tuning.task.train
        self._test = tuning._test()
        slots = device.identity.cache_slots
        needed = len(self._train)
        self.cached = tuning.options.cache and slots > 0
        self._resend = self.cached and slots < needed
        self.test_cached = self.cached and slots >= needed + len(self._test[1])
        self.test_is_cheap = (
            self.test_cached and device.identity.cached_sample_bytes <= CHEAP_SAMPLE_BYTES
        )

    def load(self) -> None:
        """Fills the cache: training images first, the test images behind them where there is room."""
        if self.cached and not self._resend:
            self._device.load_samples(
                self._train.images,
                self._train.labels,
                progress=self._tuning._progress("caching training images"),
            )
        if self.test_cached:
            first = len(self._train)
            self._device.load_samples(
                *self._test,
                slots=range(first, first + len(self._test[1])),
                evaluation=True,
                progress=self._tuning._progress("caching test images"),
            )

    def accuracy(self, what: str) -> float:
        """Fraction of the test images that are classified rightly."""
        images, labels = self._test
        progress = self._tuning._progress(what)
        if self.test_cached:
            first = len(self._train)
            found = self._device.predict_slots(range(first, first + len(labels)), progress)
        else:
            found = self._device.predict(images, progress)
        return float(np.mean(found == labels))

    def train(self, epoch: int) -> EpochResult:
        """One epoch."""
        o = self._tuning.options
        order: list[int] = epoch_order(o.seed, epoch, len(self._train)).tolist()
        progress = self._tuning._progress(f"epoch {epoch + 1} of {o.epochs}")
        lr = epoch_rate(self._tuning.lr, o.schedule, epoch, o.epochs)
        if not self.cached:
            return self._device.train_epoch_uncached(
                self._train.images, self._train.labels, order, o.batch, lr, progress
            )
        if self._resend:
            return self._device.train_epoch_resending(
                self._train.images, self._train.labels, order, o.batch, lr, progress
            )
        return self._device.train_epoch(order, o.batch, lr, progress)
