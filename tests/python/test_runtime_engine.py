"""The engine's calls: what they do, what they refuse, and that refusals change nothing."""

from __future__ import annotations

import hashlib
import json
import math

import numpy as np
import pytest

from exporter.artifact import SelfTest, write_artifact
from exporter.graph import Graph
from exporter.ops import Opcode, Phase
from exporter.oracle.fixed import normalised
from exporter.oracle.forward import forward
from exporter.oracle.train import Oracle
from exporter.plan import Plan, make_plan
from tests.python.graph_factory import random_input, small_graph
from tests.python.runtime_board import EMPTY, Board, RuntimeFault

RATE = normalised(0.02)


def planned(number: int, blocks: str = "all", mode: str = "accumulate") -> tuple[Graph, Plan]:
    """A small network and its plan; ``blocks`` all, first or last."""
    graph = small_graph(number)
    names = {"all": ("all",), "first": graph.blocks[:1], "last": graph.blocks[-1:]}[blocks]
    return graph, make_plan(graph, names, mode)


def loaded(number: int, blocks: str = "all", mode: str = "accumulate") -> tuple[Board, Graph, Plan]:
    graph, plan = planned(number, blocks, mode)
    board = Board()
    board.load(write_artifact(plan))
    board.configure(RATE, seed=3)
    return board, graph, plan


def refused(name: str, call: object, *arguments: object) -> RuntimeFault:
    """The fault of a call that must fail with this status."""
    assert callable(call)
    with pytest.raises(RuntimeFault) as caught:
        call(*arguments)
    assert caught.value.name == name, caught.value
    return caught.value


def train(board: Board, images: np.ndarray, classes: int) -> None:
    """Two batches of three, cached."""
    for i in range(6):
        board.cache_sample(i, images[i], i % classes)
    for i in range(6):
        board.train_sample(i)
        if i % 3 == 2:
            board.end_batch()


def filled_rows(board: Board) -> int:
    """Accumulator rows that hold something."""
    held = [board.accumulator(i) for i in range(board.info().trained_tensors)]
    return sum(int((exponents != EMPTY).sum()) for _, exponents in filter(None, held))


def test_info_tells_what_was_exported() -> None:
    graph, plan = planned(1)
    data = write_artifact(plan, {"note": "é"})
    board = Board()
    info = board.load(data)
    height, width, channels = graph.shapes[graph.input]
    assert (info.input_height, info.input_width, info.input_channels) == (height, width, channels)
    assert info.input_bytes == height * width * channels
    assert (info.arena_bytes, info.persistent_bytes) == (plan.arena_bytes, plan.persistent_bytes)
    assert (info.classes, info.artifact_bytes) == (len(graph.classes), len(data))
    assert info.model_hash == data[16:48]
    assert info.trained_tensors == 2 * len(plan.program.trained)
    assert info.trained_bytes == sum(len(t) for t in board.trained())
    assert [board.block(i) for i in range(info.blocks)] == [
        (name, name in plan.program.partition.blocks, plan.block_parameters(name))
        for name in graph.blocks
    ]
    assert json.loads(board.meta())["note"] == "é"


def test_initial_weights_are_the_exported_ones() -> None:
    board, graph, _ = loaded(2)
    oracle = Oracle(graph, graph.blocks)
    assert board.weights_sha256() == oracle.weights_sha256()
    assert board.weights_sha256() == hashlib.sha256(b"".join(board.trained())).hexdigest()


@pytest.mark.parametrize("number", range(6))
def test_inference_equals_the_oracle(number: int) -> None:
    board, graph, _ = loaded(number)
    images = random_input(graph, 5, number)
    expected = forward(graph, images)[graph.output].reshape(5, -1)
    for i, image in enumerate(images):
        logits, prediction = board.infer(image)
        np.testing.assert_array_equal(logits, expected[i])
        assert prediction == int(expected[i].argmax())
        board.cache_sample(0, image, 1)
        cached, again, label = board.infer_cached(0)
        np.testing.assert_array_equal(cached, expected[i])
        assert (again, label) == (prediction, 1)


@pytest.mark.parametrize("mode", ["accumulate", "immediate"])
def test_training_from_the_cache_equals_training_from_the_input(mode: str) -> None:
    for blocks in ("first", "last"):
        board, graph, _ = loaded(4, blocks, mode)
        other, _, _ = loaded(4, blocks, mode)
        images = random_input(graph, 6)
        train(board, images, len(graph.classes))
        for i in range(6):
            other.train_input(images[i], i % len(graph.classes))
            if i % 3 == 2:
                other.end_batch()
        assert board.weights_sha256() == other.weights_sha256()
        assert board.step == other.step == (6 if mode == "immediate" else 2)


def test_inference_leaves_a_batch_in_progress_alone() -> None:
    board, graph, _ = loaded(5)
    other, _, _ = loaded(5)
    images = random_input(graph, 4)
    for i in range(3):
        for b in (board, other):
            b.train_input(images[i], i)
        board.infer(images[3])
        board.cache_sample(7, images[3], 0)
        board.infer_cached(7)
        board.weights_sha256()
    board.end_batch()
    other.end_batch()
    assert board.weights_sha256() == other.weights_sha256()


