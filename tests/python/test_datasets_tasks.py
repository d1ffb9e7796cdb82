"""Splits, class tables and fine-tuning tasks."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from host.datasets.cifar10 import load_cifar10
from host.datasets.cifar10c import load_cifar10c
from host.datasets.corruptions import corrupt
from host.datasets.registry import flip_labels, load_task, task_names
from host.datasets.splits import tbft_split
from host.datasets.subpopulation import class_tables, find_images, load_population, read_square
from host.errors import HostError

PINNED_TEST = [2, 8, 13, 17, 23]
PINNED_TRAIN = [6363, 7498, 8217, 9414, 5532]


@given(st.integers(20, 12_000), st.integers(1, 60), st.integers(0, 5))
def test_splits_never_overlap_and_keep_their_proportions(
    size: int, percent: int, seed: int
) -> None:
    used = min(size, 10_000)
    train_images = max(1, used * percent // 100)
    split = tbft_split(size, train_images, seed)
    parts = [split.train, split.val, split.test]
    assert len(split.train) == train_images
    assert len(split.val) == len(split.test) == round(0.15 * used)
    together = np.concatenate(parts)
    assert len(np.unique(together)) == len(together)
    assert together.min() >= 0 and together.max() < size


@given(st.integers(0, 3), st.integers(1, 500))
def test_a_smaller_training_set_is_a_prefix_of_a_larger_one(seed: int, count: int) -> None:
    small, large = tbft_split(10_000, count, seed), tbft_split(10_000, 3000, seed)
    assert np.array_equal(small.train, large.train[:count])
    assert np.array_equal(small.test, large.test)


def test_the_seed_changes_the_training_images_only() -> None:
    a, b = tbft_split(10_000, 1000, 0), tbft_split(10_000, 1000, 1)
    assert len(np.intersect1d(a.train, b.train)) < 300
    assert np.array_equal(a.val, b.val) and np.array_equal(a.test, b.test)


def test_the_split_is_the_one_of_earlier_runs() -> None:
    split = tbft_split(10_000, 1000)
    assert split.test[:5].tolist() == PINNED_TEST
    assert split.train[:5].tolist() == PINNED_TRAIN


def test_too_many_training_images_are_refused_with_the_possible_number() -> None:
    with pytest.raises(HostError, match=r"7001 training images .* 1 to 7000"):
        tbft_split(10_000, 7001)
    with pytest.raises(HostError, match="0 training images"):
        tbft_split(10_000, 0)


def test_the_sample_holds_what_the_full_set_would_give() -> None:
    split = tbft_split(10_000, 1000)
    task = load_task("cifar10", train_images=1000, data_source="sample")
    assert np.array_equal(task.train.index, split.train)
    assert np.array_equal(task.test.index, split.test)
    assert len(task.test) == 1500
    assert set(task.val.index) < set(split.val)


def test_the_sample_has_no_more_than_1000_training_images() -> None:
    with pytest.raises(HostError, match=r"1001 training images .* 1 to 1000.*--data-dir"):
        load_task("cifar-flip", train_images=1001, data_source="sample")


def test_other_seeds_work_on_the_sample() -> None:
    tasks = [load_task("cifar10", train_images=200, seed=s, data_source="sample") for s in (0, 1)]
    assert not np.array_equal(tasks[0].train.index, tasks[1].train.index)
    assert tasks[0].test.sha256 == tasks[1].test.sha256


def test_flip_turns_k_into_9_minus_k() -> None:
    clean = load_task("cifar10", train_images=100, data_source="sample")
    flipped = load_task("cifar-flip", train_images=100, data_source="sample")
    for part in ("train", "val", "test"):
        before, after = getattr(clean, part), getattr(flipped, part)
        assert np.array_equal(after.labels, 9 - before.labels)
        assert np.array_equal(after.images, before.images)
        assert after.classes[after.labels[0]] == before.classes[before.labels[0]]
    assert flipped.shift == "output" and clean.shift == "none"
    assert flip_labels(flip_labels(clean.test)).labels.tolist() == clean.test.labels.tolist()


@pytest.mark.parametrize(
    "name",
    [
        "gaussian_noise",
        "cifar-10-c:gaussian_noise:5",
        "CIFAR-10-C:Gaussian-Noise",
        "gaussian_noise:5",
    ],
)
def test_corruption_names_and_aliases(name: str) -> None:
    task = load_task(name, train_images=5, data_source="sample")
    assert task.name == "cifar-10-c:gaussian_noise:5"
    assert task.shift == "input"
    assert "generated" in task.source and "sample" in task.source


def test_corrupted_task_has_the_pixels_of_the_generator() -> None:
    task = load_task("contrast:3", train_images=5, data_source="sample")
    clean = load_task("cifar10", train_images=5, data_source="sample")
    expected = corrupt(clean.train.images, "contrast", 3, clean.train.index)
    assert np.array_equal(task.train.images, expected)
    assert np.array_equal(task.test.labels, clean.test.labels)


@pytest.mark.parametrize(
    "name",
    ["imagenet", "", "cifar-10-c", "fog:0", "fog:six", "cifar-10-c:fog:5:1", "cifar-10-c:mist"],
)
def test_unknown_names_list_the_known_ones(name: str) -> None:
    with pytest.raises(HostError) as caught:
        load_task(name, data_source="sample")
    for known in (*task_names(), "gaussian_noise", "saturate"):
        assert known in str(caught.value)


def write_published(folder: Path) -> None:
    """CIFAR-10-C files whose every pixel says severity and position."""
    folder.mkdir()
    rows = np.arange(50_000)
    images = np.lib.format.open_memmap(
        folder / "fog.npy", mode="w+", dtype=np.uint8, shape=(50_000, 32, 32, 3)
    )
    images[:, 0, 0, 0] = rows // 10_000
    images[:, 0, 0, 1] = rows % 251
    images.flush()
    np.save(folder / "labels.npy", (rows % 10).astype(np.uint8))


def test_published_files_are_preferred(tmp_path: Path) -> None:
    write_published(tmp_path / "CIFAR-10-C")
    task = load_task("fog:4", train_images=7, data_dir=tmp_path)
    assert "published" in task.source
    assert (task.test.images[:, 0, 0, 0] == 3).all()
    assert np.array_equal(task.test.images[:, 0, 0, 1], (task.test.index + 30_000) % 251)
    assert np.array_equal(task.train.labels, task.train.index % 10)


def test_damaged_published_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "CIFAR-10-C").mkdir()
    np.save(tmp_path / "CIFAR-10-C" / "fog.npy", np.zeros((10, 32, 32, 3), np.uint8))
    np.save(tmp_path / "CIFAR-10-C" / "labels.npy", np.zeros(10, np.uint8))
    with pytest.raises(HostError, match=r"fog\.npy .* not CIFAR-10-C as published"):
        load_cifar10c("fog", 5, data_dir=tmp_path)


@pytest.mark.parametrize(
    ("name", "groups", "sides"), [("living17", 17, (34, 34)), ("living14-tiny", 14, (25, 20))]
)
def test_class_tables_are_sound(name: str, groups: int, sides: tuple[int, int]) -> None:
    table = class_tables()[name]
    assert len(table.superclasses) == len(table.source) == len(table.target) == groups
    source, target = table.wnids("source"), table.wnids("target")
    assert (len(source), len(target)) == sides
    wnids = [wnid for wnid, _ in source + target]
    assert len(set(wnids)) == len(wnids)
    assert all(re.fullmatch(r"n\d{8}", wnid) for wnid in wnids)
    if name == "living17":
        assert {len(group) for group in table.source + table.target} == {2}


def test_living17_is_the_published_assignment() -> None:
    """Bloodhound and Pekinese are source dogs, Great Pyrenees and papillon target dogs, and so on."""
    table = class_tables()["living17"]
    dog, bear = table.superclasses.index("dog"), table.superclasses.index("bear")
    assert table.source[dog] == ("n02088466", "n02086079")
    assert table.target[dog] == ("n02111500", "n02086910")
    assert table.source[bear] == ("n02134418", "n02133161")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in the ImageNet layout with a few images of every target class of living14-tiny."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for wnid, label in class_tables()["living14-tiny"].wnids("target"):
        folder = root / "living14-tiny" / "train" / wnid
        folder.mkdir(parents=True)
        for i in range(4):
            pixels = rng.integers(0, 30, (64, 64, 3), np.uint8)
            pixels[..., 0] = 10 * label + 60
            image = Image.fromarray(pixels)
            (image.convert("L") if i == 0 else image).save(folder / f"{wnid}_{i}.JPEG", quality=95)
    return root


def test_population_is_read_class_by_class(tiny: Path) -> None:
    data = load_population("living14-tiny", "target", data_dir=tiny)
    assert data.images.shape == (80, 32, 32, 3)
    assert sorted(np.bincount(data.labels)) == [4] * 9 + [8] * 4 + [12]
    coloured = [i for i in range(80) if i % 4]
    red = data.images[coloured, ..., 0].mean(axis=(1, 2))
    assert np.allclose(red, 10 * data.labels[coloured] + 60, atol=6)
    grey = data.images[0]
    assert np.array_equal(grey[..., 0], grey[..., 1])
    assert "research" in data.licence


def test_subpopulation_task_is_split_and_never_mixes(tiny: Path) -> None:
    task = load_task("living14-tiny", train_images=20, data_dir=tiny)
    assert (len(task.train), len(task.val), len(task.test)) == (20, 12, 12)
    together = np.concatenate([task.train.index, task.val.index, task.test.index])
    assert len(np.unique(together)) == 44
    assert task.shift == "feature"


def test_images_are_area_averaged_after_a_central_crop(tmp_path: Path) -> None:
    pixels = np.zeros((4, 8, 3), np.uint8)
    pixels[:, 2:6] = np.arange(16, dtype=np.uint8).reshape(4, 4, 1) * 4
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert read_square(tmp_path / "a.png", 2)[..., 0].tolist() == [[10, 18], [42, 50]]


def test_missing_and_damaged_images_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("TBFT_DATA", raising=False)
    with pytest.raises(HostError, match=r"no living17 images in .*--data-dir"):
        find_images("living17", "target", data_dir=tmp_path)
    (tmp_path / "bad.JPEG").write_bytes(b"\xff\xd8 not an image")
    with pytest.raises(HostError, match=r"bad\.JPEG cannot be read as an image"):
        read_square(tmp_path / "bad.JPEG", 32)
    with pytest.raises(HostError, match="population 'new'"):
        find_images("living17", "new", data_dir=tmp_path)


def test_the_sample_says_where_its_images_come_from() -> None:
    folder = Path(load_cifar10.__code__.co_filename).with_name("sample")
    described = json.loads((folder / "cifar10-sample.json").read_text("utf-8"))
    assert "Krizhevsky" in described["licence"]
