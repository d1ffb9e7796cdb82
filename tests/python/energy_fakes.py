"""A board session in this process, for the tests of the energy tools."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from energy.session import OnEvent, OnProgress, Phase, PhaseEvent

FORWARD_MACS = 54_700_000  # ResNet-26 at 32x32
FORWARD_ELEMENTS = 600_000


def fc_session(epochs: int, train: int, test: int, cached: bool = True) -> Iterator[PhaseEvent]:
    """The events of fine-tuning the last layer, with or without the frozen-prefix cache.

    The board's clock is a PC's: it runs a thousand times faster than any microcontroller.
    """
    now_us = 0

    def event(phase: Phase, epoch: int, sample: int, **work: int) -> PhaseEvent:
        nonlocal now_us
        start_us, now_us = now_us, now_us + 10
        return PhaseEvent(phase, start_us, now_us, sample=sample, epoch=epoch, **work)

    def evaluate() -> Iterator[PhaseEvent]:
        for k in range(test):
            yield event(Phase.LOAD, -1, k, wire_bytes=3072)
            yield event(Phase.INFER, -1, k, macs=FORWARD_MACS, elements=FORWARD_ELEMENTS)

    yield event(Phase.IDLE, -1, -1)
    yield from evaluate()
    for e in range(epochs):
        for k in range(train):
            if e == 0 or not cached:
                yield event(Phase.LOAD, e, k, wire_bytes=3072)
                yield event(
                    Phase.FROZEN_FORWARD, e, k, macs=FORWARD_MACS, elements=FORWARD_ELEMENTS
                )
            yield event(Phase.TRAIN_FORWARD, e, k, macs=640, elements=4200)
            yield event(Phase.BACKWARD, e, k, macs=640, elements=700)
            if k % 8 == 7:
                yield event(Phase.UPDATE, e, k, elements=650)
    yield event(Phase.COMMIT, -1, -1, flash_bytes=690)
    yield from evaluate()


@dataclass
class FakeSession:
    """Delivers `events`, then returns metrics; `fail_after` events raises `failure`."""

    run_dir: Path
    events: Callable[[], Iterator[PhaseEvent]]
    failure: BaseException | None = None
    fail_after: int = 0
    metrics: dict[str, object] = field(default_factory=dict)
    opened_with: tuple[str, tuple[str, ...]] = ("", ())
    log: list[str] = field(default_factory=list)

    def open(self, port: str, options: Sequence[str]) -> Self:
        """Stands for the plug-in's `open_session`."""
        self.opened_with = (port, tuple(options))
        return self

    def __enter__(self) -> Self:
        self.log.append("enter")
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.log.append(f"exit {exc_type.__name__ if exc_type else 'clean'}")

    def describe(self) -> Mapping[str, str | int]:
        return {
            "run_dir": str(self.run_dir),
            "board": "native",
            "clock_hz": 1_000_000,
            "blocks": "fc",
            "data": "cifar-flip",
            "epochs": 2,
        }

    def run(self, on_event: OnEvent, on_progress: OnProgress) -> Mapping[str, object]:
        for count, event in enumerate(self.events()):
            if self.failure is not None and count == self.fail_after:
                raise self.failure
            on_event(event)
            on_progress(count, 0, "fine-tuning")
        return {
            "accuracy_before": 0.107,
            "accuracy_after": 0.884,
            "loss": float("nan"),
            **self.metrics,
        }
