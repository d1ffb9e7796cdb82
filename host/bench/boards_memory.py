"""What the firmware takes of an emulated board: RAM, flash and stack, asked over its port after training the whole network."""

from __future__ import annotations

import tempfile
import tomllib
from pathlib import Path
from urllib.parse import quote

import numpy as np

from host.bench.boards_training import Plan, artifact, real_images
from host.device import Device

REPO = Path(__file__).resolve().parents[2]
BUDGET_FILE = REPO / "firmware" / "boards" / "budgets.toml"
KEYS = ("flash_bytes", "static_ram_bytes", "static_psram_bytes", "stack_used_bytes")
LEAST = 0.7
"""A budget of which less than this part is taken says nothing, and is too large."""
_SAMPLES, _RATE = 2, 5e-3


def measure(board: str) -> dict[str, int]:
    """Bytes of KEYS. The stack is as deep as it gets in a step of training all blocks, and a commit.

    Raises HostError where the image or the emulator is missing.
    """
    images, labels = real_images(_SAMPLES)
    pixels = (images.astype(np.int16) + 128).astype(np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.tbfa"
        model.write_bytes(artifact("all", "accumulate"))
        with Device.open(f"qemu://{board}?artifact={quote(str(model))}") as device:
            device.configure(Plan("all").seed)
            device.load_samples(pixels, labels)
            device.train_epoch(range(_SAMPLES), _SAMPLES, _RATE)
            device.infer_slot(0)
            device.commit()
            status = device.board_status()
    return {key: getattr(status, key) for key in KEYS}


def read_budget() -> dict[str, dict[str, int]]:
    """The committed budget of each board."""
    found: dict[str, dict[str, int]] = tomllib.loads(BUDGET_FILE.read_text(encoding="utf-8"))
    return found


def complaints(board: str, found: dict[str, int]) -> list[str]:
    """Of what is larger than its budget, or so much smaller that the budget says nothing."""
    budget = read_budget().get(board, {})
    if set(budget) != set(KEYS):
        return [f"{BUDGET_FILE.name} has {sorted(budget)} for {board}, expected {sorted(KEYS)}"]
    return [
        f"{key} is {found[key]:,}, expected at most {budget[key]:,} and at least {LEAST:.0%} of it; "
        f"see {BUDGET_FILE.name}"
        for key in KEYS
        if not LEAST * budget[key] <= found[key] <= budget[key]
    ]
