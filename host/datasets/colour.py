"""RGB to HSV and back, on arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def rgb_to_hsv(rgb: Floats) -> Floats:
    """[..., 3] in 0..1 to hue, saturation and value in 0..1 (hue 0 where there is no colour)."""
    value = rgb.max(axis=-1)
    spread = value - rgb.min(axis=-1)
    safe = np.where(spread > 0, spread, 1.0)
    red, green, blue = np.moveaxis(rgb, -1, 0)
    sixth = np.where(
        value == red,
        (green - blue) / safe,
        np.where(value == green, 2.0 + (blue - red) / safe, 4.0 + (red - green) / safe),
    )
    hue = np.where(spread > 0, (sixth / 6.0) % 1.0, 0.0)
    saturation = np.where(value > 0, spread / np.where(value > 0, value, 1.0), 0.0)
    return np.stack([hue, saturation, value], axis=-1)


def hsv_to_rgb(hsv: Floats) -> Floats:
    """Inverse of :func:`rgb_to_hsv`."""
    hue, saturation, value = np.moveaxis(hsv, -1, 0)
    channels = []
    for offset in (5.0, 3.0, 1.0):
        k = (offset + hue * 6.0) % 6.0
        channels.append(value - value * saturation * np.clip(np.minimum(k, 4.0 - k), 0.0, 1.0))
    return np.stack(channels, axis=-1)
