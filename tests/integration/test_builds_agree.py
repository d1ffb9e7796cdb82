"""The same session gives the same weights however the firmware was compiled, and the sanitizers find nothing in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import native

pytestmark = pytest.mark.timeout(900)

SESSIONS = {
    "fc": ["--blocks", "fc", "--epochs", "2"],
    "block1": ["--blocks", "block1", "--epochs", "1"],
    "block3-immediate": ["--blocks", "block3", "--mode", "immediate", "--epochs", "1"],
}


def tune(build: native.NativeBuild, options: list[str], runs: Path) -> dict[str, object]:
    """Runs host.tune on a build of the firmware; returns its metrics."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "host.tune", "--data", "cifar-flip", "--data-source", "sample"),
            *("--train-images", "16", "--test-images", "16", "--runs", str(runs), *options),
        ],
        cwd=native.REPO,
        env={**os.environ, "TBFT_NATIVE": str(build.binary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    assert done.returncode == 0, done.stdout[-6000:]
    assert "runtime error" not in done.stdout and "AddressSanitizer" not in done.stdout, done.stdout
    (metrics,) = runs.glob("*/metrics.json")
    content: dict[str, object] = json.loads(metrics.read_text(encoding="utf-8"))
    return content


@pytest.mark.slow
@pytest.mark.parametrize("name", SESSIONS)
def test_builds_agree(
    name: str,
    native_build: native.NativeBuild,
    portable_build: native.NativeBuild,
    sanitize_build: native.NativeBuild,
    tmp_path: Path,
) -> None:
    expected = tune(native_build, SESSIONS[name], tmp_path / "native")
    for build in (portable_build, sanitize_build):
        found = tune(build, SESSIONS[name], tmp_path / build.folder.name)
        assert found["weights_sha256"] == expected["weights_sha256"], build.folder.name
