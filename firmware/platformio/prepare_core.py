"""Prepares a PlatformIO core directory for a machine that has pip but not PlatformIO's registry.

    python firmware/platformio/prepare_core.py        (or `make platformio`)

PlatformIO fetches two packages from its registry for whatever it builds for this computer: its build
tool, `tool-scons`, and the platform `native`. SCons itself is on PyPI, and the platform is a page of
Python; so both have stand-ins here that behave the same for this project. They go to
`build/platformio/core`, and `build/platformio/offline.ini`, which `platformio.ini` includes where it
exists, makes this checkout use them, build by default what can be built without the registry, and
say so for the rest. Where the registry answers there is nothing to do, and nothing is done.
`make clean` (or deleting `build/platformio`) undoes it.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import sys
import urllib.error
import urllib.request
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
FOLDER = REPO / "build" / "platformio"
OFFLINE_ENVS = ("native", "qemu_m4", "qemu_m7", "qemu_rv32", "qemu_lx7")
"""What `pio run` builds without the registry."""
REGISTRY_ENVS = ("terracorder", "esp32", "esp32c3", "esp32p4")
REGISTRY = "https://api.registry.platformio.org/"

_NATIVE_VERSION = "1.2.1"
"""The release of platformio/native that the stand-in was compared with."""
_NEVER_DAYS = 36500
_REGISTRY_TIMEOUT_S = 4.0
_SCONS = """\
# PlatformIO starts this file with its own Python; SCons is installed beside it.
import sys

from SCons.Script import main

sys.exit(main())
"""


def _write(path: Path, content: str | dict[str, object]) -> None:
    """Writes text or JSON, whole or not at all, and only where it differs."""
    text = content if isinstance(content, str) else json.dumps(content, indent=2) + "\n"
    if path.is_file() and path.read_text() == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    os.replace(temporary, path)


def _piopm(kind: str, name: str, version: str) -> dict[str, object]:
    """What PlatformIO's package manager notes beside an installed package."""
    spec = {
        "owner": "platformio",
        "id": None,
        "name": name,
        "requirements": None,
        "uri": None,
    }
    return {"type": kind, "name": name, "version": version, "spec": spec}


def registry_answers() -> bool:
    """Whether PlatformIO's registry can be reached from here, through a proxy or not."""
    try:
        urllib.request.urlopen(REGISTRY, timeout=_REGISTRY_TIMEOUT_S).close()
    except urllib.error.HTTPError as error:
        # The registry's own refusals are answers; a proxy's are not.
        return error.code in (400, 404, 405)
    except (OSError, ValueError, http.client.HTTPException):
        return False
    return True


def prepare(folder: Path = FOLDER, envs: tuple[str, ...] = OFFLINE_ENVS) -> Path:
    """Fills `folder`/core and writes `folder`/offline.ini; returns the core directory.

    Raises ImportError where PlatformIO or SCons is not installed for this Python.
    """
    import SCons  # type: ignore[import-untyped]
    from platformio import __version__ as pio_version  # type: ignore[import-untyped]
    from platformio.dependencies import (  # type: ignore[import-untyped]
        get_core_dependencies,
    )

    core = folder / "core"
    wanted = get_core_dependencies()["tool-scons"].lstrip("~^=")
    scons = core / "packages" / "tool-scons"
    if scons.is_dir():
        noted = scons / ".piopm"
        if not noted.is_file() or json.loads(noted.read_text())["version"] != wanted:
            shutil.rmtree(scons)
    description = f"SCons {SCons.__version__} of this Python, standing in for the package"
    _write(
        scons / "package.json",
        {"name": "tool-scons", "version": wanted, "description": description},
    )
    _write(scons / "scons.py", _SCONS)
    _write(scons / ".piopm", _piopm("tool", "tool-scons", wanted))

    native = core / "platforms" / "native"
    source = Path(__file__).parent / "native_standin"
    _write(
        native / "platform.json",
        {
            "name": "native",
            "title": "Native",
            "description": "This computer, standing in for platformio/native",
            "version": _NATIVE_VERSION,
            "license": "Apache-2.0",
            "engines": {"platformio": "^6"},
            "packages": {},
        },
    )
    _write(native / "builder" / "main.py", (source / "main.py").read_text())
    _write(native / ".piopm", _piopm("platform", "native", _NATIVE_VERSION))

    # No questions about upgrades, no telemetry: without a network each costs a timeout.
    state = core / "appstate.json"
    if not state.is_file():
        settings = {
            "enable_telemetry": False,
            "check_platformio_interval": _NEVER_DAYS,
            "check_prune_system_threshold": 0,
        }
        _write(state, {"last_version": pio_version, "settings": settings})
    refused = "".join(
        f"\n[env:{name}]\nplatform = symlink://firmware/platformio/needs_registry\n"
        for name in REGISTRY_ENVS
    )
    _write(
        folder / "offline.ini",
        "; Written by firmware/platformio/prepare_core.py; `make clean` removes it.\n"
        f"[platformio]\ncore_dir = {core}\ndefault_envs = {', '.join(envs)}\n{refused}",
    )
    return core


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument(
        "--always", action="store_true", help="also where PlatformIO's registry answers"
    )
    always = parser.parse_args().always
    if not always and registry_answers():
        (FOLDER / "offline.ini").unlink(missing_ok=True)
        print("PlatformIO's registry answers: `pio run` fetches what it needs from there.")
        return 0
    try:
        core = prepare()
    except ImportError as error:
        print(
            f"error: {error.name} is not installed for {sys.executable}; "
            "install it with: python -m pip install -c constraints.txt -e '.[pio]'",
            file=sys.stderr,
        )
        return 1
    print(f"PlatformIO builds without its registry now: {core}")
    print(f"`pio run` builds {', '.join(OFFLINE_ENVS)}; `make clean` goes back to the registry.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
