"""The port qemu://: what it says when something is missing or wrong. (tests/firmware/test_boards_images.py runs the boards.)"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from host.errors import HostError
from host.transport import PortError, open_port, protocol_qemu, qemu_board
from tests.boards import BOARDS

SAYS = "#!/bin/sh\n"


def sentence(url: str) -> str:
    """What opening the port says; one sentence, ended by no full stop."""
    with pytest.raises(HostError) as caught:
        open_port(url)
    text = str(caught.value)
    assert not text.endswith(".") and "\n" not in text
    return text


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A board `toy` with an image and an emulator that is a shell script; returns the script."""
    boards = tmp_path / "boards"
    boards.mkdir()
    command = ["toy-emulator", "-serial", "{serial}", "-x{arguments}", "-kernel", "{image}"]
    content = {
        "name": "toy",
        "title": "a toy",
        "emulator": {"package": "toys", "command": command},
    }
    (boards / "toy.json").write_text(json.dumps(content))
    image = tmp_path / "toy.elf"
    image.write_bytes(b"\x7fELF......tbft-board:toy\0......")
    programs = tmp_path / "bin"
    programs.mkdir()
    emulator = programs / "toy-emulator"
    emulator.write_text(SAYS)
    emulator.chmod(0o755)
    monkeypatch.setattr(qemu_board, "BOARDS", boards)
    monkeypatch.setenv("TBFT_QEMU_TOY", str(image))
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    return emulator


def test_the_boards_are_those_of_the_firmware() -> None:
    assert qemu_board.known_boards() == sorted(BOARDS)
    for name in BOARDS:
        board = qemu_board.read_board(name)
        assert board.name == name and board.title and board.package
        words = " ".join(board.emulator)
        assert all(words.count("{" + key + "}") == 1 for key in ("serial", "arguments", "image"))
        assert "-icount" in board.emulator, "time is that of instructions, the same in every run"


@pytest.mark.parametrize("url", ["qemu://", "qemu://esp32", "qemu://../m4"])
def test_unknown_board(url: str) -> None:
    text = sentence(url)
    assert "there is no emulated board" in text and "lx7, m4, m7, rv32" in text


def test_unknown_option_and_place() -> None:
    assert "unknown option 'speed'" in sentence("qemu://m4?speed=1")
    assert "flash, artifact" in sentence("qemu://m4?speed=1")
    assert "names a place" in sentence("qemu://m4/there")


def test_options_arrive_whole(tmp_path: Path) -> None:
    """Blanks, commas and percent signs in a path; QEMU parts its options at commas, the board its words at blanks."""
    path = tmp_path / "a b,c%20.bin"
    board, words = qemu_board.parse_url(f"qemu://rv32?flash={str(path).replace('%', '%25')}")
    assert len(words) == 1 and " " not in words[0] and "%2520" in words[0]
    command = board.command(Path("image.elf"), words, "-chardev socket,id=port,fd=9")
    config = next(word for word in command if word.startswith("enable=on"))
    assert ",arg=tbft,arg=flash=" in config and ",,c" in config
    assert "image.elf" in command and "chardev:port" in command


def test_relative_files_are_those_of_the_host_process(monkeypatch: pytest.MonkeyPatch) -> None:
    _, words = qemu_board.parse_url("qemu://m4?flash=weights.bin&board-name=x")
    assert words == [f"flash={Path.cwd() / 'weights.bin'}", "board-name=x"]


def test_missing_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qemu_board, "REPO", tmp_path)
    monkeypatch.delenv("TBFT_QEMU_M4", raising=False)
    text = sentence("qemu://m4")
    assert "build/m4/tbft_m4.elf" in text and "make firmware-m4" in text
    assert ".pio/build/qemu_m4/firmware.elf" in text
    monkeypatch.setenv("TBFT_QEMU_M4", str(tmp_path / "none.elf"))
    assert "TBFT_QEMU_M4" in sentence("qemu://m4")


def test_the_newer_image_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qemu_board, "REPO", tmp_path)
    monkeypatch.delenv("TBFT_QEMU_M7", raising=False)
    board = qemu_board.read_board("m7")
    images = [
        tmp_path / "build/m7/tbft_m7.elf",
        tmp_path / ".pio/build/qemu_m7/firmware.elf",
    ]
    for number, path in enumerate(images):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"\x7fELF..tbft-board:m7\0")
        os.utime(path, (number, number))
    assert qemu_board.find_image(board) == images[1]
    os.utime(images[0], (9, 9))
    assert qemu_board.find_image(board) == images[0]


def test_image_of_another_board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = tmp_path / "firmware.elf"
    monkeypatch.setenv("TBFT_QEMU_RV32", str(image))
    image.write_bytes(b"\x7fELF..tbft-board:lx7\0..")
    text = sentence("qemu://rv32")
    assert "is for the board lx7" in text and "make firmware-rv32" in text
    image.write_bytes(b"\x7fELF and something else")
    assert "no firmware of this tool" in sentence("qemu://rv32")
    image.write_bytes(b"text tbft-board:rv32\0")
    assert "no firmware of this tool" in sentence("qemu://rv32")


def test_missing_emulator(toy: Path) -> None:
    toy.unlink()
    text = sentence("qemu://toy")
    assert "toy-emulator" in text and text.endswith("sudo apt-get install toys")


def test_emulator_that_ends_at_once(toy: Path) -> None:
    toy.write_text(SAYS + "echo 'qemu: warning: nothing' >&2; echo 'error: no flash' >&2; exit 3\n")
    text = sentence("qemu://toy")
    assert "status 3" in text and "'error: no flash'" in text and "make firmware-toy" in text


def test_board_that_says_nothing(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol_qemu, "BOOT_TIMEOUT_S", 0.2)
    toy.write_text(SAYS + "exec sleep 60\n")
    assert re.search("says nothing for 0 s", sentence("qemu://toy"))


def test_emulator_that_ends_later(toy: Path) -> None:
    """The script answers through the socket that it inherits, and ends."""
    toy.write_text(
        "#!/bin/bash\n"
        + "for word; do case $word in socket,*) fd=${word##*fd=};; esac; done\n"
        + 'eval "printf hello >&$fd"\n'
    )
    port = open_port("qemu://toy")
    port.timeout = 5
    assert port.read(5) == b"hello"
    with pytest.raises(PortError, match="ended with status 0"):
        port.read(1)
    port.close()
