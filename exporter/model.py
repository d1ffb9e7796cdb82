"""ResNet-26 for 32x32 images, as Target Block Fine-Tuning used it.

The network is the CIFAR pre-activation ResNet of the test-time-training line of work. Parameter names are those of the
published checkpoints of that architecture, so that they load as they are: ``conv1``,
``layer{1,2,3}.{0..3}.{bn1,conv1,bn2,conv2}``, ``bn``, ``fc``.

Shapes (N samples, NCHW inside PyTorch):

    input   float32 [N, 3, 32, 32]   normalised: (pixel / 255 - 0.5) / 0.5, so in [-1, 1]
    conv1   [N, 16, 32, 32]
    layer1  [N, 16, 32, 32]
    layer2  [N, 32, 16, 16]
    layer3  [N, 64,  8,  8]
    bn, ReLU, global average pool -> [N, 64] -> fc -> logits [N, num_classes]
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from exporter.errors import ExporterError

MEAN = 0.5
"""Mean subtracted from pixels scaled to [0, 1], the same for the three channels."""
STD = 0.5
"""Divisor after the mean is subtracted."""
INPUT_SHAPE = (32, 32, 3)
"""Height, width and channels of the image the network was made for (HWC)."""
STAGE_CHANNELS = (16, 32, 64)
BLOCKS_PER_STAGE = 4


class BasicBlock(nn.Module):
    """Pre-activation residual block: ``x + conv2(relu(bn2(conv1(relu(bn1(x))))))``.

    The shortcut carries the block's input ``x`` from *before* ``bn1`` and has no parameters: where
    the block strides, an average pool of ``stride`` x ``stride``; where it widens, zero channels
    appended after those of ``x``.

    Args:
        in_channels: channels of ``x``.
        out_channels: channels of the result, not less than ``in_channels``.
        stride: stride of the first convolution, in pixels.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.stride = stride
        self.extra_channels = out_channels - in_channels

    def shortcut(self, x: Tensor) -> Tensor:
        """Average-pool and zero-pad ``x`` [N, C, H, W] to the shape of the residual branch."""
        if self.stride != 1:
            x = F.avg_pool2d(x, self.stride)
        if self.extra_channels:
            x = F.pad(x, (0, 0, 0, 0, 0, self.extra_channels))
        return x

    def forward(self, x: Tensor) -> Tensor:
        """Map float [N, C_in, H, W] to float [N, C_out, H / stride, W / stride]."""
        residual: Tensor = self.conv1(F.relu(self.bn1(x)))
        residual = self.conv2(F.relu(self.bn2(residual)))
        return self.shortcut(x) + residual


class ResNet26(nn.Module):
    """ResNet-26: a stem, three stages of four :class:`BasicBlock`, BN-ReLU, average pool, linear classifier.

    Args:
        num_classes: number of logits.
    """

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.num_classes = num_classes
        c1, c2, c3 = STAGE_CHANNELS
        self.conv1 = nn.Conv2d(3, c1, 3, 1, 1, bias=False)
        self.layer1 = _stage(c1, c1, stride=1)
        self.layer2 = _stage(c1, c2, stride=2)
        self.layer3 = _stage(c2, c3, stride=2)
        self.bn = nn.BatchNorm2d(c3)
        self.fc = nn.Linear(c3, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
                nn.init.normal_(module.weight, 0.0, (2.0 / fan_out) ** 0.5)

    def features(self, x: Tensor) -> Tensor:
        """Pooled features, float [N, 64], of normalised images, float [N, 3, H, W]."""
        x = self.layer3(self.layer2(self.layer1(self.conv1(x))))
        pooled: Tensor = F.relu(self.bn(x)).mean(dim=(2, 3))
        return pooled

    def forward(self, x: Tensor) -> Tensor:
        """Logits, float [N, num_classes], of normalised images, float [N, 3, H, W]."""
        logits: Tensor = self.fc(self.features(x))
        return logits


def _stage(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    blocks = [BasicBlock(in_channels, out_channels, stride)]
    blocks += [BasicBlock(out_channels, out_channels, 1) for _ in range(BLOCKS_PER_STAGE - 1)]
    return nn.Sequential(*blocks)


def count_parameters(model: nn.Module) -> int:
    """Number of trainable scalars (BN statistics are buffers and not counted)."""
    return sum(p.numel() for p in model.parameters())


def count_macs(model: nn.Module, input_shape: tuple[int, int, int] = INPUT_SHAPE) -> int:
    """Multiply-accumulates of convolutions and linear layers for one image of ``input_shape`` (HWC)."""
    total = 0

    def hook(module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Conv2d):
            per_output = module.weight[0].numel()
            total += per_output * output[0].numel()
        elif isinstance(module, nn.Linear):
            total += module.in_features * output[0].numel()

    handles = [m.register_forward_hook(hook) for m in model.modules()]
    was_training = model.training
    model.eval()
    height, width, channels = input_shape
    try:
        with torch.no_grad():
            model(torch.zeros(1, channels, height, width))
    finally:
        for handle in handles:
            handle.remove()
        model.train(was_training)
    return total


def clean_state_dict(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Strip the ``module.`` prefix that ``nn.DataParallel`` puts before every name of a saved state dict."""
    return {name.removeprefix("module."): value for name, value in state.items()}


def load_resnet26(state: Mapping[str, Tensor]) -> ResNet26:
    """Build the network that fits ``state`` and load it strictly, in evaluation mode.

    Args:
        state: name to tensor, with or without the ``module.`` prefix. The number of classes is the
            length of ``fc.bias``.

    Raises:
        ExporterError: a tensor is missing, left over or of another shape.
    """
    cleaned = clean_state_dict(state)
    if "fc.bias" not in cleaned:
        raise ExporterError(
            "the state dict has no tensor 'fc.bias', expected a ResNet-26 with names like 'conv1.weight' and "
            "'layer1.0.bn1.weight'; export the model's state_dict() and try again"
        )
    model = ResNet26(num_classes=int(cleaned["fc.bias"].shape[0]))
    try:
        model.load_state_dict(cleaned, strict=True)
    except RuntimeError as error:
        first = " ".join(str(error).split())
        raise ExporterError(
            f"the state dict does not fit ResNet-26 ({first}); expected the names and shapes of exporter/model.py, so "
            "check that the checkpoint is of that architecture"
        ) from error
    return model.eval()
