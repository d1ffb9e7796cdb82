"""The ESP32 environments of platformio.ini, their partition tables, settings and memory fit together."""

from __future__ import annotations

import configparser
import csv
import itertools
import json
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

from exporter.artifact import write_artifact
from exporter.flash_room import checkpoint_bytes
from exporter.partition import parse_blocks
from exporter.plan import make_plan
from tests import native
from tests.integration import shipped

REPO = native.REPO
PLATFORMIO = REPO / "firmware/platformio"
TABLES = sorted((PLATFORMIO / "partitions").glob("*.csv"))
BOARDS = ("terracorder", "esp32", "esp32c3", "esp32p4")
KIB, MIB = 1 << 10, 1 << 20
PAGE = 64 * KIB
"""A page of the MMU: applications begin there, and what is mapped should."""
SECTOR = 4 * KIB
TABLE_END = 0x9000
"""The partition table itself: 4 KB at 0x8000."""


@dataclass(frozen=True)
class Part:
    """One line of a partition table."""

    name: str
    type: str
    subtype: str
    offset: int
    size: int

    @property
    def end(self) -> int:
        return self.offset + self.size


def read_table(path: Path) -> dict[str, Part]:
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    parts = {}
    for row in csv.reader(lines, skipinitialspace=True):
        name, kind, subtype, offset, size, flags = (field.strip() for field in row)
        assert name not in parts and not flags and len(name) <= 16
        parts[name] = Part(name, kind, subtype, int(offset, 16), int(size, 16))
    return parts


def flash_bytes(table: Path) -> int:
    return int(table.stem.removesuffix("mb")) * MIB


def ini() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, inline_comment_prefixes=(";", "#"))
    parser.read(REPO / "platformio.ini")
    return parser


def option(env: str, name: str) -> str | None:
    """An option of an environment, or of what it extends."""
    parser, section = ini(), f"env:{env}"
    while True:
        if parser.has_option(section, name):
            return parser.get(section, name)
        if not parser.has_option(section, "extends"):
            return None
        section = parser.get(section, "extends")


def settings(board: str) -> dict[str, str]:
    """sdkconfig.defaults and the board's own, later ones first."""
    out: dict[str, str] = {}
    for name in ("sdkconfig.defaults", f"sdkconfig.{board}"):
        for line in (PLATFORMIO / "esp" / name).read_text().splitlines():
            if line and not line.startswith("#"):
                key, value = line.split("=", 1)
                assert key.startswith("CONFIG_") and key not in out, f"{name}: {line}"
                out[key] = value
    return out


def table_of(board: str) -> Path:
    name = option(board, "board_build.partitions")
    assert name, board
    return REPO / name


@pytest.mark.parametrize("path", TABLES, ids=lambda p: p.stem)
def test_partition_table(path: Path) -> None:
    parts = read_table(path)
    ordered = sorted(parts.values(), key=lambda p: p.offset)
    assert ordered == list(parts.values()), "in ascending order, as they lie"
    assert ordered[0].offset >= TABLE_END
    for before, after in itertools.pairwise(ordered):
        assert before.end <= after.offset, f"{before.name} and {after.name} overlap"
    assert ordered[-1].end == flash_bytes(path)
    for part in ordered:
        assert part.offset % SECTOR == 0 and part.size % SECTOR == 0 and part.size > 0
    assert [p.name for p in ordered if p.type == "app"] == ["factory"]
    assert parts["factory"].offset == 0x10000  # where every tool expects the program
    for name in ("factory", "artifact"):
        assert parts[name].offset % PAGE == 0
    assert all(p.subtype == "undefined" for p in ordered if p.type == "data")


@pytest.mark.parametrize("path", TABLES, ids=lambda p: p.stem)
def test_names_are_those_of_the_hal(path: Path) -> None:
    header = (REPO / "firmware/lib/hal_esp/esp_partition_flash.h").read_text()
    names = set(re.findall(r'static constexpr char k\w+\[\] = "(\w+)";', header))
    assert len(names) == 5
    assert names == {p.name for p in read_table(path).values() if p.type == "data"}


@pytest.mark.parametrize("board", [*BOARDS, "esp32-nopsram"])
def test_sizes_are_those_the_planner_counts_with(board: str) -> None:
    flash = tomllib.loads((REPO / f"exporter/boards/{board}.toml").read_text())["flash"]
    parts = read_table(table_of("esp32" if board == "esp32-nopsram" else board))
    assert parts["artifact"].size == flash["artifact_bytes"]
    assert parts["weights"].size == 2 * flash["checkpoint_bytes"]
    assert parts["cache"].size == flash["cache_bytes"]
    assert flash["erase_bytes"] == SECTOR


