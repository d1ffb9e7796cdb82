"""Fuzzes each entry point that reads bytes from outside, for a bounded time.

Every tests/firmware/fuzz/fuzz_NAME.cc is a libFuzzer program; seeds lie in tests/firmware/fuzz/corpus/NAME/, and inputs
that once failed in tests/firmware/fuzz/regressions/NAME/, which are always replayed. TBFT_FUZZ_SECONDS sets the time.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests import native

FUZZ = native.REPO / "tests/firmware/fuzz"
SECONDS = float(os.environ.get("TBFT_FUZZ_SECONDS", "10"))


@pytest.fixture(scope="module")
def fuzz_folder() -> Path:
    compiler = native.fuzz_compiler()
    if compiler is None:
        pytest.skip("no clang++ with libFuzzer: sudo apt-get install clang-14 libclang-rt-14-dev")
    return native.build("fuzz", f"CMAKE_CXX_COMPILER={compiler}")


@pytest.mark.timeout(120 + 2 * SECONDS)
@pytest.mark.parametrize(
    "name", sorted(p.stem.removeprefix("fuzz_") for p in FUZZ.glob("fuzz_*.cc"))
)
def test_fuzz(name: str, fuzz_folder: Path) -> None:
    seeds = [p for p in (FUZZ / "corpus" / name, FUZZ / "regressions" / name) if p.is_dir()]
    found = fuzz_folder / "corpus" / name
    failures = fuzz_folder / "failures" / name
    for folder in (found, failures):
        folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [
            str(fuzz_folder / f"fuzz_{name}"),
            f"-max_total_time={max(1, round(SECONDS))}",
            "-timeout=10",
            "-rss_limit_mb=2048",
            "-print_final_stats=1",
            f"-artifact_prefix={failures}/",
            str(found),
            *map(str, seeds),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    assert done.returncode == 0, (
        f"fuzz_{name} failed; its input lies in {failures}, copy it to "
        f"{FUZZ / 'regressions' / name}:\n{done.stdout[-6000:]}"
    )