def test_batches() -> None:
    board, graph, _ = loaded(1)
    initial = board.weights_sha256()
    images = random_input(graph, 3)
    board.end_batch()
    assert (board.step, board.batch_samples) == (0, 0), "an empty batch is no step"
    for i in range(3):
        board.train_input(images[i], i)
        assert board.batch_samples == i + 1
    assert board.weights_sha256() == initial, "weights change at the end of a batch only"
    assert filled_rows(board) > 0
    board.drop_batch()
    assert filled_rows(board) == 0
    board.end_batch()
    assert (board.step, board.weights_sha256()) == (0, initial)
    board.reset_weights()  # dropping a batch keeps the shift states
    train(board, np.concatenate([images, images]), len(graph.classes))
    trained = board.weights_sha256()
    assert trained != initial
    board.reset_weights()
    assert (board.step, board.weights_sha256()) == (0, initial)
    assert set(board.shift_states()) <= {0}
    train(board, np.concatenate([images, images]), len(graph.classes))
    assert board.weights_sha256() == trained, "a reset board repeats itself"
    board.configure(RATE, seed=4)
    board.reset_weights()
    train(board, np.concatenate([images, images]), len(graph.classes))
    assert board.weights_sha256() != trained, "the seed matters"


def test_learning_rate_zero_changes_nothing() -> None:
    board, graph, _ = loaded(1, mode="immediate")
    before = board.weights_sha256()
    board.set_learning_rate((0, 0))
    board.train_input(random_input(graph, 1)[0], 0)
    assert (board.weights_sha256(), board.step) == (before, 1)
    board.set_learning_rate(RATE)
    board.train_input(random_input(graph, 1)[0], 0)
    assert board.weights_sha256() != before


def test_trained_tensors_are_read_and_written() -> None:
    board, graph, _ = loaded(3)
    images = random_input(graph, 6)
    train(board, images, len(graph.classes))
    saved, digest = board.trained(), board.weights_sha256()
    assert any(board.shift_states())
    board.reset_weights()
    assert not any(board.shift_states())
    for number, data in enumerate(saved):
        t = board.tensor(number)
        assert t.nbytes == len(data) == t.rows * t.row_length * (4 if t.is_bias else 1)
        middle = len(data) // 8 * 4
        board.write_trained(number, data[:middle])
        board.write_trained(number, data[middle:], middle)
        assert board.read_trained(number, middle) == data[middle:]
    assert board.weights_sha256() == digest
    assert board.step == 0


def test_refusals() -> None:
    board = Board()
    image = np.zeros(4, np.int8)
    for name, arguments in {
        "configure": (RATE, 0), "set_learning_rate": (RATE,), "reset_weights": (), "end_batch": (),
        "cache_sample": (0, image, 0), "infer": (image,), "infer_cached": (0,), "train_sample": (0,),
        "train_input": (image, 0), "weights_sha256": (), "self_test": (),
    }.items():  # fmt: skip
        refused("not_loaded", getattr(board, name), *arguments)
    board, graph, _ = loaded(1)
    digest, images = board.weights_sha256(), random_input(graph, 1)
    slots, classes = board.info().cache_slots, len(graph.classes)
    refused("bad_argument", board.infer, images[0].ravel()[:-1])
    refused("bad_argument", board.train_input, np.zeros(0, np.int8), 0)
    refused("bad_label", board.train_input, images[0], classes)
    refused("bad_label", board.cache_sample, 0, images[0], classes)
    refused("bad_slot", board.cache_sample, slots, images[0], 0)
    refused("bad_slot", board.train_sample, slots)
    refused("empty_slot", board.train_sample, 0)
    refused("empty_slot", board.infer_cached, slots - 1)
    for rate in (
        (1, 0),
        (0, 1),
        (1 << 31, 0),
        ((1 << 30) - 1, 0),
        (1 << 30, 1025),
        (1 << 30, -1025),
    ):
        refused("bad_learning_rate", board.configure, rate, 0)
        refused("bad_learning_rate", board.set_learning_rate, rate)
    tensors, nbytes = board.info().trained_tensors, board.tensor(0).nbytes
    refused("out_of_range", board.read_trained, tensors, 0, 0)
    refused("out_of_range", board.read_trained, 0, 0, nbytes + 1)
    refused("out_of_range", board.read_trained, 0, nbytes + 1, 0)
    refused("out_of_range", board.write_trained, 0, b"\0\0", nbytes - 1)
    refused("out_of_range", board.write_trained, tensors, b"")
    refused("bad_argument", board.write_trained, 1, b"\0\0\0\0", 2)
    refused("bad_argument", board.write_trained, 1, b"\0\0")
    refused("bad_weight_value", board.write_trained, 0, b"\0\x80")
    for value in ((1 << 30) + 1, -(1 << 30) - 1):
        data = value.to_bytes(4, "little", signed=True)
        refused("bad_weight_value", board.write_trained, 1, data)
    assert board.weights_sha256() == digest


