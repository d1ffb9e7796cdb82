"""Board descriptions: what a unit of work costs in time, and what each power state draws.

The files are `energy/boards/NAME.toml`. Every number is a table with `value`, optional `min` and
`max`, and its `source`; a number that was not measured for this firmware says `assumed = true` and
the `reason`. Nothing is taken from a file that does not say where it comes from. How the text is
read is in `energy.board_file`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal

from energy.board_file import Quantity, read_board
from energy.errors import BoardError
from energy.session import Phase, PhaseEvent

__all__ = ["COSTS", "CPUS", "Board", "Quantity", "SpanModel", "board_names", "load_board"]

CPUS = ("lx7", "rv32", "m4", "m7")
"""Emulated CPUs whose instructions are counted: `qemu://NAME`."""
COSTS = (
    "cycles_per_instruction",
    "instructions_per_mac_forward",
    "instructions_per_mac_backward",
    "instructions_per_weight_mac_backward",
    "instructions_per_sum_backward",
    "instructions_per_mask_forward",
    "instructions_per_element_forward",
    "instructions_per_element_backward",
    "instructions_per_update",
    "seconds_per_flash_byte",
    "seconds_per_wire_byte",
)
COMPUTING = (
    Phase.FROZEN_FORWARD,
    Phase.TRAIN_FORWARD,
    Phase.BACKWARD,
    Phase.UPDATE,
    Phase.COMMIT,
    Phase.INFER,
)
"""Phases whose time is the CPU's: in the others it waits, and a counter would count the waiting."""
Which = Literal["value", "low", "high"]


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
    """A validated description. `costs`: by the names in `COSTS`; `states`: current in A.

    `cpu`: the emulated CPU with the same instruction set, or '' where there is none.
    """

    name: str
    title: str
    cpu: str
    supply_v: Quantity
    clock_hz: Quantity
    costs: Mapping[str, Quantity]
    states: Mapping[str, Quantity]
    phases: Mapping[Phase, str]

    def quantities(self) -> dict[str, Quantity]:
        """Every number by its dotted name in the file: `cost.instructions_per_update`, `state.idle`."""
        named = {"supply_v": self.supply_v, "clock_hz": self.clock_hz}
        named |= {f"cost.{name}": quantity for name, quantity in self.costs.items()}
        return named | {f"state.{name}": quantity for name, quantity in self.states.items()}

    def current(self, phase: Phase) -> Quantity:
        """Current in A while the board is in `phase`."""
        return self.states[self.phases[phase]]

    def model(self, event: PhaseEvent, cpu: str = "") -> SpanModel:
        """Duration and energy of the work of `event` on this board; its clock times are not used.

        `cpu`: the emulated CPU that counted `event.instructions`. Where it is this board's, they
        count; else they are made from the work. Classes of work add up: a span that moves bytes and
        computes does one after the other.
        """
        supply_v = self.supply_v.value
        current = self.current(event.phase)
        duration_s = self.seconds(event, "value", cpu)
        return SpanModel(
            duration_s=duration_s,
            current_a=current.value,
            energy_j=supply_v * current.value * duration_s,
            energy_low_j=self.supply_v.low * current.low * self.seconds(event, "low", cpu),
            energy_high_j=self.supply_v.high * current.high * self.seconds(event, "high", cpu),
        )

    def instructions(self, event: PhaseEvent, which: Which = "value") -> float:
        """Instructions that the work of `event` takes on this board's CPU."""
        way = "backward" if event.phase is Phase.BACKWARD else "forward"
        work = {
            f"instructions_per_mac_{way}": event.macs - event.weight_macs,
            "instructions_per_weight_mac_backward": event.weight_macs,
            "instructions_per_sum_backward": event.sums,
            "instructions_per_mask_forward": event.masks,
            f"instructions_per_element_{way}": event.elements - event.updates,
            "instructions_per_update": event.updates,
        }
        return sum(
            count * float(getattr(self.costs[name], which)) for name, count in work.items() if count
        )

    def seconds(self, event: PhaseEvent, which: Which = "value", cpu: str = "") -> float:
        """Duration of the work of `event`, with all costs at their `value`, `low` or `high`."""
        costs = {name: float(getattr(quantity, which)) for name, quantity in self.costs.items()}
        counted = bool(self.cpu) and cpu == self.cpu and event.phase in COMPUTING
        if counted and event.instructions > 0:
            instructions = float(event.instructions)
        else:
            instructions = self.instructions(event, which)
        return (
            instructions * costs["cycles_per_instruction"] / self.clock_hz.value
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
    return parse_board(*board_text(name_or_path))


def board_text(name_or_path: str) -> tuple[str, str, str]:
    """Text of a description, the name that it must have, and what errors call it."""
    if name_or_path.endswith(".toml"):
        path = Path(name_or_path)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as exc:
            raise BoardError(
                f"the board description {name_or_path!r} cannot be read ({exc}); "
                "give the path of a TOML file"
            ) from exc
        return text, path.stem, name_or_path
    if name_or_path not in board_names():
        raise BoardError(
            f"there is no board called {name_or_path!r}; expected one of "
            f"{', '.join(board_names())}, or the path of a .toml file"
        )
    resource = resources.files("energy") / "boards" / f"{name_or_path}.toml"
    return resource.read_text(encoding="utf-8"), name_or_path, resource.name


def parse_board(text: str, stem: str, where: str) -> Board:
    """Validate the TOML `text`; `stem` is the name it must have, `where` is named in errors."""
    file = read_board(text, stem, where, costs=COSTS, cpus=CPUS)
    return Board(
        name=stem,
        title=file.title,
        cpu=file.cpu,
        supply_v=file.supply_v,
        clock_hz=file.clock_hz,
        costs=file.costs,
        states=file.states,
        phases=file.phases,
    )
