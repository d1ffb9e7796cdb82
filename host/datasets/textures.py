"""Building blocks of the corruptions: plasma, frost texture, motion blur and centred zoom.

Arrays are float64 unless said otherwise; N images are treated at once where that is possible.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import scipy  # submodules come when they are used: a session without corruptions needs none
from numpy.typing import NDArray

Floats = NDArray[np.float64]
SIDE = 32


def plasma_draws(side: int = SIDE) -> int:
    """Uniform numbers that :func:`plasma` needs for one map."""
    return side * side - 1


def plasma(uniform: Floats, decay: float, side: int = SIDE) -> Floats:
    """Cloud-like height maps by the diamond-square algorithm on a torus.

    Args:
        uniform: [N, side * side - 1] numbers in [-1, 1).
        decay: factor by which the roughness shrinks when the step halves; larger is smoother.
        side: a power of two, in pixels.

    Returns:
        [N, side, side], each map from 0 to 1.
    """
    maps = np.zeros((len(uniform), side, side))
    step, roughness, used = side, 100.0, 0

    def noisy_mean(total: Floats) -> Floats:
        nonlocal used
        count = total.shape[1] * total.shape[2]
        noise = uniform[:, used : used + count].reshape(total.shape)
        used += count
        return total / 4 + roughness * roughness * noise

    while step >= 2:
        half = step // 2
        corners = maps[:, ::step, ::step]
        total = corners + np.roll(corners, -1, axis=1)
        total = total + np.roll(total, -1, axis=2)
        maps[:, half::step, half::step] = noisy_mean(total)
        centres = maps[:, half::step, half::step]
        above = centres + np.roll(centres, 1, axis=1)
        beside = corners + np.roll(corners, -1, axis=2)
        maps[:, ::step, half::step] = noisy_mean(above + beside)
        left = centres + np.roll(centres, 1, axis=2)
        below = corners + np.roll(corners, -1, axis=1)
        maps[:, half::step, ::step] = noisy_mean(left + below)
        step, roughness = half, roughness / decay
    maps -= maps.min(axis=(1, 2), keepdims=True)
    result: Floats = maps / maps.max(axis=(1, 2), keepdims=True)
    return result


@cache
def zoom_matrix(factor: float, side: int = SIDE) -> Floats:
    """[side, side] matrix Z such that ``Z @ image @ Z.T`` magnifies the middle bilinearly.

    The middle ``ceil(side / factor)`` pixels are enlarged as ``scipy.ndimage.zoom(order=1)`` does, and
    trimmed to ``side``.
    """
    crop = int(np.ceil(side / factor))
    top = (side - crop) // 2
    enlarged = scipy.ndimage.zoom(np.eye(crop), (factor, 1), order=1)
    trim = (len(enlarged) - side) // 2
    matrix = np.zeros((side, side))
    matrix[:, top : top + crop] = enlarged[trim : trim + side]
    return matrix


@cache
def _zoom(factor: float) -> scipy.sparse.csr_array:
    """The same for images as vectors of pixels: [side * side, side * side], nearly all zeros."""
    matrix = scipy.sparse.csr_array(zoom_matrix(factor))
    return scipy.sparse.csr_array(scipy.sparse.kron(matrix, matrix))


@cache
def _zoom_blur(last: float) -> scipy.sparse.csr_array:
    factors = [float(factor) for factor in np.arange(1, last, 0.01)]
    total = scipy.sparse.csr_array(scipy.sparse.eye_array(SIDE * SIDE))
    for factor in factors:
        total = total + _zoom(factor)
    return total / (len(factors) + 1)


def zoomed(images: Floats, factor: float) -> Floats:
    """Magnify the middle of images [N, 32, 32, C] by ``factor``; the size stays."""
    return _apply(_zoom(factor), images)


def zoom_blurred(images: Floats, last: float) -> Floats:
    """Mean of images [N, 32, 32, C] and their magnifications by 1, 1.01, 1.02 ... below ``last``."""
    return _apply(_zoom_blur(last), images)


def _apply(matrix: scipy.sparse.csr_array, images: Floats) -> Floats:
    """Multiply every channel, as a vector of pixels, by ``matrix``."""
    count, height, width, channels = images.shape
    pixels = images.transpose(1, 2, 0, 3).reshape(height * width, count * channels)
    product = np.asarray(matrix @ pixels).reshape(height, width, count, channels)
    result: Floats = np.ascontiguousarray(product.transpose(2, 0, 1, 3))
    return result


def motion_blur(image: Floats, radius: float, sigma: float, angle_deg: float) -> Floats:
    """Blur one image [H, W, C] along a line, as a moving camera does.

    A one-sided Gaussian of ``2 * radius + 1`` taps and standard deviation ``sigma`` (pixels) is laid
    along ``angle_deg``; taps sit on whole pixels, and pixels beyond the border repeat the border.
    This is the definition of ImageMagick's operator, on which the published corruption rests; its
    8-bit rounding is left to the caller.
    """
    taps = int(2 * np.ceil(radius) + 1)
    position = np.arange(taps)
    weights = np.exp(-(position**2) / (2.0 * sigma * sigma))
    weights /= weights.sum()
    angle = np.deg2rad(angle_deg)
    dx = np.ceil(position * np.cos(angle) - 0.5).astype(int)
    dy = np.ceil(position * np.sin(angle) - 0.5).astype(int)
    height, width = image.shape[:2]
    pad = taps
    padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)), mode="edge")
    result = np.zeros_like(image)
    for weight, x, y in zip(weights, dx, dy, strict=True):
        result += weight * padded[pad + y : pad + y + height, pad + x : pad + x + width]
    return result


@cache
def frost_texture(number: int, side: int = 192) -> Floats:
    """A frosted window pane, [side, side, 3] in 0..255, made up from noise.

    The published corruption lays photographs of frost over the image, which cannot be passed on here.
    This texture takes their place: ice needles growing in a few directions on a cloudy, slightly blue
    ground. It is brighter in patches, like the photographs, but accuracies under it are not those
    under the published ones.
    """
    rng = np.random.default_rng((7777, number))
    ground = plasma(rng.uniform(-1, 1, (1, plasma_draws(256))), 2.0, 256)[0, :side, :side]
    needles = np.zeros((side, side))
    for _ in range(1200):
        y, x = rng.uniform(0, side, 2)
        angle = rng.choice([0.3, 1.35, 2.4]) + rng.normal(0, 0.25)
        length = rng.uniform(4, 16)
        along = np.arange(0, length, 0.5)
        rows = (y + along * np.sin(angle)).astype(int) % side
        columns = (x + along * np.cos(angle)).astype(int) % side
        np.maximum.at(needles, (rows, columns), (1 - along / length) * rng.uniform(0.4, 1.0))
    crystals = np.maximum(needles, 2.0 * scipy.ndimage.gaussian_filter(needles, 0.7, mode="wrap"))
    light = np.clip(0.7 * ground**1.2 + crystals * (0.35 + ground), 0, 1)
    tint = np.array([0.90, 0.96, 1.0])
    texture: Floats = 255.0 * light[..., None] * tint
    return texture
