"""Ranges of activations: measured on training images, or read from a checkpoint's metadata where they were stored before.

A range ``(low, high)`` holds 0 and is in real units. It is chosen to minimise the mean squared error of int8 quantization of the
values seen, so rare outliers are clipped; the network's output keeps all it reached, with head room.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exporter.errors import ExporterError
from exporter.graph import F32, Conv2d, DepthwiseConv2d, Graph
from exporter.reference import BATCH, iterate, normalise

METADATA_KEY = "tbft.calibration"
VERSION = 1

SAMPLES_PER_BATCH = 8192
"""Values of a tensor kept of each batch for the choice of its range."""
BINS = 2048
FRACTIONS = tuple(np.arange(100, 84, -1) / 100.0)
"""Parts of the full range that are tried. Clipping more gains nothing on clean images and loses on shifted ones, whose
activations are larger: on impulse noise the logits' error doubled when 0.3 was allowed."""
OUTPUT_HEADROOM = 1.25
"""The logits' range beyond what calibration reached: fine-tuning moves them, and ties at a clipped top would cost predictions."""


@dataclass(frozen=True)
class Ranges:
    """Activation ranges of a float graph.

    Attributes:
        ranges: tensor name to ``(low, high)``, real units, low <= 0 <= high; every tensor except the input.
        images: number of images they were measured on.
        source: where those came from, one phrase.
        weights_sha256: hash of the float graph they belong to.
    """

    ranges: dict[str, tuple[float, float]]
    images: int
    source: str
    weights_sha256: str

    def to_json(self) -> str:
        """Text form, for a checkpoint's metadata."""
        return json.dumps(
            {
                "version": VERSION,
                "images": self.images,
                "source": self.source,
                "weights_sha256": self.weights_sha256,
                "ranges": {name: list(value) for name, value in self.ranges.items()},
            }
        )


def float_sha256(graph: Graph) -> str:
    """Hash (hex) of a float graph's weights and biases in execution order, as float32."""
    digest = hashlib.sha256()
    for node in graph.nodes:
        if isinstance(node, Conv2d | DepthwiseConv2d):
            digest.update(node.name.encode())
            digest.update(np.ascontiguousarray(node.weight, dtype="<f4").tobytes())
            digest.update(np.ascontiguousarray(node.bias, dtype="<f4").tobytes())
    return digest.hexdigest()


def calibrate(
    graph: Graph,
    images: NDArray[np.uint8],
    source: str,
    progress: Callable[[int, int], None] | None = None,
) -> Ranges:
    """Measure ranges on 8-bit images (N, H, W, C).

    Args:
        graph: float graph.
        images: training images of the graph's input shape.
        source: phrase that says where the images came from.
        progress: called with (images done, images) after each batch.

    Raises:
        ExporterError: no images, or images of another shape or type.
    """
    shape = graph.shapes[graph.input]
    if images.ndim != 4 or not len(images) or images.shape[1:] != shape or images.dtype != np.uint8:
        raise ExporterError(
            f"the calibration images ({source}) are {images.dtype} {list(images.shape)}, expected "
            f"uint8 [N, {', '.join(map(str, shape))}] with N of at least 1; give others with --calibration"
        )
    rng = np.random.default_rng(0)
    samples: dict[str, list[F32]] = {}
    extremes: dict[str, tuple[float, float]] = {}
    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH]
        for node, y in iterate(graph, normalise(batch)):
            flat = y.reshape(-1)
            kept = min(len(flat), SAMPLES_PER_BATCH)
            chosen = flat if kept == len(flat) else flat[rng.integers(0, len(flat), kept)]
            samples.setdefault(node.output, []).append(chosen.copy())
            low, high = extremes.get(node.output, (0.0, 0.0))
            extremes[node.output] = min(low, float(y.min())), max(high, float(y.max()))
        if progress:
            progress(start + len(batch), len(images))
    ranges: dict[str, tuple[float, float]] = {}
    for name, (low, high) in extremes.items():
        if not np.isfinite([low, high]).all():
            raise ExporterError(
                f"the activations of '{name}' overflow float32 on the calibration images; check that "
                "the checkpoint is whole"
            )
        if name == graph.output:
            ranges[name] = low * OUTPUT_HEADROOM, high * OUTPUT_HEADROOM
        else:
            ranges[name] = best_range(np.concatenate(samples[name]), low, high)
    return Ranges(ranges, len(images), source, float_sha256(graph))


def best_range(values: F32, low: float, high: float) -> tuple[float, float]:
    """Part of ``[low, high]`` (low <= 0 <= high) with the least mean squared error of int8 quantization of ``values``."""
    if high - low <= 0.0:
        return low, high
    counts, edges = np.histogram(values, bins=BINS, range=(low, high))
    centres = (edges[:-1] + edges[1:]) / 2
    lows = [low * f for f in FRACTIONS] if low < 0 else [0.0]
    highs = [high * f for f in FRACTIONS] if high > 0 else [0.0]
    best, best_error = (low, high), float("inf")
    for a in lows:
        for b in highs:
            step = (b - a) / 255
            clipped = np.clip(centres, a, b)
            error = float(np.sum(counts * ((centres - clipped) ** 2)))
            inside = float(np.sum(counts, where=clipped == centres))
            error += inside * step * step / 12
            if error < best_error:
                best, best_error = (a, b), error
    return best


def stored_ranges(graph: Graph) -> Ranges | None:
    """Ranges that the checkpoint carried in its metadata, or None when it has none.

    Raises:
        ExporterError: they are damaged, or belong to other weights.
    """
    text = graph.metadata.get(METADATA_KEY)
    if text is None:
        return None
    try:
        content = json.loads(text)
        ranges = {str(k): (float(v[0]), float(v[1])) for k, v in content["ranges"].items()}
        result = Ranges(
            ranges, int(content["images"]), str(content["source"]), str(content["weights_sha256"])
        )
        if content["version"] != VERSION:
            raise ValueError(f"version {content['version']}")
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise ExporterError(
            f"the calibration stored in the checkpoint cannot be read ({error}); give training images "
            "with --calibration"
        ) from error
    if result.weights_sha256 != float_sha256(graph):
        raise ExporterError(
            "the calibration stored in the checkpoint belongs to other weights; give training images "
            "with --calibration"
        )
    return result
