"""The probes by name, what is plugged in, and which of them `--probe` means.

A probe's module is imported when it is needed. It provides

    def create(options: ProbeOptions) -> Probe       # opens nothing
    def detect() -> list[Found]                      # what is plugged in; only where `detects`

Neither imports the vendor's package at the top: `detect` returns nothing without it, and `create`
(or `open`) gets it by `vendor_package`, whose error names the `pip install`.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType

from energy.errors import EnergyError, ProbeError
from energy.probes import MODEL, Found, Probe, ProbeOptions

BOARD_SENSOR = "ina"
EMULATED = ("native://", "qemu://")


@dataclass(frozen=True, slots=True)
class Entry:
    """One probe. `package`: what it imports of the vendor's, `extra`: the extra that installs it.

    `detects`: whether it can tell that it is plugged in; `needs_address`: what must stand behind
    the colon of `--probe NAME:`, '' if nothing must.
    """

    name: str
    title: str
    module: str
    package: str = ""
    extra: str = ""
    detects: bool = False
    needs_address: str = ""


# In the order in which `auto` prefers them.
ENTRIES: Mapping[str, Entry] = {
    entry.name: entry
    for entry in (
        Entry(
            "joulescope",
            "Joulescope JS110 or JS220",
            "energy.probes.joulescope",
            package="pyjoulescope_driver",
            extra="joulescope",
            detects=True,
        ),
        Entry("ppk2", "Nordic Power Profiler Kit II", "energy.probes.ppk2", detects=True),
        Entry("lpm01a", "ST X-NUCLEO-LPM01A", "energy.probes.lpm01a", detects=True),
        Entry(
            "otii",
            "Qoitech Otii Arc or Ace",
            "energy.probes.otii",
            package="otii_tcp_client",
            extra="otii",
            detects=True,
        ),
        Entry(
            BOARD_SENSOR,
            "current sensor on the board (INA219, INA226, INA228, PowerFeather), over --port",
            "energy.probes.ina",
        ),
        Entry(
            "replay",
            "recorded file (PPK2 or Joulescope export, trace.parquet)",
            "energy.probes.replay",
            needs_address="the path of the file",
        ),
        Entry(MODEL, "model of the board described by --board", "energy.probes.model"),
    )
}


@dataclass(frozen=True, slots=True)
class Choice:
    """The probe that `--probe` means; `because`: a clause for the user, `found`: all plugged in."""

    name: str
    address: str
    because: str
    found: tuple[Found, ...] = ()

    @property
    def entry(self) -> Entry:
        """Its line of the registry."""
        return ENTRIES[self.name]


def is_emulated(port: str) -> bool:
    """Whether the board at `port` is a program of this computer, which draws no current of its own."""
    return port.startswith(EMULATED)


def choose_probe(wanted: str, port: str, find: Callable[[], list[Found]] | None = None) -> Choice:
    """The probe that `--probe wanted` means for the board at `port`; `find` defaults to `find_all`.

    `auto` never turns to the model behind the user's back where a real board is asked for: with no
    instrument plugged in it takes the sensor on the board, which says so if there is none.
    Raises `ProbeError` for a name that does not exist or lacks its address.
    """
    if wanted == "auto":
        if is_emulated(port):
            return Choice(MODEL, "", f"the board at {port} is emulated")
        found = tuple((find or find_all)())
        if found:
            return Choice(found[0].name, found[0].address, f"{found[0].title} is plugged in", found)
        return Choice(BOARD_SENSOR, "", "no instrument is plugged in")
    name, _, address = wanted.partition(":")
    entry = ENTRIES.get(name)
    if entry is None:
        raise ProbeError(
            f"there is no probe called {name!r}; expected auto or one of {', '.join(ENTRIES)}"
        )
    if entry.needs_address and not address:
        raise ProbeError(
            f"--probe {name} needs {entry.needs_address}; write --probe {name}:… with it"
        )
    return Choice(name, address, "asked for")


def find_all() -> list[Found]:
    """Everything plugged in, in the order of preference. A probe whose search fails is left out."""
    found: list[Found] = []
    for entry in ENTRIES.values():
        if entry.detects and (not entry.package or has_package(entry.package)):
            try:
                found += _module(entry).detect()
            except (EnergyError, OSError):
                continue
    return found


def create_probe(choice: Choice, options: ProbeOptions) -> Probe:
    """The probe of `choice`; `options.address` is the choice's. Raises `ProbeError`."""
    entry = choice.entry
    if entry.package:
        vendor_package(entry.package, entry.extra, entry.title)
    probe: Probe = _module(entry).create(options)
    return probe


def has_package(name: str) -> bool:
    """Whether the vendor's package `name` is installed."""
    return importlib.util.find_spec(name) is not None


def vendor_package(name: str, extra: str, title: str) -> ModuleType:
    """Import the vendor's package `name`; `ProbeError` with the `pip install` if it is missing."""
    try:
        return importlib.import_module(name)
    except ImportError as exc:
        raise ProbeError(
            f"{title} needs the package {name}, which is not installed or cannot be loaded ({exc}); "
            f"install it with `pip install -e '.[{extra}]'` and repeat"
        ) from exc


def _module(entry: Entry) -> ModuleType:
    try:
        return importlib.import_module(entry.module)
    except ImportError as exc:
        raise ProbeError(
            f"the driver of the probe {entry.name} cannot be loaded ({exc}); "
            "reinstall the project with `pip install -e .`"
        ) from exc
