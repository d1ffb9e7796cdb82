"""Runs the C++ test programs (tests/firmware/cpp/test_*.cc), optimised and under the sanitizers."""

from __future__ import annotations

import subprocess

import pytest

from tests import native

SOURCES = sorted((native.REPO / "tests/firmware/cpp").glob("test_*.cc"))


@pytest.mark.parametrize("name", [s.stem for s in SOURCES])
@pytest.mark.parametrize("preset", ["native", "sanitize"])
def test_cpp(name: str, preset: str) -> None:
    build = native.native() if preset == "native" else native.sanitized()
    done = subprocess.run(
        [str(build.folder / name)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    assert done.returncode == 0, f"{name} ({preset}) failed:\n{done.stdout[-6000:]}"
