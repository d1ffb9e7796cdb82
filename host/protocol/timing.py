"""How long the host waits, by kind of request. All times in seconds.

A request is sent again after `first_retry_s` (plus the time its bytes take at the port's rate),
then after twice that, and so on; when the board has been silent for `silence_s`, it is given up.
"""

from __future__ import annotations

from dataclasses import dataclass

from host.protocol import messages as m
from host.protocol.codec import Message


@dataclass(frozen=True)
class Timeouts:
    """Waiting times of one kind of request, in seconds."""

    first_retry_s: float
    silence_s: float


HELLO = Timeouts(0.5, 8.0)
"""The first request of a session: the board may be starting, or at the last sample of another."""
QUESTION = Timeouts(0.5, 4.0)
"""Answered at once: identify, abort, tables."""
TRANSFER = Timeouts(0.5, 6.0)
"""Bytes to or from the board's memory."""
COMPUTE = Timeouts(2.0, 30.0)
"""One pass through the network or more; slow boards send progress in between."""
FLASH = Timeouts(3.0, 30.0)
"""Erases and writes flash, or checks a whole artifact."""

MAX_RETRY_S = 5.0
"""The interval between retries stops growing here."""
FACTOR = 2.0
"""By which the interval grows from retry to retry."""
BITS_PER_BYTE = 10
"""Start bit, eight data bits, stop bit."""

_KINDS: dict[type[Message], Timeouts] = {
    m.Identify: QUESTION,
    m.Abort: COMPUTE,  # waits for the sample in progress
    m.Configure: QUESTION,
    m.BoardStatus: QUESTION,
    m.ArtifactBegin: FLASH,
    m.ArtifactChunk: FLASH,
    m.ArtifactEnd: FLASH,
    m.SelfTest: COMPUTE,
    m.InputChunk: TRANSFER,
    m.CacheInput: COMPUTE,
    m.Train: COMPUTE,
    m.TrainInput: COMPUTE,
    m.InferInput: COMPUTE,
    m.InferSlot: COMPUTE,
    m.Evaluate: COMPUTE,
    m.TensorTable: QUESTION,
    m.ReadWeights: TRANSFER,
    m.WriteWeights: TRANSFER,
    m.WeightsHash: TRANSFER,
    m.Commit: FLASH,
    m.ReadEvents: TRANSFER,
    m.DutyWriteSchedule: FLASH,
    m.DutyReadSchedule: TRANSFER,
    m.DutyStart: FLASH,
    m.DutyStop: FLASH,  # waits for the sample in progress, too
    m.DutyStatus: COMPUTE,
    m.DutyLabels: FLASH,
    m.DutyReadEvents: COMPUTE,
    m.DutySamples: FLASH,
    m.DutyReadSample: FLASH,
    m.ReplaySample: TRANSFER,
    m.ReplayBattery: TRANSFER,
    m.SensorList: QUESTION,
    m.SensorStart: QUESTION,
    m.SensorStop: TRANSFER,
}


def timeouts(request: type[Message]) -> Timeouts:
    """Waiting times of a request."""
    return _KINDS[request]


def transfer_s(size: int, baud_rate: int) -> float:
    """Time that `size` bytes take on a serial line of `baud_rate` bits a second."""
    return size * BITS_PER_BYTE / baud_rate
