"""A short training run on real images, on an emulated board and in the NumPy oracle (tests/firmware/boards/training_step.cc)."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from exporter.artifact import write_artifact
from exporter.graph import Graph
from exporter.oracle import Oracle, forward
from exporter.oracle.fixed import normalised
from exporter.partition import parse_blocks
from exporter.plan import make_plan
from host.bench.boards_programs import Count, Output, run
from host.datasets.registry import load_task
from host.errors import HostError
from host.exporting import DEFAULT_CHECKPOINT, quantized_graph

PROGRAM = "training_step"
DATA = "cifar-10-c:gaussian_noise:5"
SHIFTS = {"input": "block1", "feature": "block3", "output": "fc", "full": "all"}
"""Kinds of shift, and the blocks that are trained for them."""


@dataclass(frozen=True)
class Plan:
    """What a run does."""

    blocks: str
    mode: str = "accumulate"
    batch: int = 2
    steps: int = 2
    images: int = 2
    """Images classified at the end."""
    rate: float = 5e-3
    seed: int = 11

    @property
    def samples(self) -> int:
        """Training samples in all."""
        return self.batch * self.steps

    @property
    def step_rate(self) -> tuple[int, int]:
        """Learning rate divided by the samples of an update, as the engine takes it."""
        return normalised(self.rate if self.mode == "immediate" else self.rate / self.batch)


@dataclass(frozen=True)
class Outcome:
    """What a run ends with: equal everywhere when all is well."""

    weights_sha256: str
    samples: tuple[tuple[int, int], ...]
    """Loss (nats · 65536) and prediction of each training sample."""
    logits: tuple[bytes, ...]
    """int8 logits of each image classified at the end."""


@cache
def network() -> Graph:
    """The shipped CIFAR-10 network, quantized."""
    return quantized_graph(DEFAULT_CHECKPOINT)[0]


@cache
def real_images(count: int) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
    """Images of the bundled sample as a board sees them, int8 [count, 32, 32, 3], and their labels."""
    train = load_task(DATA, train_images=max(count, 16), data_source="sample").train
    images = (train.images[:count].astype(np.int16) - 128).astype(np.int8)
    return images, train.labels[:count].astype(np.int64)


@cache
def artifact(blocks: str, mode: str) -> bytes:
    """The artifact that trains these blocks."""
    return write_artifact(make_plan(network(), parse_blocks(network(), blocks), mode))


def write_files(plan: Plan, folder: Path) -> None:
    """Writes `model.tbfa` and `run.bin`, which the program reads."""
    images, labels = real_images(max(plan.samples, plan.images))
    (folder / "model.tbfa").write_bytes(artifact(plan.blocks, plan.mode))
    mantissa, exponent = plan.step_rate
    batch = 1 if plan.mode == "immediate" else plan.batch
    parts = [
        struct.pack("<IIIiII", plan.samples, batch, mantissa, exponent, plan.seed, plan.images)
    ]
    for image, label in zip(images, labels, strict=True):
        record = image.tobytes() + struct.pack("<H", int(label))
        parts.append(record + bytes(-len(record) % 16))
    (folder / "run.bin").write_bytes(b"".join(parts))


def on_board(
    board: str, plan: Plan, folder: Path, *, by_instruction: bool = False
) -> tuple[Outcome, tuple[Count, ...]]:
    """Runs it on an emulated board; the outcome, and instructions per phase."""
    write_files(plan, folder)
    output = run(board, PROGRAM, folder, by_instruction=by_instruction)
    return _outcome(output, f"{PROGRAM} on {board}"), output.counts


def on_this_computer(program: Path, plan: Plan, folder: Path) -> Outcome:
    """Runs the same program as built for this computer (`board_training_step`)."""
    write_files(plan, folder)
    done = subprocess.run([str(program)], cwd=folder, capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        raise HostError(
            f"{program} ended with status {done.returncode}, expected 0; it said: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    return _outcome(Output(done.stdout, ()), str(program))


def in_oracle(plan: Plan) -> Outcome:
    """Runs it in the NumPy oracle."""
    graph = network()
    images, labels = real_images(max(plan.samples, plan.images))
    immediate = plan.mode == "immediate"
    oracle = Oracle(graph, parse_blocks(graph, plan.blocks), immediate=immediate, seed=plan.seed)
    samples = []
    for number in range(plan.samples):
        result = oracle.train_sample(images[number], int(labels[number]), plan.step_rate)
        samples.append((int(result.loss_q16), int(result.prediction)))
        if immediate or (number + 1) % plan.batch == 0:
            oracle.end_batch(plan.step_rate)
    logits = _oracle_logits(oracle, images[: plan.images])
    return Outcome(oracle.weights_sha256(), tuple(samples), logits)


def _oracle_logits(oracle: Oracle, images: NDArray[np.int8]) -> tuple[bytes, ...]:
    found = forward(oracle.graph, images, oracle.parameters)[oracle.graph.output]
    return tuple(row.astype(np.int8).tobytes() for row in found.reshape(len(images), -1))


def _outcome(output: Output, what: str) -> Outcome:
    hashes: Sequence[list[str]] = output.lines("weights")
    if len(hashes) != 1:
        raise HostError(f"{what} printed no weight hash; it said:\n{output.text[-2000:]}")
    samples = tuple((int(loss), int(guess)) for _, loss, guess in output.lines("sample"))
    logits = tuple(bytes.fromhex(text) for _, text in output.lines("logits"))
    return Outcome(hashes[0][0], samples, logits)
