"""Reads what the QEMU plugin insn_counts writes: executions of each instruction, section by section."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from host.errors import HostError


@dataclass(frozen=True)
class Instruction:
    """One instruction of the program."""

    address: int
    size: int
    """Bytes."""
    text: str
    """QEMU's disassembly."""


@dataclass(frozen=True)
class Executed:
    """How often an instruction was executed in a section."""

    instruction: Instruction
    count: int
    taken: int
    """Times the next one executed was not the one behind it."""


@dataclass(frozen=True)
class Section:
    """What was executed between two markers, by ascending address."""

    total: int
    executed: tuple[Executed, ...]


def read_sections(path: Path) -> list[Section]:
    """All sections of a file of the plugin, in the order in which they ended.

    Raises:
        HostError: the file is cut off or is none of the plugin's.
    """
    instructions: dict[int, Instruction] = {}
    totals: list[int] = []
    parts: list[list[Executed]] = []
    try:
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            kind, _, rest = line.partition(" ")
            if kind == "I":
                number, address, size, text = rest.split(" ", 3)
                instructions[int(number)] = Instruction(int(address, 16), int(size), text)
            elif kind == "S":
                totals.append(int(rest.split()[1]))
                parts.append([])
            elif kind == "C":
                number, count, taken = rest.split()
                parts[-1].append(Executed(instructions[int(number)], int(count), int(taken)))
            else:
                raise ValueError(line)
    except (ValueError, KeyError, IndexError) as error:
        raise HostError(
            f"{path} is not a whole file of the plugin insn_counts ({error!r}); run the program again"
        ) from None
    sections = [
        Section(total, tuple(sorted(part, key=lambda e: e.instruction.address)))
        for total, part in zip(totals, parts, strict=True)
    ]
    for section in sections:
        if sum(e.count for e in section.executed) != section.total:
            raise HostError(f"{path} is cut off: its counts do not add up; run the program again")
    return sections
