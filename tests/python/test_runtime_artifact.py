"""The artifact loader: each rule of docs/artifact.md broken in turn, and every field of every record mutated."""

from __future__ import annotations

import functools
import random
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest

from exporter import artifact as fmt
from exporter.artifact import SelfTest, write_artifact
from exporter.ops import Opcode, Role
from exporter.oracle.forward import forward
from exporter.plan import make_plan
from tests.python.artifact_edit import Editor
from tests.python.graph_factory import random_input, small_graph
from tests.python.runtime_board import STATUS_NAMES, Board, RuntimeFault

TENSORS, OPS, PROGRAMS, TRAINED, BLOCKS = (
    fmt.TENSORS, fmt.OPS, fmt.PROGRAMS, fmt.TRAINED_SECTION, fmt.BLOCKS,
)  # fmt: skip
NONE = 0xFFFF


@functools.cache
def good(number: int = 0, mode: str = "accumulate", blocks: tuple[str, ...] = ("all",)) -> bytes:
    graph = small_graph(number)
    image = random_input(graph, 1)
    logits = forward(graph, image)[graph.output].reshape(-1).astype(np.int8)
    return write_artifact(make_plan(graph, blocks, mode), {}, [SelfTest(image[0], 1, logits)])


def outcome(data: bytes, shift: int = 0, arena_bytes: int = 1 << 16) -> tuple[str, int]:
    """Status name and record of a load; ``ok`` when it succeeds."""
    board = Board(arena_bytes)
    try:
        board.load(data, shift)
    except RuntimeFault as fault:
        return fault.name, fault.record
    return "ok", 0


def find(editor: Editor, opcode: Opcode, skip: int = 0) -> int:
    """Number of the first op of a kind."""
    count = editor.section(OPS)[2]
    return [i for i in range(count) if editor.get(OPS, i, "opcode") == opcode][skip]


def tensor_with(editor: Editor, role: Role, place: int) -> int:
    count = editor.section(TENSORS)[2]
    return next(
        i for i in range(count)
        if editor.get(TENSORS, i, "role") == role and editor.get(TENSORS, i, "place") == place
    )  # fmt: skip


def test_the_artifacts_mutated_here_are_good() -> None:
    for mode in ("accumulate", "immediate"):
        assert outcome(good(mode=mode)) == ("ok", 0)
        assert Editor(bytearray(good(mode=mode))).sealed() == good(mode=mode)


def test_the_file_as_a_whole() -> None:
    data = good()
    for size in (0, 1, 127, 128, 200, len(data) - 1):
        assert outcome(data[:size])[0] == "truncated", size
    assert outcome(data + b"garbage behind it, as in a flash partition") == ("ok", 0)
    for shift in (1, 4, 8):
        assert outcome(data, shift)[0] == "misaligned"
    assert outcome(b"TBFB" + data[4:])[0] == "bad_magic"
    assert outcome(data[:4] + b"\1\0" + data[6:]) == ("bad_version", 1)
    for at in (16, 50, 300, len(data) - 1):
        assert outcome(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])[0] == "bad_crc"
    needed = struct.unpack_from("<I", data, 48)[0]
    assert outcome(data, arena_bytes=needed) == ("ok", 0)
    assert outcome(data, arena_bytes=needed - 1) == ("arena_too_small", needed)
    editor = Editor(bytearray(data))
    offset = editor.section(fmt.CONST)[0]
    editor.data[offset] ^= 1
    sealed = bytearray(editor.sealed())
    sealed[16] ^= 1
    struct.pack_into("<I", sealed, 12, zlib.crc32(bytes(sealed[16:])))
    assert outcome(bytes(sealed))[0] == "bad_model_hash"


Change = tuple[object, int, str, int]
"""Kind, record, field and value."""


def changed(*changes: Change, mode: str = "accumulate") -> Callable[[], Editor]:
    def make() -> Editor:
        editor = Editor(bytearray(good(mode=mode)))
        for kind, record, field, value in changes:
            editor.set(kind, record, field, value)  # type: ignore[arg-type]
        return editor

    return make


