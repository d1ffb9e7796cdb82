"""The firmware on the emulated boards: boots, trains as this computer does, keeps what flash keeps, says what is wrong, and stays
within its budget of memory."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from host.bench import boards_memory
from host.device import Device
from host.errors import HostError
from host.order import epoch_order
from host.protocol import messages as m
from host.protocol.frame import FrameDecoder, encode_frame
from host.transport import open_port, qemu_board
from tests import boards
from tests.native import NativeBuild
from tests.python.small_board import SmallTask, open_native, small_task

pytestmark = [pytest.mark.timeout(900)]

COUNT, BATCH, LR, SEED = 8, 4, 0.05, 3
EVENTS_US = 2
"""By how much two runs of the same phase may differ: the clock is read at other moments within a µs."""
POWER_CUT = 75
FAULT = 70


@pytest.fixture(autouse=True)
def built(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "board" in request.fixturenames:
        board = request.getfixturevalue("board")
        monkeypatch.setenv(boards.variable(board), str(boards.image(board)))


def task() -> SmallTask:
    return small_task("accumulate", COUNT)


def train(device: Device) -> bytes:
    device.configure(SEED)
    device.load_samples(task().images, task().labels)
    device.train_epoch(epoch_order(SEED, 0, COUNT).tolist(), BATCH, LR)
    return device.weights_sha256()


@pytest.fixture
def expected(native_build: NativeBuild, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Hash of the weights that this computer trains."""
    monkeypatch.setenv("TBFT_NATIVE", str(native_build.binary))
    with open_native() as device:
        device.push_artifact(task().data)
        return train(device)


@contextlib.contextmanager
def opened(url: str) -> Iterator[tuple[Device, list[str]]]:
    """A board, and the lines that it says from now on."""
    with Device.open(url) as device:
        lines: list[str] = []
        device.link.on_log = lambda log: lines.append(log.text)
        yield device, lines


