"""Programs: order and aliasing, checked by running BACKWARD on symbols instead of numbers."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from exporter.backward import BackwardOptions, build_program
from exporter.errors import ExporterError
from exporter.graph import Activation, Add, AnyNode, Conv2d, DepthwiseConv2d, Graph, MaxPool
from exporter.ops import DType, Op, Opcode, Phase
from exporter.partition import Partition, fused_activation, partition
from exporter.program import Program
from exporter.scaling import normalised_pair, scaled_weights
from tests.python.graph_factory import resnet26_float, resnet26_graph, small_graph

OPTIONS = [
    (False, BackwardOptions()),
    (False, BackwardOptions(lazy=True)),
    (False, BackwardOptions(weight_first=True)),
    (False, BackwardOptions(weight_first=True, lazy=True)),
    (False, BackwardOptions(weight_first=True, pack=True)),
    (False, BackwardOptions(weight_first=True, lazy=True, pack=True)),
    (True, BackwardOptions()),
    (True, BackwardOptions(lazy=True)),
]

Symbol = tuple[object, ...]


@cache
def resnet() -> Graph:
    return resnet26_graph(0)


def _sum(a: Symbol, b: Symbol) -> Symbol:
    return ("sum", *sorted((a, b), key=repr))


def _intern(table: dict[Symbol, Symbol], symbol: Symbol) -> Symbol:
    """A short name for a long expression, so that comparing stays cheap."""
    return table.setdefault(symbol, ("#", len(table)))


def _expected(part: Partition, table: dict[Symbol, Symbol]) -> dict[str, Symbol]:
    """Trained node to the symbol its weight gradient must read, straight from docs/numerics.md."""
    graph = part.graph
    errors: dict[str, Symbol] = {graph.output: ("loss",)}
    found: dict[str, Symbol] = {}
    for node in reversed(graph.nodes):
        if node.output not in errors:
            continue
        error = errors[node.output]
        if fused_activation(node) is not Activation.NONE:
            error = _intern(table, ("act", node.output, error))
        if node in part.trained:
            found[node.name] = error
        for x in node.inputs:
            if x not in part.errors:
                continue
            given = error if isinstance(node, Add) else _intern(table, ("in", node.name, error))
            errors[x] = _intern(table, _sum(errors[x], given)) if x in errors else given
    return found


_PASS = {
    Opcode.CONV2D_BWD_INPUT,
    Opcode.DEPTHWISE_BWD_INPUT,
    Opcode.AVERAGE_POOL_BWD,
    Opcode.MAX_POOL_BWD,
    Opcode.CHANNEL_PAD_BWD,
}


def _check_types(program: Program, op: Op) -> None:
    """Widths of errors: int16 from sums and affines, int8 from convolutions, the rest as it came."""
    read = [program.tensors[name] for name in op.inputs]
    if op.output is None or program.tensors[op.output].slot is None:
        return
    wide = program.tensors[op.output].dtype is DType.INT16
    if op.opcode in (Opcode.ERROR_ADD, Opcode.AFFINE_BWD):
        assert wide
        for name in op.inputs:
            assert name != op.output or program.tensors[name].dtype is DType.INT16
    elif op.opcode in (Opcode.CONV2D_BWD_INPUT, Opcode.DEPTHWISE_BWD_INPUT, Opcode.LINEAR_LOSS):
        assert not wide
    else:
        assert wide == (read[0].dtype is DType.INT16)


def _run(program: Program, table: dict[Symbol, Symbol]) -> dict[str, Symbol]:
    """What every weight gradient reads when the ops run on buffers of symbols."""
    part = program.partition
    nodes: dict[str, AnyNode] = {node.name: node for node in part.graph.nodes}
    buffers: dict[str, Symbol] = {}
    found: dict[str, Symbol] = {}
    for op in program.phase(Phase.BACKWARD):
        _check_types(program, op)
        read = [buffers[name] for name in op.inputs if program.tensors[name].slot is not None]
        if op.opcode is Opcode.MASK:
            assert op.inputs[0] in part.relu_saved and not op.training_only
            continue
        if op.opcode is Opcode.LINEAR_LOSS:
            result: Symbol = ("loss",)
        elif op.opcode in (Opcode.RELU_BWD, Opcode.MASK_BWD):
            assert op.output == op.inputs[0]
            output = nodes[op.node].output
            assert op.inputs[1].removesuffix(":mask") == output
            result = _intern(table, ("act", output, read[0]))
        elif op.opcode is Opcode.ERROR_ADD:
            result = _intern(table, _sum(read[0], read[1]))
        elif op.opcode is Opcode.ERROR_COPY:
            result = read[0]
        elif op.opcode is Opcode.AFFINE_BWD:
            assert op.output != op.inputs[0] and op.state is None
            result = _intern(table, ("in", op.node, read[0]))
            if len(read) == 2:
                result = _intern(table, _sum(result, read[1]))
        elif op.opcode in _PASS:
            assert op.output not in op.inputs
            result = _intern(table, ("in", op.node, read[0]))
        else:
            assert op.output is None and op.trained is not None
            assert program.trained[op.trained].node == op.node
            assert op.node not in found
            found[op.node] = read[0]
            continue
        assert op.output is not None
        buffers[op.output] = result
    return found


@pytest.mark.parametrize("seed", range(25))
def test_every_weight_gradient_reads_the_right_error(seed: int) -> None:
    graph = small_graph(seed, nodes=3 + seed % 14)
    for blocks in [(block,) for block in graph.blocks] + [("all",)]:
        part = partition(graph, blocks)
        for immediate, options in OPTIONS:
            table: dict[Symbol, Symbol] = {}
            assert _run(build_program(part, immediate, options), table) == _expected(part, table)


@pytest.mark.parametrize("blocks", ["fc", "block1", "block2", "block3", "block3,fc", "all"])
def test_resnet_needs_no_copies(blocks: str) -> None:
    part = partition(resnet(), blocks.split(","))
    for immediate, options in OPTIONS:
        program = build_program(part, immediate, options)
        assert all(op.opcode is not Opcode.ERROR_COPY for op in program.ops)
        table: dict[Symbol, Symbol] = {}
        assert _run(program, table) == _expected(part, table)


@pytest.mark.parametrize("seed", range(8))
def test_shape_of_the_programs(seed: int) -> None:
    graph = small_graph(seed, nodes=10)
    for blocks in [(block,) for block in graph.blocks] + [("all",)]:
        part = partition(graph, blocks)
        program = build_program(part, immediate=False)
        forward = [op for op in program.ops if op.phase is not Phase.BACKWARD]
        assert [op.node for op in forward if op.opcode is not Opcode.MASK] == [
            node.name for node in graph.nodes
        ]
        assert {op.inputs[0] for op in forward if op.opcode is Opcode.MASK} == part.masks
        for before, op in pairwise(forward):
            assert op.training_only == (op.opcode is Opcode.MASK)
            if op.opcode is Opcode.MASK:
                assert before.output == op.inputs[0]
        backward = program.phase(Phase.BACKWARD)
        assert [op.opcode for op in backward].index(Opcode.LINEAR_LOSS) == 0
        assert [record.node for record in program.trained] == [node.name for node in part.trained]
        states = [op.state for op in backward if op.state is not None]
        assert states == list(range(program.states))
        slots = sorted(t.slot for t in program.tensors.values() if t.slot is not None)
        assert slots == list(range(program.slots))


def test_immediate_updates_come_after_all_readers_of_the_weights() -> None:
    program = build_program(partition(resnet(), ["all"]), immediate=True)
    changed: set[str] = set()
    for op in program.phase(Phase.BACKWARD):
        assert not changed & set(op.reads)
        if op.trained is not None:
            record = program.trained[op.trained]
            changed |= {name for name in (record.weights, record.bias) if name is not None}
    with pytest.raises(ExporterError, match="input gradients before weight gradients"):
        build_program(partition(resnet(), ["all"]), True, BackwardOptions(weight_first=True))


def test_frozen_layers_read_flash_and_save_nothing() -> None:
    program = build_program(partition(resnet(), ["block1"]), immediate=False)
    kept = {name for op in program.phase(Phase.BACKWARD) for name in op.reads}
    for node in resnet().nodes:
        if node.block == "block1" or node.output == "pool.y":
            continue
        assert node.output not in kept
        if isinstance(node, Conv2d | DepthwiseConv2d):
            op = next(op for op in program.ops if op.node == node.name)
            assert op.weights is not None and not program.tensors[op.weights].in_arena


def test_macs_of_resnet26() -> None:
    program = build_program(partition(resnet(), ["all"]), immediate=False)
    convolutions = sum(
        op.macs for op in program.ops if op.opcode is Opcode.CONV2D and op.phase is Phase.TAIL
    )
    assert convolutions == 54_706_816


def test_average_pool_over_everything_gets_stride_one() -> None:
    program = build_program(partition(resnet(), ["fc"]), immediate=False)
    pool = next(op for op in program.ops if op.node == "pool")
    assert pool.kernel == (8, 8) and pool.stride == (1, 1)


def test_an_unquantized_graph_is_refused() -> None:
    with pytest.raises(ExporterError, match="not quantized"):
        build_program(partition(resnet26_float(0), ["fc"]), immediate=False)


def test_max_pool_reads_its_saved_input() -> None:
    seen = 0
    for seed in range(20):
        graph = small_graph(seed, nodes=12)
        part = partition(graph, ["all"])
        for op in build_program(part, immediate=False).phase(Phase.BACKWARD):
            if op.opcode is Opcode.MAX_POOL_BWD:
                node = next(n for n in graph.nodes if n.name == op.node)
                assert isinstance(node, MaxPool) and op.inputs[1] == node.inputs[0]
                assert node.inputs[0] in part.saved
                seen += 1
    assert seen > 3


def test_scaling_factors() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        scale = np.exp(rng.uniform(-20, 3, 5)).astype(np.float32)
        factors = scaled_weights(scale)
        top = float(scale.max()) * 2.0**-factors.t
        assert 8 <= top < 16
        assert factors.q.max() <= 32767 and factors.q.min() >= 0
        real = factors.q / 2.0**11 * 2.0**factors.t
        assert np.all(np.abs(real - scale) <= 2.0 ** (factors.t - 11))
        value = float(np.exp(rng.uniform(-40, 40)))
        mantissa, exponent = normalised_pair(value)
        assert 1 << 30 <= mantissa < 1 << 31
        assert mantissa * 2.0 ** (exponent - 31) == pytest.approx(value, rel=1e-9)
    assert normalised_pair(0.0) == (0, 0)
    assert normalised_pair(1.0 - 2.0**-40) == (1 << 30, 1)


def test_packing_replaces_saved_activations_by_bits() -> None:
    part = partition(resnet(), ["block1"])
    program = build_program(part, False, BackwardOptions(weight_first=True, lazy=True, pack=True))
    backward = program.phase(Phase.BACKWARD)
    packed = [op.inputs[0] for op in backward if op.opcode is Opcode.MASK]
    assert set(packed) == part.relu_saved
    assert all(op.opcode is not Opcode.RELU_BWD for op in backward)


def test_affines_add_in_place_to_the_residual_error() -> None:
    for block in ("block1", "block3"):
        program = build_program(partition(resnet(), [block]), True, BackwardOptions(lazy=True))
        backward = program.phase(Phase.BACKWARD)
        affines = [op for op in backward if op.opcode is Opcode.AFFINE_BWD]
        # The final affine has nothing to add to; every other one is behind a residual addition.
        assert [len(op.inputs) for op in affines] == [1] + [2] * (len(affines) - 1)
        assert all(op.output == op.inputs[1] for op in affines[1:])
        assert all(op.opcode is not Opcode.ERROR_ADD for op in backward)
