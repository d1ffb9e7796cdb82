"""Formatters, linters and the type checker, as tests. `make format` mends what formatters complain about."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests import native

REPO = native.REPO
CACHE = REPO / "build" / "lint"


def run(*command: str, cwd: Path = REPO) -> tuple[int, str]:
    done = subprocess.run(
        command,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    return done.returncode, done.stdout


def cpp_files(*patterns: str) -> list[Path]:
    roots = [REPO / "firmware", REPO / "tests" / "firmware"]
    return sorted(p for root in roots for pattern in patterns for p in root.rglob(pattern))


def digest(parts: Sequence[bytes]) -> str:
    h = hashlib.sha256()
    for part in parts:
        h.update(len(part).to_bytes(8, "little"))
        h.update(part)
    return h.hexdigest()


def test_ruff() -> None:
    status, output = run(sys.executable, "-m", "ruff", "check", ".")
    assert status == 0, output[-8000:]


def test_ruff_format() -> None:
    status, output = run(sys.executable, "-m", "ruff", "format", "--check", ".")
    assert status == 0, f"`make format` mends this:\n{output[-4000:]}"


@pytest.mark.timeout(900)
def test_mypy() -> None:
    status, output = run(sys.executable, "-m", "mypy", "--strict", "exporter", "host", "energy")
    assert status == 0, output[-8000:]


def test_clang_format() -> None:
    files = cpp_files("*.cc", "*.h")
    if not files:
        pytest.skip("no C++ sources")
    status, output = run(native.tool("clang-format"), "--dry-run", "-Werror", *map(str, files))
    assert status == 0, f"`make format` mends this:\n{output[-4000:]}"


@pytest.mark.timeout(1500)
def test_clang_tidy(native_build: native.NativeBuild) -> None:
    """Checks every compiled source; what passed is remembered by the hash of everything it can depend on."""
    commands = {
        Path(entry["file"]).resolve(): entry["command"]
        for entry in json.loads((native_build.folder / "compile_commands.json").read_text())
    }
    clang_tidy = native.tool("clang-tidy")
    common = [
        (REPO / ".clang-tidy").read_bytes(),
        run(clang_tidy, "--version")[1].encode(),
        *(str(p.relative_to(REPO)).encode() + b"\0" + p.read_bytes() for p in cpp_files("*.h")),
    ]
    CACHE.mkdir(parents=True, exist_ok=True)

    def check(source: Path) -> str:
        key = digest([*common, commands[source].encode(), source.read_bytes()])
        passed = CACHE / key
        if passed.exists():
            return ""
        status, output = run(
            clang_tidy,
            "--quiet",
            "-p",
            str(native_build.folder),
            "--extra-arg=-Wno-unknown-warning-option",
            str(source),
        )
        if status != 0:
            return output
        passed.touch()
        return ""

    sources = [
        p
        for p in sorted(commands)
        if p.is_relative_to(REPO) and not p.is_relative_to(REPO / "build")
    ]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        complaints = [text for text in pool.map(check, sources) if text]
    assert not complaints, "\n".join(complaints)[-12000:]
