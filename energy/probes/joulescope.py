"""Joulescope JS110 and JS220, through the vendor's package `pyjoulescope_driver`.

The driver is a tree of topics (its documentation, "Streaming and statistics topics"): a stream is
switched on by publishing 1 to `…/ctrl` and comes as dictionaries on `…/!data`, called from a thread
of the driver's. `sample_id` counts at the instrument's own rate and is the only clock used here;
blocks that are missing on it are gaps. An instrument that is unplugged is told of on `@/!remove`.

Digital inputs: two on the JS110, four on the JS220. The JS220 sends at most three of them together
with the current range, so with four the range is not asked for and range switches are not marked.
"""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Iterator
from typing import Any

from energy.errors import ProbeError, ProbeLostError
from energy.probes import Capabilities, Found, Instrument, ProbeOptions
from energy.probes.joulescope_lanes import Assembler
from energy.probes.registry import vendor_package
from energy.samples import Accuracy, TraceChunk, TraceInfo

PACKAGE, EXTRA, TITLE = "pyjoulescope_driver", "joulescope", "A Joulescope"
DEFAULT_RATE_HZ = 100_000.0
NATIVE_HZ = {"js110": 2_000_000, "js220": 1_000_000}
LINES = {"js110": 2, "js220": 4}
MAX_LINES_WITH_RANGE = 3
WAIT_S = 0.05
FAULTS = (RuntimeError, OSError, ValueError)  # what the driver raises; TimeoutError is an OSError
_ASSUMED = (
    "assumed, wider than the maker's typical figures: the data sheet's limits depend on range and "
    "temperature; an instrument's own calibration certificate is tighter"
)
ACCURACY = {
    "js110": Accuracy(0.01, 3e-6, 0.01, 5e-3, 50e-6, _ASSUMED),
    "js220": Accuracy(0.005, 1e-6, 0.005, 5e-3, 50e-6, _ASSUMED),
}


def create(options: ProbeOptions) -> JoulescopeProbe:
    """The Joulescope with the serial number `options.address`, or the only one; opens nothing."""
    return JoulescopeProbe(options.address, options.rate_hz or DEFAULT_RATE_HZ)


def detect() -> list[Found]:
    """The Joulescopes that the driver sees; raises `ProbeError` where it cannot be used."""
    with _driver() as driver:
        return [Found("joulescope", p.split("/")[-1], _title(p)) for p in _paths(driver)]


