"""Fixed-point softmax cross-entropy (docs/numerics.md, section 3, "Loss")."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from exporter.graph import Conv2d, Graph, quantize_multiplier
from exporter.oracle.fixed import EXP2_TABLE, I64, log2_q16, mbqm

LN2_Q16 = 45426


@dataclass(frozen=True)
class LossResult:
    """``gradient`` is Q15 int64 ``(classes,)``; ``loss_q16`` is in nats."""

    gradient: I64
    prediction: int
    loss_q16: int


def loss_multiplier(graph: Graph, node: Conv2d) -> tuple[int, int]:
    """Multiplier and shift that turn the last layer's accumulators into Q12 base-2 logits."""
    assert node.quant is not None
    scale_x = float(graph.quant[node.inputs[0]].scale)
    scale_w = float(node.quant.weight_scale[0])
    return quantize_multiplier(scale_x * scale_w * math.log2(math.e) * 4096.0)


def softmax_cross_entropy(accumulators: I64, label: int, multiplier: tuple[int, int]) -> LossResult:
    """Loss, prediction and Q15 gradient of the logits for one sample's accumulators ``(classes,)``."""
    u = mbqm(accumulators, *multiplier)
    d = np.minimum(u.max() - u, 1 << 30)
    k, f = d >> 12, d & 4095
    j, r = f >> 6, f & 63
    interpolated = EXP2_TABLE[j] - (((EXP2_TABLE[j] - EXP2_TABLE[j + 1]) * r) >> 6)
    v = np.where(k >= 25, 0, interpolated >> np.minimum(k, 25))
    total = int(v.sum())
    p = ((v << 15) + (total >> 1)) // total
    gradient = p.copy()
    gradient[label] -= 32768
    base2 = int(d[label]) * 16 + log2_q16(total) - (24 << 16)
    loss = max(0, (base2 * LN2_Q16 + 32768) >> 16)
    return LossResult(gradient, int(np.argmax(u)), loss)
