"""How many bytes a training sample moves in and out of each tensor: what decides who gets the fast memory.

An estimate of what the firmware's kernels do (docs/artifact.md, Scratch): operands are read and written once, except that
 - a forward convolution expands its weights once for every output row,
 - a weight gradient reads its input once for every four output channels, and reads and writes accumulators or weights,
 - scratch serves all products: two operands of two bytes for each, which registers hold for about four products.
"""

from __future__ import annotations

from collections import Counter

from exporter.ops import Op, Opcode
from exporter.program import Program

_REUSE = 4
"""Products that an operand serves once it is in a register."""
_ROWS = 4
"""Output channels that a weight gradient forms at a time."""
_OPERAND_BYTES = 4


def _scratch_bytes(op: Op) -> float:
    return op.scratch_bytes + op.macs * _OPERAND_BYTES / _REUSE


def traffic(program: Program) -> tuple[dict[str, float], list[float]]:
    """Bytes moved per training sample: of every arena tensor by name, and of every op's scratch.

    The prefix counts in full, as in a first epoch without cached samples.
    """
    tensors = program.tensors
    moved: Counter[str] = Counter()
    scratch = []
    for op in program.ops:
        scratch.append(_scratch_bytes(op) if op.scratch_bytes else 0.0)
        touched = op.reads if op.output is None else (*op.reads, op.output)
        for name in touched:
            times = 1
            if op.opcode is Opcode.CONV2D and name == op.weights and op.output is not None:
                times = tensors[op.output].shape[1]
            if op.opcode is Opcode.CONV2D_BWD_WEIGHT and name == op.inputs[-1]:
                times = -(-tensors[op.inputs[0]].shape[3] // _ROWS)
            moved[name] += times * tensors[name].nbytes
        if op.trained is not None:
            record = program.trained[op.trained]
            names = (record.weight_accumulator, record.bias_accumulator, record.row_exponents)
            if program.immediate:
                names = (record.weights, record.bias, None)
            for changed in names:
                if changed is not None:
                    moved[changed] += 2 * tensors[changed].nbytes
    return {name: float(moved[name]) for name, t in tensors.items() if t.in_arena}, scratch
