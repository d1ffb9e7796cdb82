"""Memory of boards, as the planner sees it: one file ``boards/NAME.toml`` each.

A file has ``title``, ``clock_hz``, the flash areas in bytes, and the arena's regions from fast to slow, each with its bytes, the
bytes per second that the CPU moves to and from it at best, and where both numbers come from.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.allocate import ALIGNMENT
from exporter.errors import ExporterError

FOLDER = Path(__file__).parent / "boards"
MAX_REGIONS = 4


@dataclass(frozen=True)
class Region:
    """A piece of memory for the arena. ``bytes`` is what the firmware's own needs leave."""

    name: str
    bytes: int
    bytes_per_s: float
    source: str


@dataclass(frozen=True)
class Board:
    """What the exporter knows about a board; sizes in bytes.

    Attributes:
        name: of the file, and of ``--board``.
        title: for people.
        regions: memory for the arena, fastest first.
        artifact_bytes: flash for the artifact; frozen weights are read from there in place.
        checkpoint_bytes: flash for one of the two checkpoints of trained weights.
        cache_bytes: memory or flash for cached samples.
        erase_bytes: erase block of the flash.
    """

    name: str
    title: str
    regions: tuple[Region, ...]
    artifact_bytes: int
    checkpoint_bytes: int
    cache_bytes: int
    erase_bytes: int

    @property
    def capacities(self) -> tuple[int, ...]:
        """Bytes of the regions."""
        return tuple(region.bytes for region in self.regions)

    @property
    def arena_bytes(self) -> int:
        """Bytes of all regions together."""
        return sum(self.capacities)


def board_names() -> list[str]:
    """Names that ``load_board`` knows."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load_board(name: str) -> Board:
    """The description of a board.

    Raises:
        ExporterError: no such board, or its file is damaged.
    """
    path = FOLDER / f"{name}.toml"
    if name not in board_names():
        raise ExporterError(f"unknown board '{name}'; choose from {', '.join(board_names())}")
    try:
        return _board(name, tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ExporterError(
            f"the board description {path} cannot be read ({error}); compare it with the others beside it"
        ) from error


def _board(name: str, document: dict[str, Any]) -> Board:
    regions = tuple(
        Region(str(r["name"]), int(r["bytes"]), float(r["bytes_per_s"]), str(r["source"]))
        for r in document["region"]
    )
    flash = document["flash"]
    speeds = [region.bytes_per_s for region in regions]
    if not 1 <= len(regions) <= MAX_REGIONS:
        raise ValueError(f"{len(regions)} regions, expected 1 to {MAX_REGIONS}")
    if speeds != sorted(speeds, reverse=True) or speeds[-1] <= 0:
        raise ValueError("regions must be listed from fast to slow")
    if any(region.bytes <= 0 or region.bytes % ALIGNMENT for region in regions):
        raise ValueError(f"bytes of a region must be a multiple of {ALIGNMENT}")
    sizes = {key: int(flash[key]) for key in ("artifact_bytes", "checkpoint_bytes", "erase_bytes")}
    return Board(
        name, str(document["title"]), regions, cache_bytes=int(flash["cache_bytes"]), **sizes
    )
