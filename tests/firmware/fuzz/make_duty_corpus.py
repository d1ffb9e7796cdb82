"""Writes the seeds of fuzz_duty: `python -m tests.firmware.fuzz.make_duty_corpus`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from host.duty_schedule import schedule_bytes
from tests.python.duty_board import Geometry
from tests.python.duty_scene import SAMPLE, SCHEDULE, on_duty

CORPUS = Path(__file__).parent / "corpus" / "duty"
TABLE, SLOTS, STORE, SLOTS_MENDED, STORE_MENDED = range(5)
GEOMETRY = Geometry(store=8192)


def seeds() -> dict[str, bytes]:
    """By name: a table, and the flash of boards that were on duty."""
    short, full = on_duty(1.6, geometry=GEOMETRY), on_duty(12, geometry=GEOMETRY)
    found = {
        "table": bytes([TABLE]) + schedule_bytes((*SCHEDULE, replace(SAMPLE, quiet_to_min=60)))
    }
    for name, board in (("short", short), ("full", full)):
        board.run()
        flash = board.flash()
        slots = flash[GEOMETRY.weights : GEOMETRY.store_at]
        found[f"slots-{name}"] = bytes([SLOTS]) + slots
        found[f"slots-mended-{name}"] = bytes([SLOTS_MENDED]) + slots
        found[f"store-{name}"] = bytes([STORE]) + flash[GEOMETRY.store_at :].rstrip(b"\xff")
        found[f"store-mended-{name}"] = bytes([STORE_MENDED]) + flash[GEOMETRY.store_at :].rstrip(
            b"\xff"
        )
    return found


if __name__ == "__main__":
    CORPUS.mkdir(parents=True, exist_ok=True)
    for name, data in seeds().items():
        (CORPUS / name).write_bytes(data)
