"""The board session of `energy.capture`: what `host.tune` does, with phase events.

Registered under the entry-point group `tbft.sessions`; the interface is `energy.session`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import click

from energy.errors import SessionError
from energy.session import OnEvent, OnProgress, OnReadings, Phase, PhaseEvent, Sensor
from exporter.errors import ExporterError
from host.cli import file_error
from host.device import Device
from host.errors import HostError
from host.protocol import messages as m
from host.sensing import Sensing
from host.tune import TUNE_OPTIONS, tune_options
from host.tuning import TuneOptions, Tuning

_TRAINING = (Phase.TRAIN_FORWARD, Phase.BACKWARD)
_NO_INDEX = 255
_QEMU = "qemu"
_INSTRUCTION_NS = 64
"""Virtual time of an instruction on the emulated boards: `-icount shift=6` of firmware/boards/*.json."""


@click.command(add_help_option=False)
@tune_options
def _parse(**options: Any) -> dict[str, Any]:
    return options


def _help() -> str:
    with click.Context(_parse) as context:
        records = [option.get_help_record(context) for option in _parse.params]
    formatter = click.HelpFormatter(width=100)
    formatter.write_dl([record for record in records if record is not None])
    return formatter.getvalue()


OPTIONS_HELP = _help()
assert TUNE_OPTIONS


class BoardSession:
    """One fine-tuning session on a board; see `energy.session.Session`."""

    def __init__(self, options: TuneOptions) -> None:
        self._options = options
        self._progress: OnProgress = lambda _done, _total, _what: None
        self._tuning = Tuning(options, lambda done, total, what: self._progress(done, total, what))
        self._device: Device | None = None
        self._sample = -1
        self._trained = 0
        self._sensing: Sensing | None = None
        address = urlsplit(options.port)
        self._cpu = address.netloc if address.scheme == _QEMU else ""

    def __enter__(self) -> Self:
        with _as_session_errors():
            self._tuning.prepare()
            self._device = self._tuning.open()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if self._device is not None:
            self._device.close()

    def describe(self) -> Mapping[str, str | int]:
        """Facts about the board and the run."""
        assert self._device is not None
        identity = self._device.identity
        counted: dict[str, str | int] = {}
        if self._cpu:
            counted = {"cpu": self._cpu, "instruction_ns": _INSTRUCTION_NS}
        return {
            "run_dir": str(self._tuning.folder.path),
            "board": identity.board,
            "clock_hz": identity.clock_hz,
            "firmware_version": identity.firmware,
            "model_hash": self._tuning.export.artifact.model_hash.hex(),
            "blocks": ",".join(self._tuning.export.blocks),
            "data": self._tuning.task.name,
            "epochs": self._options.epochs,
            "train_images": len(self._tuning.task.train),
            **counted,
        }

    def run(self, on_event: OnEvent, on_progress: OnProgress) -> Mapping[str, object]:
        """Fine-tunes once; returns what `metrics.json` holds. Raises SessionError.

        `on_event` is not called any more when this has ended, also where it was interrupted.
        """
        assert self._device is not None
        self._progress = on_progress
        epoch, running = -1, True

        def on_phase(record: m.PhaseRecord, start_us: int, stop_us: int) -> None:
            nonlocal epoch
            if not running:
                return  # what the board still tells while it is stopped, after Ctrl-C
            if self._tuning.epoch != epoch:
                epoch = self._tuning.epoch
                self._trained = 0
            on_event(self._event(record, start_us, stop_us))

        with _as_session_errors():
            try:
                metrics = self._tuning.run(self._device, on_phase)
            finally:
                running = False
            lost = self._device.events.lost if self._device.events else 0
            if lost:
                raise HostError(
                    f"{lost} phase events were lost on the way and the board at "
                    f"{self._options.port} has them no more, expected all; repeat with a better cable"
                )
            return metrics

    def sensors(self) -> list[Sensor]:
        """The board's current sensors, none where its firmware knows of none. Raises SessionError."""
        assert self._device is not None
        with _as_session_errors():
            return Sensing.sensors(self._device.link)

    def start_sensor(self, on_readings: OnReadings, sensor: int, period_us: int) -> int:
        """See `energy.session.SensorSession`."""
        assert self._device is not None
        with _as_session_errors():
            self._sensing = Sensing(self._device.link, on_readings)
            return self._sensing.start(sensor, period_us)

    def stop_sensor(self) -> int:
        """See `energy.session.SensorSession`."""
        sensing, self._sensing = self._sensing, None
        with _as_session_errors():
            return 0 if sensing is None else sensing.stop()

    def _event(self, record: m.PhaseRecord, start_us: int, stop_us: int) -> PhaseEvent:
        phase = Phase(record.phase)
        sample = -1
        if self._tuning.epoch >= 0 and phase in _TRAINING:
            # Each sample of an epoch has one forward and then one backward phase.
            sample = self._trained
            self._trained += phase is Phase.BACKWARD
        return PhaseEvent(
            phase,
            start_us,
            max(start_us, stop_us),
            record.macs,
            record.elements + record.updates,
            record.flash_bytes,
            record.wire_bytes,
            sample,
            self._tuning.epoch,
            record.updates,
            max(0, stop_us - start_us) * 1000 // _INSTRUCTION_NS if self._cpu else 0,
            record.weight_macs,
            record.sums,
            record.masks,
        )


@contextlib.contextmanager
def _as_session_errors() -> Any:
    try:
        yield
    except (HostError, ExporterError) as exc:
        raise SessionError(str(exc)) from exc
    except OSError as exc:
        raise SessionError(file_error(exc)) from exc


def open_session(port: str, options: Sequence[str]) -> BoardSession:
    """A session at `port`; `options` are the command-line words of `host.tune` but for --port.

    Raises SessionError for an option that does not exist or has a wrong value.
    """
    try:
        values = _parse.main(list(options), prog_name="energy.capture", standalone_mode=False)
    except click.ClickException as exc:
        raise SessionError(
            f"{exc.format_message().rstrip('.')}; see python -m energy.capture --help"
        ) from exc
    return BoardSession(TuneOptions(port=port, **values))
