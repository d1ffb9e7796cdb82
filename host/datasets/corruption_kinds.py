"""What each corruption of CIFAR-10-C does; parameters and seeds are in :mod:`host.datasets.corruptions`.

Every function maps images, float64 [N, 32, 32, 3] in 0..1, with one random generator an image and the parameter of the
severity, to images of the same shape that the caller clips to 0..1.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import scipy  # submodules come when they are used: a session without corruptions needs none
from numpy.random import Generator
from PIL import Image

from host.datasets.colour import hsv_to_rgb, rgb_to_hsv
from host.datasets.spatter import spatter_one
from host.datasets.textures import (
    SIDE,
    Floats,
    frost_texture,
    motion_blur,
    plasma,
    plasma_draws,
    zoom_blurred,
    zoomed,
)


def _gaussian(x: Floats, sigma: float, truncate: float = 4.0) -> Floats:
    result: Floats = scipy.ndimage.gaussian_filter(
        x, (0, sigma, sigma, 0), mode="nearest", truncate=truncate
    )
    return result


def _normal(rngs: Sequence[Generator], shape: tuple[int, ...], scale: float) -> Floats:
    return np.stack([rng.normal(scale=scale, size=shape) for rng in rngs])


def gaussian_noise(x: Floats, rngs: Sequence[Generator], scale: float) -> Floats:
    """Add normal noise of standard deviation ``scale`` to every channel of every pixel."""
    return x + _normal(rngs, x.shape[1:], scale)


def shot_noise(x: Floats, rngs: Sequence[Generator], photons: float) -> Floats:
    """Poisson noise of a sensor that counts ``photons`` at full scale."""
    return np.stack(
        [rng.poisson(one * photons) / photons for one, rng in zip(x, rngs, strict=True)]
    )


def impulse_noise(x: Floats, rngs: Sequence[Generator], amount: float) -> Floats:
    """Set a share ``amount`` of all values to 0 or 1, either equally likely."""
    draws = np.stack([rng.uniform(size=x.shape[1:]) for rng in rngs])
    return np.where(draws < amount / 2, 0.0, np.where(draws < amount, 1.0, x))


def speckle_noise(x: Floats, rngs: Sequence[Generator], scale: float) -> Floats:
    """Normal noise proportional to the value."""
    return x + x * _normal(rngs, x.shape[1:], scale)


def gaussian_blur(x: Floats, _rngs: Sequence[Generator], sigma: float) -> Floats:
    """Gaussian blur, ``sigma`` in pixels."""
    return _gaussian(x, sigma)


def glass_blur(x: Floats, rngs: Sequence[Generator], c: tuple[float, int, int]) -> Floats:
    """Blur, move pixels by up to ``c[1]``, ``c[2]`` times over, blur again.

    As in the published images the moved pixel overwrites its neighbour instead of changing places with it.
    """
    sigma, reach, rounds = c
    x = np.floor(_gaussian(x, sigma) * 255) / 255
    places = range(SIDE - reach, reach, -1)
    moves = np.stack(
        [rng.integers(-reach, reach, size=(rounds, len(places), len(places), 2)) for rng in rngs]
    )
    every = np.arange(len(x))
    for turn in range(rounds):
        for i, row in enumerate(places):
            for j, column in enumerate(places):
                dx, dy = moves[:, turn, i, j, 0], moves[:, turn, i, j, 1]
                x[:, row, column] = x[every, row + dy, column + dx]
    return _gaussian(x, sigma)


def defocus_blur(x: Floats, _rngs: Sequence[Generator], c: tuple[float, float]) -> Floats:
    """Average over a disk of radius ``c[0]`` pixels whose edge is softened by ``c[1]``."""
    radius, soft = c
    grid = np.arange(-8, 9)
    disk = (grid[:, None] ** 2 + grid[None, :] ** 2 <= radius**2).astype(np.float64)
    edge = np.exp(-(np.array([-1.0, 0.0, 1.0]) ** 2) / (2 * soft * soft))
    edge /= edge.sum()
    kernel = scipy.ndimage.convolve(disk / disk.sum(), np.outer(edge, edge), mode="mirror")
    result: Floats = scipy.ndimage.correlate(x, kernel[None, :, :, None], mode="mirror")
    return result


def motion_blur_corruption(x: Floats, rngs: Sequence[Generator], c: tuple[float, float]) -> Floats:
    """Blur along a random direction within 45 degrees of the horizontal; radius ``c[0]``, sigma ``c[1]``."""
    blurred = [
        motion_blur(one, c[0], c[1], rng.uniform(-45, 45)) for one, rng in zip(x, rngs, strict=True)
    ]
    return np.rint(np.stack(blurred) * 255) / 255


def zoom_blur(x: Floats, _rngs: Sequence[Generator], last: float) -> Floats:
    """Mean of the image and its magnifications by 1, 1.01, 1.02 ... below ``last``."""
    return zoom_blurred(x, last)


def fog(x: Floats, rngs: Sequence[Generator], c: tuple[float, float]) -> Floats:
    """Add ``c[0]`` times a plasma cloud of decay ``c[1]``, then scale back to the image's own maximum."""
    clouds = plasma(np.stack([rng.uniform(-1, 1, plasma_draws()) for rng in rngs]), c[1])
    peak = x.max(axis=(1, 2, 3), keepdims=True)
    foggy: Floats = (x + c[0] * clouds[..., None]) * peak / (peak + c[0])
    return foggy


def frost(x: Floats, rngs: Sequence[Generator], c: tuple[float, float]) -> Floats:
    """``c[0]`` parts image and ``c[1]`` parts of a random window of one of five frost textures."""
    layers = []
    for rng in rngs:
        texture = frost_texture(int(rng.integers(5)))
        top, left = rng.integers(0, len(texture) - SIDE, 2)
        layers.append(texture[top : top + SIDE, left : left + SIDE] / 255)
    return c[0] * x + c[1] * np.stack(layers)


