"""Integer gradients point where float32 autograd's do, on the shipped network and shifted real images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.integration.shipped import graph, int8_images, task
from tests.python.gradient_check import gradient_cosines

BAR = 0.99


@pytest.mark.parametrize("name", ["cifar-10-c:gaussian_noise:5", "cifar-flip"])
def test_every_gradient_has_a_cosine_of_at_least_099(name: str, repo: Path) -> None:
    data = task(name).train
    cosines = gradient_cosines(
        graph(), graph().blocks, int8_images(data.images[:8]), data.labels[:8].tolist()
    )
    table = repo / "build" / "reports"
    table.mkdir(parents=True, exist_ok=True)
    (table / f"gradient-cosines-{name.split(':')[0]}.json").write_text(
        json.dumps(cosines, indent=1)
    )
    trained = [
        node for node in graph().nodes if node.name in {k.rsplit(".", 1)[0] for k in cosines}
    ]
    assert len(trained) == 39
    missed = {k: v for k, v in cosines.items() if not v >= BAR}
    assert not missed, f"cosine below {BAR}: {missed}"
    assert float(np.median(list(cosines.values()))) >= 0.998
