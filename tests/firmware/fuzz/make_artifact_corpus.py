"""Writes the seeds of fuzz_artifact.cc: small networks of all operators. Run again when the artifact format changes.

python -m tests.firmware.fuzz.make_artifact_corpus
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from exporter.artifact import SelfTest, write_artifact
from exporter.board import Board, Region
from exporter.graph import Graph
from exporter.oracle.forward import forward
from exporter.plan import make_plan
from tests.python.graph_factory import random_input, small_graph

FOLDER = Path(__file__).parent / "corpus" / "artifact"


@dataclass(frozen=True)
class Seed:
    """One seed: the small graph's number, which blocks are trained and how, and what else the plan does."""

    graph: int
    blocks: str
    mode: str
    recompute: str = "auto"
    regions: tuple[int, ...] = ()


SEEDS = (
    Seed(1, "all", "accumulate"), Seed(4, "all", "immediate"), Seed(2, "first", "accumulate"),
    Seed(8, "last", "accumulate"), Seed(3, "all", "immediate"), Seed(9, "all", "accumulate"),
    Seed(5, "all", "accumulate", "always"), Seed(4, "all", "immediate", "always"),
    Seed(6, "all", "accumulate", "auto", (4096, 40960)), Seed(10, "all", "immediate", "always", (1024, 1024, 40960)),
)  # fmt: skip


def board(sizes: tuple[int, ...]) -> Board | None:
    """A board with these regions, each slower than the one before; None for none."""
    regions = tuple(Region(str(i), size, 1.0 / (i + 1), "") for i, size in enumerate(sizes))
    return Board("fuzz", "", regions, 0, 0, 0, 1) if sizes else None


def artifact(
    graph: Graph, blocks: str, mode: str, recompute: str = "auto", regions: tuple[int, ...] = ()
) -> bytes:
    """Artifact of a graph with two self-test vectors. ``blocks``: all, first or last."""
    names = {"all": ("all",), "first": graph.blocks[:1], "last": graph.blocks[-1:]}[blocks]
    images = random_input(graph, 2)
    logits = forward(graph, images)[graph.output].reshape(2, -1)
    vectors = [
        SelfTest(image, 1, row.astype(np.int8)) for image, row in zip(images, logits, strict=True)
    ]
    plan = make_plan(graph, names, mode, board=board(regions), recompute=recompute)
    return write_artifact(plan, {}, vectors)


def main() -> None:
    """Write all seeds."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for seed in SEEDS:
        more = [seed.recompute] * (seed.recompute != "auto") + [
            f"{len(seed.regions)}regions"
        ] * bool(seed.regions)
        name = "-".join([f"small{seed.graph}", seed.blocks, seed.mode, *more])
        data = artifact(
            small_graph(seed.graph), seed.blocks, seed.mode, seed.recompute, seed.regions
        )
        (FOLDER / f"{name}.tbfa").write_bytes(data)


if __name__ == "__main__":
    main()
