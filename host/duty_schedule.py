"""The schedule of duty-cycled operation (docs/duty.md): from a TOML file or numbers to entries for the board, and back."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from host.errors import HostError
from host.protocol import messages as m
from host.protocol.training import rate_pair

SAMPLE, TUNE = 1, 2
ACTIONS = {"sample": SAMPLE, "tune": TUNE}
MAX_ENTRIES = 8
DAY_S = 86_400
MAX_PERIOD_S = 31 * DAY_S
_UNITS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": DAY_S}
_ONE = 1 << 31


@dataclass(frozen=True)
class Entry:
    """What to do how often. Times in seconds; quiet hours in minutes of the day; those from `min_labelled` on are for
    `tune` only: new labelled samples needed, at most taken, old ones trained on along with them."""

    action: str
    period_s: int
    first_s: int = 0
    quiet_from_min: int = 0
    quiet_to_min: int = 0
    min_battery_mv: int = 0
    min_battery_percent: int = 0
    min_labelled: int = 0
    max_samples: int = 0
    rehearse: int = 0
    epochs: int = 0
    batch: int = 0
    lr: float = 0.0

    def record(self) -> m.ScheduleEntry:
        """As the board takes it. Raises HostError for a number that does not fit its field."""
        limits = {"min_battery_percent": 100, "period_s": MAX_PERIOD_S, "first_s": MAX_PERIOD_S}
        for field in fields(self)[1:-1]:
            value = getattr(self, field.name)
            limit = limits.get(field.name, 0xFFFF)
            if not 0 <= value <= limit:
                raise HostError(
                    f"the schedule's {field.name} is {value}, expected 0 to {limit}; correct the "
                    "schedule"
                )
        try:
            mantissa, exponent = rate_pair(self.lr)
        except ValueError as exc:
            raise HostError(f"the schedule has the {exc}; correct the schedule") from exc
        return m.ScheduleEntry(
            ACTIONS[self.action], 0, self.min_battery_percent, 0, self.period_s, self.first_s,
            self.quiet_from_min, self.quiet_to_min, self.min_battery_mv, self.min_labelled,
            self.max_samples, self.rehearse, self.epochs, self.batch, mantissa, exponent, 0, 0,
        )  # fmt: skip

    @classmethod
    def of(cls, record: m.ScheduleEntry) -> Entry:
        """What a board has."""
        action = {number: name for name, number in ACTIONS.items()}.get(record.action, "unknown")
        lr = record.lr_mantissa * 2.0 ** (record.lr_exponent - 31)
        return cls(
            action, record.period_s, record.first_s, record.quiet_from_min, record.quiet_to_min,
            record.min_battery_mv, record.min_battery_percent, record.min_labelled,
            record.max_samples, record.rehearse, record.epochs, record.batch, lr,
        )  # fmt: skip


def seconds(text: str | int) -> int:
    """`90`, `"90 s"`, `"15m"`, `"6h"`, `"1d"` as seconds. Raises HostError for anything else."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|min|m|h|d|)\s*", str(text))
    if found is None:
        raise HostError(
            f"the time {text!r} cannot be read, expected a number with s, m, h or d, such as 15m"
        )
    return round(float(found[1]) * _UNITS[found[2]])


def hours(text: str) -> tuple[int, int]:
    """`"22:00-05:30"` as minutes of the day. Raises HostError for anything else."""
    found = re.fullmatch(r"(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})", text.strip())
    if found is not None:
        a, b, c, d = map(int, found.groups())
        if a < 24 and b < 60 and c < 24 and d < 60:
            return 60 * a + b, 60 * c + d
    raise HostError(f"the hours {text!r} cannot be read, expected two times such as 22:00-05:30")


_KEYS = {
    "every": "period_s", "first": "first_s", "min_battery_mv": "min_battery_mv",
    "min_battery_percent": "min_battery_percent", "min_labelled": "min_labelled",
    "max_samples": "max_samples", "rehearse": "rehearse", "epochs": "epochs", "batch": "batch",
    "lr": "lr",
}  # fmt: skip


def _entry(number: int, table: Mapping[str, Any]) -> Entry:
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key == "action" and value in ACTIONS:
            continue
        if key == "quiet":
            values["quiet_from_min"], values["quiet_to_min"] = hours(str(value))
        elif key in ("every", "first"):
            values[_KEYS[key]] = seconds(value)
        elif key in _KEYS and isinstance(value, (int, float)) and not isinstance(value, bool):
            values[_KEYS[key]] = float(value) if key == "lr" else int(value)
        else:
            raise HostError(
                f"entry {number} of the schedule has {key} = {value!r}, expected action (sample or "
                f"tune), quiet, {', '.join(_KEYS)}; correct the file"
            )
    if "action" not in table or "period_s" not in values:
        raise HostError(
            f"entry {number} of the schedule lacks its action or 'every', expected both; correct "
            "the file"
        )
    return Entry(str(table["action"]), **values)


def read_schedule(path: Path) -> list[Entry]:
    """The entries of a TOML file: tables `[[entry]]` in the order in which the board looks at them.

    Raises HostError.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8")).get("entry", [])
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise HostError(
            f"the schedule {path} cannot be read ({exc}), expected a TOML file with [[entry]] "
            "tables, such as docs/duty.md shows"
        ) from exc
    if not isinstance(tables, list) or not 1 <= len(tables) <= MAX_ENTRIES:
        raise HostError(
            f"the schedule {path} has no [[entry]] tables or too many, expected 1 to {MAX_ENTRIES}"
        )
    return [_entry(number, table) for number, table in enumerate(tables, 1)]


def schedule_bytes(entries: Sequence[Entry]) -> bytes:
    """The table as it goes over the wire and into flash."""
    return b"".join(entry.record().pack() for entry in entries)


def divided(mantissa: int, exponent: int, samples: int) -> tuple[int, int]:
    """A learning rate divided by a number of samples exactly as the board does it."""
    quotient = (mantissa << 32) // samples
    drop = quotient.bit_length() - 31
    rounded = (quotient + (1 << (drop - 1))) >> drop
    exponent = exponent - 32 + drop
    return (rounded // 2, exponent + 1) if rounded == _ONE else (rounded, exponent)
