"""Memory, work, speed and repeatability of the native engine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from energy.session import Phase
from exporter.artifact import write_artifact
from exporter.plan import make_plan
from host.bench.result import Result
from host.datasets.base import Dataset
from host.datasets.registry import load_task
from host.device import Device
from host.errors import HostError
from host.exporting import DEFAULT_CHECKPOINT, quantized_graph
from host.order import epoch_order
from host.protocol import messages as m
from host.protocol.link import Port
from host.transport import open_port

Report = Callable[[int, int, str], None]
TRAINING_PHASES = (Phase.FROZEN_FORWARD, Phase.TRAIN_FORWARD, Phase.BACKWARD, Phase.UPDATE)
ARENA_BARS = (
    (("fc",), "accumulate", 48),
    (("block1",), "accumulate", 256),
    (("block2",), "accumulate", 320),
    (("block3",), "immediate", 448),
)


def arena_sizes(report: Report) -> list[Result]:
    """Planned arena against the bars; the device refuses a plan that does not hold."""
    graph, *_ = quantized_graph(DEFAULT_CHECKPOINT)
    results = []
    for number, (blocks, mode, bar) in enumerate(ARENA_BARS):
        report(number, len(ARENA_BARS), "planning memory")
        plan = make_plan(graph, blocks, mode=mode)
        name = f"arena, {','.join(blocks)}, {mode}"
        results.append(Result(name, plan.arena_bytes / 1024, "KiB", bar, "<="))
    return results


class _Board:
    """A native board with an artifact for ``blocks`` and a few samples of CIFAR-Flip."""

    def __init__(self, blocks: tuple[str, ...], samples: int, port: str = "native://") -> None:
        graph, *_ = quantized_graph(DEFAULT_CHECKPOINT)
        self.artifact = write_artifact(make_plan(graph, blocks, mode="accumulate"))
        task = load_task("cifar-flip", train_images=samples, data_source="sample")
        self.train: Dataset = task.train
        self.samples = samples
        self.macs: list[tuple[int, int]] = []
        self.device = Device.open(port)

    def start(self, *, cached: bool, events: bool) -> None:
        """Load the artifact and the samples."""
        self.device.push_artifact(self.artifact)
        on_phase = self._on_phase if events else None
        self.device.configure(0, on_phase=on_phase)
        if cached:
            self.device.load_samples(self.train.images, self.train.labels)

    def _on_phase(self, record: m.PhaseRecord, _start: int, _stop: int) -> None:
        self.macs.append((record.phase, record.macs))

    def epoch(self, number: int, *, cached: bool) -> int:
        """Train one epoch in batches of 8; multiply-accumulates that training took."""
        self.macs.clear()
        order = epoch_order(0, number, self.samples).tolist()
        if cached:
            self.device.train_epoch(order, 8, 0.1)
        else:
            images, labels = self.train.images, self.train.labels
            self.device.train_epoch_uncached(images, labels, order, 8, 0.1)
        self.device.complete_events()
        return sum(macs for phase, macs in self.macs if phase in TRAINING_PHASES)


def prefix_cache(report: Report) -> list[Result]:
    """Multiply-accumulates of a later epoch of ``fc``, counted by the firmware, with the prefix cache and without."""
    counts = []
    for number, cached in enumerate((False, True)):
        report(number, 2, "counting multiply-accumulates")
        board = _Board(("fc",), 16)
        with board.device:
            board.start(cached=cached, events=True)
            board.epoch(0, cached=cached)
            counts.append(board.epoch(1, cached=cached))
    without, with_cache = counts
    note = f"{without} against {with_cache} multiply-accumulates for 16 samples"
    return [
        Result(
            "epochs 2..N of fc, MACs saved by the cache",
            without / with_cache,
            "x",
            50.0,
            ">=",
            note=note,
        )
    ]


def training_step(report: Report, repeats: int = 7) -> list[Result]:
    """Time of a full training step of 8 samples (all blocks) against PyTorch float32, one thread each, in turns."""
    try:
        import torch
        import torch.nn.functional as F

        from exporter.torch_graph import TorchGraph
    except ImportError as error:
        raise HostError(
            "the comparison with PyTorch needs it installed; run make setup-dev"
        ) from error
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    board = _Board(("block1", "block2", "block3", "fc"), 8)
    graph, *_ = quantized_graph(DEFAULT_CHECKPOINT)
    model = TorchGraph(graph, graph.blocks)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    x, y = torch.randn(8, 3, 32, 32), torch.arange(8)
    best: dict[str, list[float]] = {"native": [], "torch": []}
    with board.device:
        board.start(cached=True, events=False)
        for turn in range(repeats + 2):
            report(turn, repeats + 2, "timing training steps")
            started = time.perf_counter()
            board.device.train_epoch(range(8), 8, 1e-3)
            middle = time.perf_counter()
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            stopped = time.perf_counter()
            if turn >= 2:
                best["native"].append(middle - started)
                best["torch"].append(stopped - middle)
    torch.set_num_threads(threads)
    native, floating = (1e3 * statistics.median(best[k]) for k in ("native", "torch"))
    note = f"medians of {repeats}: engine {native:.1f} ms (with the protocol), PyTorch {floating:.1f} ms"
    return [
        Result(
            "full training step, batch 8, time of PyTorch float32",
            native / floating,
            "x",
            2.0,
            "<=",
            note=note,
        )
    ]


class _Splitter:
    """A port that hands the byte stream over in pieces of random sizes."""

    def __init__(self, port: Port, seed: int) -> None:
        self._port = port
        self._random = np.random.default_rng(seed)

    def read(self, size: int = 1) -> bytes:
        """At most a few bytes at a time."""
        return bytes(self._port.read(min(size, int(self._random.integers(1, 8)))))

    def write(self, data: bytes) -> int:
        """In pieces."""
        at = 0
        while at < len(data):
            step = int(self._random.integers(1, 40))
            self._port.write(data[at : at + step])
            at += step
        return len(data)

    def __getattr__(self, name: str) -> object:
        return getattr(self._port, name)


def exact_restart(report: Report) -> list[Result]:
    """Weight hashes of the same short run: twice, and once with the byte stream split at random."""
    hashes = []
    for number in range(3):
        report(number, 3, "repeating a run")
        board = _Board(("block3", "fc"), 24)
        if number == 2:
            board.device.close()
            board.device = Device(_Splitter(open_port("native://"), 5), "native://")  # type: ignore[arg-type]
        with board.device:
            board.start(cached=True, events=False)
            for epoch in range(2):
                board.epoch(epoch, cached=True)
            hashes.append(board.device.weights_sha256())
    equal = sum(h == hashes[0] for h in hashes[1:])
    note = f"SHA-256 {hashes[0].hex()[:16]}…"
    return [
        Result(
            "exact restart: equal weight hashes of two repetitions",
            equal,
            "of 2",
            2,
            ">=",
            note=note,
        )
    ]


def bench_folder() -> Path:
    """Where the results are written."""
    return Path("build") / "bench"
