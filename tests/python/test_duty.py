"""Duty-cycled operation (docs/duty.md): what a board does by its schedule, in virtual time."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from exporter.oracle.fixed import normalised
from host.duty_schedule import Entry, divided, schedule_bytes
from host.protocol.training import rate_pair
from tests.python.duty_board import NO_LABEL, PAUSED, RUNNING, STOPPED, DutyBoard, Geometry
from tests.python.duty_scene import (
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
from tests.python.runtime_board import Board, RuntimeFault


def fault(call: object) -> str:
    assert callable(call)
    with pytest.raises(RuntimeFault) as caught:
        call()
    return caught.value.name


def shuffled(items: list[int], seed: int, tuning: int, epoch: int, board: DutyBoard) -> list[int]:
    for top in range(len(items) - 1, 0, -1):
        place = board.lib.tbft_duty_shuffle_place(seed, tuning, epoch, top)
        items[top], items[place] = items[place], items[top]
    return items


def reference(
    board: DutyBoard, tunings: list[list[int]], entry: Entry = TUNE, mode: str = "accumulate"
) -> str:
    """The weight hash of an engine that is trained on these samples by hand, committing after each list."""
    engine = Board()
    engine.load(artifact(3, mode))
    engine.new_flash(8192, 512)
    rate = rate_pair(entry.lr)
    for number, ids in enumerate(tunings, 1):
        engine.configure(rate, seed=1)
        order = list(ids)
        batch = 1 if mode == "immediate" else entry.batch
        for epoch in range(entry.epochs):
            order = shuffled(order, 1, number, epoch, board)
            for start in range(0, len(order), batch):
                chosen = order[start : start + batch]
                engine.set_learning_rate(divided(*rate, len(chosen)))
                for sample in chosen:
                    engine.train_input(images()[sample % 16], int(labels()[sample % 16]))
                engine.end_batch()
        engine.commit()
    return engine.weights_sha256()


@pytest.mark.parametrize("mode", ["accumulate", "immediate"])
@pytest.mark.parametrize("cache", [1 << 16, 0], ids=["cached", "uncached"])
def test_a_few_hours(mode: str, cache: int) -> None:
    board = on_duty(3, geometry=Geometry(cache=cache), mode=mode)
    board.run()
    status = board.status()
    assert (status.mode, status.time_s) == (STOPPED, START_S + 3 * 3600)
    assert status.samples == status.stored == 18 and status.failures == 0
    # Samples at 0, 600, 1200 …; a label is known at the first wake at least 900 s later. The board wakes to end, too.
    assert status.wakes == 19 and status.labels == 17
    assert status.tunings == 4 and status.used_labels == 16 and status.new_labelled == 1
    assert board.weights() == reference(
        board, [[*range(n, n + 4)] for n in (0, 4, 8, 12)], TUNE, mode
    )
    events = board.events()
    counts = Counter(event.kind for event in events)
    assert counts["sample"] == 18 and counts["committed"] == 4 and counts["started"] == 1
    assert [e.time_s - START_S for e in events if e.kind == "sample"] == [
        *range(0, 10800, PERIOD_S)
    ]
    assert events[-1].kind == "stopped" and events[-1].code == 2
    right = sum(e.value for e in events if e.kind == "label")
    assert right == status.right == sum(p == c for _, _, p, c, n in board.samples() if n)
    phases = board.phases()
    assert phases[7] >= 18, "sleeps"
    assert phases[8] == 18, "classified"
    assert phases[6] >= 18 + 17 + 3 * 4, "kept, labelled and committed"


def test_samples_come_back_as_they_were() -> None:
    board = on_duty(1)
    board.run()
    for sample, taken_s, _, label, number in board.samples():
        stored = board.read_sample(sample, 216)
        np.testing.assert_array_equal(stored, images()[sample].reshape(-1))
        assert taken_s == START_S + sample * PERIOD_S
        assert number == 0 or label == labels()[sample]


def test_weeks_pass_and_the_oldest_are_overwritten() -> None:
    board = on_duty(14 * 24, (SAMPLE, replace(TUNE, period_s=86400)))
    board.run()
    status = board.status()
    assert status.samples == 14 * 144 and status.failures == 0 and status.damaged == 0
    assert status.capacity <= status.stored < 64
    ids = [row[0] for row in board.samples()]
    assert ids == [*range(status.samples - status.stored, status.samples)]
    for sample in ids:
        np.testing.assert_array_equal(
            board.read_sample(sample, 216), images()[sample % 16].reshape(-1)
        )
    assert status.tunings == 13, "daily, from the second day on"
    again = reset(board.flash())
    again.open()
    assert again.samples() == board.samples() and again.weights() == board.weights()


def test_an_index_smaller_than_the_store_keeps_the_newest() -> None:
    board = on_duty(24, (SAMPLE,), Geometry(index=5))
    board.run()
    assert [row[0] for row in board.samples()] == [*range(139, 144)]


def test_rehearsal_and_leftovers() -> None:
    """The oldest four labels are taken; the next time all that are new, and the two newest of the old ones."""
    first = replace(TUNE, period_s=4000, first_s=4000)
    board = on_duty(1.3, (SAMPLE, first))
    board.run()
    assert board.status().tunings == 1 and board.status().used_labels == 4
    board.write_schedule(
        schedule_bytes((replace(TUNE, min_labelled=1, max_samples=9, rehearse=2),))
    )
    board.start(START_S + 6000, START_S + 6001)
    board.run()
    assert board.status().tunings == 2 and board.status().new_labelled == 0
    assert board.weights() == reference(board, [[0, 1, 2, 3], [4, 5, 6, 7, 3, 2]])


def test_labels_over_the_wire() -> None:
    board = on_duty(2, delay_s=10**6)
    board.run()
    assert board.status().labels == 0 and board.status().unlabelled == 12
    for sample in (7, 2, 9):
        board.label(sample, int(labels()[sample]))
    board.label(7, int(labels()[7]))
    assert fault(lambda: board.label(7, (int(labels()[7]) + 1) % 5)) == "labelled"
    assert fault(lambda: board.label(99, 1)) == "no_sample"
    assert fault(lambda: board.label(3, 1000)) == "bad_label"
    board.label(3, int(labels()[3]))
    assert board.status().labels == 4
    board.start(START_S + 7200, START_S + 7201)
    board.run()
    # By the order in which the labels came; that of the sample taken meanwhile has not come.
    assert board.status().tunings == 1
    assert board.weights() == reference(board, [[7, 2, 9, 3]])
    again = reset(board.flash())
    again.label(0, 1)
    assert again.status().labels == 5


def test_battery_and_quiet_hours() -> None:
    guarded = replace(TUNE, min_battery_mv=3700, min_battery_percent=40)
    night = replace(SAMPLE, quiet_from_min=22 * 60, quiet_to_min=6 * 60)
    board = reset()
    board.put_battery((START_S, 3600, 50), (START_S + 7200, 3800, 50))
    board.write_schedule(schedule_bytes((night, guarded)))
    board.start(START_S, START_S + 86400)
    board.run()
    events = board.events()
    taken = [e.time_s % 86400 for e in events if e.kind == "sample"]
    assert len(taken) == 96 and all(6 * 3600 <= t < 22 * 3600 for t in taken)
    tuned = [e.time_s for e in events if e.kind == "tuning"]
    assert tuned[0] == START_S + 3600, "as soon as there are 3,700 mV"
    why = Counter((e.entry, e.code) for e in events if e.kind == "skipped")
    assert why == {(0, 1): 48, (1, 2): 6}
    assert board.status().skipped == 54


def test_a_board_without_a_gauge_says_so() -> None:
    board = reset()
    board.put_battery((0, 4000, 255))
    board.write_schedule(schedule_bytes((replace(SAMPLE, min_battery_percent=10),)))
    assert fault(board.start) == "schedule_battery_unknown"
    board.write_schedule(schedule_bytes((replace(SAMPLE, min_battery_mv=10),)))
    board.start()


def test_pause_drops_the_fine_tuning_and_it_is_done_again() -> None:
    board = on_duty(3)
    expected = on_duty(3)
    expected.run()
    for _ in range(10_000):
        board.run(1)
        if board.status().tuning and board.status().tunings == 1 and board.status().step > 5:
            break
    before = board.weights()
    board.pause()
    assert board.status().mode == PAUSED and board.weights() != before
    assert board.run() == 0
    assert "interrupted" in board.text()
    board.resume()
    board.run()
    assert board.weights() == expected.weights() and board.status().tunings == 4


def test_stop_lasts_and_pause_does_not() -> None:
    board = on_duty(3)
    board.run(40)
    board.pause()
    paused = reset(board.flash())
    paused.boot()
    assert paused.status().mode == RUNNING
    board.stop()
    stopped = reset(board.flash())
    stopped.boot()
    assert stopped.status().mode == STOPPED and not stopped.events()
    other = reset()
    other.set_flash(paused.flash())
    other.stop()
    assert other.read_schedule()[0][0] == 0, "also when it had not gone on yet"


def test_another_network_does_not_go_on() -> None:
    board = on_duty(3)
    board.run(40)
    other = DutyBoard(flash=board.flash())
    other.load(artifact(5))
    assert fault(other.boot) == "other_model"
    assert "another network" in other.text() and other.status().mode == STOPPED


def test_an_emptied_store_forgets_at_once() -> None:
    board = on_duty(3)
    board.run()
    board.start(START_S, START_S + 3600, empty=True)
    assert board.status().samples == 0 and board.status().stored == 0
    board.run()
    assert [row[0] for row in board.samples()] == [*range(6)]
    again = reset(board.flash())
    again.open()
    assert again.samples() == board.samples()


def test_samples_of_another_size_need_an_empty_store() -> None:
    from exporter.artifact import write_artifact
    from exporter.plan import make_plan
    from tests.python.graph_factory import random_input, small_graph

    graph = small_graph(4, shape=(8, 8, 2))
    board = on_duty(3)
    board.run()
    other = DutyBoard(flash=board.flash())
    other.load(write_artifact(make_plan(graph, ("all",), "accumulate")))
    other.put_samples(random_input(graph, 4), np.zeros(4, np.int64), 100)
    assert fault(lambda: other.start(0, 3600)) == "store_foreign"
    other.start(0, 3600, empty=True)
    other.run()
    assert other.status().samples == 6
    again = DutyBoard(flash=other.flash())
    again.load(write_artifact(make_plan(graph, ("all",), "accumulate")))
    again.open()
    assert again.samples() == other.samples()


def test_the_port_is_listened_to_before_sleep() -> None:
    board = reset()
    board.write_schedule(schedule_bytes(SCHEDULE), listen_ms=250)
    board.start(START_S, START_S + 3600)
    assert board.wait_ms == 0, "there is work"
    board.run(4)
    assert board.wait_ms == 250


def test_missed_times_are_made_up_for_once() -> None:
    """An entry four periods late is done once, and then goes on in its grid."""
    board = on_duty(3, (replace(SAMPLE, period_s=3600), replace(SAMPLE, first_s=90)))
    board.run(1)
    board.pause()
    board.resume()
    board.run()
    taken = [(e.entry, e.time_s - START_S) for e in board.events() if e.kind == "sample"]
    assert [t for entry, t in taken if entry == 1] == [*range(90, 10800, 600)]


GOOD = replace(TUNE, min_battery_mv=3500)


@pytest.mark.parametrize(
    ("at", "value", "name"),
    [
        ((0, 1), 0, "schedule_action"),
        ((0, 1), 3, "schedule_action"),
        ((1, 2), 1, "schedule_condition"),
        ((3, 4), 1, "schedule_condition"),
        ((34, 36), 1, "schedule_condition"),
        ((36, 40), 1, "schedule_condition"),
        ((2, 3), 101, "schedule_battery"),
        ((4, 8), 0, "schedule_period"),
        ((4, 8), 31 * 86400 + 1, "schedule_period"),
        ((8, 12), 31 * 86400 + 1, "schedule_period"),
        ((12, 14), 1440, "schedule_hours"),
        ((14, 16), 1440, "schedule_hours"),
        ((18, 20), 0, "schedule_training"),
        ((20, 22), 3, "schedule_training"),
        ((24, 26), 0, "schedule_training"),
        ((24, 26), 1001, "schedule_training"),
        ((26, 28), 0, "schedule_training"),
        ((26, 28), 4097, "schedule_training"),
        ((28, 32), (1 << 30) - 1, "schedule_rate"),
        ((28, 32), 1 << 31, "schedule_rate"),
        ((28, 32), 0, "schedule_rate"),
        ((32, 34), 1001, "schedule_rate"),
    ],
)
def test_entries_are_checked(at: tuple[int, int], value: int, name: str) -> None:
    board = reset()
    entries = bytearray(schedule_bytes((SAMPLE, GOOD)))
    board.write_schedule(bytes(entries))
    before = board.read_schedule()
    entries[40 + at[0] : 40 + at[1]] = value.to_bytes(at[1] - at[0], "little")
    with pytest.raises(RuntimeFault) as caught:
        board.write_schedule(bytes(entries))
    assert (caught.value.name, caught.value.record) == (name, 1)
    assert board.read_schedule() == before


def test_tables_are_checked() -> None:
    board = reset()
    one = schedule_bytes((SAMPLE,))
    for bad in (b"", one[:-1], one + b"\0", one * 9):
        assert fault(lambda bad=bad: board.write_schedule(bad)) == "schedule_size"
    board.write_schedule(one * 8)
    assert board.read_schedule()[1] == one * 8
    training = replace(SAMPLE, epochs=1)
    assert fault(lambda: board.write_schedule(schedule_bytes((training,)))) == "schedule_training"
    board.write_schedule(schedule_bytes((replace(TUNE, max_samples=60, rehearse=5),)))
    assert fault(board.start) == "schedule_training", "more samples than the board can take"
    assert fault(lambda: reset().start()) == "no_schedule"


def test_rates_are_divided_as_on_the_host() -> None:
    rng = np.random.default_rng(0)
    import ctypes

    lib = reset().lib
    out = (ctypes.c_int64 * 2)()
    for samples in [1, 2, 3, 7, 4096, *rng.integers(1, 4097, 500).tolist()]:
        rate = int(rng.integers(1 << 30, 1 << 31)), int(rng.integers(-1000, 1001))
        lib.tbft_duty_divided(*map(ctypes.c_int32, rate), samples, out)
        assert tuple(out) == divided(*rate, samples)
        exact = rate[0] / samples * 2.0 ** (rate[1] - 31) if abs(rate[1]) < 900 else None
        if exact:
            near = normalised(exact)
            assert tuple(out) == near or abs(out[0] - near[0]) <= 1


def test_no_label_is_ever_made_up() -> None:
    board = reset()
    board.put_samples(images()[:4], np.full(4, NO_LABEL), 0)
    board.write_schedule(schedule_bytes(SCHEDULE))
    board.start(START_S, START_S + 7200)
    board.run()
    assert board.status().labels == 0 and board.status().tunings == 0
