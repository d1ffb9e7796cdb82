"""Fine-tuning of chosen blocks in integers: backward over the graph, accumulation and update (docs/numerics.md)."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256

import numpy as np

from exporter.graph import (
    I8,
    I32,
    Add,
    AveragePool,
    ChannelPad,
    Conv2d,
    DepthwiseConv2d,
    Graph,
    MaxPool,
)
from exporter.oracle import backward as bw
from exporter.oracle.accumulate import RowAccumulator
from exporter.oracle.fixed import I64
from exporter.oracle.forward import convolution_accumulators, forward, parameters_of
from exporter.oracle.loss import loss_multiplier, softmax_cross_entropy
from exporter.oracle.update import batch_step, bias_step, row_rates, weight_step


@dataclass(frozen=True)
class TrainedNode:
    """The k-th trained node in execution order; ``bias_only`` for the affine."""

    number: int
    node: Conv2d | DepthwiseConv2d
    bias_only: bool


@dataclass(frozen=True)
class SampleResult:
    """What one training sample gave. ``gradients``: node name to ``(G, Gb, exponent)``, empty when skipped."""

    loss_q16: int
    prediction: int
    skipped: bool
    gradients: dict[str, tuple[I64 | None, I64, int]]
    errors: dict[str, bw.Error]


@dataclass
class Oracle:
    """Reference fine-tuner. ``blocks`` are trained; ``immediate`` updates after every sample, without accumulators."""

    graph: Graph
    blocks: tuple[str, ...]
    immediate: bool = False
    seed: int = 0
    step: int = 0
    parameters: dict[str, tuple[I8, I32]] = field(default_factory=dict)
    states: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        chosen = [
            node
            for node in self.graph.nodes
            if isinstance(node, Conv2d | DepthwiseConv2d) and node.block in self.blocks
        ]
        self.trained = [
            TrainedNode(k, node, isinstance(node, DepthwiseConv2d) and node.is_affine)
            for k, node in enumerate(chosen)
        ]
        self._by_name = {entry.node.name: entry for entry in self.trained}
        self._needs_error = self._tensors_behind_training()
        self._accumulators: dict[int, RowAccumulator] = {}
        self.reset()

    def _tensors_behind_training(self) -> set[str]:
        """Tensors whose value depends on a trained parameter."""
        reached: set[str] = set()
        for node in self.graph.nodes:
            if node.name in self._by_name or any(name in reached for name in node.inputs):
                reached.add(node.output)
        return reached

    def reset(self) -> None:
        """Back to the graph's own weights, step 0 and shift states 0."""
        self.parameters = {
            entry.node.name: tuple(array.copy() for array in parameters_of(entry.node, {}))  # type: ignore[misc]
            for entry in self.trained
        }
        self.states, self.step = {}, 0
        self._accumulators = {}

    def train_sample(self, x: I8, label: int, rate: tuple[int, int] | None = None) -> SampleResult:
        """Forward and backward for one input (H, W, C). ``rate`` (lr as mantissa, exponent) is needed for immediate updates."""
        tensors = {k: v[0] for k, v in forward(self.graph, x[None], self.parameters).items()}
        last = self.graph.nodes[-1]
        assert isinstance(last, Conv2d) and last.linear
        weight, bias = parameters_of(last, self.parameters)
        source = last.inputs[0]
        acc = convolution_accumulators(
            last, tensors[source][None], self.graph.quant[source].zero_point, weight, bias
        )
        loss = softmax_cross_entropy(acc.reshape(-1), label, loss_multiplier(self.graph, last))
        if not loss.gradient.any():
            if self.immediate:
                self.step += 1
            return SampleResult(loss.loss_q16, loss.prediction, True, {}, {})
        top = bw.store_exact(loss.gradient.reshape(1, 1, -1), -15)
        gradients, errors = self._backward(tensors, top)
        for name, (weights, biases, exponent) in gradients.items():
            self._consume(self._by_name[name], weights, biases, exponent, rate)
        if self.immediate:
            self.step += 1
        return SampleResult(loss.loss_q16, loss.prediction, False, gradients, errors)

    def _backward(
        self, tensors: dict[str, I8], top: bw.Error
    ) -> tuple[dict[str, tuple[I64 | None, I64, int]], dict[str, bw.Error]]:
        errors: dict[str, bw.Error] = {self.graph.output: top}
        gradients: dict[str, tuple[I64 | None, I64, int]] = {}

        def give(tensor: str, error: bw.Error) -> None:
            if tensor in self._needs_error:
                known = errors.get(tensor)
                errors[tensor] = error if known is None else bw.add_errors(known, error)

        for node in reversed(self.graph.nodes):
            if node.output not in errors:
                continue
            error, source = errors[node.output], node.inputs[0]
            shape = self.graph.shapes[source]
            match node:
                case Conv2d() | DepthwiseConv2d():
                    error = bw.through_activation(
                        error, tensors[node.output], node.activation, self.graph, node.output
                    )
                    weight, _ = parameters_of(node, self.parameters)
                    if source in self._needs_error:
                        if isinstance(node, Conv2d):
                            give(source, bw.conv_input(node, weight, error, shape, self.states))
                        else:
                            give(
                                source, bw.depthwise_input(node, weight, error, shape, self.states)
                            )
                    if node.name in self._by_name:
                        gradients[node.name] = self._gradient(node, error, tensors[source])
                case Add():
                    error = bw.through_activation(
                        error, tensors[node.output], node.activation, self.graph, node.output
                    )
                    for name in node.inputs:
                        give(name, error)
                case AveragePool():
                    give(source, bw.average_pool_input(node, error, shape))
                case MaxPool():
                    give(source, bw.max_pool_input(node, error, tensors[source], shape))
                case ChannelPad():
                    give(source, bw.channel_pad_input(node, error, shape))
        return gradients, errors

    def _gradient(
        self, node: Conv2d | DepthwiseConv2d, error: bw.Error, x: I8
    ) -> tuple[I64 | None, I64, int]:
        positions = error.values.shape[0] * error.values.shape[1]
        error = bw.narrow(error, bw.weight_gradient_bits(positions))
        if self._by_name[node.name].bias_only:
            return None, error.values.sum(axis=(0, 1), dtype=np.int64), error.exponent
        zero_point = self.graph.quant[node.inputs[0]].zero_point
        if isinstance(node, Conv2d):
            weights, biases = bw.conv_weight(node, error, x, zero_point)
        else:
            weights, biases = bw.depthwise_weight(node, error, x, zero_point)
        return weights, biases, error.exponent

    def _consume(
        self,
        entry: TrainedNode,
        weights: I64 | None,
        biases: I64,
        exponent: int,
        rate: tuple[int, int] | None,
    ) -> None:
        rows = biases.size
        matrix = None
        if weights is not None:
            depthwise = isinstance(entry.node, DepthwiseConv2d)
            matrix = weights.reshape(-1, rows).T if depthwise else weights.reshape(rows, -1)
        if self.immediate:
            assert rate is not None, "immediate updates need a learning rate with every sample"
            exponents = np.full(rows, exponent, dtype=np.int64)
            if matrix is not None:
                self._move_sample(entry, matrix, exponents, rate)
            self._move_bias(entry, biases, exponents, rate)
            return
        accumulator = self._accumulators.setdefault(entry.number, RowAccumulator())
        accumulator.add(matrix, biases, exponent)

    def end_batch(self, rate: tuple[int, int]) -> None:
        """Apply the accumulated gradients; ``rate`` is lr / batch as ``(mantissa, exponent)``."""
        if self.immediate:
            return
        for entry in self.trained:
            held = self._accumulators.get(entry.number)
            if held is not None:
                if held.weights is not None:
                    self._move_batch(entry, held, rate)
                self._move_bias(entry, held.biases, held.bias_exponents, rate)
                held.clear_biases()
        self.step += 1

    def _rows(self, entry: TrainedNode, weight: I8) -> I8:
        """Weights as (output channels, K); a depthwise kernel's memory order is (K, channels)."""
        if isinstance(entry.node, DepthwiseConv2d):
            return weight.reshape(-1, weight.shape[-1]).T
        return weight.reshape(weight.shape[0], -1)

    def _set_rows(self, entry: TrainedNode, rows: I8) -> None:
        weight, bias = self.parameters[entry.node.name]
        memory = rows.T if isinstance(entry.node, DepthwiseConv2d) else rows
        self.parameters[entry.node.name] = (memory.reshape(weight.shape), bias)

    def _move_batch(self, entry: TrainedNode, held: RowAccumulator, rate: tuple[int, int]) -> None:
        assert held.weights is not None
        rows = self._rows(entry, self.parameters[entry.node.name][0])
        rates, _ = row_rates(self.graph, entry.node)
        moved, left, exponents = batch_step(rows, held.weights, held.weight_exponents, rates, rate)
        held.weights, held.weight_exponents = left, exponents
        self._set_rows(entry, moved)

    def _move_sample(
        self, entry: TrainedNode, matrix: I64, exponents: I64, rate: tuple[int, int]
    ) -> None:
        rows = self._rows(entry, self.parameters[entry.node.name][0])
        rates, _ = row_rates(self.graph, entry.node)
        key = (self.seed, self.step, 2 * entry.number)
        transposed = isinstance(entry.node, DepthwiseConv2d)
        self._set_rows(entry, weight_step(rows, matrix, exponents, rates, rate, key, transposed))

    def _move_bias(
        self, entry: TrainedNode, biases: I64, exponents: I64, rate: tuple[int, int]
    ) -> None:
        weight, bias = self.parameters[entry.node.name]
        _, rates = row_rates(self.graph, entry.node)
        key = (self.seed, self.step, 2 * entry.number + 1)
        moved = bias_step(bias, biases, exponents, rates, rate, key)
        self.parameters[entry.node.name] = (weight, moved)

    def drop_batch(self) -> None:
        """Forget gradients and remainders, as the board does when it commits, restores or is told to stop."""
        self._accumulators = {}

    def trained_tensors(self) -> dict[str, I8 | I32]:
        """Trained tensors by name (``node.weight``, ``node.bias``) in the order of their numbers."""
        tensors: dict[str, I8 | I32] = {}
        for entry in self.trained:
            weight, bias = self.parameters[entry.node.name]
            if not entry.bias_only:
                tensors[f"{entry.node.name}.weight"] = weight
            tensors[f"{entry.node.name}.bias"] = bias
        return tensors

    def weights_sha256(self) -> str:
        """Hash of the trained tensors (docs/numerics.md, section 6), hexadecimal."""
        digest = sha256()
        for array in self.trained_tensors().values():
            digest.update(
                np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()
            )
        return digest.hexdigest()
