"""Emulated boards as `firmware/boards/*.json` describes them: their names, images and emulators."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlsplit

from host.transport import PortError

REPO = Path(__file__).resolve().parents[2]
BOARDS = REPO / "firmware" / "boards"
OPTIONS = ("flash", "artifact", "board-name", "arena-bytes", "cache-bytes", "power-cut")
FILE_OPTIONS = ("flash", "artifact")
_MARK = b"tbft-board:"
"""In an image, before the name of its board (firmware/app/main_qemu.cc)."""


@dataclass(frozen=True)
class Board:
    """One emulated board."""

    name: str
    title: str
    package: str
    """Debian package of the emulator."""
    emulator: tuple[str, ...]
    """Command with the placeholders {serial}, {arguments} and {image}."""

    @property
    def program(self) -> str:
        """The emulator's program."""
        return self.emulator[0]

    @property
    def build_command(self) -> str:
        """What makes the image."""
        return f"make firmware-{self.name}"

    @property
    def environment(self) -> str:
        """The environment variable that names another image."""
        return f"TBFT_QEMU_{self.name.upper()}"

    def command(self, image: Path, options: Sequence[str], chardev: str) -> list[str]:
        """The emulator's command line; `chardev` defines the character device `port`.

        Raises PortError where the emulator is not installed.
        """
        if shutil.which(self.program) is None:
            raise emulator_missing(self)
        # QEMU parts an option at commas, and takes two for one.
        words = "".join(f",arg={word.replace(',', ',,')}" for word in ["tbft", *options])
        values = {"serial": "chardev:port", "arguments": words, "image": str(image)}
        program, *rest = (_filled(word, values) for word in self.emulator)
        return [program, *shlex.split(chardev), *rest]


def _filled(word: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        word = word.replace("{" + name + "}", value)
    return word


def emulator_missing(board: Board) -> PortError:
    """What to say when the emulator is not installed."""
    return PortError(
        f"the emulator {board.program} of board {board.name} was not found; on Debian 12 install it "
        f"with: sudo apt-get install {board.package}"
    )


def known_boards() -> list[str]:
    """Names of the emulated boards."""
    return sorted(path.stem for path in BOARDS.glob("*.json"))


def read_board(name: str) -> Board:
    """The description of a board. Raises PortError for one that does not exist."""
    if name not in known_boards():
        raise PortError(
            f"there is no emulated board {name!r}, expected one of {', '.join(known_boards())}, as in "
            "qemu://lx7"
        )
    text = json.loads((BOARDS / f"{name}.json").read_text(encoding="utf-8"))
    emulator = text["emulator"]
    return Board(text["name"], text["title"], emulator["package"], tuple(emulator["command"]))


def parse_url(url: str) -> tuple[Board, list[str]]:
    """Board and words for its program. Raises PortError for what does not exist."""
    parts = urlsplit(url)
    board = read_board(parts.netloc)
    if parts.path.strip("/"):
        raise PortError(
            f"the port {url} names a place behind the board, expected options, such as "
            f"qemu://{board.name}?flash=weights.bin"
        )
    words = []
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in OPTIONS:
            raise PortError(
                f"the port {url} has the unknown option {name!r}, expected {', '.join(OPTIONS)}"
            )
        text = str(Path(value).absolute()) if name in FILE_OPTIONS else value
        words.append(f"{name}={quote(text, safe='/,')}")
    return board, words


def find_image(board: Board) -> Path:
    """The image to run. Raises PortError where there is none, or it is another board's."""
    named = os.environ.get(board.environment)
    if named:
        image = Path(named)
        if not image.is_file():
            raise PortError(
                f"the image that {board.environment} names was not found, expected the file {image}; "
                f"build it with: {board.build_command}"
            )
    else:
        image = _newest_image(board)
    _check_image(board, image)
    return image


def _newest_image(board: Board) -> Path:
    built = REPO / "build" / board.name / f"tbft_{board.name}.elf"
    by_platformio = REPO / ".pio" / "build" / f"qemu_{board.name}" / "firmware.elf"
    found = [path for path in (built, by_platformio) if path.is_file()]
    if not found:
        raise PortError(
            f"the image of board {board.name} was not found, expected {built} or {by_platformio}; "
            f"build it with: {board.build_command}"
        )
    return max(found, key=lambda path: path.stat().st_mtime)


def _check_image(board: Board, image: Path) -> None:
    content = image.read_bytes()
    at = content.find(_MARK)
    if at < 0 or not content.startswith(b"\x7fELF"):
        raise PortError(
            f"the image {image} is no firmware of this tool for an emulated board, expected one for "
            f"{board.name}; build it with: {board.build_command}"
        )
    start = at + len(_MARK)
    name = content[start : content.index(b"\0", start)].decode(errors="replace")
    if name != board.name:
        raise PortError(
            f"the image {image} is for the board {name}, expected one for {board.name} "
            f"({board.title}); build it with: {board.build_command}"
        )


def telling_line(lines: Sequence[str]) -> str:
    """Of what the emulator printed, the line that says why it ended."""
    telling = [line for line in lines if not line.startswith("qemu") or "warning" not in line]
    chosen = [line for line in telling if line.startswith(("error:", "fault:"))]
    return (chosen or telling or list(lines))[0]
