"""Which bundled checkpoint a task gets."""

from __future__ import annotations

import pytest

from host.export_folder import default_checkpoint


@pytest.mark.parametrize(
    ("task", "stem"),
    [
        ("cifar10", "resnet26-cifar10"),
        ("cifar-flip", "resnet26-cifar10"),
        ("cifar-10-c:gaussian_noise:5", "resnet26-cifar10"),
        ("living14-tiny", "resnet26-living14"),
    ],
)
def test_default_checkpoint_belongs_to_the_task(task: str, stem: str) -> None:
    assert default_checkpoint(task).stem == stem
