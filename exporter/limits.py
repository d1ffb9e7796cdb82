"""Bounds that a graph must keep: the artifact format's and the arithmetic's (docs/artifact.md)."""

from __future__ import annotations

from exporter.errors import ExporterError
from exporter.graph import AveragePool, ChannelPad, Conv2d, DepthwiseConv2d, Graph, MaxPool

MAX_KERNEL = 15
MAX_STRIDE = 4
MAX_TAPS = ((1 << 31) - (1 << 30) - 1) // (127 * 255)
"""Products that one accumulator may sum."""
MAX_POSITIONS = 65536
MAX_DIMENSION = 65535
MAX_CLASSES = 1024


def _refuse(name: str, what: str, limit: str) -> ExporterError:
    return ExporterError(
        f"node '{name}' has {what}, the firmware supports {limit}; change the network there"
    )


def check_limits(graph: Graph) -> None:
    """Refuse what the firmware's loader would refuse.

    Raises:
        ExporterError: a kernel, stride, padding, shape or sum is out of bounds.
    """
    if not 2 <= len(graph.classes) <= MAX_CLASSES:
        raise ExporterError(
            f"{graph.name} has {len(graph.classes)} classes, the firmware supports 2 to {MAX_CLASSES}"
        )
    for node in graph.nodes:
        shape = graph.shapes[node.output]
        if max(shape) > MAX_DIMENSION:
            raise _refuse(node.name, f"shape {shape}", f"dimensions up to {MAX_DIMENSION}")
        if isinstance(node, ChannelPad):
            continue
        kernel, stride = (1, 1), (1, 1)
        padding = (0, 0, 0, 0)
        match node:
            case Conv2d():
                kernel, stride = node.weight.shape[1:3], node.stride
                padding = node.padding
                taps = node.weight[0].size
                if taps > MAX_TAPS:
                    raise _refuse(node.name, f"{taps} products per output", f"at most {MAX_TAPS}")
            case DepthwiseConv2d():
                kernel, stride = node.weight.shape[:2], node.stride
                padding = node.padding
            case AveragePool() | MaxPool():
                kernel, stride = node.kernel, node.stride
        if max(kernel) > MAX_KERNEL:
            raise _refuse(node.name, f"kernel {kernel}", f"kernels up to {MAX_KERNEL}")
        if any(
            step > MAX_STRIDE and extent > 1 for step, extent in zip(stride, shape, strict=False)
        ):
            raise _refuse(node.name, f"stride {stride}", f"strides up to {MAX_STRIDE}")
        top, left, bottom, right = padding
        if max(top, bottom) >= kernel[0] or max(left, right) >= kernel[1]:
            raise _refuse(node.name, f"padding {padding}", "padding smaller than the kernel")
        if shape[0] * shape[1] > MAX_POSITIONS:
            raise _refuse(node.name, f"{shape[0] * shape[1]} positions", f"up to {MAX_POSITIONS}")