def test_weights_and_artifact_of_resnet26_with_all_blocks_fit_everywhere() -> None:
    graph = shipped.graph()
    plan = make_plan(graph, parse_blocks(graph, "all"), iterations=1)
    artifact = len(write_artifact(plan))
    slot = checkpoint_bytes(plan, SECTOR)
    assert artifact > 366_938 and slot > 366_938  # the parameters themselves
    for path in TABLES:
        parts = read_table(path)
        assert parts["weights"].size // 2 >= slot, path.name
        # Two self-test images and the host's notes travel with it: 10 % is more than they take.
        assert parts["artifact"].size >= 1.1 * artifact, path.name
        # Duty-cycled operation: two schedules, and four segments of the sample store.
        assert parts["schedule"].size >= 2 * SECTOR
        assert parts["samples"].size >= 4 * 16 * SECTOR


@pytest.mark.parametrize("board", BOARDS)
def test_flash_size_is_the_same_everywhere(board: str) -> None:
    table = table_of(board)
    size = flash_bytes(table) // MIB
    values = settings(board)
    assert values[f"CONFIG_ESPTOOLPY_FLASHSIZE_{size}MB"] == "y"
    relative = str(table.relative_to(REPO))
    assert values["CONFIG_PARTITION_TABLE_CUSTOM_FILENAME"] == f'"{relative}"'
    assert values["CONFIG_PARTITION_TABLE_CUSTOM"] == "y"
    own = PLATFORMIO / "boards" / f"{option(board, 'board')}.json"
    if own.exists():
        description = json.loads(own.read_text())
        assert description["upload"]["flash_size"] == f"{size}MB"
        assert description["upload"]["maximum_size"] == size * MIB
        mode = description["build"]["flash_mode"].upper()
        assert values[f"CONFIG_ESPTOOLPY_FLASHMODE_{mode}"] == "y"
        mhz = int(description["build"]["f_flash"].removesuffix("L")) // 1_000_000
        assert values[f"CONFIG_ESPTOOLPY_FLASHFREQ_{mhz}M"] == "y"
        cpu = int(description["build"]["f_cpu"].removesuffix("L")) // 1_000_000
        assert values[f"CONFIG_ESP_DEFAULT_CPU_FREQ_MHZ_{cpu}"] == "y"


@pytest.mark.parametrize("board", BOARDS)
def test_environment(board: str) -> None:
    arguments = option(board, "board_build.cmake_extra_args")
    flags = option(board, "build_src_flags")
    assert arguments and flags
    listed = re.search(r'-DSDKCONFIG_DEFAULTS="([^"]+)"', arguments)
    assert listed
    for name in listed[1].split(";"):
        assert (REPO / name).is_file(), name
    assert listed[1].endswith(f"sdkconfig.{board}")
    assert f"-DTBFT_ESP_BOARD_{board.upper()}" in flags
    assert f"TBFT_ESP_BOARD_{board.upper()})" in (REPO / "firmware/app/esp_boards.h").read_text()
    assert option(board, "framework") == "espidf"
    assert option(board, "monitor_speed") == "921600"
    psram = tomllib.loads((REPO / f"exporter/boards/{board}.toml").read_text())["region"]
    has = any(region["name"] == "PSRAM" for region in psram)
    assert (settings(board).get("CONFIG_SPIRAM") == "y") == has


def test_settings_that_the_sources_count_on() -> None:
    stub = (REPO / "tests/firmware/esp_stub/include/sdkconfig.h").read_text()
    stub_values = dict(re.findall(r"#define (CONFIG_\w+) (\w+)", stub))
    common = settings("terracorder")
    assert common["CONFIG_UART_ISR_IN_IRAM"] == "y"
    for name in ("CONFIG_FREERTOS_HZ", "CONFIG_ESP_MAIN_TASK_STACK_SIZE"):
        assert stub_values[name] == common[name]
    assert common["CONFIG_ESP_CONSOLE_NONE"] == "y"  # nothing else on the port


def test_components_are_those_of_the_headers() -> None:
    """Each vendor header that the sources include is of a component that they require."""
    component_of = {
        "driver/gpio.h": "esp_driver_gpio",
        "driver/i2c_master.h": "esp_driver_i2c",
        "driver/uart.h": "esp_driver_uart",
        "driver/usb_serial_jtag.h": "esp_driver_usb_serial_jtag",
        "esp_heap_caps.h": "heap",
        "esp_intr_alloc.h": "esp_hw_support",
        "esp_partition.h": "esp_partition",
        "esp_rom_sys.h": "esp_rom",
        "esp_sleep.h": "esp_hw_support",
        "esp_system.h": "esp_system",
        "esp_timer.h": "esp_timer",
        "freertos/FreeRTOS.h": "freertos",
        "freertos/semphr.h": "freertos",
        "freertos/task.h": "freertos",
    }
    general = {"sdkconfig.h", "sys/time.h", "cstddef", "cstdint", "type_traits"}
    sources = [*(REPO / "firmware/lib/hal_esp").iterdir(), REPO / "firmware/app/main_esp.cc"]
    included = {
        name for path in sources for name in re.findall(r"#include <([^>]+)>", path.read_text())
    }
    assert included - general == set(component_of)
    required = (PLATFORMIO / "esp/component.cmake").read_text().split("PRIV_REQUIRES")[-1]
    for component in component_of.values():
        assert re.search(rf"\b{component}\b", required), component
    for name in component_of:
        assert (REPO / "tests/firmware/esp_stub/include" / name).is_file(), name
