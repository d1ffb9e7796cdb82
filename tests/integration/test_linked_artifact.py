"""An artifact can be linked into the firmware instead of pushed over the port."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from exporter.artifact import write_artifact
from exporter.plan import make_plan
from host.device import Device
from tests import native
from tests.integration.shipped import graph


@pytest.mark.timeout(600)
def test_linked_artifact_is_loaded_at_the_start(
    tmp_path: Path, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = tmp_path / "model.tbfa"
    artifact.write_bytes(write_artifact(make_plan(graph(), ("fc",))))
    build = tmp_path / "build"
    options = [
        f"-DTBFT_ARTIFACT={artifact}",
        "-DTBFT_TESTS=OFF",
        "-DTBFT_OPTIMIZE=-O1",
        "-DTBFT_MARCH=",
        f"-DCMAKE_MAKE_PROGRAM={native.tool('ninja')}",
    ]
    cmake = native.tool("cmake")
    for command in (
        [cmake, "-S", str(repo / "firmware"), "-B", str(build), "-G", "Ninja", *options],
        [cmake, "--build", str(build), "--target", "tbft_native"],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    monkeypatch.setenv("TBFT_NATIVE", str(build / "tbft_native"))
    with Device.open("native://") as device:
        assert device.identity.model_hash == artifact.read_bytes()[16:48]
        assert device.identity.arena_bytes == make_plan(graph(), ("fc",)).arena_bytes
