"""Writes the seeds of fuzz_artifact.cc: small networks of all operators. Run again when the artifact format changes.

python -m tests.firmware.fuzz.make_artifact_corpus
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from exporter.artifact import SelfTest, write_artifact
from exporter.graph import Graph
from exporter.oracle.forward import forward
from exporter.plan import make_plan
from tests.python.graph_factory import random_input, small_graph

FOLDER = Path(__file__).parent / "corpus" / "artifact"


@dataclass(frozen=True)
class Seed:
    """One seed: the small graph's number, which blocks are trained and how."""

    graph: int
    blocks: str
    mode: str


SEEDS = (
    Seed(1, "all", "accumulate"), Seed(4, "all", "immediate"), Seed(2, "first", "accumulate"),
    Seed(8, "last", "accumulate"), Seed(3, "all", "immediate"), Seed(9, "all", "accumulate"),
)  # fmt: skip


def artifact(graph: Graph, blocks: str, mode: str) -> bytes:
    """Artifact of a graph with two self-test vectors. ``blocks``: all, first or last."""
    names = {"all": ("all",), "first": graph.blocks[:1], "last": graph.blocks[-1:]}[blocks]
    images = random_input(graph, 2)
    logits = forward(graph, images)[graph.output].reshape(2, -1)
    vectors = [
        SelfTest(image, 1, row.astype(np.int8)) for image, row in zip(images, logits, strict=True)
    ]
    return write_artifact(make_plan(graph, names, mode), {}, vectors)


def main() -> None:
    """Write all seeds."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for seed in SEEDS:
        path = FOLDER / f"small{seed.graph}-{seed.blocks}-{seed.mode}.tbfa"
        path.write_bytes(artifact(small_graph(seed.graph), seed.blocks, seed.mode))


if __name__ == "__main__":
    main()
