"""From counts by instruction to classes of instructions and an estimate in cycles (tests/firmware/boards/timing.toml).

The estimate walks through the instructions of a section in the order of their addresses, in stretches that were executed
equally often (a stretch is a basic block or several), and lets each start as early as the core's table
allows: not before its operands are there, no more in a cycle than the core can issue. A stretch
that mostly jumps back to its own start is a loop and is priced in the steady state.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from host.bench.boards_counts import Executed, Instruction, Section
from host.errors import HostError

TIMING_FILE = Path(__file__).resolve().parents[2] / "tests/firmware/boards/timing.toml"
ARITHMETIC = "arithmetic"
_REGISTER = re.compile(
    r"\b(?:r\d+|sb|sl|fp|ip|sp|lr|pc|[asdft]\d+|zero|ra|gp|tp|acclo|acchi|m\d)\b"
)
_REGISTER_LIST = re.compile(r"\{([^}]*)\}")
# Classes whose instructions write no register, and mnemonics of other classes that write none.
_NO_RESULT = frozenset({"branch", "jump", "loop", "store", "store multiple"})
_COMPARES = re.compile(r"(cmp|cmn|tst|teq|vcmp)")
# The first two operands are results; the result is an operand, too.
_TWO_RESULTS = re.compile(r"(ldrd|[us]mull|[us]mlal|smlsld|umaal)")
_ACCUMULATES = re.compile(r"(v(f?n?m|fn?m)l?[as]|[us]mlal|smlsld|umaal|madd|msub|movt|bfi)")


@dataclass(frozen=True)
class Cost:
    """What an instruction of one class costs. Cycles, see timing.toml."""

    name: str = ARITHMETIC
    match: str = ""
    cycles: float = 1.0
    per_register: float = 0.0
    taken: float = 0.0
    latency: float = 1.0
    pipelined: float | None = None
    unit: str | None = None
    pairs: bool = True


@dataclass(frozen=True)
class Decoded:
    """An instruction as the model sees it."""

    cost: Cost
    results: frozenset[str]
    operands: frozenset[str]
    registers: int
    """Length of its register list, 0 without one."""


@dataclass
class Core:
    """The timing table of one core."""

    name: str
    source: str
    assumption: str
    issue: int
    classes: tuple[Cost, ...]
    _known: dict[str, Decoded] = field(default_factory=dict)

    def decode(self, instruction: Instruction) -> Decoded:
        """Class, results and operands of an instruction, from its disassembly."""
        found = self._known.get(instruction.text)
        if found is None:
            found = self._decode(instruction.text)
            self._known[instruction.text] = found
        return found

    def _decode(self, text: str) -> Decoded:
        words = text.split(None, 1)
        if words and re.fullmatch(r"[0-9a-f]{4}|[0-9a-f]{8}", words[0]) and len(words) > 1:
            words = words[1].split(None, 1)  # RISC-V: the code comes before the mnemonic
        mnemonic = words[0] if words else "?"
        operands = words[1].partition("#")[0] if len(words) > 1 else ""
        cost = next((c for c in self.classes if re.match(c.match, mnemonic)), Cost())
        names = _REGISTER.findall(operands)
        listed = _REGISTER_LIST.search(operands)
        registers = _list_length(listed[1]) if listed else 0
        if cost.name in _NO_RESULT or _COMPARES.match(mnemonic):
            return Decoded(cost, frozenset(), frozenset(names), registers)
        if listed:  # load multiple
            loaded = frozenset(_REGISTER.findall(listed[1]))
            return Decoded(cost, loaded, frozenset(names) - loaded, registers)
        results = names[: 2 if _TWO_RESULTS.match(mnemonic) else 1]
        reads = names if _ACCUMULATES.match(mnemonic) else names[len(results) :]
        return Decoded(cost, frozenset(results), frozenset(reads), 0)


def _list_length(listed: str) -> int:
    length = 0
    for part in listed.split(","):
        first, _, last = part.strip().partition("-")
        numbers = [
            int(digits) for name in (first, last) if (digits := name.lstrip("rsd")).isdigit()
        ]
        length += numbers[1] - numbers[0] + 1 if len(numbers) == 2 else 1
    return length


@cache
def load_core(board: str) -> Core:
    """The table of the core that a board stands for.

    Raises:
        HostError: the file has none, or names a field that does not exist.
    """
    tables: dict[str, Any] = tomllib.loads(TIMING_FILE.read_text(encoding="utf-8"))
    if board not in tables:
        raise HostError(f"{TIMING_FILE} has no table for board {board}; add [{board}] to it")
    table = tables[board]
    try:
        classes = tuple(Cost(**entry) for entry in table["classes"])
        return Core(table["core"], table["source"], table["assumption"], table["issue"], classes)
    except (KeyError, TypeError) as error:
        raise HostError(
            f"table {board} of {TIMING_FILE} is wrong ({error}), expected the fields that its head explains"
        ) from None


def instruction_classes(core: Core, section: Section) -> dict[str, int]:
    """Instructions executed, by class, most frequent first."""
    found: dict[str, int] = {}
    for executed in section.executed:
        name = core.decode(executed.instruction).cost.name
        found[name] = found.get(name, 0) + executed.count
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def estimated_cycles(core: Core, section: Section) -> float:
    """Cycles that the section would take on the core, with memory that never makes it wait."""
    return sum(_stretch_cycles(core, stretch) for stretch in _stretches(section))


def _stretches(section: Section) -> Iterator[list[Executed]]:
    stretch: list[Executed] = []
    for executed in section.executed:
        if stretch:
            last = stretch[-1]
            follows = (
                last.instruction.address + last.instruction.size == executed.instruction.address
            )
            if not follows or last.count != executed.count or last.taken:
                yield stretch
                stretch = []
        stretch.append(executed)
    if stretch:
        yield stretch


def _stretch_cycles(core: Core, stretch: list[Executed]) -> float:
    last = stretch[-1]
    decoded = [core.decode(e.instruction) for e in stretch]
    pipeline = _Pipeline(core.issue)
    cycles = pipeline.run(decoded)
    if 2 * last.taken >= last.count > 1:  # a loop: what the second turn adds
        cycles = pipeline.run(decoded) - cycles
    return cycles * last.count + decoded[-1].cost.taken * last.taken


class _Pipeline:
    """In-order issue with a score board of results."""

    def __init__(self, issue: int) -> None:
        self._issue = issue
        self._now = 0.0
        self._started = 0
        self._units: set[str] = set()
        self._ready: dict[str, float] = {}
        self._previous: Cost | None = None

    def run(self, instructions: list[Decoded]) -> float:
        """Issues them after what went before; the cycle at which the next one could start."""
        for instruction in instructions:
            self._start(instruction)
        if self._started:
            self._next_cycle()
        return self._now

    def _next_cycle(self) -> None:
        self._now += 1.0
        self._started = 0
        self._units.clear()

    def _start(self, instruction: Decoded) -> None:
        cost = instruction.cost
        operands = max((self._ready.get(name, 0.0) for name in instruction.operands), default=0.0)
        busy = cost.unit is not None and cost.unit in self._units
        if self._started and (
            self._started == self._issue or busy or not cost.pairs or operands > self._now
        ):
            self._next_cycle()
        if operands > self._now:
            self._now = operands
        begun = self._now
        cycles = cost.cycles + cost.per_register * instruction.registers
        if (
            cost.pipelined is not None
            and self._previous is not None
            and self._previous.pipelined is not None
        ):
            cycles = cost.pipelined
        if cost.pairs and cycles <= 1.0:
            self._started += 1
            if cost.unit is not None:
                self._units.add(cost.unit)
        else:
            self._now += cycles
        for name in instruction.results:
            self._ready[name] = begun + max(
                cost.latency, cycles if self._issue == 1 else cost.latency
            )
        self._previous = cost
