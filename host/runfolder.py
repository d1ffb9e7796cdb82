"""Run folders: `runs/<time>-<name>/`, whose files are either whole or not there."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import time
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

from host.cli import file_error
from host.errors import HostError

DEFAULT_ROOT = Path("runs")
_PACKAGES = ("tbft", "numpy", "pyserial", "safetensors", "matplotlib")


class RunFolder:
    """A folder made for one run. Every write raises HostError where the disk does not take it."""

    def __init__(self, path: Path) -> None:
        """Around a folder that exists; new ones are made by `create`."""
        self.path = path

    @classmethod
    def create(cls, name: str, root: Path = DEFAULT_ROOT) -> RunFolder:
        """Makes `root/<local time>-<name>`, with a number behind it where that exists already."""
        stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{re.sub(r'[^A-Za-z0-9._,+-]+', '-', name)}"
        for number in range(1000):
            path = root / (f"{stem}-{number + 1}" if number else stem)
            try:
                path.mkdir(parents=True)
            except FileExistsError:
                continue
            except OSError as exc:
                raise HostError(f"the run folder {file_error(exc)}") from exc
            return cls(path)
        raise HostError(
            f"the run folder {root / stem} exists a thousand times over; remove old ones"
        )

    @contextlib.contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """A temporary path that becomes `name` when the `with` block ends well, else vanishes."""
        target = self.path / name
        # The suffix stays: some writers choose the format by it.
        scratch = self.path / f".{target.stem}.tmp{os.getpid()}{target.suffix}"
        try:
            yield scratch
            os.replace(scratch, target)
        except OSError as exc:
            exc.filename = str(target)
            raise HostError(file_error(exc)) from exc
        finally:
            with contextlib.suppress(OSError):
                scratch.unlink()

    def write_text(self, name: str, text: str) -> None:
        """Writes a text file."""
        with self.writing(name) as path:
            path.write_text(text, encoding="utf-8")

    def write_json(self, name: str, values: Mapping[str, object]) -> None:
        """Writes a JSON object."""
        self.write_text(name, json.dumps(values, indent=2, ensure_ascii=False) + "\n")


def versions() -> dict[str, str]:
    """Versions of Python, the operating system and the packages that matter."""
    found = {"python": platform.python_version(), "system": platform.platform()}
    for package in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found