def on_op(opcode: Opcode, field: str, value: int | Callable[[Editor, int], int], mode: str = "accumulate",
          skip: int = 0) -> Callable[[], Editor]:  # fmt: skip
    """Change a field of the first op of a kind; ``value`` may be computed from the editor and the op's number."""

    def make() -> Editor:
        editor = Editor(bytearray(good(mode=mode)))
        op = find(editor, opcode, skip)
        editor.set(OPS, op, field, value(editor, op) if callable(value) else value)
        return editor

    return make


def on_tensor(
    role: Role, place: int, field: str, value: int | Callable[[Editor, int], int]
) -> Callable[[], Editor]:
    def make() -> Editor:
        editor = Editor(bytearray(good()))
        index = tensor_with(editor, role, place)
        editor.set(TENSORS, index, field, value(editor, index) if callable(value) else value)
        return editor

    return make


def on_constant(role: Role, at: int, data: bytes) -> Callable[[], Editor]:
    """Overwrite bytes of the first CONST tensor of a role."""

    def make() -> Editor:
        editor = Editor(bytearray(good()))
        index = tensor_with(editor, role, 1)
        start = editor.section(fmt.CONST)[0] + editor.get(TENSORS, index, "offset") + at
        editor.data[start : start + len(data)] = data
        return editor

    return make


def i32(value: int) -> bytes:
    return value.to_bytes(4, "little", signed=True)


def other_op_tensor(opcode: Opcode, field: str) -> Callable[[Editor, int], int]:
    """Value of the same field in the first op of another kind."""
    return lambda editor, op: editor.get(OPS, find(editor, opcode), field)


loss_error = other_op_tensor(Opcode.LINEAR_LOSS, "out")
"""The narrow error of the logits."""


def overlapped(field: str, with_field: str, opcode: Opcode) -> Callable[[], Editor]:
    """Moves the tensor an op names in ``field`` 16 bytes below the one in ``with_field``."""

    def make() -> Editor:
        editor = Editor(bytearray(good()))
        op = find(editor, opcode)
        target, anchor = editor.get(OPS, op, field), editor.get(OPS, op, with_field)
        offset = editor.get(TENSORS, anchor, "offset")
        editor.set(TENSORS, target, "offset", offset)
        return editor

    return make


