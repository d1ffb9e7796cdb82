"""State dict of the ResNet-26 family to a float graph.

The family is the CIFAR pre-activation ResNet described in ``exporter/model.py``: depth, width and the number of classes are read
from the names and shapes. ``bn2`` of every block folds into the block's ``conv1``; ``bn1`` and the final ``bn`` follow an
addition and become 1x1 depthwise convolutions with ReLU. The shortcut's nodes come first in a block, so that the block's input is
short-lived.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from exporter.errors import ExporterError
from exporter.frontends.checkpoint import Checkpoint, read_checkpoint
from exporter.graph import (
    F32,
    Activation,
    Add,
    AnyNode,
    AveragePool,
    ChannelPad,
    Conv2d,
    DepthwiseConv2d,
    Graph,
    Shape,
)

F64 = NDArray[np.float64]

BN_EPSILON = 1e-5
"""PyTorch's default, which the family uses."""
DEFAULT_INPUT: Shape = (32, 32, 3)
LAYER = re.compile(r"layer(\d+)\.(\d+)\.(bn1|conv1|bn2|conv2)\.")


def load_graph(path: Path) -> tuple[Graph, Checkpoint]:
    """Read a checkpoint file and build its float graph.

    Raises:
        ExporterError: the file cannot be read or is not of the family.
    """
    checkpoint = read_checkpoint(path)
    return graph_from_checkpoint(checkpoint), checkpoint


def graph_from_checkpoint(checkpoint: Checkpoint) -> Graph:
    """Float graph with blocks ``block1`` (stem and stage 1), ``block2`` …, the last also holding the final affine and pool, and ``fc``.

    Tensors are named ``<node>.y``, the input ``input``. The metadata of the checkpoint is carried over.

    Raises:
        ExporterError: names or shapes are not those of the family.
    """
    return _Builder(checkpoint).build()


def batch_norm_affine(reader: StateReader, name: str) -> tuple[F64, F64]:
    """Gain and offset, float64 ``(C,)``, of the frozen batch norm ``name``: ``y = gain * x + offset``."""
    gamma, beta = reader.vector(f"{name}.weight"), reader.vector(f"{name}.bias")
    mean, variance = reader.vector(f"{name}.running_mean"), reader.vector(f"{name}.running_var")
    if not gamma.shape == beta.shape == mean.shape == variance.shape:
        raise reader.error(f"the batch norm '{name}' has tensors of different lengths")
    if float(variance.min()) < 0:
        raise reader.error(f"the batch norm '{name}' has a negative variance")
    gain = gamma / np.sqrt(variance + BN_EPSILON)
    return gain, beta - gain * mean


@dataclass(frozen=True)
class StateReader:
    """Named access to a checkpoint's tensors, in float64, with messages for people."""

    checkpoint: Checkpoint

    def error(self, what: str) -> ExporterError:
        """An error that names the file and what was expected."""
        return ExporterError(
            f"the checkpoint {self.checkpoint.path} does not fit: {what}; expected the state dict of "
            "a ResNet-26 with the names and shapes of exporter/model.py"
        )

    def array(self, name: str, ndim: int) -> F64:
        """Tensor ``name`` with ``ndim`` dimensions, float64, all finite."""
        if name not in self.checkpoint.tensors:
            raise self.error(f"the tensor '{name}' is missing")
        value = self.checkpoint.tensors[name]
        if value.ndim != ndim or not value.size:
            raise self.error(
                f"the tensor '{name}' has shape {list(value.shape)}, not {ndim} dimensions"
            )
        result: F64 = np.asarray(value, dtype=np.float64)
        if not np.isfinite(result).all():
            raise self.error(f"the tensor '{name}' holds values that are not finite")
        return result

    def vector(self, name: str) -> F64:
        """One-dimensional tensor."""
        return self.array(name, 1)

    def kernel(self, name: str, inputs: int) -> F64:
        """Convolution weight ``name`` in OHWI with odd square kernel and ``inputs`` input channels."""
        weight = self.array(name, 4)
        if (
            weight.shape[1] != inputs
            or weight.shape[2] != weight.shape[3]
            or weight.shape[2] % 2 == 0
        ):
            raise self.error(
                f"the tensor '{name}' has shape {list(weight.shape)}, not [O, {inputs}, k, k] with odd k"
            )
        return weight.transpose(0, 2, 3, 1)


