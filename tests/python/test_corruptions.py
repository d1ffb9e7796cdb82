"""CIFAR-10-C generator: determinism, independence of the subset, and what each corruption must do."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from host.datasets.cifar10 import load_cifar10
from host.datasets.colour import hsv_to_rgb, rgb_to_hsv
from host.datasets.corruptions import CORRUPTIONS, corrupt
from host.datasets.textures import motion_blur, plasma, plasma_draws, zoom_matrix, zoomed
from host.errors import HostError

PUBLISHED = [
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "defocus_blur",
    "glass_blur",
    "motion_blur",
    "zoom_blur",
    "snow",
    "frost",
    "fog",
    "brightness",
    "contrast",
    "elastic_transform",
    "pixelate",
    "jpeg_compression",
    "speckle_noise",
    "gaussian_blur",
    "spatter",
    "saturate",
]
AVAILABLE = [
    name for name in PUBLISHED if name != "spatter" or importlib.util.find_spec("cv2") is not None
]
# Severity 1 of these moves or greys pixels more than severity 5, which does something else.
DIFFERENT_IN_KIND = {"elastic_transform", "saturate"}


@pytest.fixture(scope="module")
def images() -> NDArray[np.uint8]:
    return load_cifar10("test", source="sample").images[:24]


def distance(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    return float(np.abs(a.astype(float) - b).mean())


def test_there_are_the_19_published_corruptions() -> None:
    assert list(CORRUPTIONS) == PUBLISHED


@pytest.mark.parametrize("name", AVAILABLE)
def test_changes_the_image_more_the_severer_and_not_beyond_recognition(
    name: str, images: NDArray[np.uint8]
) -> None:
    index = np.arange(len(images))
    off = [distance(corrupt(images, name, severity, index), images) for severity in (1, 5)]
    assert 0.05 < min(off) < max(off) < 75
    assert off[0] < off[1] or name in DIFFERENT_IN_KIND


@pytest.mark.parametrize("name", AVAILABLE)
def test_a_subset_in_any_order_has_the_same_pixels(name: str, images: NDArray[np.uint8]) -> None:
    whole = corrupt(images, name, 5, np.arange(len(images)))
    picked = np.array([17, 2, 9])
    assert np.array_equal(corrupt(images[picked], name, 5, picked), whole[picked])


@pytest.mark.parametrize("name", ["gaussian_noise", "glass_blur", "frost", "elastic_transform"])
def test_seed_and_position_change_what_is_random(name: str, images: NDArray[np.uint8]) -> None:
    twice = np.stack([images[0], images[0]])
    made = corrupt(twice, name, 5, np.array([0, 1]))
    assert not np.array_equal(made[0], made[1])
    assert not np.array_equal(corrupt(twice, name, 5, np.array([0, 1]), seed=1), made)


@pytest.mark.parametrize(
    ("severity", "scale"), [(1, 0.04), (2, 0.06), (3, 0.08), (4, 0.09), (5, 0.10)]
)
def test_gaussian_noise_has_the_published_deviation(severity: int, scale: float) -> None:
    grey = np.full((40, 32, 32, 3), 128, np.uint8)
    made = corrupt(grey, "gaussian_noise", severity, np.arange(40)).astype(float)
    assert made.std() / 255 == pytest.approx(scale, rel=0.02)


def test_shot_noise_has_the_deviation_of_a_poisson_process() -> None:
    grey = np.full((40, 32, 32, 3), 128, np.uint8)
    made = corrupt(grey, "shot_noise", 5, np.arange(40)).astype(float)
    assert made.std() / 255 == pytest.approx(np.sqrt(128 / 255 / 50), rel=0.02)


def test_impulse_noise_hits_the_published_share_of_values() -> None:
    grey = np.full((40, 32, 32, 3), 128, np.uint8)
    made = corrupt(grey, "impulse_noise", 5, np.arange(40))
    assert np.mean(made == 0) == pytest.approx(0.035, rel=0.1)
    assert np.mean(made == 255) == pytest.approx(0.035, rel=0.1)
    assert set(np.unique(made)) == {0, 128, 255}


def test_contrast_keeps_the_mean_and_shrinks_the_rest() -> None:
    image = np.zeros((1, 32, 32, 3), np.uint8)
    image[:, ::2] = 200
    made = corrupt(image, "contrast", 5, np.array([0]))
    assert sorted(np.unique(made)) == [85, 115]  # 100 -+ 0.15 * 100


def test_brightness_raises_the_largest_channel_by_the_published_amount() -> None:
    image = np.full((1, 32, 32, 3), (51, 102, 153), np.uint8)
    made = corrupt(image, "brightness", 5, np.array([0]))[0, 0, 0]
    assert made.tolist() == [76, 153, 229]  # value 0.6 -> 0.9, hue and saturation kept


@pytest.mark.parametrize("name", ["defocus_blur", "gaussian_blur", "zoom_blur", "motion_blur"])
def test_blur_keeps_a_constant_image_and_smooths_another(
    name: str, images: NDArray[np.uint8]
) -> None:
    flat = np.full((2, 32, 32, 3), 77, np.uint8)
    index = np.arange(2)
    assert np.abs(corrupt(flat, name, 5, index).astype(int) - 77).max() <= 1
    blurred = corrupt(images[:2], name, 5, index).astype(float)
    assert (
        np.abs(np.diff(blurred, axis=2)).mean()
        < 0.8 * np.abs(np.diff(images[:2].astype(float), axis=2)).mean()
    )


def test_unknown_names_and_severities_are_refused(images: NDArray[np.uint8]) -> None:
    with pytest.raises(HostError, match=r"fogg.*gaussian_noise"):
        corrupt(images, "fogg", 5, np.arange(len(images)))
    with pytest.raises(HostError, match="severity 6"):
        corrupt(images, "fog", 6, np.arange(len(images)))
    with pytest.raises(HostError, match="32x32"):
        corrupt(np.zeros((1, 64, 64, 3), np.uint8), "fog", 5, np.arange(1))


@given(st.lists(st.floats(0, 1), min_size=3, max_size=3))
def test_hsv_round_trip(rgb: list[float]) -> None:
    colour = np.array(rgb)
    hsv = rgb_to_hsv(colour)
    assert (hsv >= 0).all() and (hsv <= 1).all()
    assert np.allclose(hsv_to_rgb(hsv), colour, atol=1e-9)


@settings(max_examples=20)
@given(st.integers(0, 2**31), st.floats(1.5, 4))
def test_plasma_spans_0_to_1_and_depends_on_its_own_numbers_only(seed: int, decay: float) -> None:
    rng = np.random.default_rng(seed)
    uniform = rng.uniform(-1, 1, (3, plasma_draws()))
    maps = plasma(uniform, decay)
    assert maps.shape == (3, 32, 32)
    assert maps.min(axis=(1, 2)) == pytest.approx(0)
    assert maps.max(axis=(1, 2)) == pytest.approx(1)
    assert np.array_equal(plasma(uniform[1:2], decay)[0], maps[1])


@pytest.mark.parametrize("factor", [1.0, 1.13, 1.75, 2.25])
def test_zoom_equals_scipys_zoom_of_the_middle(factor: float) -> None:
    image = np.random.default_rng(3).uniform(size=(1, 32, 32, 2))
    crop = int(np.ceil(32 / factor))
    top = (32 - crop) // 2
    middle = image[0, top : top + crop, top : top + crop]
    enlarged = ndimage.zoom(middle, (factor, factor, 1), order=1)
    trim = (len(enlarged) - 32) // 2
    assert np.allclose(zoomed(image, factor)[0], enlarged[trim : trim + 32, trim : trim + 32])
    assert np.allclose(zoom_matrix(factor).sum(axis=1), 1)


def test_motion_blur_smears_a_point_along_its_direction() -> None:
    image = np.zeros((32, 32, 1))
    image[16, 16] = 1
    level = motion_blur(image, 9, 2.5, 0.0)[..., 0]
    assert np.count_nonzero(level.sum(axis=1)) == 1  # one row
    assert level.sum() == pytest.approx(1, abs=0.02)
    upright = motion_blur(image, 9, 2.5, -90.0)[..., 0]
    assert np.count_nonzero(upright.sum(axis=0)) == 1  # one column
