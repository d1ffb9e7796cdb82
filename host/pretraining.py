"""The training loop behind ``python -m host.pretrain``: augmentation, schedule, weight average, resumable epochs.

Images stay uint8 until they are drawn; a batch becomes float32 NCHW in [-1, 1], channels-last in memory, in
:func:`normalise`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from exporter.model import MEAN, STD
from host.datasets.base import Images, Labels
from host.errors import HostError

Augment = Callable[[Tensor, Tensor, int, torch.Generator], Tensor]
"""(uint8 batch [B, H, W, 3], sample indices [B], epoch, generator) -> float32 [B, 3, 32, 32] in [0, 255]."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the outcome of a training run besides data and network.

    Attributes:
        epochs: passes over the training images.
        batch: samples per update; a last incomplete batch is dropped.
        lr: peak learning rate; linear warm-up, then a cosine down to zero.
        warmup: fraction of all updates spent on the warm-up.
        momentum: Nesterov momentum.
        weight_decay: L2 factor, on convolution and linear weights only.
        label_smoothing: 0 for plain cross-entropy.
        mixup: alpha of the Beta distribution; 0 switches it off.
        ema_decay: per-update decay of the weight average that is shipped.
        seed: of initialisation, order and augmentation.
    """

    epochs: int = 55
    batch: int = 128
    lr: float = 0.15
    warmup: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    mixup: float = 0.0
    ema_decay: float = 0.999
    seed: int = 1


def normalise(images: Tensor) -> Tensor:
    """Scale float [B, 3, H, W] in [0, 255] to the network's input range [-1, 1], channels-last in memory."""
    return ((images / 255.0 - MEAN) / STD).contiguous(memory_format=torch.channels_last)


def crop_and_flip(
    images: Tensor, indices: Tensor, epoch: int, generator: torch.Generator, pad: int = 4
) -> Tensor:
    """Random translation by up to ``pad`` pixels (zero border) and alternating flip.

    A sample mirrored in one epoch is not in the next, starting from a coin thrown once per sample: it sees both forms
    equally often, which a fair coin in every epoch only promises on average.
    """
    batch, height, width, _ = images.shape
    padded = F.pad(images.permute(0, 3, 1, 2), (pad, pad, pad, pad))
    offsets = torch.randint(0, 2 * pad + 1, (2, batch), generator=generator)
    rows = offsets[0][:, None] + torch.arange(height)
    columns = offsets[1][:, None] + torch.arange(width)
    mirror = ((indices * 2654435761 >> 7) + epoch) % 2 == 1
    columns = torch.where(mirror[:, None], columns.flip(1), columns)
    picked = padded[torch.arange(batch)[:, None, None], :, rows[:, :, None], columns[:, None, :]]
    return picked.permute(0, 3, 1, 2).float()


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """Learning rate of update ``step`` of ``steps`` (0-based)."""
    warm = max(1.0, recipe.warmup * steps)
    if step < warm:
        return recipe.lr * (step + 1) / warm
    return recipe.lr * 0.5 * (1.0 + math.cos(math.pi * (step - warm) / (steps - warm)))


def evaluate(model: nn.Module, images: Images, labels: Labels, batch: int = 500) -> float:
    """Accuracy (fraction) in float32 on uint8 [N, 32, 32, 3] images, batch statistics frozen."""
    model.eval()
    correct = 0
    with torch.no_grad():
        for start in range(0, len(labels), batch):
            part = torch.from_numpy(images[start : start + batch]).permute(0, 3, 1, 2).float()
            predicted = model(normalise(part)).argmax(dim=1).numpy()
            correct += int((predicted == labels[start : start + batch]).sum())
    return correct / len(labels)


