"""The BACKWARD program run op by op with the oracle's arithmetic gives the oracle's gradients."""

from __future__ import annotations

import numpy as np
import pytest

from exporter.backward import BackwardOptions, build_program
from exporter.graph import (
    I8,
    AveragePool,
    ChannelPad,
    Conv2d,
    DepthwiseConv2d,
    Graph,
    MaxPool,
)
from exporter.ops import DType, Op, Opcode, Phase
from exporter.oracle import Oracle, forward
from exporter.oracle import backward as bw
from exporter.partition import fused_activation, partition
from exporter.program import Program
from tests.python.graph_factory import random_input, resnet26_graph, small_graph

OPTIONS = (
    (False, BackwardOptions()),
    (False, BackwardOptions(weight_first=True, lazy=True, pack=True)),
    (True, BackwardOptions(lazy=True)),
)


class Interpreter:
    """Error tensors by name, and the activations of one sample."""

    def __init__(self, program: Program, tensors: dict[str, I8], loss: bw.Error) -> None:
        self.program = program
        self.graph = program.partition.graph
        self.nodes = {node.name: node for node in self.graph.nodes}
        self.tensors = tensors
        self.loss = loss
        self.errors: dict[str, bw.Error] = {}
        self.states: dict[str, int] = {}
        self.read: dict[str, bw.Error] = {}
        """Node to the error its weight gradient reads."""

    def result(self, op: Op, read: list[bw.Error]) -> bw.Error:
        """What an op writes."""
        if op.opcode is Opcode.LINEAR_LOSS:
            return self.loss
        if op.opcode is Opcode.ERROR_ADD:
            return bw.add_errors(read[0], read[1])
        if op.opcode is Opcode.ERROR_COPY:
            return read[0]
        node = self.nodes[op.node]
        x, shape = self.tensors[node.inputs[0]], self.graph.shapes[node.inputs[0]]
        if op.opcode in (Opcode.RELU_BWD, Opcode.MASK_BWD):
            y = self.tensors[node.output]
            return bw.through_activation(
                read[0], y, fused_activation(node), self.graph, node.output
            )
        match node:
            case Conv2d():
                assert node.quant is not None
                return bw.conv_input(node, node.quant.weight, read[0], shape, self.states)
            case DepthwiseConv2d():
                assert node.quant is not None
                own = bw.depthwise_input(node, node.quant.weight, read[0], shape, self.states)
                return own if len(read) == 1 else bw.add_errors(own, read[1])
            case AveragePool():
                return bw.average_pool_input(node, read[0], shape)
            case MaxPool():
                return bw.max_pool_input(node, read[0], x, shape)
            case ChannelPad():
                return bw.channel_pad_input(node, read[0], shape)
        raise AssertionError(op)

    def run(self) -> None:
        """All of BACKWARD."""
        for op in self.program.phase(Phase.BACKWARD):
            if op.opcode is Opcode.MASK:
                continue
            read = [self.errors[name] for name in op.inputs if name in self.errors]
            if op.output is None:
                self.read[op.node] = read[0]
                continue
            error = self.result(op, read)
            assert error.is_wide == (self.program.tensors[op.output].dtype is DType.INT16), op
            self.errors[op.output] = error


def check(graph: Graph, blocks: tuple[str, ...], image: I8, label: int) -> None:
    part = partition(graph, blocks)
    oracle = Oracle(graph, part.blocks)
    reference = oracle.train_sample(image, label)
    if reference.skipped:
        return
    tensors = {name: value[0] for name, value in forward(graph, image[None]).items()}
    for immediate, options in OPTIONS:
        program = build_program(part, immediate, options)
        interpreter = Interpreter(program, tensors, reference.errors[graph.output])
        interpreter.run()
        assert interpreter.read.keys() == reference.gradients.keys()
        for entry in oracle.trained:
            x = tensors[entry.node.inputs[0]]
            weights, biases, exponent = oracle._gradient(
                entry.node, interpreter.read[entry.node.name], x
            )
            expected = reference.gradients[entry.node.name]
            assert exponent == expected[2]
            assert np.array_equal(biases, expected[1])
            assert (weights is None) == (expected[0] is None)
            assert weights is None or np.array_equal(weights, expected[0])  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(15))
def test_random_networks(seed: int) -> None:
    graph = small_graph(seed, nodes=3 + seed % 14)
    image = random_input(graph, 1, seed)[0]
    for blocks in [(block,) for block in graph.blocks] + [("all",)]:
        check(graph, blocks, image, seed % 5)


@pytest.mark.parametrize("blocks", ["fc", "block1", "block3,fc"])
def test_resnet(blocks: str) -> None:
    graph = resnet26_graph(0)
    check(graph, tuple(blocks.split(",")), random_input(graph, 1)[0], 3)
