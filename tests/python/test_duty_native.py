"""Duty-cycled operation over the port, on the firmware as a process of this computer."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from host.device import Device
from host.duty_link import KINDS, PAUSED, RUNNING, STOPPED, DutyLink
from host.duty_schedule import DAY_S
from host.protocol import messages as m
from host.protocol.link import DeviceError
from tests.native import NativeBuild
from tests.python.duty_session import SAMPLE, START_S, days_with_kills, prepare, wait
from tests.python.small_board import open_native, small_task


@pytest.fixture(autouse=True)
def native(native_build: NativeBuild, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TBFT_NATIVE", str(native_build.binary))


def test_a_week_in_virtual_time_with_every_event_told() -> None:
    task = small_task()
    with open_native() as device:
        prepare(device)
        phases: list[tuple[int, int, int]] = []
        device.configure(3, on_phase=lambda r, start, stop: phases.append((r.phase, start, stop)))
        events: list[m.DutyEvent] = []
        link = DutyLink(device, events.append)
        assert link.start(START_S, START_S + 7 * DAY_S, 3) == START_S
        status = wait(link)
        link.complete()
        device.complete_events()
        assert status.samples == 7 * 96 and status.wakes == 7 * 96 + 1 and status.failures == 0
        assert status.time_s == START_S + 7 * DAY_S and status.tunings == 27
        kinds = Counter(KINDS[event.kind] for event in events)
        assert kinds["sample"] == status.samples and kinds["label"] == status.labels
        assert kinds["committed"] == status.tunings == status.checkpoint and link.lost == 0
        # Every second of the week is in the phases, none twice: what an energy model needs.
        assert device.events is not None and device.events.lost == 0
        assert all(a[2] <= b[1] for a, b in itertools.pairwise(phases))
        asleep_us = sum(stop - start for phase, start, stop in phases if phase == 7)
        assert 0.99 * 7 * DAY_S * 10**6 < asleep_us <= 7 * DAY_S * 10**6
        samples = link.samples()
        assert len(samples) == status.stored and samples[-1].id == status.samples - 1
        one = samples[-1]
        np.testing.assert_array_equal(
            link.read_sample(one.id), task.images[one.id % len(task.images)]
        )


def test_the_board_stays_reachable_and_busy() -> None:
    task = small_task()
    with open_native() as device:
        prepare(device)
        link = DutyLink(device)
        link.start(START_S, 0, 1)
        with pytest.raises(DeviceError, match="duty-cycled operation is running; stop or pause it"):
            device.upload(task.images[0])
        with pytest.raises(DeviceError, match="running"):
            device.commit()
        with pytest.raises(DeviceError, match="running"):
            link.write_schedule([SAMPLE])
        assert len(device.weights_sha256()) == 32 and device.identify().load_code == 0
        assert link.status().mode == RUNNING
        device.abort()
        assert link.status().mode == PAUSED
        device.infer(task.images[0])
        before = link.status().time_s
        link.resume()
        deadline = time.monotonic() + 30
        while link.status().time_s == before:
            assert time.monotonic() < deadline
        link.stop()
        assert link.status().mode == STOPPED and link.read_schedule().running == 0


def test_labels_come_over_the_wire() -> None:
    task = small_task()
    with open_native() as device:
        prepare(device, delay_s=0xFFFFFFFF)
        link = DutyLink(device)
        link.start(START_S, START_S + 8 * 3600, 1)
        status = wait(link)
        assert status.samples == 32 and status.labels == 0 and status.unlabelled == 32
        labels = [(sample, int(task.labels[sample % 21])) for sample in range(20)]
        assert link.label(labels) == 20 and link.label(labels) == 20
        with pytest.raises(DeviceError, match="another label"):
            link.label([(0, (labels[0][1] + 1) % task.classes)])
        with pytest.raises(DeviceError, match="no such sample"):
            link.label([(500, 1)])
        assert [(s.id, s.label) for s in link.samples()[:20]] == labels
        assert link.samples()[20].label == 0xFFFF
        link.start(START_S + 9 * 3600, START_S + 9 * 3600 + 10, 1, empty=False)
        assert wait(link).tunings == 1


def test_bad_requests_are_refused_in_words() -> None:
    task = small_task()
    with open_native() as device:
        link = DutyLink(device)
        with pytest.raises(DeviceError, match="no artifact is loaded"):
            link.start(0, 0, 0)
        device.push_artifact(task.data)
        with pytest.raises(DeviceError, match="flash holds no schedule"):
            link.start(0, 0, 0)
        with pytest.raises(DeviceError, match="period of 0"):
            link.write_schedule([replace(SAMPLE, period_s=0)])
        with pytest.raises(DeviceError, match="the schedule has no entry"):
            link.write_schedule([])
        link.write_schedule([replace(SAMPLE, min_battery_mv=3000)])
        with pytest.raises(DeviceError, match="battery reading that this board does not have"):
            link.start(0, 0, 0)
        link.write_schedule([SAMPLE])
        with pytest.raises(DeviceError, match="wrong size"):
            link.start(100, 100, 0)
        with pytest.raises(DeviceError, match="input was not uploaded completely"):
            device.link.request(m.ReplaySample(0, 0, 0))
        device.upload(task.images[0])
        with pytest.raises(DeviceError, match="out of order"):
            device.link.request(m.ReplaySample(1, 0, 0))
        with pytest.raises(DeviceError, match="not below the number of classes"):
            device.link.request(m.ReplaySample(0, task.classes, 0))
        with pytest.raises(DeviceError, match="out of order"):
            link.load_battery([(100, 4000, 80), (100, 4000, 80)])
        with pytest.raises(DeviceError, match="out of order"):
            link.load_battery([(100, 4000, 101)])
        with pytest.raises(DeviceError, match="the sensor gave no sample"):
            link.start(0, 0, 0)


def test_killed_again_and_again_it_ends_where_it_would_have(tmp_path: Path) -> None:
    """SIGKILL at some moment, commits among them; the flash is a file."""
    artifact = tmp_path / "small.tbfa"
    artifact.write_bytes(small_task().data)

    def board(name: str) -> Device:
        return open_native(flash=tmp_path / name, artifact=artifact)

    kills = range(5, 600, 53)
    cut, cut_weights, killed = days_with_kills(lambda: board("cut.bin"), 9, kills)
    whole, weights, _ = days_with_kills(lambda: board("whole.bin"), 9, [])
    assert killed >= 8
    for name in ("samples", "labels", "right", "tunings", "stored", "new_labelled"):
        assert getattr(cut, name) == getattr(whole, name), name
    assert cut_weights == weights
