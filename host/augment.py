"""Random resized crop, colour jitter and cutout for pretraining on images larger than the network's input."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SIDE = 32


def resized_crop(
    images: Tensor,
    _indices: Tensor,
    _epoch: int,
    generator: torch.Generator,
    min_area: float = 0.5,
    jitter: float = 0.25,
    hole: int = 8,
) -> Tensor:
    """Cut a random window out of each image, mirror it or not, vary its colours and blank a square of it.

    Args:
        images: uint8 [B, 64, 64, 3]. At twice the input size the largest window is reduced by an exact 2x2 mean.
        generator: of the random numbers.
        min_area: smallest window, as a share of the image; its sides' ratio is between 3:4 and 4:3.
        jitter: brightness, contrast and saturation are scaled by 1 - jitter to 1 + jitter.
        hole: side of the blanked (grey) square in pixels; half the images have one.

    Returns:
        float32 [B, 3, 32, 32] in 0..255.
    """
    batch = len(images)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand((batch, *shape), generator=generator)

    area, ratio = uniform(min_area, 1.0), uniform(-0.2877, 0.2877).exp()
    width = (area * ratio).sqrt().clamp(max=1.0)
    height = (area / ratio).sqrt().clamp(max=1.0)
    flip = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    theta = torch.zeros(batch, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = width * flip, height
    theta[:, 0, 2] = uniform(-1, 1) * (1 - width)
    theta[:, 1, 2] = uniform(-1, 1) * (1 - height)
    grid = F.affine_grid(theta, [batch, 3, SIDE, SIDE], align_corners=False)
    x = images.permute(0, 3, 1, 2).float()
    x = F.grid_sample(x, grid, padding_mode="border", align_corners=False)

    x = x * uniform(1 - jitter, 1 + jitter, 1, 1, 1)
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    x = mean + (x - mean) * uniform(1 - jitter, 1 + jitter, 1, 1, 1)
    grey = x.mean(dim=1, keepdim=True)
    x = (grey + (x - grey) * uniform(1 - jitter, 1 + jitter, 1, 1, 1)).clamp(0, 255)

    pixels = torch.arange(SIDE)
    top, left = (torch.randint(0, SIDE, (2, batch), generator=generator) - hole // 2).unbind()
    rows = (pixels >= top[:, None]) & (pixels < top[:, None] + hole)
    columns = (pixels >= left[:, None]) & (pixels < left[:, None] + hole)
    blank = rows[:, :, None] & columns[:, None, :] & (uniform(0, 1, 1, 1) < 0.5)
    return x.masked_fill(blank[:, None], 127.5)
