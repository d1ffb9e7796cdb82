"""PlatformIO on a machine without its registry: core directory, builds, and the emulator as upload."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import serial

from host.protocol import messages as m
from host.protocol.link import Link
from tests import native

REPO = native.REPO
SCRIPT = REPO / "firmware/platformio/prepare_core.py"
QEMU_ENVS = ("qemu_m4", "qemu_m7", "qemu_rv32", "qemu_lx7")
sys.path.insert(0, str(REPO / "firmware/platformio/qemu_mcu"))
import emulator  # type: ignore[import-not-found]  # noqa: E402

sys.path.insert(0, str(SCRIPT.parent))
import prepare_core  # type: ignore[import-not-found]  # noqa: E402


def pio(folder: Path, *arguments: str) -> str:
    """Runs PlatformIO with the core directory and build folders in `folder`; returns its output."""
    environment = dict(
        os.environ,
        PLATFORMIO_CORE_DIR=str(folder / "core"),
        PLATFORMIO_WORKSPACE_DIR=str(folder / "workspace"),
        # Proxies that answer nothing: whoever asked the registry would fail.
        HTTP_PROXY="http://127.0.0.1:9",
        HTTPS_PROXY="http://127.0.0.1:9",
    )
    done = subprocess.run(
        [native.tool("pio"), *arguments],
        cwd=REPO,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, f"pio {' '.join(arguments)} failed:\n{done.stdout[-6000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared core directory, and room for builds."""
    folder = tmp_path_factory.mktemp("pio")
    prepare_core.prepare(folder)
    return folder


def test_prepared_core(workspace: Path) -> None:
    text = (workspace / "offline.ini").read_text()
    assert f"core_dir = {workspace / 'core'}" in text
    assert "default_envs = native, qemu_m4, qemu_m7, qemu_rv32, qemu_lx7" in text
    version = json.loads((workspace / "core/packages/tool-scons/package.json").read_text())
    # Again: nothing changes, and nothing is left half.
    before = {p: p.stat().st_mtime_ns for p in workspace.rglob("*") if p.is_file()}
    prepare_core.prepare(workspace)
    assert before == {p: p.stat().st_mtime_ns for p in workspace.rglob("*") if p.is_file()}
    # A SCons of another release than PlatformIO asks for is replaced.
    noted = workspace / "core/packages/tool-scons/.piopm"
    noted.write_text(noted.read_text().replace(version["version"], "4.1.0"))
    prepare_core.prepare(workspace)
    assert json.loads(noted.read_text())["version"] == version["version"]


def test_every_environment_is_known_to_the_offline_configuration() -> None:
    text = (REPO / "platformio.ini").read_text()
    envs = set(re.findall(r"^\[env:(\w+)\]", text, re.M))
    assert envs == {*prepare_core.OFFLINE_ENVS, *prepare_core.REGISTRY_ENVS}
    assert re.search(r"^default_envs = terracorder$", text, re.M)  # with the registry
    assert {p.stem for p in (REPO / "firmware/boards").glob("*.json")} == {
        env.removeprefix("qemu_") for env in QEMU_ENVS
    }
    version = re.search(
        r"project\(tbft_firmware VERSION (\S+)", (REPO / "firmware/CMakeLists.txt").read_text()
    )
    assert version
    assert set(re.findall(r"-DTBFT_VERSION='\"([\d.]+)\"'", text)) == {version[1]}


def test_native_program(workspace: Path) -> None:
    pio(workspace, "run", "-e", "native", "-s")
    program = workspace / "workspace/build/native/program"
    done = subprocess.run(
        [str(program), "--help"], input="", capture_output=True, text=True, timeout=20
    )
    assert "usage: tbft_native" in done.stderr


def test_upload_starts_the_emulator_and_prints_the_port(workspace: Path) -> None:
    env = "qemu_m4"
    try:
        said = pio(workspace, "run", "-e", env, "-t", "upload")
        found = re.search(r"--port socket://127\.0\.0\.1:(\d+)", said)
        assert found and "--port qemu://m4" in said, said
        link = Link(serial.serial_for_url(f"socket://127.0.0.1:{found[1]}"), "emulator")
        try:
            link.end_noise()
            link.request(m.Abort())
            assert link.request(m.Identify()).board == "m4"
        finally:
            link.close()
        note = workspace / "workspace/emulator" / env / "emulator.pid"
        pid = int(note.read_text())
        pio(workspace, "run", "-e", env, "-t", "stop", "-s")
        assert not note.exists()
        assert not emulator._is_ours(pid, note.parent)
    finally:
        emulator.stop(workspace / "workspace/emulator" / env)


def test_esp32_boards_say_that_they_need_the_registry(workspace: Path, tmp_path: Path) -> None:
    """In a checkout that was prepared: platformio.ini with its offline part."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "firmware").symlink_to(REPO / "firmware")
    text = (REPO / "platformio.ini").read_text()
    (project / "platformio.ini").write_text(text)
    (project / "build/platformio").mkdir(parents=True)
    (project / "build/platformio/offline.ini").write_text((workspace / "offline.ini").read_text())
    done = subprocess.run(
        [native.tool("pio"), "run", "-e", "terracorder", "-t", "upload"],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode != 0
    said = " ".join(done.stdout.split())
    assert "error: ESP32 boards need ESP-IDF from PlatformIO's registry" in said
    assert "rm -r build/platformio" in said and "Traceback" not in said


def test_emulator_arguments(tmp_path: Path) -> None:
    for env in QEMU_ENVS:
        board = emulator.read_board(REPO / f"firmware/boards/{env.removeprefix('qemu_')}.json")
        flash = tmp_path / "a, b%" / "flash.bin"
        argv = emulator.command(board, Path("/x/firmware.elf"), 4567, flash)
        joined = " ".join(argv)
        assert "tcp:127.0.0.1:4567,server=on,wait=on" in joined
        assert "arg=tbft,arg=flash=" in joined and "a%2C%20b%25/flash.bin" in joined
        assert "{" not in joined and argv[-1] == "/x/firmware.elf"


def test_emulator_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    board = emulator.read_board(REPO / "firmware/boards/m4.json")
    assert emulator.start(board, tmp_path / "none.elf", tmp_path / "state", "/dev/ttyUSB0") == 1
    assert "needs the number of a TCP port" in capsys.readouterr().err
    command = board["emulator"]["command"]
    board["emulator"]["command"] = [part.replace("mps2-an386", "no-such") for part in command]
    assert emulator.start(board, tmp_path / "none.elf", tmp_path / "state", "") == 1
    assert "error: the emulator of m4 did not start: " in capsys.readouterr().err
    board["emulator"]["command"] = ["qemu-system-none"]
    assert emulator.start(board, tmp_path / "none.elf", tmp_path / "state", "") == 1
    assert "sudo apt-get install qemu-system-arm" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="there is no board m5 .* there are lx7, m4, m7, rv32"):
        emulator.read_board(REPO / "firmware/boards/m5.json")
    # A process number that is somebody else's by now is left alone.
    state = tmp_path / "other"
    state.mkdir()
    (state / "emulator.pid").write_text(str(os.getpid()))
    assert emulator.stop(state) == 0 and not (state / "emulator.pid").exists()
