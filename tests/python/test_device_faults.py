"""Whatever the port loses, damages, doubles or splits: the results are the same, or there is one clear sentence."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import cache

import pytest
from serial.serialutil import SerialException

from host.device import Device
from host.errors import HostError
from host.order import epoch_order
from host.protocol import messages as m
from host.protocol import timing
from host.protocol.frame import FrameDecoder, encode_frame
from host.protocol.link import Link
from host.transport import open_port
from tests.native import NativeBuild
from tests.python.faulty_port import Faults, FaultyPort
from tests.python.small_board import native_url, small_task

COUNT = 21
QUICK = {kind: replace(wait, first_retry_s=0.02) for kind, wait in timing._KINDS.items()}


@pytest.fixture(autouse=True)
def native(native_build: NativeBuild, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TBFT_NATIVE", str(native_build.binary))
    monkeypatch.setattr(timing, "_KINDS", QUICK)
    monkeypatch.setattr(timing, "MAX_RETRY_S", 0.2)


def session(device: Device) -> tuple[bytes, list[int], list[float], int]:
    """All that a session does; what it found."""
    task = small_task()
    phases: list[int] = []
    device.push_artifact(task.data)
    device.configure(3, on_phase=lambda record, _start, _stop: phases.append(record.phase))
    device.load_samples(task.images, task.labels)
    results = [
        device.train_epoch(epoch_order(3, epoch, COUNT).tolist(), 4, 0.05) for epoch in range(2)
    ]
    found = device.predict(task.images[:4]).tolist()
    found += device.predict_slots(range(COUNT)).tolist()
    device.complete_events()
    weights = device.read_weights(task.nodes)
    assert device.events is not None
    assert device.events.lost == 0
    digest = device.weights_sha256()
    assert weights
    return digest, found, [result.loss for result in results], len(phases)


@cache
def undisturbed() -> tuple[bytes, list[int], list[float], int]:
    with Device.open(native_url()) as device:
        return session(device)


FAULTS = {
    "split": Faults(split=True),
    "drop": Faults(drop=0.0005),
    "damage": Faults(damage=0.0005),
    "duplicate": Faults(duplicate=0.0005),
    "noise": Faults(noise=0.0005),
    "lost frames": Faults(lose_frame=0.05),
    "doubled frames": Faults(double_frame=0.3),
    "everything": Faults(0.0002, 0.0002, 0.0002, 0.0002, True, 0.02, 0.1),
}


@pytest.mark.parametrize("name", FAULTS)
def test_results_are_the_same(name: str) -> None:
    port = FaultyPort(open_port(native_url()), FAULTS[name], seed=len(name))
    with Device(port, "faulty://") as device:
        assert session(device) == undisturbed()
        if name != "split":
            assert port.faults_done > 5
        if name in ("drop", "damage", "lost frames", "everything"):
            assert device.link.retries > 0
        port.active = False


class ScriptedPort:
    """A port whose other end is a function of the frames that come in."""

    def __init__(self, answer) -> None:
        self.timeout: float | None = None
        self._answer = answer
        self._decoder = FrameDecoder()
        self._out = bytearray()
        self.closed = False

    def write(self, data: bytes) -> int:
        for frame in self._decoder.push(data):
            self._out += self._answer(frame)
        return len(data)

    def read(self, size: int = 1) -> bytes:
        if not self._out:
            time.sleep(min(self.timeout or 0, 0.01))
        out = bytes(self._out[:size])
        del self._out[:size]
        return out

    def close(self) -> None:
        self.closed = True


IDENTITY = m.IdentifyResponse(
    protocol_version=7, load_code=1, load_record=0, board="old", firmware="0.0.1",
    model_hash=bytes(32), clock_hz=0, arena_limit_bytes=1, arena_bytes=0, persistent_bytes=0,
    artifact_limit_bytes=1, artifact_bytes=0, input_limit_bytes=1, input_bytes=0, input_height=0,
    input_width=0, input_channels=0, classes=0, cache_slots=0, cached_sample_bytes=0,
    trained_tensors=0, update_mode=0, flags=0, trained_bytes=0, step=0, event_limit=0,
    body_limit=1024, region_limit_bytes=(1,),
)  # fmt: skip


def test_silence_is_one_sentence() -> None:
    with pytest.raises(HostError, match=r"nothing at here answers \(Abort, .* s\)"):
        Device(ScriptedPort(lambda frame: b""), "here", time_scale=0.01)


def test_noise_is_silence_too() -> None:
    port = ScriptedPort(lambda frame: b"Guru Meditation Error\0")
    with pytest.raises(HostError, match="nothing at here answers"):
        Device(port, "here", time_scale=0.01)


def test_another_protocol_version_is_refused() -> None:
    def answer(frame):
        if frame.type == m.Identify.TYPE:
            return encode_frame(frame.type | 0x80, frame.sequence, IDENTITY.pack())
        error = m.Error(m.WireStatus.WRONG_VERSION, 7, "other version")
        return encode_frame(m.Error.TYPE, frame.sequence, error.pack())

    with pytest.raises(
        HostError,
        match=rf"firmware 0\.0\.1\) speaks protocol version 7, expected {m.PROTOCOL_VERSION}",
    ):
        Device(ScriptedPort(answer), "here")


def test_progress_keeps_a_long_request_alive() -> None:
    asked = 0

    def answer(frame):
        nonlocal asked
        asked += 1
        if asked < 8:
            progress = m.Progress(asked, 8)
            return encode_frame(m.Progress.TYPE, frame.sequence, progress.pack())
        body = m.WeightsHashResponse(bytes(32)).pack()
        return encode_frame(frame.type | 0x80, frame.sequence, body)

    link = Link(ScriptedPort(answer), "here", time_scale=0.01)
    seen: list[int] = []
    link.on_progress = lambda done, _total: seen.append(done)
    assert link.request(m.WeightsHash()).sha256 == bytes(32)
    assert seen == list(range(1, 8))


def test_old_answers_logs_and_strange_notices_are_no_answers() -> None:
    logged: list[str] = []

    def answer(frame):
        kind = frame.type | 0x80
        old = encode_frame(
            kind, frame.sequence - 1 & 0xFFFF, m.WeightsHashResponse(b"o" * 32).pack()
        )
        log = encode_frame(m.Log.TYPE, frame.sequence, m.Log(1, "hello").pack())
        other = encode_frame(0x6F, frame.sequence, b"?")
        return old + log + other + encode_frame(kind, frame.sequence, b"n" * 32)

    link = Link(ScriptedPort(answer), "here")
    link.on_log = lambda line: logged.append(line.text)
    assert link.request(m.WeightsHash()).sha256 == b"n" * 32
    assert logged == ["hello"]


def test_an_answer_of_another_form_is_one_sentence() -> None:
    port = ScriptedPort(lambda frame: encode_frame(frame.type | 0x80, frame.sequence, b"short"))
    with pytest.raises(HostError, match="update host and firmware"):
        Link(port, "here").request(m.WeightsHash())


def test_a_pulled_cable_is_one_sentence() -> None:
    class Pulled(ScriptedPort):
        def read(self, size: int = 1) -> bytes:
            raise SerialException("device reports readiness to read but returned no data")

    link = Link(Pulled(lambda frame: b""), "/dev/ttyUSB0")
    with pytest.raises(HostError, match=r"the port /dev/ttyUSB0 is gone .* plug the board in"):
        link.request(m.WeightsHash())
    assert link.dead
