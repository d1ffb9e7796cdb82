"""Weight checkpoints (docs/checkpoint.md): power fails at every flash operation in turn, and nothing is ever lost."""

from __future__ import annotations

import functools
import zlib

import pytest

from exporter.artifact import write_artifact
from exporter.oracle.fixed import normalised
from exporter.plan import make_plan
from tests.python.graph_factory import random_input, small_graph
from tests.python.runtime_board import Board, RuntimeFault

LOST, TORN, SPOTTY, DONE = range(4)
ERASE, PROGRAM, READ, SILENT = 1, 2, 4, 8
FLASH_BYTES, ERASE_UNIT = 1 << 16, 512
GRAPH = 3


@functools.cache
def artifact(number: int = GRAPH, mode: str = "accumulate") -> bytes:
    return write_artifact(make_plan(small_graph(number), ("all",), mode))


def booted(flash: bytes | None = None, mode: str = "accumulate") -> Board:
    """A board fresh from reset, with this flash content."""
    board = Board()
    board.load(artifact(GRAPH, mode))
    board.configure(normalised(0.05), seed=1)
    board.new_flash(FLASH_BYTES, ERASE_UNIT)
    if flash is not None:
        board.set_flash_bytes(flash)
    return board


def train(board: Board, start: int, count: int) -> str:
    """Batches of two samples, numbered from ``start``; returns the weight hash."""
    images = random_input(small_graph(GRAPH), 16)
    for batch in range(start, start + count):
        for i in (2 * batch, 2 * batch + 1):
            board.train_input(images[i % 16], i % 4)
        board.end_batch()
    return board.weights_sha256()


def fault(call: object) -> str:
    assert callable(call)
    with pytest.raises(RuntimeFault) as caught:
        call()
    return caught.value.name


def test_a_restored_board_goes_on_to_the_bit() -> None:
    for mode in ("accumulate", "immediate"):
        board = booted(mode=mode)
        assert fault(board.restore) == "no_checkpoint"
        train(board, 0, 3)
        board.commit()
        flash = bytes(board.flash_bytes(FLASH_BYTES))
        expected = train(board, 3, 3)
        other = booted(flash, mode)
        other.restore()
        assert other.step == (6 if mode == "immediate" else 3)
        assert train(other, 3, 3) == expected


@pytest.mark.parametrize("how", [LOST, TORN, SPOTTY, DONE])
@pytest.mark.parametrize("earlier", [0, 1, 2, 3])
def test_power_fails_at_every_operation(how: int, earlier: int) -> None:
    """``earlier`` commits succeed; the next is cut at operation 1, 2, 3 … until it completes."""
    board = booted()
    old = board.weights_sha256()
    for n in range(earlier):
        old = train(board, n, 1)
        board.commit()
    before = bytes(board.flash_bytes(FLASH_BYTES))
    new = train(board, earlier, 1)
    board.commit()  # which drops the remainders of steps: they are not kept in flash
    expected = train(board, earlier + 1, 1)
    operation, seen = 0, set()
    while True:
        operation += 1
        cut = booted(before)
        if earlier:
            cut.restore()
        train(cut, earlier, 1)
        cut.cut_power(operation, how)
        try:
            cut.commit()
            completed = True
        except RuntimeFault as error:
            completed = False
            assert error.name in ("flash_erase", "flash_program", "flash_read"), error
        found = booted(bytes(cut.flash_bytes(FLASH_BYTES)))
        try:
            found.restore()
        except RuntimeFault as error:
            assert error.name == "no_checkpoint" and earlier == 0, error
        weights = found.weights_sha256()
        seen.add(weights)
        assert weights in (old, new), f"cut at operation {operation}"
        # Life goes on: the board repeats the lost batch, commits, and arrives where it would have been.
        if weights == old:
            train(found, earlier, 1)
        found.commit()
        again = booted(bytes(found.flash_bytes(FLASH_BYTES)))
        again.restore()
        assert again.weights_sha256() == new
        assert train(again, earlier + 1, 1) == expected
        if completed:
            assert weights == new
            break
    assert operation >= 8 and seen == {old, new}


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (ERASE, "flash_erase"),
        (PROGRAM, "flash_program"),
        (READ, "flash_read"),
        (SILENT, "flash_verify"),
    ],
)
def test_a_failing_flash_is_reported_and_costs_nothing(kind: int, status: str) -> None:
    board = booted()
    first = train(board, 0, 1)
    board.commit()
    second = train(board, 1, 1)
    board.fail_flash(kind)
    assert fault(board.commit) == status
    assert board.weights_sha256() == second, "the weights in the arena stay"
    board.fail_flash(0)
    other = booted(bytes(board.flash_bytes(FLASH_BYTES)))
    other.restore()
    assert other.weights_sha256() == first
    board.commit()
    other = booted(bytes(board.flash_bytes(FLASH_BYTES)))
    other.restore()
    assert other.weights_sha256() == second


