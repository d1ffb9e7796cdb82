"""The typed data set that everything in ``host.datasets`` returns."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from host.errors import HostError

Images = NDArray[np.uint8]
"""uint8 [N, H, W, 3], RGB, 0..255."""
Labels = NDArray[np.int64]
"""int64 [N], indices into the class names."""


def content_sha256(images: Images, labels: Labels) -> str:
    """SHA-256 (hex) of the pixels in NHWC order followed by the labels as little-endian int64."""
    digest = hashlib.sha256(np.ascontiguousarray(images).tobytes())
    digest.update(np.ascontiguousarray(labels, dtype="<i8").tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class Dataset:
    """Images with their labels, and where they come from.

    Attributes:
        images: uint8 [N, H, W, 3], RGB, 0..255.
        labels: int64 [N], each in ``0 <= label < len(classes)``.
        classes: class names by label.
        source: one phrase that says where the images were found or how they were made.
        licence: terms under which the images may be used.
        index: int64 [N], position of each image in the full data set it was taken from; ascending from 0 unless given.
            A generator that draws random numbers for image ``index[i]`` makes the same pixels in every subset.

    Raises:
        HostError: shapes, dtypes or labels do not fit together.
    """

    images: Images
    labels: Labels
    classes: tuple[str, ...]
    source: str
    licence: str
    index: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    def __post_init__(self) -> None:
        if not self.index.size and len(self.labels):
            object.__setattr__(self, "index", np.arange(len(self.labels), dtype=np.int64))
        if self.images.dtype != np.uint8 or self.images.ndim != 4 or self.images.shape[3] != 3:
            raise HostError(
                f"images of {self.source} are {self.images.dtype} {list(self.images.shape)}, expected uint8 "
                "[N, H, W, 3]; check the data files"
            )
        if self.labels.dtype != np.int64 or self.labels.shape != self.images.shape[:1]:
            raise HostError(
                f"labels of {self.source} are {self.labels.dtype} {list(self.labels.shape)}, expected int64 "
                f"[{len(self.images)}]; check the data files"
            )
        if self.labels.size and not 0 <= self.labels.min() <= self.labels.max() < len(self.classes):
            raise HostError(
                f"labels of {self.source} run from {self.labels.min()} to {self.labels.max()}, expected 0 to "
                f"{len(self.classes) - 1}; check the data files"
            )
        if self.index.dtype != np.int64 or self.index.shape != self.labels.shape:
            raise HostError(
                f"positions of {self.source} are {self.index.dtype} {list(self.index.shape)}, expected "
                f"int64 [{len(self.labels)}]; check the data files"
            )

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def sha256(self) -> str:
        """Hash of the contents, see :func:`content_sha256`."""
        return content_sha256(self.images, self.labels)

    def subset(self, indices: NDArray[np.int64]) -> Dataset:
        """The samples at ``indices`` (int64 [M]), in that order."""
        return replace(
            self,
            images=self.images[indices],
            labels=self.labels[indices],
            index=self.index[indices],
        )
