"""Drops of water or mud on the lens: the ``spatter`` corruption of one image. Needs OpenCV."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy  # submodules come when they are used: a session without corruptions needs none
from numpy.typing import NDArray

from host.errors import HostError

Floats = NDArray[np.float64]

WATER = np.array([175, 238, 238]) / 255
MUD = np.array([63, 42, 20]) / 255
_RELIEF = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])


def _cv2() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise HostError(
            "the corruption 'spatter' needs OpenCV, which is not installed; install opencv-python-headless"
        ) from error
    return cv2


def spatter_one(
    image: Floats, noise: Floats, c: tuple[float, float, float, float, float, int]
) -> Floats:
    """Spatter one image.

    Args:
        image: [32, 32, 3] in 0..1.
        noise: [32, 32] normal numbers of mean ``c[0]`` and deviation ``c[1]``.
        c: mean, deviation, sigma of the drops in pixels, threshold, strength (water) or sigma (mud), 0 water or 1 mud.

    Returns:
        [32, 32, 3], not clipped.
    """
    _, _, sigma, threshold, strength, mud = c
    layer = scipy.ndimage.gaussian_filter(noise, sigma, mode="nearest")
    layer[layer < threshold] = 0
    if mud:
        mask = scipy.ndimage.gaussian_filter(
            (layer > threshold).astype(float), strength, mode="nearest"
        )
        mask[mask < 0.8] = 0
        muddy: Floats = image * (1 - mask[..., None]) + MUD * mask[..., None]
        return muddy
    mask = _water_relief(np.clip(layer * 255, 0, 255).astype(np.uint8))
    peak = mask.max()
    if peak > 0:
        mask = mask / peak * strength
    wet: Floats = image + mask[..., None] * WATER
    return wet


def _water_relief(drops: NDArray[np.uint8]) -> Floats:
    """Thickness of the water, [32, 32]: the drops' edges, distance to them, a relief lit aslant."""
    cv2 = _cv2()
    distance = cv2.distanceTransform(255 - cv2.Canny(drops, 50, 150), cv2.DIST_L2, 5)
    distance = cv2.blur(np.minimum(distance, 20), (3, 3)).astype(np.uint8)
    relief = cv2.filter2D(cv2.equalizeHist(distance), cv2.CV_8U, _RELIEF.astype(np.float32))
    smooth: Floats = cv2.blur(relief, (3, 3)).astype(np.float64)
    return drops * smooth
