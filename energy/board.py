"""Board descriptions: what a unit of work costs in time, and what each power state draws.

The files are `energy/boards/NAME.toml`. Every number is a table with `value`, optional `min` and
`max`, and its `source`; a number that was not measured for this firmware says `assumed = true` and
the `reason`. Nothing is taken from a file that does not say where it comes from.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from energy.errors import BoardError
from energy.session import Phase, PhaseEvent

COSTS = (
    "cycles_per_mac",
    "cycles_per_element",
    "seconds_per_flash_byte",
    "seconds_per_wire_byte",
)


@dataclass(frozen=True, slots=True)
class Quantity:
    """One number of a board description: `low <= value <= high`, in the unit its name says."""

    value: float
    low: float
    high: float
    source: str
    assumed: bool
    reason: str


@dataclass(frozen=True, slots=True)
class SpanModel:
    """What the model makes of one phase event: seconds, amperes and joules (with their range)."""

    duration_s: float
    current_a: float
    energy_j: float
    energy_low_j: float
    energy_high_j: float


@dataclass(frozen=True)
class Board:
    """A validated description. `costs`: by the names in `COSTS`; `states`: current in A."""

    name: str
    title: str
    supply_v: Quantity
    clock_hz: Quantity
    costs: Mapping[str, Quantity]
    states: Mapping[str, Quantity]
    phases: Mapping[Phase, str]

    def quantities(self) -> dict[str, Quantity]:
        """Every number by its dotted name in the file: `cost.cycles_per_mac`, `state.idle`."""
        named = {"supply_v": self.supply_v, "clock_hz": self.clock_hz}
        named |= {f"cost.{name}": quantity for name, quantity in self.costs.items()}
        return named | {f"state.{name}": quantity for name, quantity in self.states.items()}

    def current(self, phase: Phase) -> Quantity:
        """Current in A while the board is in `phase`."""
        return self.states[self.phases[phase]]

    def model(self, event: PhaseEvent) -> SpanModel:
        """Duration and energy of the work of `event` on this board; its clock times are not used.

        Work classes add up: a span that moves bytes and computes does one after the other.
        """
        supply_v = self.supply_v.value
        current = self.current(event.phase)
        duration_s = self._seconds(event, "value")
        return SpanModel(
            duration_s=duration_s,
            current_a=current.value,
            energy_j=supply_v * current.value * duration_s,
            energy_low_j=self.supply_v.low * current.low * self._seconds(event, "low"),
            energy_high_j=self.supply_v.high * current.high * self._seconds(event, "high"),
        )

    def _seconds(self, event: PhaseEvent, which: str) -> float:
        costs = {name: float(getattr(quantity, which)) for name, quantity in self.costs.items()}
        cycles = event.macs * costs["cycles_per_mac"]
        cycles += event.elements * costs["cycles_per_element"]
        return (
            cycles / self.clock_hz.value
            + event.flash_bytes * costs["seconds_per_flash_byte"]
            + event.wire_bytes * costs["seconds_per_wire_byte"]
        )


def board_names() -> list[str]:
    """Names of the descriptions that come with this package, sorted."""
    folder = resources.files("energy") / "boards"
    return sorted(
        entry.name.removesuffix(".toml")
        for entry in folder.iterdir()
        if entry.name.endswith(".toml")
    )


def load_board(name_or_path: str) -> Board:
    """The board called `name_or_path`, or described by the TOML file of that path.

    Raises `BoardError`: unknown name, unreadable file, or a description that is not whole.
    """
    if name_or_path.endswith(".toml"):
        path = Path(name_or_path)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as exc:
            raise BoardError(
                f"the board description {name_or_path!r} cannot be read ({exc}); "
                "give the path of a TOML file"
            ) from exc
        return parse_board(text, path.stem, name_or_path)
    if name_or_path not in board_names():
        raise BoardError(
            f"there is no board called {name_or_path!r}; expected one of "
            f"{', '.join(board_names())}, or the path of a .toml file"
        )
    resource = resources.files("energy") / "boards" / f"{name_or_path}.toml"
    return parse_board(resource.read_text(encoding="utf-8"), name_or_path, resource.name)


def parse_board(text: str, stem: str, where: str) -> Board:
    """Validate the TOML `text`; `stem` is the name it must have, `where` is named in errors."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise BoardError(f"{where}: not valid TOML ({exc}); correct that line") from exc
    _only(table, {"name", "title", "supply_v", "clock_hz", "cost", "state", "phases"}, where, "")
    if table.get("name") != stem:
        raise BoardError(f"{where}: name is {table.get('name')!r}, expected {stem!r} as the file's")
    title = table.get("title")
    if not isinstance(title, str) or not title:
        raise BoardError(f"{where}: title is missing; expected a line that describes the board")
    cost = _table(table, "cost", where)
    _only(cost, set(COSTS), where, "cost.")
    state = _table(table, "state", where)
    states = {name: _quantity(state, name, where, "state.") for name in state}
    return Board(
        name=stem,
        title=title,
        supply_v=_quantity(table, "supply_v", where, ""),
        clock_hz=_quantity(table, "clock_hz", where, ""),
        costs={name: _quantity(cost, name, where, "cost.") for name in COSTS},
        states=states,
        phases=_phases(_table(table, "phases", where), states, where),
    )