SLOT = FLASH_BYTES // 2


@pytest.mark.parametrize("slot", [0, 1])
@pytest.mark.parametrize("other", ["blank", "whole"])
def test_an_unreadable_slot_does_not_stop_commits(slot: int, other: str) -> None:
    """The slot, with the highest sequence number, cannot be read until it is erased; the other is blank or whole."""
    board = booted()
    train(board, 0, 1)
    for _ in range(3 + slot):
        board.commit()
    flash = board.flash_bytes(FLASH_BYTES)
    if other == "blank":
        flash[(1 - slot) * SLOT : (2 - slot) * SLOT] = b"\xff" * SLOT
    board = booted(bytes(flash))
    board.make_unreadable(slot * SLOT, SLOT)
    if other == "blank":
        assert fault(board.restore) == "flash_read"
    weights = train(board, 1, 1)
    board.commit()
    board.make_unreadable(0, 0)
    board.reset_weights()
    board.restore()
    assert board.weights_sha256() == weights
    again = train(board, 2, 1)
    board.commit()
    board.reset_weights()
    board.restore()
    assert board.weights_sha256() == again


@pytest.mark.parametrize("how", [LOST, TORN, SPOTTY, DONE])
@pytest.mark.parametrize("slot", [0, 1])
@pytest.mark.parametrize("other", ["blank", "whole"])
def test_power_fails_at_every_operation_beside_an_unreadable_slot(
    how: int, slot: int, other: str
) -> None:
    """The slot, with the newest weights, cannot be read; the commit is cut at operation 1, 2, 3 … Then the slot still cannot
    be read, or comes back as it was: what is found was committed once, and the board goes on."""
    board = booted()
    initial = board.weights_sha256()
    older = train(board, 0, 1)
    for _ in range(2 + slot):
        board.commit()
    newest = train(board, 1, 1)
    board.commit()
    flash = board.flash_bytes(FLASH_BYTES)
    base = SLOT * slot
    assert int.from_bytes(flash[base + 8 : base + 12], "little") == 3 + slot, "it is the newest"
    if other == "blank":
        flash[(1 - slot) * SLOT : (2 - slot) * SLOT] = b"\xff" * SLOT
    operation = 0
    while True:
        operation += 1
        board = booted(bytes(flash))
        board.make_unreadable(base, SLOT)
        if other == "whole":
            board.restore()
        new = train(board, 2, 1)
        board.cut_power(operation, how)
        try:
            board.commit()
            completed = True
        except RuntimeFault as error:
            completed = False
            assert error.name in ("flash_erase", "flash_program", "flash_read"), error
        for still_unreadable in (True, False):
            found = booted(bytes(board.flash_bytes(FLASH_BYTES)))
            if still_unreadable and board.is_unreadable(base):
                found.make_unreadable(base, SLOT)
            try:
                found.restore()
            except RuntimeFault as error:
                assert error.name in ("flash_read", "no_checkpoint"), error
            weights = found.weights_sha256()
            assert weights in (initial, older, newest, new), f"cut at operation {operation}"
            if other == "whole" and still_unreadable:
                assert weights in (older, new), f"cut at operation {operation}"
            if completed:
                assert weights == new
            again = train(found, 3, 1)
            found.commit()
            after = booted(bytes(found.flash_bytes(FLASH_BYTES)))
            after.restore()
            assert after.weights_sha256() == again
        if completed:
            break
    assert operation >= 8


def test_two_unreadable_slots_are_reported_and_left_alone() -> None:
    board = booted()
    train(board, 0, 1)
    board.commit()
    before = board.flash_bytes(FLASH_BYTES)
    board.make_unreadable(0, FLASH_BYTES)
    assert fault(board.commit) == "flash_read"
    assert board.flash_bytes(FLASH_BYTES) == before


def test_each_damaged_byte_brings_the_older_weights_back() -> None:
    board = booted()
    first = train(board, 0, 1)
    board.commit()
    second = train(board, 1, 1)
    board.commit()
    flash = bytes(board.flash_bytes(FLASH_BYTES))
    payload = int.from_bytes(flash[12:16], "little")
    slot = FLASH_BYTES // 2
    for at in [*range(0, 96, 3), *range(256, 256 + payload, 37), 256 + payload - 1]:
        for base, expected in ((0, second), (slot, first)):
            damaged = bytearray(flash)
            damaged[base + at] ^= 0x10
            other = booted(bytes(damaged))
            other.restore()
            # Bytes 6 and 24 to 31 of the header are covered by its CRC like all others.
            assert other.weights_sha256() == expected, (base, at)


