"""Power fails at every flash operation of duty-cycled operation in turn: the board finds the old state or the new one, goes
on, and reaches the end that it would have reached."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from host.duty_schedule import schedule_bytes
from tests.python.duty_board import RUNNING, STOPPED, DutyBoard, Geometry, Status
from tests.python.duty_scene import (
    GRAPH,
    PERIOD_S,
    SAMPLE,
    SCHEDULE,
    START_S,
    TUNE,
    artifact,
    images,
    labels,
    on_duty,
    reset,
)
from tests.python.runtime_board import RuntimeFault

LOST, TORN, SPOTTY, DONE = range(4)
WAYS = pytest.mark.parametrize("how", [LOST, TORN, SPOTTY, DONE])
HOURS = 1.6
END = ("time_s", "wakes", "samples", "labels", "right", "tunings", "used_labels", "stored", "step")


def goal(status: Status) -> dict[str, int]:
    """What the end of a run is specified to be, whatever happened on the way."""
    return {name: getattr(status, name) for name in END}


def check_samples(board: DutyBoard) -> None:
    """Every stored sample is whole and the right one, none is there twice, and labels are right and in order."""
    rows = board.samples()
    ids = [row[0] for row in rows]
    assert ids == sorted(set(ids))
    for sample, _, _, label, number in rows:
        stored = board.read_sample(sample, 216)
        np.testing.assert_array_equal(stored, images()[sample % 16].reshape(-1))
        assert number == 0 or label == labels()[sample % 16]
    numbers = [row[4] for row in rows if row[4]]
    assert len(set(numbers)) == len(numbers)


@pytest.fixture(scope="module")
def uncut() -> DutyBoard:
    """A whole run: samples, labels, two fine-tunings."""
    board = on_duty(HOURS)
    board.run()
    assert board.status().tunings == 2 and board.status().mode == STOPPED
    return board


@WAYS
def test_power_fails_at_every_operation_of_the_whole_cycle(how: int, uncut: DutyBoard) -> None:
    """Schedule written, begun, samples, labels, fine-tunings, commits, the end noted: cut at 1, 2, 3 … until it completes."""
    hashes = known_weights()
    operation = 0
    while True:
        operation += 1
        board = reset()
        board.cut_power(operation, how)
        try:
            board.write_schedule(schedule_bytes(SCHEDULE))
            board.start(START_S, START_S + round(3600 * HOURS))
        except RuntimeFault as error:
            assert not board.powered, error
        board.run()
        completed = board.powered
        flash = board.flash()
        before = board.status()
        found = reset(flash)
        found.boot()
        found.open()
        where = f"cut at operation {operation}"
        assert found.weights() in hashes, where
        # At most the sample in hand is lost, and nothing is there that was not done.
        if before.samples:
            assert before.samples <= found.status().samples <= before.samples + 1, where
            assert before.labels <= found.status().labels <= before.labels + 1, where
            assert before.tunings <= found.status().tunings <= before.tunings + 1, where
            check_samples(found)
        if found.status().mode == STOPPED and not completed:
            finished = found.read_or_none()
            if finished is None or not finished[0][1]:
                # Duty had not begun: the user does it again.
                found.write_schedule(schedule_bytes(SCHEDULE))
                found.start(START_S, START_S + round(3600 * HOURS), empty=True)
            else:
                assert finished[0][0] == 0 and finished[0][1] == START_S
                found.open()
        found.run()
        assert goal(found.status()) == goal(uncut.status()), where
        assert found.weights() == uncut.weights(), where
        assert [row[:4] for row in found.samples()] == [row[:4] for row in uncut.samples()], where
        assert found.status().failures == 0, where
        if completed:
            break
    assert operation > 60


def known_weights() -> set[str]:
    """The initial weights, and those after each fine-tuning."""
    board = on_duty(HOURS)
    seen = {board.weights()}
    while board.run(1):
        if not board.status().tuning:
            seen.add(board.weights())
    assert len(seen) == 3
    return seen


def test_what_was_passed_over_is_not_made_up_for_after_a_reset() -> None:
    """Fine-tuning that is due while there are too few labels waits for its next time, wherever the board is reset."""
    sparse = (SAMPLE, replace(TUNE, period_s=3 * PERIOD_S))
    whole, board = on_duty(2 * HOURS, sparse), on_duty(2 * HOURS, sparse)
    whole.run()
    assert whole.status().tunings == 4
    steps = 0
    while board.run(1) and board.status().mode == RUNNING:
        found = reset(board.flash())
        found.boot()
        found.run()
        assert goal(found.status()) == goal(whole.status()), board.status()
        assert found.weights() == whole.weights(), board.status()
        steps += 1
    assert steps > 60


def test_a_label_to_a_board_that_did_not_go_on_keeps_what_was_passed_over() -> None:
    """Another network is loaded by mistake, a label comes, and the right one is loaded again."""
    sparse = (SAMPLE, replace(TUNE, period_s=3 * PERIOD_S))
    board, whole = (on_duty(2 * HOURS, sparse, delay_s=10**6) for _ in range(2))
    while board.status().samples < 8:
        board.run(1)
    other = DutyBoard(flash=board.flash())
    other.load(artifact(GRAPH, "immediate"))
    with pytest.raises(RuntimeFault):
        other.boot()
    for sample in range(6):
        other.label(sample, int(labels()[sample]))
    found = reset(other.flash(), delay_s=10**6)
    found.boot()
    found.run()
    while whole.status().samples < 8:
        whole.run(1)
    for sample in range(6):
        whole.label(sample, int(labels()[sample]))
    whole.run()
    assert goal(found.status()) == goal(whole.status())
    assert found.weights() == whole.weights() and whole.status().tunings == 1
    assert found.samples() == whole.samples(), "fine-tuned at the same time"


@WAYS
def test_the_store_goes_round_and_power_fails_at_every_operation(how: int) -> None:
    """A full ring: every operation of some wakes, the erasing of the oldest segment among them."""
    geometry = Geometry(store=4096)
    full = on_duty(4, (SAMPLE,), geometry)
    full.run()
    flash = full.flash()
    first = full.samples()[0][0]
    assert first > 0
    expected = reset(flash, geometry)
    expected.start(START_S + 14400, START_S + 14400 + 4 * PERIOD_S)
    expected.run()
    operation = 0
    while True:
        operation += 1
        board = reset(flash, geometry)
        board.cut_power(operation, how)
        try:
            board.start(START_S + 14400, START_S + 14400 + 4 * PERIOD_S)
        except RuntimeFault as error:
            assert not board.powered, error
        board.run()
        completed = board.powered
        before = board.status()
        found = reset(board.flash(), geometry)
        found.boot()
        found.open()
        check_samples(found)
        assert before.samples <= found.status().samples <= before.samples + 1
        assert found.status().stored >= found.status().capacity
        if (
            found.status().mode == STOPPED
            and not completed
            and found.read_schedule()[0][1] == START_S
        ):
            found.start(START_S + 14400, START_S + 14400 + 4 * PERIOD_S)
        found.run()
        ids = [row[0] for row in found.samples()]
        assert ids[-1] == expected.samples()[-1][0] and len(ids) >= found.status().capacity
        check_samples(found)
        if completed:
            break
    assert operation > 12


@WAYS
@pytest.mark.parametrize("again", [False, True], ids=["first", "again"])
def test_power_fails_while_the_schedule_is_written(how: int, again: bool) -> None:
    old, new = schedule_bytes((SAMPLE,)), schedule_bytes((replace(SAMPLE, period_s=60), TUNE))
    prepared = reset()
    if again:
        prepared.write_schedule(old)
    flash = prepared.flash()
    seen = set()
    operation = 0
    while True:
        operation += 1
        board = reset(flash)
        board.cut_power(operation, how)
        try:
            board.write_schedule(new)
            completed = board.powered
        except RuntimeFault as error:
            completed = False
            assert error.name in ("flash_erase", "flash_program", "flash_read"), error
        found = reset(board.flash()).read_or_none()
        entries = found[1] if found else None
        seen.add(entries)
        assert entries in ((old, new) if again else (None, new))
        repeated = reset(board.flash())
        repeated.write_schedule(new)
        assert repeated.read_schedule()[1] == new
        if completed:
            assert entries == new
            break
    assert operation >= 3 and seen == ({old, new} if again else {None, new})


@WAYS
@pytest.mark.parametrize("which", ["weights", "schedule"])
@pytest.mark.parametrize("slot", [0, 1])
def test_power_fails_while_a_slot_cannot_be_read(how: int, which: str, slot: int) -> None:
    """An ECC error in either slot, of weights or schedule, and power fails at each operation of the next write."""
    prepared = on_duty(HOURS)
    prepared.run()
    prepared.start(START_S, START_S + 86400)
    flash = prepared.flash()
    geometry = prepared.geometry
    size = geometry.weights // 2 if which == "weights" else geometry.schedule // 2
    offset = slot * size + (0 if which == "weights" else geometry.weights)
    weights = known_weights()
    operation = 0
    while True:
        operation += 1
        board = reset(flash)
        board.make_unreadable(offset, size)
        board.load_again()
        older = board.weights()
        board.cut_power(operation, how)
        try:
            if which == "weights":
                board.commit()
            else:
                board.stop()
        except RuntimeFault as error:
            assert not board.powered, error
        completed = board.powered
        for still in (True, False):
            found = reset(board.flash())
            # Unless it was erased, the slot may be as bad as before, or have come back.
            if still and board.unreadable(offset):
                found.make_unreadable(offset, size)
                found.load_again()
            assert found.weights() in weights
            settings = found.read_or_none()
            assert settings is not None and settings[0][0] in (0, 1)
            if completed and which == "weights":
                assert found.weights() == older
            if completed and which == "schedule":
                assert settings[0][0] == 0
            found.commit()
            found.stop()
            assert reset(found.flash()).read_schedule()[0][0] == 0
        if completed:
            break
    assert operation >= 3


@WAYS
def test_an_unreadable_segment_costs_what_is_in_it_and_no_more(how: int) -> None:
    """An ECC error in each segment of the store in turn, with power failing while the board goes on."""
    whole = on_duty(HOURS, (SAMPLE,))
    whole.run()
    flash, geometry = whole.flash(), whole.geometry
    ids = {row[0] for row in whole.samples()}
    for segment in range(5):
        at = geometry.store_at + 1024 * segment
        for operation in range(1, 12):
            board = reset(flash)
            board.make_unreadable(at, 1024)
            board.cut_power(operation, how)
            try:
                board.start(START_S + 7200, START_S + 7200 + 2 * PERIOD_S)
            except RuntimeFault as error:
                assert not board.powered, error
            board.run()
            found = reset(board.flash())
            if board.unreadable(at):
                found.make_unreadable(at, 1024)
            found.boot()
            found.open()
            left = {row[0] for row in found.samples()}
            assert len(ids - left) <= 2, "two samples fit a segment"
            for sample in left:
                found.read_sample(sample, 216)
            assert found.status().mode in (RUNNING, STOPPED)


def test_a_commit_that_was_cut_off_is_told_in_words(uncut: DutyBoard) -> None:
    board = on_duty(HOURS)
    while board.status().checkpoint == 0 and not board.phases()[6] > 14:
        board.run(1)
    for operation in range(1, 40):
        board = on_duty(HOURS)
        while not any(e.kind == "tuned" for e in board.events()):
            flash = board.flash()
            board.run(1)
        board = reset(flash)
        board.boot()
        board.cut_power(operation, LOST)
        while board.powered and not any(e.kind == "committed" for e in board.events()):
            board.run(1)
        if board.powered:
            break
        found = reset(board.flash())
        found.boot()
        kinds = [e.kind for e in found.events()]
        if "dropped" in kinds:
            assert "cut off before its commit" in found.text()
        found.run()
        assert found.weights() == uncut.weights()
    else:
        raise AssertionError("the commit never completed")


@pytest.mark.parametrize("slot", [0, 1])
def test_a_schedule_slot_that_comes_back_does_not_win(slot: int) -> None:
    """It holds the highest sequence number, cannot be read, and the other slot is blank: what is written next is what counts."""
    old, new = schedule_bytes((SAMPLE,)), schedule_bytes((TUNE,))
    board = reset()
    for _ in range(3 + slot):
        board.write_schedule(old)
    geometry = board.geometry
    half = geometry.schedule // 2
    flash = bytearray(board.flash())
    other = geometry.weights + half * (1 - slot)
    flash[other : other + half] = b"\xff" * half
    board = reset(bytes(flash))
    board.make_unreadable(geometry.weights + half * slot, half)
    with pytest.raises(RuntimeFault, match="could not be read"):
        board.read_schedule()
    board.write_schedule(new)
    board.make_unreadable(0, 0)
    assert board.read_schedule()[1] == new
    assert reset(board.flash()).read_schedule()[1] == new


def test_a_flash_that_fails_within_a_commit_uses_no_label_twice(uncut: DutyBoard) -> None:
    """Flash fails from operation 1, 2, 3 … of a commit to its end, and works again afterwards; the board was never reset."""
    for operation in range(1, 60):
        board = on_duty(HOURS)
        board.run(1)
        while not (board.status().tuning and board.status().step == 4):
            board.run(1)
        board.cut_power(operation, LOST)
        while board.powered and board.status().tunings == 0:
            board.run(1)
        if board.powered:
            break
        board.cut_power(0, LOST)
        if board.status().mode != RUNNING:
            board.resume()
        board.run()
        status = board.status()
        # A fine-tuning that failed is done at the next time, so that one more may be left to do at the end.
        assert status.used_labels in (4, 8) and status.tunings == status.used_labels // 4
        assert status.step == 4 * status.tunings, "trained on each label once"
        if status.tunings == 2:
            assert board.weights() == uncut.weights()
    else:
        raise AssertionError("the commit never completed")
    assert operation > 8