def snow(
    x: Floats, rngs: Sequence[Generator], c: tuple[float, float, float, float, float, float, float]
) -> Floats:
    """Whiten the image and let flakes fall: noise (mean, deviation), zoom, threshold, blur (radius, sigma), share."""
    mean, deviation, zoom, threshold, radius, sigma, share = c
    flakes = np.stack([rng.normal(mean, deviation, (SIDE, SIDE, 1)) for rng in rngs])
    flakes = zoomed(flakes, zoom)
    flakes[flakes < threshold] = 0
    flakes = np.floor(np.clip(flakes, 0, 1) * 255)
    fallen = np.rint(
        [
            motion_blur(one, radius, sigma, rng.uniform(-135, -45))
            for one, rng in zip(flakes, rngs, strict=True)
        ]
    )
    fallen /= 255
    grey = (x @ np.array([0.299, 0.587, 0.114]))[..., None]
    whitened = share * x + (1 - share) * np.maximum(x, grey * 1.5 + 0.5)
    snowy: Floats = whitened + fallen + np.rot90(fallen, k=2, axes=(1, 2))
    return snowy


def spatter(
    x: Floats, rngs: Sequence[Generator], c: tuple[float, float, float, float, float, int]
) -> Floats:
    """Drops of water (severities 1 to 3) or mud (4 and 5); see :mod:`host.datasets.spatter`."""
    layers = [rng.normal(c[0], c[1], (SIDE, SIDE)) for rng in rngs]
    return np.stack([spatter_one(one, layer, c) for one, layer in zip(x, layers, strict=True)])


def contrast(x: Floats, _rngs: Sequence[Generator], factor: float) -> Floats:
    """Shrink every channel's distance from its mean over the image."""
    means = x.mean(axis=(1, 2), keepdims=True)
    flat: Floats = (x - means) * factor + means
    return flat


def brightness(x: Floats, _rngs: Sequence[Generator], shift: float) -> Floats:
    """Raise the value in HSV space."""
    hsv = rgb_to_hsv(x)
    hsv[..., 2] = np.clip(hsv[..., 2] + shift, 0, 1)
    return hsv_to_rgb(hsv)


def saturate(x: Floats, _rngs: Sequence[Generator], c: tuple[float, float]) -> Floats:
    """Scale the saturation by ``c[0]`` and add ``c[1]``, in HSV space."""
    hsv = rgb_to_hsv(x)
    hsv[..., 1] = np.clip(hsv[..., 1] * c[0] + c[1], 0, 1)
    return hsv_to_rgb(hsv)


def _to_pillow(one: Floats) -> Image.Image:
    return Image.fromarray(np.rint(one * 255).astype(np.uint8))


def jpeg_compression(x: Floats, _rngs: Sequence[Generator], quality: int) -> Floats:
    """Through JPEG at ``quality`` and back."""
    results = []
    for one in x:
        buffer = io.BytesIO()
        _to_pillow(one).save(buffer, "JPEG", quality=quality)
        results.append(np.asarray(Image.open(buffer)) / 255)
    return np.stack(results)


def pixelate(x: Floats, _rngs: Sequence[Generator], factor: float) -> Floats:
    """Down to ``factor`` of the side and up again, by box filters."""
    small = int(SIDE * factor)
    box = Image.Resampling.BOX
    return np.stack(
        [
            np.asarray(_to_pillow(one).resize((small, small), box).resize((SIDE, SIDE), box)) / 255
            for one in x
        ]
    )


def elastic_transform(
    x: Floats, rngs: Sequence[Generator], c: tuple[float, float, float]
) -> Floats:
    """Random affine map (corners off by up to ``c[2]`` pixels), then smooth displacements (amplitude, sigma)."""
    amplitude, sigma, corner_shift = c
    results = []
    for one, rng in zip(x, rngs, strict=True):
        middle, arm = SIDE // 2, SIDE // 3
        corners = np.array(
            [
                [middle + arm, middle + arm],
                [middle + arm, middle - arm],
                [middle - arm, middle - arm],
            ],
            dtype=np.float64,
        )
        moved = corners + rng.uniform(-corner_shift, corner_shift, corners.shape)
        one = _affine(one, corners, moved)
        fields = rng.uniform(-1, 1, (2, SIDE, SIDE))
        if amplitude:
            fields = scipy.ndimage.gaussian_filter(
                fields, (0, sigma, sigma), mode="reflect", truncate=3
            )
            dx, dy = fields * amplitude
            rows, columns = np.meshgrid(np.arange(SIDE), np.arange(SIDE), indexing="ij")
            one = _sample(one, rows + dy, columns + dx, "reflect")
        results.append(one)
    return np.stack(results)


def _affine(image: Floats, before: Floats, after: Floats) -> Floats:
    """Move the points ``before`` (x, y) [3, 2] of ``image`` to ``after``, everything else affinely with them."""
    homogeneous = np.hstack([after, np.ones((3, 1))])
    inverse = np.linalg.solve(homogeneous, before)  # [3, 2]: target (x, y, 1) -> source (x, y)
    rows, columns = np.meshgrid(np.arange(SIDE), np.arange(SIDE), indexing="ij")
    target = np.stack([columns, rows, np.ones_like(rows)], axis=-1) @ inverse
    return _sample(image, target[..., 1], target[..., 0], "mirror")


def _sample(image: Floats, rows: Floats, columns: Floats, mode: str) -> Floats:
    channels = [
        scipy.ndimage.map_coordinates(image[..., c], [rows, columns], order=1, mode=mode)
        for c in range(3)
    ]
    return np.stack(channels, axis=-1)