@pytest.mark.parametrize("board", boards.BOARDS)
def test_trains_as_this_computer_does_and_keeps_it(
    board: str, expected: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """One session, then another after the power was cut; files with names that are awkward for a command line."""
    flash = tmp_path / "a flash, 100%.bin"
    artifact = tmp_path / "model.tbfa"
    url = f"qemu://{board}?flash={quote(str(flash))}&artifact={artifact}"
    with Device.open(url) as device:
        identity = device.identity
        assert (identity.board, identity.load_code) == (board, 1)
        assert identity.clock_hz == 15_625_000
        assert sum(identity.region_limit_bytes) == identity.arena_limit_bytes
        device.push_artifact(task().data)
        assert train(device) == expected
        assert device.commit() > 0
        assert device.link.retries == 0 and device.link.damaged == 0
    assert f"{url}: started: power on; no artifact" in capfd.readouterr().err
    assert artifact.read_bytes() == task().data
    with Device.open(url) as device:
        assert device.identity.load_code == 0 and device.identity.flags & 2
        assert device.weights_sha256() == expected
        durations: list[int] = []
        device.configure(
            SEED, on_phase=lambda _, a, b: durations.append(b - a), reset_weights=False
        )
        for _ in range(2):
            device.infer(task().images[0])
        device.complete_events()
        infer = durations[1::2]  # load, infer, load, infer
        assert len(infer) == 2 and abs(infer[0] - infer[1]) <= EVENTS_US
    assert "artifact loaded, weights restored from flash" in capfd.readouterr().err


@pytest.mark.parametrize("board", boards.BOARDS)
def test_memory_is_within_its_budget(board: str, capfd: pytest.CaptureFixture[str]) -> None:
    found = boards_memory.measure(board)
    with capfd.disabled():
        print(f"\n{board}: " + ", ".join(f"{key} {value:,}" for key, value in found.items()))
    complaints = boards_memory.complaints(board, found)
    assert not complaints, f"{board}:\n" + "\n".join(complaints)


@pytest.mark.parametrize("board", boards.BOARDS)
def test_no_byte_is_lost_when_the_host_does_not_wait(board: str) -> None:
    """More requests in one go than the receive ring takes: each is answered."""
    count = 700
    stream = b"".join(encode_frame(m.Identify.TYPE, i, b"") for i in range(count))
    assert len(stream) > 1.5 * 4096
    port = open_port(f"qemu://{board}")
    try:
        port.timeout = 60
        port.write(stream)
        decoder = FrameDecoder()
        answered: list[int] = []
        while len(answered) < count:
            data = port.read(1)
            assert data, f"{len(answered)} of {count} requests were answered"
            port.timeout = 0
            data += port.read(4096)
            port.timeout = 60
            for frame in decoder.push(data):
                if frame.type != m.Log.TYPE:
                    assert frame.type == m.Identify.TYPE | 0x80
                    answered.append(frame.sequence)
        assert answered == list(range(count))
    finally:
        port.close()


@pytest.mark.parametrize("board", boards.BOARDS)
def test_nothing_can_allocate(board: str) -> None:
    """No heap after the start, and none before: the image has neither malloc nor what it would take memory from."""
    listed = subprocess.run(
        ["nm", str(boards.image(board))], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "main" in listed
    assert not {"malloc", "_malloc_r", "free", "_free_r", "sbrk", "_sbrk", "_Znwj"} & set(listed)


@pytest.mark.parametrize("board", ["rv32", "lx7"])
@pytest.mark.parametrize("operation", [1, 2, 4])
def test_power_cut_during_commit(board: str, operation: int, tmp_path: Path) -> None:
    """The flash file after a power cut holds the old weights or the new ones."""
    flash = tmp_path / "flash.bin"
    url = f"qemu://{board}?flash={flash}"
    with opened(url) as (device, _):
        device.push_artifact(task().data)
        device.commit()
        old = device.weights_sha256()
    new = b""
    with opened(f"{url}&power-cut={operation}") as (device, _):
        device.push_artifact(task().data)
        new = train(device)
        with pytest.raises(HostError, match=f"status {POWER_CUT}"):
            device.commit()
    assert new != old
    with opened(url) as (device, _):
        device.push_artifact(task().data)
        assert device.identity.flags & 2
        assert device.weights_sha256() in (old, new)
        train(device)


# Number of the program counter among QEMU's registers, a byte of which no instruction is made, and what the board calls it.
DERAIL = {
    "m4": (15, "de", "undefined instruction"),
    "m7": (15, "de", "undefined instruction"),
    "rv32": (32, "00", "illegal instruction"),
    "lx7": (0, "00", "illegal instruction"),
}


def derail(path: Path, board: str) -> None:
    """Overwrites the instructions that the board is about to execute, through QEMU's debugger port."""
    register, byte, _ = DERAIL[board]

    def packet(text: str) -> bytes:
        return f"${text}#{sum(text.encode()) & 0xFF:02x}".encode()

    with socket.socket(socket.AF_UNIX) as debugger:
        debugger.settimeout(20)
        debugger.connect(str(path))

        def ask(text: str, answer: str) -> str:
            """The first packet that looks like the answer: others tell that the board has stopped."""
            debugger.sendall(packet(text))
            received = ""
            while not (found := re.search(rf"\$({answer})#..", received)):
                received += debugger.recv(4096).decode()
            debugger.sendall(b"+")
            return found[1]

        registers = ask("g", "[0-9a-fx]{128,}")
        where = int.from_bytes(bytes.fromhex(registers[8 * register : 8 * register + 8]), "little")
        ask(f"M{where:x},40:{byte * 64}", "OK")
        debugger.sendall(packet("c"))
        assert debugger.recv(1) == b"+"


@pytest.mark.parametrize("board", boards.BOARDS)
def test_fault_is_told_in_words(
    board: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over the port as a line of the board, and in what the host says when the emulator has ended."""
    path = tmp_path / "gdb"
    command = qemu_board.Board.command
    monkeypatch.setattr(
        qemu_board.Board,
        "command",
        lambda *words: [*command(*words), "-gdb", f"unix:{path},server=on,wait=off"],
    )
    with opened(f"qemu://{board}") as (device, lines):
        derail(path, board)
        with pytest.raises(HostError, match=rf"status {FAULT} and said 'fault: .* at instruction"):
            while True:
                device.identify()
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"fault: {DERAIL[board][2]} at instruction 0x")


@pytest.mark.parametrize("board", ["m4", "lx7"])
def test_bad_files_and_sizes(board: str, tmp_path: Path) -> None:
    for query, says in (
        (f"flash={tmp_path}", "the flash file"),
        (f"flash={tmp_path}/no/such/folder", "cannot be read or written"),
        ("arena-bytes=99999999999", "the option arena-bytes"),
        ("cache-bytes=7x", "the option cache-bytes"),
    ):
        with pytest.raises(HostError, match=says):
            Device.open(f"qemu://{board}?{query}")
    large = tmp_path / "large.tbfa"
    large.write_bytes(bytes((2 << 20) + 1))
    with pytest.raises(HostError, match="does not fit"):
        Device.open(f"qemu://{board}?artifact={large}")
    with opened(f"qemu://{board}?arena-bytes=1024,0&cache-bytes=0") as (device, _):
        assert device.identity.arena_limit_bytes == 1024
        with pytest.raises(HostError, match="arena"):
            device.push_artifact(task().data)
        assert device.identify().board == board


@pytest.mark.parametrize("board", ["m4"])
def test_image_of_another_board_is_refused(board: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(boards.variable("m7"), str(boards.image(board)))
    with pytest.raises(HostError, match=r"is for the board m4, expected one for m7"):
        Device.open("qemu://m7")
