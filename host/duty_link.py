"""A board's duty-cycled operation over its port (docs/duty.md)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from host.device import Device, Images, Labels, Progress
from host.duty_schedule import Entry
from host.errors import HostError
from host.protocol import messages as m

STOPPED, RUNNING, PAUSED = range(3)
MODES = ("stopped", "running", "paused")
KINDS = (
    "", "started", "woke", "sample", "label", "skipped", "tuning", "tuned", "committed", "dropped",
    "failed", "stopped",
)  # fmt: skip
"""Names of the kinds of DutyEvent."""
NO_LABEL = 0xFFFF
REPORT, EMPTY, RESUME = 1, 2, 4
_POINTS_PER_REQUEST = 64
_LABELS_PER_REQUEST = 64

OnEvent = Callable[[m.DutyEvent], None]
BatteryPoint = tuple[int, int, int]
"""Time in seconds, mV, percent (255 unknown)."""


class DutyLink:
    """Duty-cycled operation of an open device. Every error meant for people is a `HostError`."""

    def __init__(self, device: Device, on_event: OnEvent | None = None) -> None:
        """`on_event` gets every event of a run begun with `start`, once and in order."""
        self._device = device
        self._link = device.link
        self._on_event = on_event
        self._expected = 0
        self._missing = False
        self.lost = 0
        """Events that even the board does not have any more."""
        self._link.on_duty = self._receive

    # ---- schedule

    def write_schedule(self, entries: Sequence[Entry], listen_ms: int = 0) -> int:
        """Keeps the schedule in the board's flash; returns its sequence number there."""
        records = tuple(entry.record() for entry in entries)
        return self._link.request(m.DutyWriteSchedule(listen_ms, records)).sequence

    def read_schedule(self) -> m.DutyReadScheduleResponse:
        """What flash holds. Raises DeviceError where it holds none."""
        return self._link.request(m.DutyReadSchedule())

    # ---- operation

    def start(self, time_s: int, until_s: int, seed: int, *, empty: bool = True) -> int:
        """Begins at `time_s` (from midnight of day 0) until `until_s` (0: for good); returns the board's time."""
        self._expected = self.status().events
        self._missing = False
        flags = (REPORT if self._on_event else 0) | (EMPTY if empty else 0)
        return self._link.request(m.DutyStart(flags, time_s, until_s, seed)).time_s

    def resume(self) -> None:
        """Goes on after the pause that opening the port made."""
        self._link.request(m.DutyStart(RESUME, 0, 0, 0))

    def stop(self) -> None:
        """Ends duty, after a restart too."""
        self._link.request(m.DutyStop())

    def status(self) -> m.DutyStatusResponse:
        """What happened so far."""
        return self._link.request(m.DutyStatus())

    def complete(self) -> None:
        """Reads the events that were lost on the way."""
        while True:
            answer = self._link.request(m.DutyReadEvents(self._expected))
            self.lost += answer.first - self._expected
            self._expected = answer.first
            if not answer.events:
                self._missing = False
                return
            self._deliver(answer.first, answer.events)

    def fill(self) -> None:
        """The same where something is missing."""
        if self._missing:
            self.complete()

    def _receive(self, message: m.DutyEvents) -> None:
        if message.first > self._expected:
            self._missing = True
        else:
            self._deliver(message.first, message.events)

    def _deliver(self, first: int, events: tuple[m.DutyEvent, ...]) -> None:
        for event in events[max(0, self._expected - first) :]:
            self._expected += 1
            if self._on_event:
                self._on_event(event)

    # ---- samples and labels

    def samples(self) -> list[m.StoredSample]:
        """All stored samples, oldest first."""
        found: list[m.StoredSample] = []
        while True:
            first = found[-1].id + 1 if found else 0
            some = self._link.request(m.DutySamples(first)).samples
            if not some:
                return found
            found += some

    def read_sample(self, sample: int) -> NDArray[np.uint8]:
        """The image of a stored sample, uint8 [H, W, C]."""
        identity = self._device.identity
        shape = (identity.input_height, identity.input_width, identity.input_channels)
        data = b"".join(
            self._link.request(
                m.DutyReadSample(sample, at, min(m.BODY_LIMIT, identity.input_bytes - at))
            ).pixels
            for at in range(0, identity.input_bytes, m.BODY_LIMIT)
        )
        return np.array(np.frombuffer(data, np.uint8)).reshape(shape)

    def label(self, labels: Sequence[tuple[int, int]]) -> int:
        """Labels of stored samples, (id, class) each; returns how many the board has had in all."""
        count = self.status().labels
        for at in range(0, len(labels), _LABELS_PER_REQUEST):
            chosen = labels[at : at + _LABELS_PER_REQUEST]
            records = tuple(m.SampleLabel(sample, label) for sample, label in chosen)
            count = self._link.request(m.DutyLabels(records)).labels
        return count

    # ---- what is replayed

    def load_replay(self, images: Images, labels: Labels, delay_s: int, progress: Progress) -> None:
        """Images, uint8 [N, H, W, C], that the board takes one after the other, and their labels, known `delay_s` later.

        Raises HostError where they do not fit.
        """
        limit = self.status().replay_limit
        if limit < len(images):
            raise HostError(
                f"the board at {self._device.name} replays at most {limit} samples of this size, expected "
                f"room for {len(images)}; ask for fewer images"
            )
        for index, (image, label) in enumerate(zip(images, labels, strict=True)):
            self._device.upload(image)
            self._link.request(m.ReplaySample(index, int(label), delay_s))
            progress(index + 1, len(images))

    def load_battery(self, points: Sequence[BatteryPoint]) -> None:
        """The battery's course, in ascending time; straight lines between the points."""
        for at in range(0, len(points), _POINTS_PER_REQUEST):
            chosen = points[at : at + _POINTS_PER_REQUEST]
            records = tuple(m.BatteryReading(*point) for point in chosen)
            self._link.request(m.ReplayBattery(at, records))
