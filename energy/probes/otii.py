"""Qoitech Otii Arc and Ace, through the Otii application and the vendor's package `otii_tcp_client`.

The application (Otii 3) records, and answers on port 1905 of this computer; the package logs in and
reserves the licence it needs from `credentials.json` or its environment variables. What has been
recorded is fetched while the recording grows: channel `mc` (current, A), `mv` (voltage at the
output, V), and `i1`, `i2` (digital inputs: a list of changes with their times, in s).

The Arc samples current at 4,000 a second and voltage at 1,000 (its maker's "Otii and short
pulses"); the voltage is held between its samples. The voltage in the trace is the measured one; the
one that was set stands in the provenance.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from energy.errors import ProbeError, ProbeLostError
from energy.probes import Capabilities, Found, Instrument, ProbeOptions
from energy.probes.otii_recording import LINES, Fetcher
from energy.probes.registry import vendor_package
from energy.samples import Accuracy, TraceChunk, TraceInfo

PACKAGE, EXTRA, TITLE = "otii_tcp_client", "otii", "A Qoitech Otii"
ARC_RATE_HZ, ACE_RATE_HZ = 4000.0, 50_000.0
MIN_V, MAX_V = 0.5, 5.0
WAIT_S, POLL_S, STOP_S = 0.05, 0.1, 60.0
HOLD_BACK_S = 0.1  # a digital change may reach the recording after the samples beside it
_SOURCE = (
    "qoitech.com, 'How accurate is your low current measurement?' (gain); assumed: 150 µA of the high "
    "current range (the low range's offset is 50 nA, Ace 25 nA), voltage and clock"
)
ACCURACY = {
    "Arc": Accuracy(1e-3, 150e-6, 1e-3, 2e-3, 100e-6, _SOURCE),
    "Ace": Accuracy(5e-4, 150e-6, 1e-3, 2e-3, 100e-6, _SOURCE),
}


def create(options: ProbeOptions) -> OtiiProbe:
    """The Otii with the name or id `options.address`, or the only one; opens nothing."""
    return OtiiProbe(options.address, options.voltage_v, options.rate_hz)


def detect() -> list[Found]:
    """The instruments that the running application knows; none where it does not run."""
    module = vendor_package(f"{PACKAGE}.otii_client", EXTRA, TITLE)
    client = module.OtiiClient()
    try:
        otii = client.connect(try_for_seconds=0, licensing=module.LicensingMode.MANUAL)
    except Exception:  # the package raises Exception itself
        return []
    try:
        return [Found("otii", d.id, f"Otii {d.type} {d.name}") for d in _devices(otii)]
    except Exception:
        return []
    finally:
        with contextlib.suppress(Exception):
            client.disconnect()


class OtiiProbe(Instrument):
    """One Arc or Ace. `voltage_v`: what its output is to be set to, None: as it is set already.

    A thread fetches the recording; it alone talks to the application from `start` to `stop`.
    """

    name = "otii"

    def __init__(
        self, address: str = "", voltage_v: float | None = None, rate_hz: float | None = None
    ) -> None:
        self._address = address
        self._voltage_v = voltage_v
        self._asked_hz = rate_hz
        self._rate_hz = rate_hz or ARC_RATE_HZ
        self._client: Any = None
        self._otii: Any = None
        self._device: Any = None
        self._queue: queue.SimpleQueue[TraceChunk | ProbeLostError] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._provenance: dict[str, str] = {}
        self._volts, self._samples = 0.0, 0

    @property
    def capabilities(self) -> Capabilities:
        """Those of the Arc until an Ace is open."""
        kind = self._device.type if self._device is not None else "Arc"
        return Capabilities("measured", ACCURACY.get(kind, ACCURACY["Arc"]), trigger_lines=2)

    @property
    def rate_hz(self) -> float:
        """Samples of current a second."""
        return self._rate_hz

    def open(self) -> None:
        """Connect, claim the instrument, set its voltage; `ProbeError` with what to do."""
        self.close()
        module = vendor_package(f"{PACKAGE}.otii_client", EXTRA, TITLE)
        self._client = module.OtiiClient()
        try:
            self._otii = self._ask(
                "connects",
                "start Otii 3, switch its TCP server on, put credentials.json here or log in, and "
                "free an Automation licence",
                self._client.connect,
            )
            self._device = self._choose(
                self._ask("lists its instruments", "replug them", _devices, self._otii)
            )
            self._configure()
        except BaseException:
            self.close()
            raise

    def start(self) -> TraceInfo:
        """Begin a recording in the application's open project, or in a new one."""

        def record() -> Any:
            project = self._otii.get_active_project() or self._otii.create_project()
            project.start_recording()
            return project, project.get_last_recording()

        project, recording = self._ask(
            "starts recording", "stop the recording that runs in the application", record
        )
        self._stop.clear()
        self._queue = queue.SimpleQueue()
        self._volts, self._samples = 0.0, 0
        self._thread = threading.Thread(
            target=self._fetch, args=(project, recording), name="otii", daemon=True
        )
        self._thread.start()
        return self._info()

    def stop(self) -> TraceInfo:
        """End the recording and wait until all of it was fetched."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._stop.set()
            thread.join(STOP_S)
        return self._info()

    def read(self) -> Iterator[TraceChunk]:
        """What was fetched and not read; waits 50 ms for a first chunk while the recording runs."""
        wait_s = WAIT_S if self._thread is not None else 0.0
        while True:
            try:
                item = self._queue.get(wait_s > 0, wait_s or None)
            except queue.Empty:
                return
            wait_s = 0.0
            if isinstance(item, ProbeLostError):
                raise item
            yield item

    def close(self) -> None:
        """Disconnect. The output stays as it is: the board may still be at work."""
        self.stop()
        client, self._client = self._client, None
        if client is not None and self._otii is not None:
            with contextlib.suppress(Exception):
                client.disconnect()
        self._otii = self._device = None

    def _choose(self, devices: list[Any]) -> Any:
        mine = [d for d in devices if self._address in ("", d.id, d.name)]
        if len(mine) == 1:
            return mine[0]
        there = ", ".join(f"{d.name} ({d.id})" for d in devices) or "none"
        wanted = f"no Otii {self._address}".rstrip() if not mine else "several Otiis"
        raise ProbeError(
            f"there is {wanted} (connected: {there}), expected one; plug it in, or name it with "
            "--probe otii:NAME"
        )

    def _configure(self) -> None:
        device, ace = self._device, self._device.type == "Ace"
        rate_hz = self._asked_hz or (ACE_RATE_HZ if ace else ARC_RATE_HZ)
        if not ace and rate_hz != ARC_RATE_HZ:
            raise ProbeError(
                f"the Otii Arc samples at {ARC_RATE_HZ:.0f} Hz, not at {rate_hz:.7g}; leave --rate out"
            )
        volts = self._voltage_v
        if volts is not None and not MIN_V <= volts <= MAX_V:
            raise ProbeError(
                f"an Otii supplies {MIN_V} to {MAX_V:.0f} V, not {volts:.7g} V; give the board's own "
                "with --voltage"
            )

        def configure() -> tuple[float, bool, dict[str, Any]]:
            device.add_to_project()
            if volts is not None:
                device.set_main_voltage(volts)
                if not device.get_main():
                    device.set_main(True)
            for channel in ("mc", "mv", *LINES):
                device.enable_channel(channel, True)
            if ace:
                device.set_channel_samplerate("mc", int(rate_hz))
            self._rate_hz = float(device.get_channel_samplerate("mc") if ace else rate_hz)
            return float(device.get_main_voltage()), bool(device.get_main()), device.get_version()

        set_v, on, version = self._ask(
            "takes its settings", "close other programs that use it", configure
        )
        if not on:
            raise ProbeError(
                f"the main output of {device.name} is off, expected it to supply the board; switch it "
                "on in the application, or repeat with --voltage"
            )
        self._provenance = {
            "instrument": f"Otii {device.type} {device.name}",
            "serial": str(device.id),
            "firmware": str(version.get("fw_version", "")),
            "voltage set": f"{set_v:.4g} V",
        }

    def _info(self) -> TraceInfo:
        provenance = dict(self._provenance)
        if self._samples:
            provenance["voltage measured"] = f"{self._volts / self._samples:.4g} V on average"
        return TraceInfo(
            kind="measured",
            rate_hz=self._rate_hz,
            sampling="mean",
            probe=self.name,
            provenance=provenance,
            accuracy=self.capabilities.accuracy,
        )

    def _ask(self, what: str, then: str, call: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return call(*arguments)
        except ProbeError:
            raise
        except Exception as exc:  # the package raises Exception itself
            detail = getattr(exc, "message", None) or exc or type(exc).__name__
            raise ProbeError(
                f"the Otii application refuses or does not answer ({detail}), expected that it "
                f"{what}; {then}, and repeat"
            ) from exc

    def _fetch(self, project: Any, recording: Any) -> None:
        """The thread: fetch what is recorded until told to stop, then the rest."""
        fetcher = Fetcher(self._device, recording, self._rate_hz)
        try:
            while not self._stop.wait(POLL_S):
                self._deliver(fetcher, HOLD_BACK_S)
                if not self._device.is_connected():
                    self._deliver(fetcher, 0.0)
                    raise ConnectionError("the instrument is not connected")
            project.stop_recording()
            self._deliver(fetcher, 0.0)
        except Exception as exc:  # the package raises Exception itself
            detail = getattr(exc, "message", None) or exc or type(exc).__name__
            lost = ProbeLostError(
                f"the Otii or its application was lost while it recorded ({detail}), expected it to "
                "stay; what was fetched is kept: check cable and application and repeat"
            )
            lost.__cause__ = exc
            self._queue.put(lost)

    def _deliver(self, fetcher: Fetcher, hold_back_s: float) -> None:
        for chunk in fetcher.fetch(hold_back_s):
            volts = chunk.voltage_v[np.isfinite(chunk.voltage_v)]
            self._volts += float(volts.sum())
            self._samples += len(volts)
            self._queue.put(chunk)


def _devices(otii: Any) -> list[Any]:
    return [d for d in otii.get_devices() if d.type in ACCURACY]
