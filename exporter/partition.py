"""What of a graph is trained, what is frozen in front, and what backward needs of forward.

``partition`` answers from the graph's structure alone; order of operations and memory are
``program.py``'s and ``plan.py``'s.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from exporter.errors import ExporterError
from exporter.graph import (
    Activation,
    Add,
    AnyNode,
    Conv2d,
    DepthwiseConv2d,
    Graph,
    MaxPool,
)

SHIFTS: dict[str, tuple[str, ...]] = {
    "input": ("block1",),
    "feature": ("block3",),
    "output": ("fc",),
}
"""The block that each kind of distribution shift calls for (Target Block Fine-Tuning, ResNet-26)."""

TrainedNode = Conv2d | DepthwiseConv2d


@dataclass(frozen=True)
class Partition:
    """A graph cut into frozen and trained parts. All tuples are in execution order.

    A tensor needs an error when something at or before its producer is trained. ``masks`` and ``relu_saved`` together
    are the tensors behind a fused activation that an error passes: a mask where nothing else keeps the tensor.
    """

    graph: Graph
    blocks: tuple[str, ...]
    """Trained blocks, front to rear."""
    trained: tuple[TrainedNode, ...]
    """Trained nodes; the place in this tuple is the number k of docs/artifact.md."""
    boundary: str
    """Tensor that the prefix hands over; the graph's input when nothing is frozen in front."""
    prefix: tuple[AnyNode, ...]
    tail: tuple[AnyNode, ...]
    errors: frozenset[str]
    """Tensors whose error is formed."""
    saved: frozenset[str]
    """Activations read by the backward pass as values."""
    masks: frozenset[str]
    """Activations of which the backward pass only needs one bit per element."""
    relu_saved: frozenset[str]
    """Saved activations that also serve as their own activation mask."""

    def is_trained(self, node: AnyNode) -> bool:
        """True when the node's weights or bias are trained."""
        return node.block in self.blocks and isinstance(node, Conv2d | DepthwiseConv2d)


def parse_blocks(graph: Graph, text: str) -> tuple[str, ...]:
    """Blocks of a comma-separated list, or ``all``; front to rear, each once.

    Raises:
        ExporterError: a name is not one of the graph's blocks, or the list is empty.
    """
    known = ", ".join((*graph.blocks, "all"))
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise ExporterError(f"no block to train was named; choose from {known}")
    for name in names:
        if name != "all" and name not in graph.blocks:
            raise ExporterError(f"unknown block '{name}' of {graph.name}; choose from {known}")
    return tuple(block for block in graph.blocks if "all" in names or block in names)


def blocks_of_shift(graph: Graph, shift: str) -> tuple[str, ...]:
    """Blocks to train for a shift of ``SHIFTS``.

    Raises:
        ExporterError: the shift is unknown, or the graph has no such block.
    """
    if shift not in SHIFTS:
        known = ", ".join(SHIFTS)
        raise ExporterError(f"unknown shift '{shift}'; choose from {known}")
    missing = [block for block in SHIFTS[shift] if block not in graph.blocks]
    if missing:
        known = ", ".join(graph.blocks)
        raise ExporterError(
            f"{graph.name} has no block '{missing[0]}', which shift '{shift}' trains; "
            f"name the blocks to train instead, from {known}"
        )
    return SHIFTS[shift]


def fused_activation(node: AnyNode) -> Activation:
    """The activation fused into a node; NONE for operators that have none."""
    if isinstance(node, Conv2d | DepthwiseConv2d | Add):
        return node.activation
    return Activation.NONE


def _boundary(graph: Graph, first: int) -> tuple[str, int]:
    """Latest tensor that alone crosses a cut at or before node ``first``, and the cut's node index."""
    for cut in range(first, 0, -1):
        written = {graph.input, *(node.output for node in graph.nodes[:cut])}
        crossing = {name for node in graph.nodes[cut:] for name in node.inputs} & written
        if len(crossing) == 1:
            return crossing.pop(), cut
    return graph.input, 0


def _check_structure(graph: Graph) -> None:
    known = {graph.input}
    for node in graph.nodes:
        for name in node.inputs:
            if name not in known:
                raise ExporterError(
                    f"node '{node.name}' of {graph.name} reads '{name}' before it is written; "
                    "give the nodes in execution order"
                )
        if node.output in known:
            raise ExporterError(f"tensor '{node.output}' of {graph.name} is written twice")
        known.add(node.output)
        if node.output != graph.output and not graph.consumers(node.output):
            raise ExporterError(
                f"the output of node '{node.name}' of {graph.name} is never read; remove the node"
            )
    last = graph.nodes[-1] if graph.nodes else None
    if (
        not isinstance(last, Conv2d)
        or last.output != graph.output
        or graph.consumers(graph.output)
        or last.activation is not Activation.NONE
        or last.weight.shape[1:3] != (1, 1)
        or graph.shapes[last.inputs[0]][:2] != (1, 1)
    ):
        raise ExporterError(
            f"the last node of {graph.name} must be a fully connected layer without activation, "
            "which the softmax cross-entropy follows; export the model up to its logits"
        )


def _needs_input(node: AnyNode, trained: tuple[TrainedNode, ...], errors: Collection[str]) -> bool:
    """True when the node's backward pass reads the values of its input."""
    if isinstance(node, MaxPool):
        return node.inputs[0] in errors
    return node in trained and not (isinstance(node, DepthwiseConv2d) and node.is_affine)


def reads_input_value(part: Partition, node: AnyNode, tensor: str) -> bool:
    """True when a node's backward pass reads the saved activation ``tensor``."""
    return tensor in node.inputs and _needs_input(node, part.trained, part.errors)


def partition(graph: Graph, blocks: Sequence[str]) -> Partition:
    """Cut ``graph`` for training ``blocks``.

    Args:
        graph: network whose last node is a fully connected layer; need not be quantized.
        blocks: names from ``graph.blocks``, or ``("all",)``.

    Raises:
        ExporterError: unknown or empty blocks, or a graph that cannot be trained.
    """
    _check_structure(graph)
    chosen = parse_blocks(graph, ",".join(blocks))
    trained = tuple(
        node
        for node in graph.nodes
        if node.block in chosen and isinstance(node, Conv2d | DepthwiseConv2d)
    )
    for block in chosen:
        if all(node.block != block for node in trained):
            raise ExporterError(
                f"block '{block}' of {graph.name} has no weights to train; choose another block"
            )
    boundary, cut = _boundary(graph, graph.nodes.index(trained[0]))

    errors: set[str] = set()
    for node in graph.nodes:
        if node in trained or any(name in errors for name in node.inputs):
            errors.add(node.output)
    saved = {node.inputs[0] for node in graph.nodes if _needs_input(node, trained, errors)}
    gated = {
        node.output
        for node in graph.nodes
        if node.output in errors and fused_activation(node) is not Activation.NONE
    }
    return Partition(
        graph=graph,
        blocks=chosen,
        trained=trained,
        boundary=boundary,
        prefix=graph.nodes[:cut],
        tail=graph.nodes[cut:],
        errors=frozenset(errors),
        saved=frozenset(saved),
        masks=frozenset(gated - saved),
        relu_saved=frozenset(gated & saved),
    )