def test_a_board_without_cache_or_with_a_small_one() -> None:
    graph, plan = planned(2, "last")
    board = Board(cache_bytes=0)
    info = board.load(write_artifact(plan))
    assert info.cache_slots == 0
    image = random_input(graph, 1)[0]
    refused("cache_full", board.cache_sample, 0, image, 0)
    refused("cache_full", board.train_sample, 0)
    board.configure(RATE)
    board.train_input(image, 0)
    one = Board(cache_bytes=info.boundary_bytes + 4)
    assert one.load(write_artifact(plan)).cache_slots == 1
    one.cache_sample(0, image, 2)
    assert one.infer_cached(0)[2] == 2
    assert one.load(write_artifact(plan)).cache_slots == 1
    refused("empty_slot", one.infer_cached, 0)


@pytest.mark.parametrize("mode", ["accumulate", "immediate"])
@pytest.mark.parametrize("blocks", ["first", "last", "all"])
def test_work_is_counted_op_by_op(blocks: str, mode: str) -> None:
    board, graph, plan = loaded(9, blocks, mode)
    macs = {phase: sum(op.macs for op in plan.program.phase(phase)) for phase in Phase}
    image = random_input(graph, 1)[0]
    board.phases()
    board.infer(image)
    work = board.phases()
    assert work["infer"].macs == macs[Phase.PREFIX] + macs[Phase.TAIL]
    assert sum(w.entered for w in work.values()) == 1
    board.cache_sample(0, image, 1)
    assert board.phases()["frozen_forward"].macs == macs[Phase.PREFIX]
    stateful = [op for op in plan.program.phase(Phase.BACKWARD) if op.state is not None]
    assert not board.train_sample(0).skipped
    # Without a gain the shift is 0, and all sums here need another: each runs a second time.
    assert all(board.shift_states()[op.state or 0] >= 8 * 7 for op in stateful)
    second = sum(op.macs for op in stateful)
    assert board.phases()["backward"].macs == macs[Phase.BACKWARD] + second
    for _ in range(5):
        assert not board.train_sample(0).skipped
        work = board.phases()
        assert work["train_forward"].macs == macs[Phase.TAIL]
        if mode == "accumulate":
            # The same sample and weights: nearly the same levels, and no shift to be corrected.
            assert work["backward"].macs == macs[Phase.BACKWARD]
    weight_macs = sum(
        op.macs
        for op in plan.program.phase(Phase.BACKWARD)
        if op.opcode in (Opcode.CONV2D_BWD_WEIGHT, Opcode.DEPTHWISE_BWD_WEIGHT)
    )
    assert work["backward"].weight_macs == weight_macs > 0
    assert work["train_forward"].weight_macs == work["train_forward"].sums == 0
    tail = plan.program.phase(Phase.TAIL)
    packed = [op.inputs[0] for op in tail if op.opcode is Opcode.MASK]
    kept = sum(math.prod(plan.program.tensors[name].shape) for name in packed)
    assert work["train_forward"].masks == kept and (kept > 0 or blocks != "first")
    sizes = sum(
        t.nbytes // (4 if t.is_bias else 1)
        for t in map(board.tensor, range(board.info().trained_tensors))
    )
    if mode == "immediate":
        assert (work["backward"].updates, work["backward"].sums) == (sizes, 0)
    else:
        assert (work["backward"].updates, work["backward"].sums) == (0, sizes)
        board.end_batch()
        assert 0 < board.phases()["update"].updates <= sizes
    losses = [op for op in plan.program.ops if op.opcode is Opcode.LINEAR_LOSS]
    assert len(losses) == 1 and work["backward"].elements >= len(graph.classes)


def test_self_test_vectors() -> None:
    graph, plan = planned(6)
    images = random_input(graph, 3)
    logits = forward(graph, images)[graph.output].reshape(3, -1).astype(np.int8)
    good = [SelfTest(image, 0, row) for image, row in zip(images, logits, strict=True)]
    board = Board()
    assert board.load(write_artifact(plan, {}, good)).self_tests == 3
    board.self_test()
    wrong = [*good[:2], SelfTest(images[2], 0, logits[2] ^ 1)]
    board.load(write_artifact(plan, {}, wrong))
    assert refused("self_test_failed", board.self_test).record == 2


def test_loading_again_starts_afresh_and_a_failed_load_leaves_nothing() -> None:
    board, graph, plan = loaded(1)
    data, digest = write_artifact(plan), board.weights_sha256()
    board.train_input(random_input(graph, 1)[0], 0)
    board.end_batch()
    assert board.weights_sha256() != digest
    board.load(data)
    assert (board.weights_sha256(), board.step, board.batch_samples) == (digest, 0, 0)
    refused("bad_crc", board.load, data[:-1] + bytes([data[-1] ^ 1]))
    assert not board.info().loaded
    refused("not_loaded", board.weights_sha256)
