"""Phase events in order and without gaps, from the Events messages of a link."""

from __future__ import annotations

from collections.abc import Callable

from host.protocol import messages as m
from host.protocol.link import Link

_CLOCK = 1 << 32

OnPhase = Callable[[m.PhaseRecord, int, int], None]
"""Called with the record and its start and stop in µs of the board's clock, unwrapped."""


class EventStream:
    """Delivers each event once, in the board's order; reads again what was lost on the way."""

    def __init__(self, link: Link, on_phase: OnPhase) -> None:
        self._link = link
        self._on_phase = on_phase
        self._expected = 0
        self._now_us = 0
        self._missing = False
        self.lost = 0
        """Events that even the board does not have any more."""
        link.on_events = self._receive

    def restart(self) -> None:
        """The board counts from 0 again."""
        self._expected = 0
        self._missing = False

    def complete(self, *, certain: bool = False) -> None:
        """Reads what is missing: between two requests; with `certain` also when none seems to be.

        Raises HostError where the board does not answer.
        """
        if not (self._missing or certain):
            return
        while True:
            answer = self._link.request(m.ReadEvents(self._expected))
            self.lost += answer.first - self._expected
            self._expected = answer.first
            if not answer.events:
                break
            self._deliver(answer.first, answer.events)
        self._missing = False

    def _receive(self, message: m.Events) -> None:
        if message.first > self._expected:
            self._missing = True
        else:
            self._deliver(message.first, message.events)

    def _deliver(self, first: int, events: tuple[m.PhaseRecord, ...]) -> None:
        for event in events[max(0, self._expected - first) :]:
            self._expected += 1
            start = self._unwrap(event.start_us)
            stop = self._unwrap(event.stop_us)
            self._on_phase(event, start, stop)

    def _unwrap(self, clock_us: int) -> int:
        """The next time with these low 32 bits: events come in order."""
        self._now_us += (clock_us - self._now_us) % _CLOCK
        return self._now_us
