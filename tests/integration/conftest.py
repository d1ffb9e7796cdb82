"""What several integration tests start from."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.calibration import calibrate
from exporter.checkpoint_write import store_calibration
from exporter.frontends import load_graph
from tests.python import networks


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short random network with stored ranges."""
    path = tmp_path_factory.mktemp("net") / "small.safetensors"
    graph, _ = load_graph(networks.write_random(path, depth=1, width=8))
    store_calibration(path, calibrate(graph, networks.random_images(2), "random images"))
    return path