def _phases(
    table: Mapping[str, object], states: Mapping[str, Quantity], where: str
) -> dict[Phase, str]:
    _only(table, {phase.label for phase in Phase}, where, "phases.")
    phases: dict[Phase, str] = {}
    for phase in Phase:
        state = table.get(phase.label)
        if not isinstance(state, str) or state not in states:
            raise BoardError(
                f"{where}: phases.{phase.label} is {state!r}, expected one of the states "
                f"{', '.join(sorted(states)) or '(none given)'}"
            )
        phases[phase] = state
    return phases


def _quantity(table: Mapping[str, object], key: str, where: str, prefix: str) -> Quantity:
    name = f"{prefix}{key}"
    entry = table.get(key)
    if not isinstance(entry, dict):
        raise BoardError(f"{where}: {name} is missing; expected a table with value and source")
    _only(entry, {"value", "min", "max", "source", "assumed", "reason"}, where, f"{name}.")
    value = _number(entry.get("value"), f"{name}.value", where)
    low = _number(entry.get("min", value), f"{name}.min", where)
    high = _number(entry.get("max", value), f"{name}.max", where)
    if not low <= value <= high:
        raise BoardError(
            f"{where}: {name} has min {low:g}, value {value:g}, max {high:g}; "
            "expected min <= value <= max"
        )
    source = entry.get("source")
    if not isinstance(source, str) or not source.strip():
        raise BoardError(f"{where}: {name}.source is missing; say where the number comes from")
    assumed = entry.get("assumed", False)
    reason = entry.get("reason", "")
    if not isinstance(assumed, bool) or not isinstance(reason, str):
        raise BoardError(f"{where}: {name} needs assumed = true or false and reason as text")
    if assumed and not reason.strip():
        raise BoardError(f"{where}: {name} is assumed without a reason; say why in reason")
    return Quantity(value, low, high, source, assumed, reason)


def _number(value: object, name: str, where: str) -> float:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not value > 0:  # type: ignore[arg-type,operator]
        raise BoardError(f"{where}: {name} is {value!r}, expected a finite number above 0")
    return float(value)  # type: ignore[arg-type]


def _table(table: Mapping[str, object], key: str, where: str) -> Mapping[str, object]:
    entry = table.get(key)
    if not isinstance(entry, dict):
        raise BoardError(f"{where}: the table [{key}] is missing; see boards/terracorder.toml")
    return entry


def _only(table: Mapping[str, object], known: set[str], where: str, prefix: str) -> None:
    unknown = sorted(set(table) - known)
    if unknown:
        raise BoardError(
            f"{where}: {prefix}{unknown[0]} is not known; expected {', '.join(sorted(known))}"
        )