RULES: dict[str, tuple[str, Callable[[], Editor]]] = {
    "header size": ("bad_header", changed(("header", 0, "header_bytes", 100))),
    "mode": ("bad_header", changed(("header", 0, "mode", 2))),
    "mode without accumulators": ("bad_trained", changed(("header", 0, "mode", 0), mode="immediate")),
    "mode with accumulators": ("bad_trained", changed(("header", 0, "mode", 1))),
    "persistent > arena": ("bad_header", changed(("header", 0, "persistent_bytes", 1 << 15))),
    "exponents": ("too_many_exponents", changed(("header", 0, "exponents", 513))),
    "states": ("too_many_states", changed(("header", 0, "states", 257))),
    "classes 1": ("bad_header", changed(("header", 0, "classes", 1))),
    "classes 1025": ("bad_header", changed(("header", 0, "classes", 1025))),
    "classes other": ("bad_header", changed(("header", 0, "classes", 4))),
    "input": ("bad_header", changed(("header", 0, "input", 1 << 20))),
    "output": ("bad_header", changed(("header", 0, "output", 1))),
    "loss multiplier": ("bad_header", changed(("header", 0, "loss_multiplier", 5))),
    "loss shift": ("bad_header", changed(("header", 0, "loss_shift", 31))),
    "section count": ("bad_section", changed(("header", 0, "sections", 60000))),
    "section missing": ("missing_section", changed(("header", 0, "sections", 3))),
    "section kind": ("bad_section", changed(("table", 0, "kind", 99))),
    "section twice": ("bad_section", changed(("table", 1, "kind", 1))),
    "section over header": ("bad_section", changed(("table", 0, "offset", 32))),
    "section alignment": ("bad_section", changed(("table", 0, "offset", 232))),
    "section outside": ("bad_section", changed(("table", 0, "bytes", 0xFFFFFFF0))),
    "section count x size": ("bad_section", changed(("table", 1, "count", 0x08000001))),
    "three programs": ("bad_section", changed(("table", 3, "count", 2), ("table", 3, "bytes", 32))),
    "tensor place": ("tensor_field", changed((TENSORS, 0, "place", 2))),
    "tensor type": ("tensor_field", changed((TENSORS, 0, "type", 5))),
    "tensor role": ("tensor_field", changed((TENSORS, 0, "role", 11))),
    "activation in CONST": ("tensor_field", changed((TENSORS, 0, "place", 1))),
    "activation type": ("tensor_field", changed((TENSORS, 0, "type", 4))),
    "zero point": ("tensor_field", changed((TENSORS, 0, "zero_point", 128))),
    "error slot": ("tensor_field", on_tensor(Role.ERROR, 0, "slot", NONE)),
    "shape 0": ("tensor_shape", changed((TENSORS, 0, "c", 0))),
    "shape x type": ("tensor_shape", changed((TENSORS, 0, "c", 77))),
    "huge shape": ("tensor_shape", changed(*[(TENSORS, 0, f, 0xFFFF) for f in "nhwc"])),
    "tensor alignment": ("tensor_alignment", changed((TENSORS, 0, "offset", 8))),
    "tensor outside arena": ("tensor_outside", changed((TENSORS, 0, "offset", 0xFFFFFFF0))),
    "activation among the persistent": ("tensor_outside", changed((TENSORS, 0, "offset", 0))),
    "weights behind the persistent": (
        "tensor_outside",
        on_tensor(Role.WEIGHTS, 0, "offset", lambda e, _: e.get("header", 0, "persistent_bytes")),
    ),
    "outside CONST": ("tensor_outside", on_tensor(Role.BIAS, 1, "offset", 1 << 24)),
    "CONST again and again": ("tensor_outside", lambda: _repeated_constants()),
    "weight -128": ("tensor_values", on_constant(Role.WEIGHTS, 0, b"\x80")),
    "bias": ("tensor_values", on_constant(Role.BIAS, 0, i32((1 << 30) + 1))),
    "factor": ("tensor_values", on_constant(Role.FACTORS, 0, b"\xff\xff")),
    "rho mantissa": ("tensor_values", on_constant(Role.RHO, 0, i32(1))),
    "rho exponent": ("tensor_values", on_constant(Role.RHO, 4, i32(1025))),
    "multiplier": ("op_number", on_constant(Role.MULTIPLIERS, 0, i32(-(1 << 30)))),
    "shift left": ("op_number", on_constant(Role.SHIFTS, 0, i32(31))),
    "shift right": ("op_number", on_constant(Role.SHIFTS, 0, i32(-32))),
    "program": ("bad_program", changed((PROGRAMS, 2, "count", 1 << 31))),
    "program end": ("bad_program", changed((PROGRAMS, 0, "first", 0xFFFFFFFF))),
    "block": ("bad_block", changed((BLOCKS, 0, "trained", 2))),
    "trained kind": ("bad_trained", changed((TRAINED, 0, "kind", 3))),
    "trained block": ("bad_trained", changed((TRAINED, 0, "block", 99))),
    "trained rows": ("bad_trained", changed((TRAINED, 0, "rows", 3))),
    "trained weights": ("bad_trained", changed((TRAINED, 0, "weights", NONE))),
    "trained accumulator": ("bad_trained", changed((TRAINED, 0, "weight_accumulator", NONE))),
    "trained rho": ("bad_trained", changed((TRAINED, 0, "rho_bias", 0))),
    "opcode": ("op_unknown", changed((OPS, 0, "opcode", 99))),
    "opcode 0": ("op_unknown", changed((OPS, 0, "opcode", 0))),
    "flags": ("op_unknown", changed((OPS, 0, "flags", 2))),
    "tensor number": ("op_tensor", changed((OPS, 0, "in0", 60000))),
    "tensor none": ("op_tensor", changed((OPS, 0, "out", NONE))),
    "unused operand": ("op_tensor", changed((OPS, 0, "in1", 0))),
    "tensor role for op": ("op_tensor", on_op(Opcode.CONV2D, "in0", lambda e, o: e.get(OPS, o, "weights"))),
    "kernel": ("op_geometry", on_op(Opcode.CONV2D, "kernel_h", 2)),
    "kernel 0": ("op_limit", on_op(Opcode.CONV2D, "kernel_h", 0)),
    "kernel 16": ("op_limit", on_op(Opcode.CONV2D, "kernel_w", 16)),
    "stride 0": ("op_limit", on_op(Opcode.CONV2D, "stride_w", 0)),
    "stride 5": ("op_limit", on_op(Opcode.CONV2D, "stride_h", 5)),
    "padding": ("op_limit", on_op(Opcode.CONV2D, "pad_left", 3)),
    "padding geometry": ("op_geometry", on_op(Opcode.CONV2D, "pad_top", 0)),
    "pool padding": ("op_limit", on_op(Opcode.AVERAGE_POOL, "pad_right", 1)),
    "activation range": ("op_number", changed((OPS, 0, "act_min", 1), (OPS, 0, "act_max", 0))),
    "channels before": ("op_number", on_op(Opcode.CHANNEL_PAD, "number0", -1)),
    "channels behind": ("op_number", on_op(Opcode.CHANNEL_PAD, "number0", 1000)),
    "channels before, backward": ("op_number", on_op(Opcode.CHANNEL_PAD_BWD, "number0", 1 << 30)),
    "state": ("op_number", on_op(Opcode.CONV2D_BWD_INPUT, "state", NONE)),
    "t": ("op_number", on_op(Opcode.CONV2D_BWD_INPUT, "t", 257)),
    "trained number": ("op_tensor", on_op(Opcode.CONV2D_BWD_WEIGHT, "trained", NONE)),
    "trained of another kind": (
        "op_tensor",
        on_op(Opcode.CONV2D_BWD_WEIGHT, "trained", other_op_tensor(Opcode.DEPTHWISE_BWD_WEIGHT, "trained")),
    ),
    "mask flag": ("op_number", on_op(Opcode.MASK_BWD, "number0", 2)),
    "mask not in place": ("op_tensor", on_op(Opcode.MASK_BWD, "out", loss_error)),
    "narrow sum": ("op_tensor", on_op(Opcode.AFFINE_BWD, "out", loss_error)),
    "affine with a stride": ("op_limit", on_op(Opcode.AFFINE_BWD, "stride_w", 2)),
    "depthwise gradient of an affine": (
        "op_limit",
        on_op(Opcode.AFFINE_BWD, "opcode", Opcode.DEPTHWISE_BWD_INPUT),
    ),
    "wide input gradient": (
        "op_tensor",
        on_op(Opcode.CONV2D_BWD_INPUT, "out", other_op_tensor(Opcode.AFFINE_BWD, "out")),
    ),
    "scratch size": ("op_scratch", on_op(Opcode.CONV2D, "scratch_bytes", lambda e, o: e.get(OPS, o, "scratch_bytes") - 16)),
    "scratch outside": ("op_scratch", on_op(Opcode.CONV2D, "scratch_offset", 0xFFFFFFF0)),
    "scratch alignment": ("op_scratch", on_op(Opcode.CONV2D, "scratch_offset", lambda e, o: e.get(OPS, o, "scratch_offset") + 4)),
    "scratch region": ("op_scratch", on_op(Opcode.CONV2D, "scratch_region", 4)),
    "scratch in an unused region": ("op_scratch", on_op(Opcode.CONV2D, "scratch_region", 1)),
    "region": ("tensor_field", changed((TENSORS, 0, "region", 4))),
    "unused region": ("tensor_outside", changed((TENSORS, 0, "region", 1))),
    "region of a constant": ("tensor_field", on_tensor(Role.BIAS, 1, "region", 1)),
    "region sizes": ("bad_header", changed(("header", 0, "region1_bytes", 16))),
    "region's persistent bytes": ("bad_header", changed(("header", 0, "region1_persistent", 16))),
    "scratch over weights": ("op_persistent", on_op(Opcode.CONV2D, "scratch_offset", 0)),
    "scratch over input": (
        "op_overlap",
        on_op(Opcode.CONV2D, "scratch_offset", lambda e, o: _over_input(e, o)),
    ),
    "output over input": ("op_overlap", overlapped("out", "in0", Opcode.MAX_POOL)),
    "gradient over gradient": ("op_overlap", overlapped("out", "in0", Opcode.AVERAGE_POOL_BWD)),
    "loss second": ("op_order", changed((PROGRAMS, 2, "first", 0))),
    "backward op in front": ("op_order", lambda: _moved_program(PROGRAMS, 0)),
    "update before use": ("op_order", lambda: _swapped_update()),
}  # fmt: skip


