"""Builds of the firmware for this computer, made once per checkout however many test processes run."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class NativeBuild:
    """Where one build of the firmware lies."""

    folder: Path
    """The build folder, with compile_commands.json."""
    binary: Path
    """The firmware as a process (`tbft_native`)."""
    testlib: Path
    """The C interface to kernels and runtime, for ctypes."""

    def cpp_tests(self) -> list[Path]:
        """The C++ test programs, one per tests/firmware/cpp/test_*.cc."""
        return [
            self.folder / s.stem for s in sorted((REPO / "tests/firmware/cpp").glob("test_*.cc"))
        ]


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Holds an exclusive lock on `path` among the processes of this computer."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def tool(name: str) -> str:
    """Path of a program, from this interpreter's environment first, then from PATH."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise FileNotFoundError(
            f"{name} is neither in this Python environment nor on PATH; run: make setup-dev"
        )
    return found


@cache
def fuzz_compiler() -> str | None:
    """A clang++ that has libFuzzer, or None."""
    names = [os.environ.get("FUZZ_CXX"), "clang++", *(f"clang++-{v}" for v in range(21, 13, -1))]
    probe = (
        'extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }'
    )
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            if name is None or shutil.which(name) is None:
                continue
            command = [name, "-fsanitize=fuzzer,address", "-x", "c++", "-", "-o", f"{folder}/probe"]
            if subprocess.run(command, input=probe, text=True, capture_output=True).returncode == 0:
                return name
    return None


def build(preset: str, *definitions: str) -> Path:
    """Configures and builds a CMake preset of firmware/; returns its build folder.

    Raises AssertionError with the compiler's output when it does not build.
    """
    folder = REPO / "build" / preset
    # cmake and ninja run each other, so both must be found on PATH.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    configure = [tool("cmake"), "--preset", preset, f"-DCMAKE_MAKE_PROGRAM={tool('ninja')}"]
    with file_lock(REPO / "build" / f".{preset}.lock"):
        for command in (
            [*configure, *(f"-D{d}" for d in definitions)],
            [tool("cmake"), "--build", "--preset", preset],
        ):
            done = subprocess.run(
                command,
                cwd=REPO / "firmware",
                env={**os.environ, "PATH": path},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            if done.returncode != 0:
                raise AssertionError(f"{' '.join(command)} failed:\n{done.stdout[-8000:]}")
    return folder


def _native_build(preset: str) -> NativeBuild:
    definitions = [f"CMAKE_CXX_COMPILER={os.environ['CXX']}"] if os.environ.get("CXX") else []
    folder = build(preset, *definitions)
    return NativeBuild(folder, folder / "tbft_native", folder / "libtbft_testlib.so")


@cache
def native() -> NativeBuild:
    """The optimised build in build/native."""
    return _native_build("native")


@cache
def sanitized() -> NativeBuild:
    """The build with address and undefined-behaviour sanitizers, in build/sanitize."""
    return _native_build("sanitize")


@cache
def portable() -> NativeBuild:
    """The build without this CPU's own instructions (the portable kernels), in build/portable."""
    return _native_build("portable")
