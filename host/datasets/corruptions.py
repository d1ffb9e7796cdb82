"""The 19 corruptions of CIFAR-10-C at five severities.

Definitions and parameters are the published ones for 32x32 images (Hendrycks and Dietterich,
Benchmarking Neural Network Robustness to Common Corruptions and Perturbations, ICLR 2019); the code
is our own. Two differences, for want of the parts: ``frost`` uses a made-up texture instead of
photographs (:func:`host.datasets.textures.frost_texture`), and the motion blur in ``motion_blur`` and
``snow`` is computed here instead of by ImageMagick.

Every image has its own random generator, seeded by (seed, corruption, severity, position in the full
set), so that a subset has the same pixels as the whole, in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from host.datasets import corruption_kinds as kinds
from host.datasets.base import Images
from host.datasets.textures import SIDE, Floats
from host.errors import HostError

Corrupt = Callable[[Floats, Sequence[Generator], Any], Floats]
"""See :mod:`host.datasets.corruption_kinds`."""

CHUNK = 500
"""Images treated at once: bounds the memory, not the result."""


@dataclass(frozen=True)
class Corruption:
    """A corruption with its parameter for severities 1 to 5.

    ``remark`` says where it departs from the published images.
    """

    function: Corrupt
    parameters: tuple[Any, Any, Any, Any, Any]
    remark: str = ""


_OWN_BLUR = "motion blur computed without ImageMagick"

CORRUPTIONS: dict[str, Corruption] = {
    "gaussian_noise": Corruption(kinds.gaussian_noise, (0.04, 0.06, 0.08, 0.09, 0.10)),
    "shot_noise": Corruption(kinds.shot_noise, (500, 250, 100, 75, 50)),
    "impulse_noise": Corruption(kinds.impulse_noise, (0.01, 0.02, 0.03, 0.05, 0.07)),
    "defocus_blur": Corruption(
        kinds.defocus_blur, ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1))
    ),
    "glass_blur": Corruption(
        kinds.glass_blur, ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2))
    ),
    "motion_blur": Corruption(
        kinds.motion_blur_corruption, ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)), _OWN_BLUR
    ),
    "zoom_blur": Corruption(kinds.zoom_blur, (1.06, 1.11, 1.16, 1.21, 1.26)),
    "snow": Corruption(
        kinds.snow,
        (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
        _OWN_BLUR,
    ),
    "frost": Corruption(
        kinds.frost,
        ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
        "frost textures made up from noise instead of the published photographs",
    ),
    "fog": Corruption(kinds.fog, ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75))),
    "brightness": Corruption(kinds.brightness, (0.05, 0.1, 0.15, 0.2, 0.3)),
    "contrast": Corruption(kinds.contrast, (0.75, 0.5, 0.4, 0.3, 0.15)),
    "elastic_transform": Corruption(
        kinds.elastic_transform,
        ((0, 0, 2.56), (1.6, 6.4, 2.24), (2.56, 1.92, 1.92), (3.2, 1.28, 1.6), (3.2, 0.96, 0.96)),
    ),
    "pixelate": Corruption(kinds.pixelate, (0.95, 0.9, 0.85, 0.75, 0.65)),
    "jpeg_compression": Corruption(kinds.jpeg_compression, (80, 65, 58, 50, 40)),
    "speckle_noise": Corruption(kinds.speckle_noise, (0.06, 0.1, 0.12, 0.16, 0.2)),
    "gaussian_blur": Corruption(kinds.gaussian_blur, (0.4, 0.6, 0.7, 0.8, 1)),
    "spatter": Corruption(
        kinds.spatter,
        (
            (0.62, 0.1, 0.7, 0.7, 0.5, 0),
            (0.65, 0.1, 0.8, 0.7, 0.5, 0),
            (0.65, 0.3, 1, 0.69, 0.5, 0),
            (0.65, 0.1, 0.7, 0.69, 0.6, 1),
            (0.65, 0.1, 0.5, 0.68, 0.6, 1),
        ),
    ),
    "saturate": Corruption(kinds.saturate, ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2))),
}
"""Name to definition; the order is part of the seeds, so append only."""


def corrupt(
    images: Images, name: str, severity: int, index: NDArray[np.int64], seed: int = 0
) -> Images:
    """Corrupt images.

    Args:
        images: uint8 [N, 32, 32, 3].
        name: key of :data:`CORRUPTIONS`.
        severity: 1 to 5.
        index: int64 [N], position of each image in the full set; part of its seed.
        seed: the same seed gives the same pixels.

    Returns:
        uint8 [N, 32, 32, 3]; values are truncated, not rounded, as in the published files.

    Raises:
        HostError: unknown corruption or severity, or images of another size.
    """
    if name not in CORRUPTIONS:
        raise HostError(
            f"there is no corruption '{name}', expected one of {', '.join(CORRUPTIONS)}"
        )
    if severity not in range(1, 6):
        raise HostError(f"severity {severity} of {name} does not exist, expected 1 to 5")
    if images.shape[1:] != (SIDE, SIDE, 3):
        raise HostError(
            f"{name} is for 32x32 RGB images, not for {list(images.shape[1:])}; resize them first"
        )
    number = list(CORRUPTIONS).index(name)
    corruption = CORRUPTIONS[name]
    result = np.empty_like(images)
    for start in range(0, len(images), CHUNK):
        part = slice(start, start + CHUNK)
        rngs = [np.random.default_rng((seed, number, severity, int(i))) for i in index[part]]
        changed = corruption.function(
            images[part] / 255.0, rngs, corruption.parameters[severity - 1]
        )
        # The small term undoes the rounding of value / 255 * 255, which truncation would turn into a whole step.
        result[part] = (np.clip(changed, 0, 1) * 255 + 1e-6).astype(np.uint8)
    return result