def _over_input(editor: Editor, op: int) -> int:
    """An offset inside the arena at which an op's scratch lies over its input."""
    room = editor.get("header", 0, "arena_bytes") - editor.get(OPS, op, "scratch_bytes")
    offset = editor.get(TENSORS, editor.get(OPS, op, "in0"), "offset")
    assert offset < room + editor.get(OPS, op, "scratch_bytes")
    return min(offset, room)


def _moved_program(kind: int, record: int) -> Editor:
    """PREFIX made of the backward ops."""
    editor = Editor(bytearray(good()))
    for field in ("first", "count"):
        editor.set(kind, record, field, editor.get(kind, 2, field))
    return editor


def _repeated_constants() -> Editor:
    """The first five tensors are each all of CONST."""
    editor = Editor(bytearray(good()))
    # All of CONST has no forbidden value where it is read as multipliers.
    size = editor.section(fmt.CONST)[1] // 4
    for i in range(5):
        for field, value in {
            "place": 1, "type": 2, "role": Role.MULTIPLIERS, "n": 1, "h": 1, "w": 1, "c": size,
            "offset": 0, "bytes": 4 * size, "zero_point": 0, "slot": NONE,
        }.items():  # fmt: skip
            editor.set(TENSORS, i, field, value)
    return editor


