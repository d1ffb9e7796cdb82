"""The TOML form of a board description: reading, checking and writing it."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from energy.errors import BoardError
from energy.session import Phase

_KEYS = {"name", "title", "cpu", "supply_v", "clock_hz", "cost", "state", "phases"}


@dataclass(frozen=True, slots=True)
class Quantity:
    """One number of a board description: `low <= value <= high`, in the unit its name says."""

    value: float
    low: float
    high: float
    source: str
    assumed: bool
    reason: str


@dataclass(frozen=True)
class BoardFile:
    """What a description says."""

    title: str
    cpu: str
    supply_v: Quantity
    clock_hz: Quantity
    costs: Mapping[str, Quantity]
    states: Mapping[str, Quantity]
    phases: Mapping[Phase, str]


def read_board(
    text: str, stem: str, where: str, *, costs: Sequence[str], cpus: Sequence[str]
) -> BoardFile:
    """Validate the TOML `text`; raises `BoardError` that names `where` and what is wrong there."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise BoardError(f"{where}: not valid TOML ({exc}); correct that line") from exc
    _only(table, _KEYS, where, "")
    if table.get("name") != stem:
        raise BoardError(f"{where}: name is {table.get('name')!r}, expected {stem!r} as the file's")
    title = table.get("title")
    if not isinstance(title, str) or not title:
        raise BoardError(f"{where}: title is missing; expected a line that describes the board")
    cpu = table.get("cpu")
    if cpu not in ("", *cpus):
        raise BoardError(
            f"{where}: cpu is {cpu!r}, expected the emulated CPU with the same instructions "
            f'({", ".join(cpus)}), or "" where there is none'
        )
    cost = _table(table, "cost", where)
    _only(cost, set(costs), where, "cost.")
    state = _table(table, "state", where)
    states = {name: _quantity(state, name, where, "state.") for name in state}
    return BoardFile(
        title=title,
        cpu=str(cpu),
        supply_v=_quantity(table, "supply_v", where, ""),
        clock_hz=_quantity(table, "clock_hz", where, ""),
        costs={name: _quantity(cost, name, where, "cost.") for name in costs},
        states=states,
        phases=_phases(_table(table, "phases", where), states, where),
    )


def write_board(name: str, file: BoardFile, comment: str) -> str:
    """`file` as TOML text under `name`, headed by the lines of `comment`; read_board reads it."""
    lines = [f"# {line}".rstrip() for line in comment.splitlines()]
    lines += [
        "",
        f"name = {_text(name)}",
        f"title = {_text(file.title)}",
        f"cpu = {_text(file.cpu)}",
    ]
    quantities = {"supply_v": file.supply_v, "clock_hz": file.clock_hz}
    quantities |= {f"cost.{key}": value for key, value in file.costs.items()}
    quantities |= {f"state.{key}": value for key, value in file.states.items()}
    for key, quantity in quantities.items():
        lines += ["", f"[{key}]", f"value = {quantity.value!r}"]
        lines += [f"min = {quantity.low!r}"] if quantity.low < quantity.value else []
        lines += [f"max = {quantity.high!r}"] if quantity.high > quantity.value else []
        lines += [f"source = {_text(quantity.source)}"]
        if quantity.assumed:
            lines += ["assumed = true", f"reason = {_text(quantity.reason)}"]
    lines += ["", "[phases]"]
    lines += [f"{phase.label} = {_text(state)}" for phase, state in file.phases.items()]
    return "\n".join(lines) + "\n"


def _text(value: str) -> str:
    """A TOML basic string."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in escaped) + '"'


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