@dataclass
class _Builder:
    checkpoint: Checkpoint
    reader: StateReader = field(init=False)
    nodes: list[AnyNode] = field(default_factory=list)
    shapes: dict[str, Shape] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    block: str = ""

    def __post_init__(self) -> None:
        self.reader = StateReader(self.checkpoint)

    def build(self) -> Graph:
        stages = self._stages()
        shape = self._input_shape()
        self.shapes["input"] = shape
        self.block = "block1"
        x = self._conv("input", "conv1", activation=Activation.NONE)
        for stage, depth in enumerate(stages, start=1):
            self.block = f"block{stage}"
            for index in range(depth):
                x = self._residual(x, f"layer{stage}.{index}", 2 if stage > 1 and index == 0 else 1)
        x = self._affine(x, "bn")
        x = self._pool(x, "pool", self.shapes[x][:2])
        self.block = "fc"
        x = self._linear(x)
        self._refuse_left_over()
        classes = self._classes(self.shapes[x][2])
        blocks = (*(f"block{stage}" for stage in range(1, len(stages) + 1)), "fc")
        name = self.checkpoint.metadata.get("arch", f"resnet{2 + 2 * sum(stages)}")
        return Graph(
            name, tuple(self.nodes), "input", x, self.shapes, blocks, classes,
            metadata=dict(self.checkpoint.metadata),
        )  # fmt: skip

    def _stages(self) -> list[int]:
        depth: dict[int, set[int]] = {}
        for name in self.checkpoint.tensors:
            if match := LAYER.match(name):
                depth.setdefault(int(match[1]), set()).add(int(match[2]))
        if not depth:
            raise self.reader.error("it has no tensor with a name like 'layer1.0.conv1.weight'")
        for number, stage in enumerate(sorted(depth), start=1):
            if stage != number or depth[stage] != set(range(len(depth[stage]))):
                raise self.reader.error(f"stage {number} or one of its blocks is missing")
        return [len(depth[stage]) for stage in sorted(depth)]

    def _input_shape(self) -> Shape:
        metadata = self.checkpoint.metadata
        try:
            height, width, channels = json.loads(
                metadata.get("input_shape_hwc", json.dumps(DEFAULT_INPUT))
            )
            values = json.loads(metadata.get("mean", "[0.5]")) + json.loads(
                metadata.get("std", "[0.5]")
            )
            normalised_by_half = all(float(value) == 0.5 for value in values)
        except (ValueError, TypeError) as error:
            raise self.reader.error(
                "its metadata (input_shape_hwc, mean, std) cannot be read"
            ) from error
        if not normalised_by_half:
            raise self.reader.error(
                "its input is not normalised by mean 0.5 and standard deviation 0.5"
            )
        return int(height), int(width), int(channels)

    def _classes(self, count: int) -> tuple[str, ...]:
        try:
            names = json.loads(self.checkpoint.metadata.get("class_names", "[]"))
        except ValueError as error:
            raise self.reader.error("its metadata (class_names) cannot be read") from error
        if names and len(names) != count:
            raise self.reader.error(f"it has {count} classes but names {len(names)}")
        return tuple(str(name) for name in names) or tuple(f"class {i}" for i in range(count))

    def _refuse_left_over(self) -> None:
        known = self.used | {"num_batches_tracked"}
        for name in self.checkpoint.tensors:
            if name.rpartition(".")[0] not in known and not name.endswith("num_batches_tracked"):
                raise self.reader.error(f"the tensor '{name}' is not part of the architecture")

    def _append(self, node: AnyNode, shape: Shape) -> str:
        if min(shape) < 1:
            raise self.reader.error(f"the input is too small for node '{node.name}'")
        self.nodes.append(node)
        self.shapes[node.output] = shape
        return node.output

    def _residual(self, x: str, name: str, stride: int) -> str:
        height, width, channels = self.shapes[x]
        outputs = int(self.reader.array(f"{name}.conv2.weight", 4).shape[0])
        if outputs < channels:
            raise self.reader.error(f"block '{name}' has fewer channels than its input")
        shortcut = self._pool(x, f"{name}.shortcut", (stride, stride)) if stride > 1 else x
        if outputs > channels:
            pad = ChannelPad(
                f"{name}.pad", self.block, (shortcut,), f"{name}.pad.y", 0, outputs - channels
            )
            shortcut = self._append(pad, (*self.shapes[shortcut][:2], outputs))
        h = self._affine(x, f"{name}.bn1")
        h = self._conv(h, f"{name}.conv1", stride=stride, batch_norm=f"{name}.bn2")
        h = self._conv(h, f"{name}.conv2", activation=Activation.NONE)
        if self.shapes[h] != self.shapes[shortcut]:
            raise self.reader.error(
                f"the branches of block '{name}' have shapes {self.shapes[shortcut]} and "
                f"{self.shapes[h]} (the input of {height}x{width} must be divisible by the strides)"
            )
        add = Add(f"{name}.add", self.block, (shortcut, h), f"{name}.add.y")
        return self._append(add, self.shapes[h])

    def _conv(
        self,
        x: str,
        name: str,
        stride: int = 1,
        activation: Activation = Activation.RELU,
        batch_norm: str | None = None,
    ) -> str:
        height, width, channels = self.shapes[x]
        weight = self.reader.kernel(f"{name}.weight", channels)
        outputs, kernel = weight.shape[0], weight.shape[1]
        bias: F64 = np.zeros(outputs)
        self.used.add(name)
        if batch_norm is not None:
            gain, bias = batch_norm_affine(self.reader, batch_norm)
            if gain.shape != (outputs,):
                raise self.reader.error(f"the batch norm '{batch_norm}' does not fit '{name}'")
            weight = weight * gain[:, None, None, None]
            self.used.add(batch_norm)
        p = kernel // 2
        node = Conv2d(
            name, self.block, (x,), f"{name}.y", _f32(weight), _f32(bias),
            (stride, stride), (p, p, p, p), activation,
        )  # fmt: skip
        size = ((height - 1) // stride + 1, (width - 1) // stride + 1)
        return self._append(node, (*size, outputs))

    def _affine(self, x: str, name: str) -> str:
        gain, offset = batch_norm_affine(self.reader, name)
        if gain.shape != (self.shapes[x][2],):
            raise self.reader.error(f"the batch norm '{name}' does not fit its input")
        self.used.add(name)
        node = DepthwiseConv2d(
            name, self.block, (x,), f"{name}.y", _f32(gain[None, None]), _f32(offset),
            activation=Activation.RELU,
        )  # fmt: skip
        return self._append(node, self.shapes[x])

    def _pool(self, x: str, name: str, window: tuple[int, int]) -> str:
        height, width, channels = self.shapes[x]
        node = AveragePool(name, self.block, (x,), f"{name}.y", window, window)
        return self._append(node, (height // window[0], width // window[1], channels))

    def _linear(self, x: str) -> str:
        weight, bias = self.reader.array("fc.weight", 2), self.reader.vector("fc.bias")
        if weight.shape != (bias.shape[0], self.shapes[x][2]) or bias.shape[0] < 2:
            raise self.reader.error(
                f"the tensor 'fc.weight' has shape {list(weight.shape)}, not "
                f"[classes, {self.shapes[x][2]}] with two classes or more"
            )
        self.used.add("fc")
        node = Conv2d(
            "fc", self.block, (x,), "fc.y", _f32(weight[:, None, None, :]), _f32(bias), linear=True
        )
        return self._append(node, (1, 1, bias.shape[0]))


def _f32(value: F64) -> F32:
    return np.ascontiguousarray(value, dtype=np.float32)
