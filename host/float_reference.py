"""The same fine-tuning in float32 PyTorch: what the int8 engine is measured against (extra ``train``)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exporter.graph import Graph
from host.datasets.base import Dataset
from host.errors import HostError
from host.order import epoch_order, epoch_rate

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class FloatResult:
    """Accuracies (fractions) on the test images before and after."""

    accuracy_before: float
    accuracy_after: float


def fine_tune_float(
    graph: Graph,
    blocks: tuple[str, ...],
    train: Dataset,
    test: Dataset,
    *,
    epochs: int,
    batch: int,
    lr: float,
    schedule: str,
    seed: int,
    progress: Progress = lambda done, total: None,
) -> FloatResult:
    """Fine-tune the float graph with plain SGD on the tensors, images, order and rate that the board would use.

    Raises:
        HostError: PyTorch is not installed.
    """
    try:
        import torch
        import torch.nn.functional as F

        from exporter.torch_graph import TorchGraph
    except ImportError as error:
        raise HostError(
            "the float32 reference needs PyTorch, which is not installed; run make setup-dev"
        ) from error
    model = TorchGraph(graph, blocks).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=lr)
    inputs, labels = _inputs(train), torch.from_numpy(train.labels)
    before = _accuracy(model, test)
    for epoch in range(epochs):
        order = epoch_order(seed, epoch, len(train))
        optimizer.param_groups[0]["lr"] = epoch_rate(lr, schedule, epoch, epochs)
        for start in range(0, len(order), batch):
            chosen = torch.from_numpy(order[start : start + batch])
            optimizer.zero_grad()
            F.cross_entropy(model(inputs[chosen]), labels[chosen]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        progress(epoch + 1, epochs)
    return FloatResult(before, _accuracy(model, test))


def _inputs(data: Dataset) -> "torch.Tensor":  # type: ignore[name-defined]  # noqa: F821, UP037
    """Images as the board sees them: uint8 − 128 with scale 2/255 and zero point −1 (docs/numerics.md)."""
    import torch

    real = (data.images.astype(np.float32) - 127) * np.float32(2 / 255)
    nchw = torch.from_numpy(real.transpose(0, 3, 1, 2).copy())
    return nchw.contiguous(memory_format=torch.channels_last)


def _accuracy(model: "torch.nn.Module", data: Dataset) -> float:  # type: ignore[name-defined]  # noqa: F821, UP037
    import torch

    inputs = _inputs(data)
    predicted: list[NDArray[np.int64]] = []
    with torch.no_grad():
        for start in range(0, len(data), 250):
            predicted.append(model(inputs[start : start + 250]).argmax(dim=1).numpy())
    return float(np.mean(np.concatenate(predicted) == data.labels))