def test_slots_alternate_and_sequence_numbers_wrap() -> None:
    board = booted()
    hashes = []
    for n in range(5):
        hashes.append(train(board, n, 1))
        board.commit()
        assert board.lib.tbft_checkpoint_sequence(board.handle) == n + 1
    flash = board.flash_bytes(FLASH_BYTES)
    slot = FLASH_BYTES // 2
    sequences = [int.from_bytes(flash[s + 8 : s + 12], "little") for s in (0, slot)]
    assert sequences == [5, 4]
    for base, sequence in ((0, 0), (slot, 0xFFFFFFFF)):
        flash[base + 8 : base + 12] = sequence.to_bytes(4, "little")
        flash[base + 92 : base + 96] = zlib.crc32(flash[base : base + 92]).to_bytes(4, "little")
    other = booted(bytes(flash))
    other.restore()
    assert other.weights_sha256() == hashes[-1], "0 follows 0xffffffff"


def test_foreign_or_impossible_content() -> None:
    board = booted()
    train(board, 0, 1)
    board.commit()
    flash = bytes(board.flash_bytes(FLASH_BYTES))
    other = Board()
    other.load(artifact(5))
    other.new_flash(FLASH_BYTES, ERASE_UNIT)
    other.set_flash_bytes(flash)
    assert fault(other.restore) == "no_checkpoint", "another model's weights"
    other.commit()
    other.restore()
    assert fault(booted(bytes(other.flash_bytes(FLASH_BYTES))).restore) == "no_checkpoint"
    needed = board.lib.tbft_checkpoint_needed_bytes(board.handle)
    board.new_flash(needed - 2 * ERASE_UNIT, ERASE_UNIT)
    assert fault(board.commit) == "flash_geometry"
    assert fault(board.restore) == "flash_geometry"
    board.new_flash(needed, ERASE_UNIT, 256)
    board.commit()
    board.restore()
    board.new_flash(FLASH_BYTES, 4096, 512)
    assert fault(board.commit) == "flash_geometry"


def test_forbidden_weights_are_refused() -> None:
    board = booted()
    initial = board.weights_sha256()
    train(board, 0, 1)
    board.commit()
    flash = board.flash_bytes(FLASH_BYTES)
    payload = int.from_bytes(flash[12:16], "little")
    states = len(board.shift_states())
    for at, value in ((256 + states, 0x80), (256, 248)):
        bad = bytearray(flash)
        bad[at] = value
        bad[16:20] = zlib.crc32(bad[256 : 256 + payload]).to_bytes(4, "little")
        bad[92:96] = zlib.crc32(bad[:92]).to_bytes(4, "little")
        other = booted(bytes(bad))
        assert fault(other.restore) == "bad_weight_value"
        assert other.weights_sha256() == initial


def test_weights_of_version_1_count_and_its_shift_states_do_not() -> None:
    board = booted()
    train(board, 0, 1)
    board.commit()
    trained, states = board.weights_sha256(), board.shift_states()
    assert any(states)
    old = bytearray(board.flash_bytes(FLASH_BYTES))
    payload = int.from_bytes(old[12:16], "little")
    old[4:6] = (1).to_bytes(2, "little")
    old[256 : 256 + len(states)] = bytes([7] * len(states))
    old[16:20] = zlib.crc32(old[256 : 256 + payload]).to_bytes(4, "little")
    old[92:96] = zlib.crc32(old[:92]).to_bytes(4, "little")
    other = booted(bytes(old))
    other.restore()
    assert other.weights_sha256() == trained and not any(other.shift_states())
    old[4:6] = (3).to_bytes(2, "little")
    old[92:96] = zlib.crc32(old[:92]).to_bytes(4, "little")
    assert fault(booted(bytes(old)).restore) == "no_checkpoint"


def test_clear() -> None:
    board = booted()
    board.commit()
    board.call("checkpoint_clear")
    assert fault(board.restore) == "no_checkpoint"
    assert set(board.flash_bytes(FLASH_BYTES)) == {0xFF}


def test_commit_is_a_phase() -> None:
    board = booted()
    board.phases()
    board.commit()
    assert board.phases()["commit"].entered == 1