def _swapped_update() -> Editor:
    """Immediate mode with a node's weight gradient in front of its input gradient."""
    editor = Editor(bytearray(good(mode="immediate")))
    start = editor.section(OPS)[0]
    for update in range(editor.section(OPS)[2]):
        before = update - 1
        pair = (editor.get(OPS, before, "opcode"), editor.get(OPS, update, "opcode"))
        if pair == (Opcode.CONV2D_BWD_INPUT, Opcode.CONV2D_BWD_WEIGHT):
            first, second = start + 64 * before, start + 64 * update
            records = editor.data[first : first + 64], editor.data[second : second + 64]
            editor.data[first : first + 64], editor.data[second : second + 64] = (
                records[1],
                records[0],
            )
            return editor
    raise AssertionError("no input gradient right before its weight gradient")


@pytest.mark.parametrize("rule", RULES)
def test_each_broken_rule_is_named(rule: str) -> None:
    expected, make = RULES[rule]
    assert outcome(make().sealed())[0] == expected


def test_the_same_multipliers_in_thousands_of_ops_are_refused_early() -> None:
    """65,535 multipliers looked at in each op of a file of a few megabytes would keep a board busy for minutes."""
    editor = Editor(bytearray(good()))
    channels, at = 65535, editor.section(fmt.CONST)[1]
    first = editor.section(TENSORS)[2]
    constants = b"\1" * (channels + 1) + bytes(4 * channels) * 3
    offsets = [at, at + channels + 1, at + channels + 1, at + channels + 1]
    offsets = [-(-offset // 16) * 16 for offset in offsets]
    small = editor.get("header", 0, "persistent_bytes")
    large = small + -(-channels // 16) * 16
    shape = (1, 1, 1, channels)

    def row(place: int, kind: int, role: Role, offset: int, size: int) -> bytes:
        return fmt.TENSOR.pack(place, kind, role, *shape, offset, size, 0, NONE, 0, 0, 0.0)

    rows = [row(0, 0, Role.ACTIVATION, start, channels) for start in (small, large)]
    rows += [row(1, 0, Role.WEIGHTS, offsets[0], channels)]
    rows += [
        row(1, 2, role, offset, 4 * channels)
        for role, offset in zip(
            (Role.BIAS, Role.MULTIPLIERS, Role.SHIFTS), offsets[1:], strict=True
        )
    ]
    op = fmt.OP.pack(
        Opcode.DEPTHWISE_CONV2D, 0, 0, 0, first, NONE, NONE, first + 1,
        *range(first + 2, first + 6), 1, 1, 1, 1, 0, 0, 0, 0, -128, 127, NONE, NONE, 0, 0, 0, 0, 0, 0, 0,
    )  # fmt: skip
    ops, count = editor.section(OPS)[2], 30_000
    more = {fmt.CONST: (constants, 6), TENSORS: (b"".join(rows), 6), OPS: (op * count, count)}
    hostile = editor.grown(more)
    room = large + -(-channels // 16) * 16
    for field in ("arena_bytes", "region0_bytes"):
        hostile.set("header", 0, field, room)
    data = hostile.sealed()
    assert len(data) > 2_000_000
    name, record = outcome(data, arena_bytes=room)
    assert name == "op_limit" and ops < record < ops + 20, (name, record)
    few = editor.grown(more | {OPS: (op * 2, 2)})
    for field in ("arena_bytes", "region0_bytes"):
        few.set("header", 0, field, room)
    assert outcome(few.sealed(), arena_bytes=room) == ("ok", 0)


def test_the_record_is_named() -> None:
    assert outcome(changed((TENSORS, 5, "role", 99))().sealed()) == ("tensor_field", 5)
    editor = Editor(bytearray(good()))
    op = find(editor, Opcode.AVERAGE_POOL)
    assert outcome(on_op(Opcode.AVERAGE_POOL, "pad_top", 1)().sealed()) == ("op_limit", op)
    assert outcome(changed((TRAINED, 2, "rows", 0))().sealed()) == ("bad_trained", 2)


@pytest.mark.parametrize("number, mode", [(8, "accumulate"), (8, "immediate")])
def test_every_field_of_every_record_mutated(number: int, mode: str) -> None:
    """Each load ends with a status in words, or the artifact then runs and trains, and its weights stay in range."""
    data = good(number, mode)
    editor = Editor(bytearray(data))
    image = np.zeros(1, np.int8)
    draw = random.Random(number)
    accepted = 0
    fields = editor.fields()
    for kind, record, field in fields:
        old = editor.get(kind, record, field)
        values = [0, 1, NONE, 0xFFFFFFFF, old + 1, old - 1, old + 16, old * 2, 0x80, 0x7FFFFFFF]
        for value in draw.sample(values, 3):
            changed_editor = Editor(bytearray(data))
            changed_editor.set(kind, record, field, value)
            board = Board(1 << 16, 1 << 16)
            try:
                info = board.load(changed_editor.sealed())
            except RuntimeFault as fault:
                assert fault.name in STATUS_NAMES.values(), (kind, record, field, value)
                continue
            accepted += 1
            image = np.resize(np.arange(256, dtype=np.uint8).view(np.int8), info.input_bytes)
            board.configure((1 << 30, 0))
            board.infer(image)
            board.train_input(image, 0)
            board.end_batch()
            weights = [np.frombuffer(w, np.int8) for w in board.trained()[::2]]
            assert all((w != -128).all() for w in weights), (kind, record, field, value)
    assert accepted < 3 * len(fields) / 2
