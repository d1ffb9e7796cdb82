"""A board on duty over its port, for tests: what it is given, and killing it again and again."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

from host.device import Device
from host.duty_link import PAUSED, RUNNING, STOPPED, DutyLink
from host.duty_schedule import DAY_S, Entry
from host.protocol import messages as m
from tests.python.small_board import small_task

SAMPLE = Entry("sample", 900)
TUNE = Entry("tune", 6 * 3600, min_labelled=8, max_samples=24, epochs=2, batch=4, lr=0.05)
START_S = 8 * 3600


def fill(link: DutyLink, delay_s: int = 3600) -> None:
    """What the board will see, and a full battery."""
    task = small_task()
    link.load_replay(task.images, task.labels, delay_s, lambda _done, _total: None)
    link.load_battery([(0, 4000, 80), (10**7, 4000, 80)])


def prepare(device: Device, delay_s: int = 3600) -> None:
    """The network, its samples and the schedule."""
    device.push_artifact(small_task().data)
    link = DutyLink(device)
    fill(link, delay_s)
    link.write_schedule([SAMPLE, replace(TUNE, min_battery_mv=3900, min_battery_percent=50)])


def wait(link: DutyLink, mode: int = STOPPED) -> m.DutyStatusResponse:
    """Until the board is in this mode."""
    deadline = time.monotonic() + 60
    while (status := link.status()).mode != mode:
        assert time.monotonic() < deadline, status
    return status


def days_with_kills(
    start: Callable[[], Device], days: int, kills: Sequence[int]
) -> tuple[m.DutyStatusResponse, bytes, int]:
    """Days on duty on a board whose flash and artifact are files; its process is killed when it has taken so many samples.

    Counting samples, not seconds: how far a board comes in a second is the computer's affair. Returns the last status, the
    weight hash, and how often the board was killed while it ran. A replaying sensor forgets its samples with every kill, so
    they are sent again, and the board goes on by ``resume``.
    """
    left = list(kills)
    killed = 0
    with start() as device:
        prepare(device)
        DutyLink(device).start(START_S, START_S + days * DAY_S, 3)
        killed += _kill(device, left)
    while True:
        with start() as device:
            link = DutyLink(device)
            if link.status().mode != PAUSED:
                return link.status(), device.weights_sha256(), killed
            fill(link)
            link.resume()
            if left:
                killed += _kill(device, left)
                continue
            return wait(link), device.weights_sha256(), killed


def _kill(device: Device, kills: list[int]) -> int:
    """Kill the board once it has taken the next number of samples; 1 if it was on duty until then."""
    if not kills:
        device.leave_running = True
        return 0
    enough = kills.pop(0)
    link = DutyLink(device)
    deadline = time.monotonic() + 60
    while (status := link.status()).samples < enough and status.mode == RUNNING:
        assert time.monotonic() < deadline, status
    process = cast(Any, device.link._port)._process
    process.send_signal(signal.SIGKILL)
    process.wait()
    device.link.dead = True
    return int(status.mode == RUNNING)