class JoulescopeProbe(Instrument):
    """One Joulescope. `serial`: its number, or '' for the only one; `rate_hz`: of the trace."""

    name = "joulescope"

    def __init__(self, serial: str = "", rate_hz: float = DEFAULT_RATE_HZ) -> None:
        self._serial = serial
        self._rate_hz = rate_hz
        self._stack = contextlib.ExitStack()
        self._driver: Any = None
        self._path = ""
        self._queue: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._assembler = Assembler(0, with_range=False)
        self._subscribed: list[str] = []
        self._streams: dict[str, str] = {}
        self._running = self._lost = self._told = False
        self._callback = self._on_message  # the driver knows a callback by identity

    @property
    def model(self) -> str:
        """`js110` or `js220`; the latter until one is open."""
        return self._path.split("/")[1] if self._path else "js220"

    @property
    def capabilities(self) -> Capabilities:
        """Those of the model that is open."""
        return Capabilities("measured", ACCURACY[self.model], trigger_lines=LINES[self.model])

    @property
    def rate_hz(self) -> float:
        """Samples a second: asked for, and what the instrument sends once it does."""
        return self._assembler.rate_hz or self._rate_hz

    def open(self) -> None:
        """Find and claim the instrument; `ProbeError` if there is none, or it is in use."""
        self.close()
        self._driver = self._stack.enter_context(_driver())
        try:
            self._path = self._choose(_paths(self._driver))
            native = NATIVE_HZ[self.model]
            if self._rate_hz < 1 or native % self._rate_hz:
                raise ProbeError(
                    f"a {self.model.upper()} cannot sample at {self._rate_hz:.7g} Hz, expected a "
                    f"whole part of {native:,} Hz, as 100000; choose another --rate"
                )
            try:
                self._driver.open(self._path, mode="defaults")
            except FAULTS as exc:
                path, self._path = self._path, ""
                raise ProbeError(
                    f"{_title(path)} cannot be opened ({exc}): in use by another program, or you "
                    "may not use it; close the Joulescope UI, on Linux install its udev rules, "
                    "and repeat"
                ) from exc
            self._configure()
        except BaseException:
            self.close()
            raise

    def start(self) -> TraceInfo:
        """Switch the streams on."""
        lines = LINES[self.model]
        self._streams = {"current": "s/i", "voltage": "s/v"}
        self._streams.update({f"gpi{n}": f"s/gpi/{n}" for n in range(lines)})
        if lines <= MAX_LINES_WITH_RANGE:
            self._streams["range"] = "s/i/range"
        self._assembler = Assembler(lines, with_range="range" in self._streams)
        self._queue = queue.SimpleQueue()
        self._lost = self._told = False
        self._subscribe("@/!remove")
        for topic in self._streams.values():
            self._subscribe(f"{self._path}/{topic}/!data")
        for topic in self._streams.values():
            self._publish(f"{topic}/ctrl", 1)
        self._running = True
        return self._info()

    def stop(self) -> TraceInfo:
        """Switch the streams off; what came can still be read."""
        if self._running:
            self._running = False
            with contextlib.suppress(*FAULTS):  # an unplugged instrument takes nothing any more
                for topic in self._streams.values():
                    self._driver.publish(f"{self._path}/{topic}/ctrl", 0)
            self._unsubscribe()
        return self._info()

    def read(self) -> Iterator[TraceChunk]:
        """What has come and was not read; after `stop` all of it."""
        self._collect(WAIT_S if self._running and not self._lost else 0.0)
        yield from self._assembler.take(everything=self._lost or not self._running)
        if self._lost and self._running and not self._told:
            self._told = True
            raise ProbeLostError(
                f"{_title(self._path)} was unplugged or reset while it sampled, expected it to stay; "
                "what it had sent is kept: check its USB cable and repeat"
            )

    def close(self) -> None:
        """Switch off and release."""
        if self._running:
            self.stop()
        driver, self._driver = self._driver, None
        if driver is not None:
            with contextlib.suppress(*FAULTS):
                self._unsubscribe(driver)
            if self._path and not self._lost:
                with contextlib.suppress(*FAULTS):
                    driver.close(self._path)
        self._stack.close()

    def _collect(self, wait_s: float) -> None:
        """Empty the queue, waiting for a first message at most `wait_s`."""
        try:
            while True:
                topic, value = self._queue.get(wait_s > 0, wait_s or None)
                wait_s = 0.0
                if topic == "@/!remove":
                    self._lost = self._lost or value == self._path
                else:
                    self._assembler.put(self._named[topic], value)
        except queue.Empty:
            return

    @property
    def _named(self) -> dict[str, str]:
        return {f"{self._path}/{topic}/!data": name for name, topic in self._streams.items()}

    def _on_message(self, topic: str, value: Any) -> None:
        self._queue.put((topic, value))  # called from the driver's thread

    def _subscribe(self, topic: str) -> None:
        self._driver.subscribe(topic, "pub", self._callback)
        self._subscribed.append(topic)

    def _unsubscribe(self, driver: Any = None) -> None:
        while self._subscribed:
            (driver or self._driver).unsubscribe(self._subscribed.pop(), self._callback)

    def _publish(self, topic: str, value: Any) -> None:
        try:
            self._driver.publish(f"{self._path}/{topic}", value)
        except FAULTS as exc:
            raise ProbeError(
                f"{_title(self._path)} did not take {topic} = {value} ({exc}); unplug it, update its "
                "firmware with the Joulescope UI, and repeat"
            ) from exc

    def _configure(self) -> None:
        """Ranges automatic, digital inputs at 3.3 V, the trace's rate."""
        if self.model == "js110":
            self._publish("s/i/range/select", "auto")
            self._publish("s/extio/voltage", 3300)
        else:
            self._publish("s/i/range/mode", "auto")
            self._publish("s/v/range/mode", "auto")
            self._publish("c/gpio/vref", "3.3V")
        self._publish("h/fs", int(self._rate_hz))

    def _choose(self, paths: list[str]) -> str:
        mine = [p for p in paths if not self._serial or p.split("/")[-1] == self._serial]
        if len(mine) == 1:
            return mine[0]
        there = ", ".join(p.split("/")[-1] for p in paths) or "none"
        wanted = f"no Joulescope {self._serial}".rstrip() if not mine else "several Joulescopes"
        raise ProbeError(
            f"there is {wanted} (plugged in: {there}), expected one; plug it in, or name it with "
            "--probe joulescope:SERIAL"
        )

    def _info(self) -> TraceInfo:
        return TraceInfo(
            kind="measured",
            rate_hz=self.rate_hz,
            sampling="mean",
            probe=self.name,
            provenance={"instrument": _title(self._path), "serial": self._path.split("/")[-1]},
            accuracy=ACCURACY[self.model],
        )


@contextlib.contextmanager
def _driver() -> Iterator[Any]:
    package = vendor_package(PACKAGE, EXTRA, TITLE)
    try:
        driver = package.Driver()
    except FAULTS as exc:
        raise ProbeError(
            f"the Joulescope driver does not start ({exc}), expected it to; unplug and replug the "
            "instrument and repeat"
        ) from exc
    try:
        yield driver
    finally:
        with contextlib.suppress(*FAULTS):
            driver.finalize()


def _paths(driver: Any) -> list[str]:
    """Paths such as `u/js220/000415` of the models that are known here."""
    try:
        return [p for p in driver.device_paths() if p.split("/")[1] in LINES]
    except FAULTS as exc:
        raise ProbeError(
            f"the Joulescope driver cannot list instruments ({exc}); replug them and repeat"
        ) from exc


def _title(path: str) -> str:
    parts = path.split("/")
    return f"Joulescope {parts[1].upper()} {parts[2]}" if len(parts) == 3 else "the Joulescope"
