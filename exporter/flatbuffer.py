"""A small writer of TensorFlow Lite flatbuffers, on the generated builders of the ``tflite`` package (schema version 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
import tflite
from numpy.typing import NDArray

SCHEMA_VERSION = 3
FILE_IDENTIFIER = b"TFL3"
BUFFER_ALIGNMENT = 16

TENSOR_TYPES: dict[str, int] = {
    "int8": tflite.TensorType.INT8,
    "int32": tflite.TensorType.INT32,
}


@dataclass(frozen=True)
class TensorSpec:
    """One tensor: ``scales`` and ``zero_points`` are empty when it is not quantized."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    data: bytes | None = None
    scales: tuple[np.float32, ...] = ()
    zero_points: tuple[int, ...] = ()
    axis: int = 0


@dataclass(frozen=True)
class OpSpec:
    """One operator. ``options`` holds the fields of the options table, named as its builder's ``Add…`` functions."""

    code: int
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    table: str
    options: dict[str, int | bool | tuple[int, ...]] = field(default_factory=dict)


@dataclass
class FlatModel:
    """Tensors and operators of the one subgraph, in order; ``to_bytes`` writes the file."""

    name: str
    description: str
    tensors: list[TensorSpec] = field(default_factory=list)
    operators: list[OpSpec] = field(default_factory=list)
    metadata: dict[str, bytes] = field(default_factory=dict)

    def add_tensor(self, spec: TensorSpec) -> int:
        """Append a tensor and return its index."""
        self.tensors.append(spec)
        return len(self.tensors) - 1

    def to_bytes(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        """The flatbuffer. Contents depend on nothing but the model."""
        b = flatbuffers.Builder(1 << 20)
        # Buffer 0 is the empty one that tensors without data name.
        datas: list[bytes | None] = [None]
        numbers: list[int] = []
        for spec in self.tensors:
            numbers.append(0 if spec.data is None else len(datas))
            if spec.data is not None:
                datas.append(spec.data)
        metadata = []
        for name, content in self.metadata.items():
            metadata.append((name, len(datas)))
            datas.append(content)
        buffers = [_buffer(b, data) for data in datas]
        tensors = [_tensor(b, spec, n) for spec, n in zip(self.tensors, numbers, strict=True)]
        codes = sorted({(op.code, op.version) for op in self.operators})
        operators = [_operator(b, op, codes.index((op.code, op.version))) for op in self.operators]
        subgraph = self._subgraph(b, tensors, operators, inputs, outputs)
        entries = []
        for name, number in metadata:
            text = b.CreateString(name)
            tflite.MetadataStart(b)
            tflite.MetadataAddName(b, text)
            tflite.MetadataAddBuffer(b, number)
            entries.append(tflite.MetadataEnd(b))
        fields = {
            "OperatorCodes": _offsets(b, [_operator_code(b, *code) for code in codes]),
            "Subgraphs": _offsets(b, [subgraph]),
            "Description": b.CreateString(self.description),
            "Buffers": _offsets(b, buffers),
            "Metadata": _offsets(b, entries),
        }
        tflite.ModelStart(b)
        tflite.ModelAddVersion(b, SCHEMA_VERSION)
        for key, offset in fields.items():
            getattr(tflite, f"ModelAdd{key}")(b, offset)
        b.Finish(tflite.ModelEnd(b), FILE_IDENTIFIER)
        return bytes(b.Output())

    def _subgraph(
        self,
        b: Any,
        tensors: list[int],
        operators: list[int],
        inputs: Sequence[int],
        outputs: Sequence[int],
    ) -> int:
        fields = {
            "Tensors": _offsets(b, tensors),
            "Inputs": _integers(b, inputs),
            "Outputs": _integers(b, outputs),
            "Operators": _offsets(b, operators),
            "Name": b.CreateString(self.name),
        }
        tflite.SubGraphStart(b)
        for key, offset in fields.items():
            getattr(tflite, f"SubGraphAdd{key}")(b, offset)
        return int(tflite.SubGraphEnd(b))


def _offsets(b: Any, offsets: Sequence[int]) -> int:
    b.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        b.PrependUOffsetTRelative(offset)
    return int(b.EndVector())


def _integers(b: Any, values: Sequence[int]) -> int:
    return int(b.CreateNumpyVector(np.asarray(values, dtype=np.int32)))


def _buffer(b: Any, data: bytes | None) -> int:
    vector = None
    if data is not None:
        vector = _aligned_bytes(b, data)
    tflite.BufferStart(b)
    if vector is not None:
        tflite.BufferAddData(b, vector)
    return int(tflite.BufferEnd(b))


def _aligned_bytes(b: Any, data: bytes) -> int:
    b.StartVector(1, len(data), BUFFER_ALIGNMENT)
    start = b.Head() - len(data)
    b.head = start
    b.Bytes[start : start + len(data)] = data
    return int(b.EndVector())


def _quantization(b: Any, spec: TensorSpec) -> int:
    scale = b.CreateNumpyVector(np.asarray(spec.scales, dtype=np.float32))
    zero_point = b.CreateNumpyVector(np.asarray(spec.zero_points, dtype=np.int64))
    tflite.QuantizationParametersStart(b)
    tflite.QuantizationParametersAddScale(b, scale)
    tflite.QuantizationParametersAddZeroPoint(b, zero_point)
    tflite.QuantizationParametersAddQuantizedDimension(b, spec.axis)
    return int(tflite.QuantizationParametersEnd(b))


def _tensor(b: Any, spec: TensorSpec, buffer: int) -> int:
    name, shape = b.CreateString(spec.name), _integers(b, spec.shape)
    quantization = _quantization(b, spec) if spec.scales else None
    tflite.TensorStart(b)
    tflite.TensorAddShape(b, shape)
    tflite.TensorAddType(b, TENSOR_TYPES[spec.dtype])
    tflite.TensorAddBuffer(b, buffer)
    tflite.TensorAddName(b, name)
    if quantization is not None:
        tflite.TensorAddQuantization(b, quantization)
    tflite.TensorAddHasRank(b, True)
    return int(tflite.TensorEnd(b))


def _operator_code(b: Any, code: int, version: int) -> int:
    tflite.OperatorCodeStart(b)
    tflite.OperatorCodeAddDeprecatedBuiltinCode(b, code)
    tflite.OperatorCodeAddBuiltinCode(b, code)
    tflite.OperatorCodeAddVersion(b, version)
    return int(tflite.OperatorCodeEnd(b))


def _operator(b: Any, op: OpSpec, opcode: int) -> int:
    inputs, outputs = _integers(b, op.inputs), _integers(b, op.outputs)
    fields = {
        key: _integers(b, value) if isinstance(value, tuple) else value
        for key, value in op.options.items()
    }
    getattr(tflite, f"{op.table}Start")(b)
    for key, value in fields.items():
        getattr(tflite, f"{op.table}Add{key}")(b, value)
    options = getattr(tflite, f"{op.table}End")(b)
    tflite.OperatorStart(b)
    tflite.OperatorAddOpcodeIndex(b, opcode)
    tflite.OperatorAddInputs(b, inputs)
    tflite.OperatorAddOutputs(b, outputs)
    tflite.OperatorAddBuiltinOptionsType(b, getattr(tflite.BuiltinOptions, op.table))
    tflite.OperatorAddBuiltinOptions(b, options)
    return int(tflite.OperatorEnd(b))


def little_endian(array: NDArray[Any]) -> bytes:
    """Contiguous little-endian bytes of an array."""
    return np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
