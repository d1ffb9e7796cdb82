"""The ESP32 HALs, the sensors and main_esp.cc: run on stand-ins for ESP-IDF, compiled for Xtensa LX7.

A true ESP32 build needs PlatformIO's registry. Here the vendor's functions have stand-ins
(tests/firmware/esp_stub/), with which everything runs on this computer under the sanitizers; and the
same sources are compiled for the CPU and calling convention of the ESP32-S3.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from host.protocol import frame, timing
from host.protocol import messages as m
from tests import native

STUB = native.REPO / "tests/firmware/esp_stub"
LIB = native.REPO / "firmware/lib"
BOARDS = ("terracorder", "esp32", "esp32c3", "esp32p4")
PROGRAMS = sorted(s.stem for s in STUB.glob("test_*.cc") if s.stem != "test_esp_main")
PROGRAMS += [f"test_esp_main_{board}" for board in BOARDS]
LX7 = native.REPO / "build/toolchain/xtensa/bin/xtensa-lx7-elf-"


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("preset", ["native", "sanitize"])
def test_on_the_stand_ins(name: str, preset: str) -> None:
    build = native.native() if preset == "native" else native.sanitized()
    done = subprocess.run(
        [str(build.folder / name)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    assert done.returncode == 0, f"{name} ({preset}) failed:\n{done.stdout[-6000:]}"


def lx7_sources() -> list[Path]:
    """All that an ESP32 image is made of (firmware/platformio/esp/component.cmake), per folder."""
    folders = [p for p in sorted(LIB.iterdir()) if p.name not in ("hal_native", "hal_qemu")]
    return [s for folder in folders for s in sorted(folder.glob("*.cc"))]


def compile_lx7(source: Path, out: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    compiler = Path(f"{LX7}g++")
    assert compiler.exists(), f"{compiler} is missing; make it with: make toolchain"
    command = [
        str(compiler),
        *("-mlongcalls", "-std=gnu++17", "-O1", "-fno-exceptions", "-fno-rtti"),
        *("-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Werror"),
        *(f"-I{LIB}", f"-I{LIB.parent}", f"-I{STUB}/include", *flags),
        *("-c", str(source), "-o", str(out)),
    ]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize("folder", sorted({s.parent.name for s in lx7_sources()}))
def test_compiles_for_lx7(folder: str, tmp_path: Path) -> None:
    for source in (s for s in lx7_sources() if s.parent.name == folder):
        done = compile_lx7(source, tmp_path / f"{source.stem}.o")
        assert done.returncode == 0, done.stderr[-4000:]


@pytest.mark.parametrize("board", BOARDS)
def test_main_compiles_for_lx7_with_register_windows(board: str, tmp_path: Path) -> None:
    out = tmp_path / "main.o"
    define = f"-DTBFT_ESP_BOARD_{board.upper()}"
    done = compile_lx7(native.REPO / "firmware/app/main_esp.cc", out, define)
    assert done.returncode == 0, done.stderr[-4000:]
    listing = subprocess.run(
        [f"{LX7}objdump", "-d", str(out)], capture_output=True, text=True, check=True
    ).stdout
    # The windowed calling convention, in which every function begins with `entry`.
    body = listing.split("<app_main>:")[1]
    assert re.search(r"\sentry\s+a1,", body.split("\n\n")[0]), body[:300]


def constant(name: str) -> int:
    text = (LIB / "hal_esp/esp_serial.h").read_text()
    found = re.search(rf"{name} = ([0-9']+);", text)
    assert found, name
    return int(found[1].replace("'", ""))


def test_receive_ring_holds_all_that_the_host_sends_while_nobody_reads() -> None:
    """The arithmetic of esp_serial.h, from the host's own numbers."""
    longest = len(frame.encode_frame(0x11, 1, bytes(range(1, 256)) * 4 + bytes(4)))
    header_h = (LIB / "wire/frame.h").read_text()
    assert "kMaxEncoded = kMaxPayload + kMaxPayload / 254 + 2" in header_h
    payload = m.BODY_LIMIT + 8
    most = payload + payload // 254 + 2
    assert longest <= most == 1038
    copies, at, wait = 1, 0.0, timing.COMPUTE.first_retry_s
    while at + wait < timing.COMPUTE.silence_s:
        at += wait
        wait = min(wait * timing.FACTOR, timing.MAX_RETRY_S)
        copies += 1
    abort = len(frame.encode_frame(m.Abort.TYPE, 1, b""))
    assert copies * (most + 1) + abort + 1 <= constant("kEspReceiveRingBytes")
    # While one frame waits to be sent, the next is made.
    assert constant("kEspSendRingBytes") >= 2 * most


def test_uart_interrupt_has_time_at_921600_baud() -> None:
    byte_us = 1e6 * timing.BITS_PER_BYTE / 921_600
    fifo = 128
    left_us = (fifo - constant("kEspFifoFullThreshold")) * byte_us
    # Interrupt handlers of ESP-IDF that run from internal RAM start within some 10 µs.
    assert left_us > 80
    assert constant("kEspRtsThreshold") < constant("kEspFifoFullThreshold")
