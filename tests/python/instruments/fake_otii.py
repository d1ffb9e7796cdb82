"""Stands for the package `otii_tcp_client` and the application behind it."""

from __future__ import annotations

import enum
from typing import Any

from numpy.typing import NDArray


class OtiiException(Exception):
    """As the package's: the text stands in `message`."""

    def __init__(self, message: str) -> None:
        super().__init__()
        self.message = message


class LicensingMode(enum.Enum):
    AUTO = "auto"
    MANUAL = "manual"


class FakeRecording:
    """A recording that `grow` makes longer. `start_s`: its first sample's time."""

    def __init__(self, current: NDArray[Any], rate_hz: float, volts: float) -> None:
        self.current, self.rate_hz, self.volts = current, rate_hz, volts
        self.there = 0
        self.start_s = 0.25
        self.lost: tuple[int, int] = (1 << 60, 0)  # from this sample on, so many are missing before
        self.events: list[tuple[float, bool]] = []
        self.broken: Exception | None = None
        self.largest = 0

    def grow(self, samples: int) -> None:
        self.there = min(len(self.current), self.there + samples)

    def _time(self, index: int) -> float:
        late = self.lost[1] if index >= self.lost[0] else 0
        return self.start_s + (index + late) / self.rate_hz

    def get_channel_info(self, device_id: str, channel: str) -> dict[str, Any]:
        return {"sample_rate": 1000 if channel == "mv" else self.rate_hz}

    def get_channel_data_count(self, device_id: str, channel: str) -> int:
        if self.broken is not None:
            raise self.broken
        if channel == "i1":
            return len([t for t, _ in self.events if t < self._time(self.there)])
        if channel == "i2":
            return 0
        return self.there if channel == "mc" else int(self.there * 1000 / self.rate_hz)

    def get_channel_data(self, device_id: str, channel: str, index: int, count: int) -> Any:
        if channel == "i1":
            some = self.events[index : index + count]
            return {"values": [{"timestamp": t, "value": v} for t, v in some]}
        self.largest = max(self.largest, count)
        if channel == "mv":
            return {"timestamp": self.start_s + index / 1000, "values": [self.volts] * count}
        stop = min(index + count, self.there)
        if index < self.lost[0] < stop:
            stop = self.lost[0]
        values = self.current[index:stop].tolist()
        return {"timestamp": self._time(index), "values": values}


class FakeDevice:
    def __init__(self, kind: str = "Arc", name: str = "Arc one") -> None:
        self.type, self.name, self.id = kind, name, f"id-{name}"
        self.main, self.set_v, self.rates = False, 3.3, {"mc": 50_000}
        self.channels: set[str] = set()
        self.connected = True

    def add_to_project(self) -> None: ...

    def set_main_voltage(self, value: float) -> None:
        self.set_v = value

    def get_main_voltage(self) -> float:
        return self.set_v

    def get_main(self) -> bool:
        return self.main

    def set_main(self, enable: bool) -> None:
        self.main = enable

    def enable_channel(self, channel: str, enable: bool) -> None:
        assert enable
        self.channels.add(channel)

    def set_channel_samplerate(self, channel: str, value: int) -> None:
        self.rates[channel] = value

    def get_channel_samplerate(self, channel: str) -> int:
        return self.rates[channel]

    def get_gpi(self, pin: int) -> bool:
        return False

    def get_version(self) -> dict[str, str]:
        return {"hw_version": "1", "fw_version": "2.3"}

    def is_connected(self) -> bool:
        return self.connected


class FakeOtii:
    """Package, client, application and project in one."""

    LicensingMode = LicensingMode

    def __init__(self, devices: list[Any], recording: FakeRecording) -> None:
        self.devices, self.recording = devices, recording
        self.recordings_running = 0
        self.refuses: Exception | None = None
        self.log: list[str] = []

    def OtiiClient(self) -> FakeOtii:
        return self

    def connect(self, **_: Any) -> FakeOtii:
        if self.refuses is not None:
            raise self.refuses
        self.log.append("connect")
        return self

    def disconnect(self) -> None:
        self.log.append("disconnect")

    def get_devices(self) -> list[Any]:
        return self.devices

    def get_active_project(self) -> None:
        return None

    def create_project(self) -> FakeOtii:
        return self

    def start_recording(self) -> None:
        if self.recordings_running:
            raise OtiiException("recording already running")
        self.recordings_running += 1

    def stop_recording(self) -> None:
        self.recordings_running -= 1

    def get_last_recording(self) -> FakeRecording:
        return self.recording