class Trainer:
    """One training run whose state is on disk after every epoch.

    Args:
        model: network to train, float32, in place.
        images: uint8 [N, H, W, 3] training images.
        labels: int64 [N].
        recipe: hyper-parameters.
        augment: turns a uint8 batch into a float batch.
        state_file: where the state is kept; read by :meth:`resume`.
        compile_step: run forward and backward through ``torch.compile``.
    """

    def __init__(
        self,
        model: nn.Module,
        images: Images,
        labels: Labels,
        recipe: Recipe,
        augment: Augment,
        state_file: Path,
        compile_step: bool = False,
    ) -> None:
        self.model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.images = torch.from_numpy(images)
        self.labels = torch.from_numpy(labels)
        self.recipe = recipe
        self.augment = augment
        self.state_file = state_file
        self.epoch = 0
        self.steps_per_epoch = len(labels) // recipe.batch
        decayed = [p for p in model.parameters() if p.ndim > 1]
        plain = [p for p in model.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.SGD(
            [
                {"params": decayed, "weight_decay": recipe.weight_decay},
                {"params": plain, "weight_decay": 0.0},
            ],
            lr=recipe.lr,
            momentum=recipe.momentum,
            nesterov=True,
        )
        self.ema = {k: v.detach().clone() for k, v in model.state_dict().items()}
        self._forward: Callable[[Tensor], Tensor] = torch.compile(model) if compile_step else model

    def resume(self) -> bool:
        """Continue from ``state_file`` if it is there; True if it was.

        Raises:
            HostError: the file is damaged or belongs to another recipe.
        """
        if not self.state_file.exists():
            return False
        try:
            state: dict[str, Any] = torch.load(self.state_file, weights_only=True)
            if state["recipe"] != vars(self.recipe):
                raise HostError(
                    f"{self.state_file} was written by another recipe, expected the same options as before; repeat "
                    "them, or delete the file to start again"
                )
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.ema = state["ema"]
            self.epoch = state["epoch"]
        except HostError:
            raise
        except Exception as error:  # torch.load raises a dozen unrelated types on damaged files
            raise HostError(
                f"{self.state_file} is not a training state ({type(error).__name__}); delete it to start again"
            ) from error
        return True

    def save(self) -> None:
        """Write the state after the last finished epoch, atomically."""
        state = {
            "recipe": vars(self.recipe),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": self.ema,
            "epoch": self.epoch,
        }
        self.state_file.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.state_file.with_suffix(".tmp")
        torch.save(state, temporary)
        os.replace(temporary, self.state_file)

    def train_epoch(self, on_step: Callable[[], None] = lambda: None) -> tuple[float, float]:
        """Train one epoch; mean loss and training accuracy (fraction, on augmented images, mixed ones included)."""
        recipe = self.recipe
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + self.epoch)
        order = torch.randperm(len(self.labels), generator=generator)
        steps = recipe.epochs * self.steps_per_epoch
        loss_sum, correct = 0.0, 0
        self.model.train()
        for i in range(self.steps_per_epoch):
            step = self.epoch * self.steps_per_epoch + i
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate(recipe, step, steps)
            index = order[i * recipe.batch : (i + 1) * recipe.batch]
            x = normalise(self.augment(self.images[index], index, self.epoch, generator))
            y = self.labels[index]
            share, other = 1.0, y
            if recipe.mixup:
                rng = np.random.default_rng((recipe.seed, step))
                share = float(rng.beta(recipe.mixup, recipe.mixup))
                x = share * x + (1.0 - share) * x.flip(0)
                other = y.flip(0)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                logits = self._forward(x)
            logits = logits.float()
            loss = share * F.cross_entropy(logits, y, label_smoothing=recipe.label_smoothing)
            if share < 1.0:
                loss = loss + (1.0 - share) * F.cross_entropy(
                    logits, other, label_smoothing=recipe.label_smoothing
                )
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            self._average(step)
            loss_sum += loss.item()
            correct += int((logits.argmax(1) == y).sum())
            on_step()
        if not math.isfinite(loss_sum):
            raise HostError(
                f"the training loss is no longer a number in epoch {self.epoch + 1}, expected it to fall; start again "
                f"with a smaller --lr (was {recipe.lr})"
            )
        self.epoch += 1
        self.save()
        seen = self.steps_per_epoch * recipe.batch
        return loss_sum / self.steps_per_epoch, correct / seen

    def _average(self, step: int) -> None:
        decay = min(self.recipe.ema_decay, (1.0 + step) / (10.0 + step))
        with torch.no_grad():
            for name, value in self.model.state_dict().items():
                if value.is_floating_point():
                    self.ema[name].lerp_(value, 1.0 - decay)
                else:
                    self.ema[name].copy_(value)


def calibration_subset(images: Images, labels: Labels, count: int, seed: int) -> NDArray[np.int64]:
    """Indices (int64 [count], sorted) of training images kept for int8 calibration, equally many of each class."""
    rng = np.random.default_rng(seed)
    classes = int(labels.max()) + 1
    picks = [
        rng.choice(
            np.flatnonzero(labels == c), count // classes + (c < count % classes), replace=False
        )
        for c in range(classes)
    ]
    return np.sort(np.concatenate(picks)).astype(np.int64)
