"""Vocabulary of the artifact's programs, without addresses: tensors, ops, trained records."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from math import prod

Shape4 = tuple[int, int, int, int]

NO_PADDING = (0, 0, 0, 0)


class Opcode(IntEnum):
    """Opcodes of docs/artifact.md."""

    CONV2D = 1
    DEPTHWISE_CONV2D = 2
    ADD = 3
    AVERAGE_POOL = 4
    MAX_POOL = 5
    CHANNEL_PAD = 6
    MASK = 7
    LINEAR_LOSS = 8
    CONV2D_BWD_INPUT = 16
    DEPTHWISE_BWD_INPUT = 17
    CONV2D_BWD_WEIGHT = 18
    DEPTHWISE_BWD_WEIGHT = 19
    MASK_BWD = 20
    RELU_BWD = 21
    ERROR_ADD = 22
    AVERAGE_POOL_BWD = 23
    MAX_POOL_BWD = 24
    CHANNEL_PAD_BWD = 25
    ERROR_COPY = 26
    AFFINE_BWD = 27


class DType(IntEnum):
    """Element types."""

    INT8 = 0
    INT16 = 1
    INT32 = 2
    BITS = 3
    UINT8 = 4


class Role(IntEnum):
    """What a tensor is for."""

    ACTIVATION = 0
    ERROR = 1
    WEIGHTS = 2
    BIAS = 3
    MULTIPLIERS = 4
    SHIFTS = 5
    FACTORS = 6
    MASK = 7
    ACCUMULATOR = 8
    RHO = 9
    ROW_EXPONENTS = 10


class Phase(IntEnum):
    """The three programs, in the order in which a training sample runs them."""

    PREFIX = 0
    TAIL = 1
    BACKWARD = 2


class TrainedKind(IntEnum):
    """What of a node is trained: weights and bias, or the affine's bias only."""

    CONV2D = 0
    DEPTHWISE = 1
    AFFINE = 2


_ELEMENT_BYTES = {DType.INT8: 1, DType.INT16: 2, DType.INT32: 4, DType.UINT8: 1}


@dataclass(frozen=True)
class Tensor:
    """One tensor of the artifact. ``data`` holds a CONST tensor's little-endian bytes; None: it lives in the arena."""

    name: str
    role: Role
    dtype: DType
    shape: Shape4
    data: bytes | None = field(default=None, repr=False)
    zero_point: int = 0
    scale: float = 0.0
    persistent: bool = False
    """Arena tensor kept between samples."""
    slot: int | None = None
    """Error exponent slot."""

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        elements = prod(self.shape)
        return (
            (elements + 7) // 8
            if self.dtype is DType.BITS
            else elements * _ELEMENT_BYTES[self.dtype]
        )

    @property
    def in_arena(self) -> bool:
        """True unless the tensor is constant."""
        return self.data is None


@dataclass(frozen=True)
class Op:
    """One operation; tensors by name. Backward ops carry the geometry of their forward node."""

    opcode: Opcode
    phase: Phase
    node: str
    """Name of the graph node the op belongs to."""
    inputs: tuple[str, ...]
    output: str | None
    weights: str | None = None
    bias: str | None = None
    multipliers: str | None = None
    shifts: str | None = None
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = NO_PADDING
    act_min: int = -128
    act_max: int = 127
    state: int | None = None
    trained: int | None = None
    t: int = 0
    scratch_bytes: int = 0
    numbers: tuple[int, int, int] = (0, 0, 0)
    training_only: bool = False
    macs: int = 0

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of all tensors the op reads, parameters included."""
        parameters = (self.weights, self.bias, self.multipliers, self.shifts)
        return (*self.inputs, *(name for name in parameters if name is not None))


@dataclass(frozen=True)
class TrainedRecord:
    """The k-th trained node: names of its tensors, None where there is none."""

    kind: TrainedKind
    node: str
    block: str
    rows: int
    row_length: int
    weights: str | None
    bias: str
    initial_weights: str | None
    initial_bias: str
    rho_weights: str | None
    rho_bias: str
    weight_accumulator: str | None
    bias_accumulator: str | None
    row_exponents: str | None


def _ru16(n: int) -> int:
    return -(-n // 16) * 16


def _winograd_rows(height: int, width: int) -> int:
    """Rows of outputs that a weight's parts are made for: 64 outputs or all."""
    return min(height, -(-64 // width))


def _winograd_bytes(channels: int, height: int, width: int) -> int:
    """Scratch of F(4, 3) over ``channels`` for an output of ``height`` x ``width``."""
    rows, tiles = _winograd_rows(height, width), -(-width // 8) * 2
    inputs = (rows + 2) * tiles * _ru16(12 * channels)
    return inputs + 48 * channels + 96 * rows * tiles + 64


def _winograd_gradient_bytes(in_c: int, height: int, width: int) -> int:
    """Scratch of F(3, 4) for a weight gradient over errors of ``height`` x ``width``."""
    rows, tiles = _winograd_rows(height, width), -(-width // 4)
    inputs = 12 * in_c * (height + 2) * tiles
    if inputs > 16384:
        inputs = 48 * (rows + 2) * tiles
    return 4 * _ru16(4 * 9 * in_c) + 48 * rows * tiles + inputs + 64


def scratch_bytes(
    opcode: Opcode,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    x: Shape4,
    y: Shape4,
) -> int:
    """Scratch an op asks for, in bytes (table in docs/artifact.md).

    ``x`` and ``y`` are the shapes of the forward node's input and output; kernel, stride and padding are its own.
    """
    (kh, kw), taps = kernel, kernel[0] * kernel[1]
    _, out_h, out_w, out_c = y
    k, ko = taps * x[3], taps * out_c
    padded_h, padded_w = (out_h - 1) * stride[0] + kh, (out_w - 1) * stride[1] + kw
    winograd = kernel == (3, 3) and stride == (1, 1)
    match opcode:
        case Opcode.CONV2D:
            direct = (kh + stride[0]) * _ru16(2 * padded_w * x[3]) + 4 * _ru16(2 * k) + 64
            return max(direct, _winograd_bytes(x[3], out_h, out_w)) if winograd else direct
        case Opcode.CONV2D_BWD_INPUT:
            # Errors that the input's positions meet, zeros around them included.
            rows, columns = (
                (x[1 + i] - 1 + padding[i]) // stride[i]
                + (kernel[i] - 1 - padding[i]) // stride[i]
                + 1
                for i in range(2)
            )
            error_row = _ru16(2 * columns * out_c)
            ring = (kh + 1) * error_row + x[3] * _ru16(2 * ko)
            whole = rows * error_row + 4 * _ru16(2 * ko)
            direct = max(min(ring, whole) + 64, 12 * _ru16(2 * ko))
            return max(direct, _winograd_bytes(out_c, x[1], x[2])) if winograd else direct
        case Opcode.CONV2D_BWD_WEIGHT:
            error_plane = (out_h + 1) * (out_w + 3)
            input_plane = (padded_h + 1) * (padded_w + 3)
            planes = 4 * _ru16(2 * error_plane) + 2 * _ru16(2 * input_plane)
            direct = 4 * _ru16(4 * k) + planes + 64
            return max(direct, _winograd_gradient_bytes(x[3], out_h, out_w)) if winograd else direct
        case Opcode.DEPTHWISE_BWD_WEIGHT:
            return _ru16(4 * (taps + 1) * x[3])
        case Opcode.LINEAR_LOSS:
            return 4 * _ru16(x[3]) * 2 + _ru16(12 * out_c)
        case _:
            return 0
