"""The device client against the firmware as a process of this computer."""

from __future__ import annotations

import hashlib
import itertools
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from host.device import Device
from host.errors import HostError
from host.order import epoch_order
from host.protocol import messages as m
from host.protocol.frame import Frame, FrameDecoder, encode_frame
from host.protocol.link import DeviceError
from host.transport import open_port
from tests.native import NativeBuild
from tests.python.small_board import SmallTask, flash_file, native_url, open_native, small_task

COUNT = 21
EPOCHS, BATCH, LR = 2, 4, 0.05


@pytest.fixture(autouse=True)
def native(native_build: NativeBuild, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TBFT_NATIVE", str(native_build.binary))


@pytest.fixture
def task() -> SmallTask:
    return small_task()


@pytest.fixture
def device(task: SmallTask) -> Iterator[Device]:
    with open_native(board_name="bench") as board:
        board.push_artifact(task.data)
        board.configure(3)
        yield board


def train(device: Device, task: SmallTask) -> bytes:
    device.load_samples(task.images, task.labels)
    for epoch in range(EPOCHS):
        device.train_epoch(epoch_order(3, epoch, COUNT).tolist(), BATCH, LR)
    return device.weights_sha256()


def test_identity_of_an_empty_board_and_of_a_loaded_one(task: SmallTask) -> None:
    with open_native(board_name="bench", arena_bytes=100_000) as board:
        empty = board.identity
        assert (empty.board, empty.arena_limit_bytes, empty.load_code) == ("bench", 100_000, 1)
        assert empty.cache_slots == empty.input_bytes == empty.arena_bytes == 0
        board.push_artifact(task.data)
        full = board.identity
        assert full.load_code == 0
        assert full.model_hash == task.data[16:48]
        assert full.artifact_bytes == len(task.data)
        assert (full.input_height, full.input_width, full.input_channels) == task.images.shape[1:]
        assert full.input_bytes == task.images[0].size
        assert full.classes == task.classes
        assert full.trained_tensors == 2 * len(task.nodes)
        assert full.cache_slots > COUNT


def test_training_is_repeatable_and_moves_the_weights(device: Device, task: SmallTask) -> None:
    before = device.weights_sha256()
    first = train(device, task)
    assert first != before
    device.configure(3)
    assert device.weights_sha256() == before
    assert train(device, task) == first
    device.configure(4)
    assert train(device, task) != first


def test_every_way_to_send_samples_trains_alike(device: Device, task: SmallTask) -> None:
    cached = train(device, task)
    device.configure(3)
    results = []
    for epoch in range(EPOCHS):
        order = epoch_order(3, epoch, COUNT)
        results.append(device.train_epoch_uncached(task.images, task.labels, order, BATCH, LR))
    assert device.weights_sha256() == cached
    assert [result.samples for result in results] == [COUNT] * EPOCHS
    assert results[-1].step == EPOCHS * -(-COUNT // BATCH)
    boundary = device.identity.cached_sample_bytes
    for slots in (3, 7):
        with open_native(cache_bytes=slots * (boundary + 4)) as small:
            small.push_artifact(task.data)
            assert small.identity.cache_slots == slots
            small.configure(3)
            for epoch in range(EPOCHS):
                order = epoch_order(3, epoch, COUNT)
                small.train_epoch_resending(task.images, task.labels, order, BATCH, LR)
            assert small.weights_sha256() == cached
            with pytest.raises(HostError, match=f"has {slots} for this model"):
                small.load_samples(task.images, task.labels)


def test_a_batch_larger_than_a_request(device: Device, task: SmallTask) -> None:
    device.load_samples(task.images, task.labels)
    order = np.arange(150) % COUNT
    whole = device.train_epoch(order.tolist(), 100, LR)
    assert whole.step == 2
    weights = device.weights_sha256()
    device.configure(3)
    device.train_epoch_uncached(task.images, task.labels, order, 100, LR)
    assert device.weights_sha256() == weights


def test_immediate_mode_updates_after_every_sample() -> None:
    task = small_task("immediate")
    with open_native() as board:
        board.push_artifact(task.data)
        board.configure(3)
        assert board.identity.update_mode == 1
        board.load_samples(task.images, task.labels)
        assert board.train_epoch(range(COUNT), BATCH, LR).step == COUNT
        weights = board.weights_sha256()
        board.configure(3)
        board.train_epoch_uncached(task.images, task.labels, range(COUNT), BATCH, LR)
        assert board.weights_sha256() == weights


def test_inference_from_image_and_from_cache_agree(device: Device, task: SmallTask) -> None:
    device.load_samples(task.images, task.labels)
    for slot, image in enumerate(task.images[:5]):
        logits = device.infer(image)
        assert logits.shape == (task.classes,)
        assert (device.infer_slot(slot) == logits).all()
    found = device.predict(task.images)
    assert (device.predict_slots(range(COUNT)) == found).all()
    assert device.evaluate(task.images, task.labels) == np.mean(found == task.labels)


def test_weights_travel_both_ways(device: Device, task: SmallTask) -> None:
    initial = device.read_weights(task.nodes)
    train(device, task)
    trained = device.read_weights(task.nodes)
    table = device.tensor_table()
    assert sum(record.bytes for record in table) == device.identity.trained_bytes
    assert sum(array.nbytes for array in trained.values()) == device.identity.trained_bytes
    digest = hashlib.sha256(b"".join(array.tobytes() for array in trained.values())).digest()
    assert digest == device.weights_sha256()
    device.write_weights(initial, task.nodes)
    assert {k: v.tobytes() for k, v in device.read_weights(task.nodes).items()} == {
        k: v.tobytes() for k, v in initial.items()
    }
    device.write_weights(trained, task.nodes)
    assert device.weights_sha256() == digest
    name = next(iter(trained))
    with pytest.raises(HostError, match="trains no tensor 'other'"):
        device.write_weights({"other": trained[name]}, task.nodes)
    with pytest.raises(HostError, match="elements, the board's is"):
        device.write_weights({name: trained[name][:-1]}, task.nodes)
    with pytest.raises(DeviceError, match="WriteWeights"):
        device.write_weights({name: np.full_like(trained[name], -128)}, task.nodes)
    assert device.weights_sha256() == digest


def test_committed_weights_outlive_the_process(task: SmallTask, tmp_path: Path) -> None:
    flash = flash_file(tmp_path)
    with open_native(flash=flash) as board:
        board.push_artifact(task.data)
        board.configure(3)
        trained = train(board, task)
        assert board.commit() > 0
        step = board.identify().step
    with open_native(flash=flash) as board:
        board.push_artifact(task.data)
        assert board.identity.flags & 2
        assert board.identity.step == step > 0
        assert board.weights_sha256() == trained
        board.configure(3, reset_weights=False)
        board.load_samples(task.images, task.labels)
        board.train_epoch(range(COUNT), BATCH, LR)
        board.configure(3)
        assert board.weights_sha256() != trained


def test_upload_goes_on_where_it_stopped(task: SmallTask) -> None:
    with open_native() as board:
        digest = hashlib.sha256(task.data).digest()
        assert board.link.request(m.ArtifactBegin(len(task.data), digest)).received == 0
        board.link.request(m.ArtifactChunk(0, task.data[:1008]))
        seen: list[tuple[int, int]] = []
        board.push_artifact(task.data, lambda done, total: seen.append((done, total)))
        assert seen[0] == (1008, len(task.data))
        assert seen[-1] == (len(task.data), len(task.data))
        seen.clear()
        board.push_artifact(task.data, lambda done, total: seen.append((done, total)))
        assert seen == [(len(task.data), len(task.data))]
        other = small_task("immediate")
        board.push_artifact(other.data)
        assert board.identity.model_hash == other.data[16:48]


def test_artifact_from_the_command_line(task: SmallTask, tmp_path: Path) -> None:
    path = tmp_path / "model.tbfa"
    path.write_bytes(task.data)
    with open_native(artifact=path) as board:
        assert board.identity.load_code == 0
    path.write_bytes(task.data[:-20])
    with open_native(artifact=path) as board:
        assert board.identity.load_code != 0


def test_what_does_not_fit_is_refused(task: SmallTask) -> None:
    with open_native(arena_bytes=64) as board:
        with pytest.raises(HostError, match=r"needs .* bytes of arena, the board native .* has 64"):
            board.push_artifact(task.data)
        with pytest.raises(HostError, match="not an artifact"):
            board.push_artifact(b"TBF" + task.data)
    with open_native(arena_bytes="4096,4096,4096,4096") as board:
        assert board.identity.region_limit_bytes == (4096,) * 4
        assert board.identity.arena_limit_bytes == 16384
        expected = (
            r"planned for .* bytes of arena, the board native .* has 4,096 \+ 4,096 .* --board"
        )
        with pytest.raises(HostError, match=expected):
            board.push_artifact(task.data)
    with open_native() as board:
        with pytest.raises(HostError, match="has room for"):
            board.push_artifact(task.data + bytes(5 << 20))
        damaged = bytearray(task.data)
        damaged[-40] ^= 1
        with pytest.raises(DeviceError, match="ArtifactEnd"):
            board.push_artifact(bytes(damaged))
        assert board.identity.load_code != 0
        with pytest.raises(HostError, match="holds no network"):
            board.infer(task.images[0])
        board.push_artifact(task.data)
        with pytest.raises(HostError, match="choose data that fit"):
            board.infer(task.images[0][:-1])


def test_errors_leave_the_board_usable(device: Device, task: SmallTask) -> None:
    weights = device.weights_sha256()
    with pytest.raises(DeviceError) as empty:
        device.train_epoch([0], 1, LR)
    assert "Train" in str(empty.value)
    with pytest.raises(DeviceError):
        device.infer_slot(5)
    with pytest.raises(DeviceError):
        device.link.request(m.CacheInput(0, 0, 0))  # nothing uploaded
    device.upload(task.images[0])
    with pytest.raises(DeviceError):
        device.link.request(m.CacheInput(0, task.classes, 0))
    with pytest.raises(DeviceError):
        device.link.request(m.Train(1, 0, 1, 0, ()))  # mantissa out of range
    with pytest.raises(DeviceError):
        device.link.request(m.Train(0, 0, 1, 0, tuple(range(m.MAX_SLOTS + 1))))
    with pytest.raises(DeviceError):
        device.link.request(m.ReadWeights(0, 0, 1025))
    with pytest.raises(DeviceError):
        device.link.request(m.ReadWeights(999, 0, 1))
    with pytest.raises(DeviceError):
        device.link.request(m.InputChunk(500, b"x"))
    assert device.weights_sha256() == weights
    train(device, task)


def test_phase_events_tell_the_work(device: Device, task: SmallTask) -> None:
    events: list[tuple[m.PhaseRecord, int, int]] = []
    device.configure(3, on_phase=lambda *event: events.append(event))
    device.load_samples(task.images[:8], task.labels[:8])
    device.load_samples(task.images[8:9], task.labels[8:9], slots=[8], evaluation=True)
    device.train_epoch(range(8), BATCH, LR)
    device.commit()
    device.complete_events()
    phases = [record.phase for record, _, _ in events]
    # The whole network is trained: its prefix is empty.
    assert phases == [1, 2] * 8 + [1, 8] + ([3, 4] * 4 + [5]) * 2 + [6]
    assert all(start <= stop for _, start, stop in events)
    assert all(a[2] <= b[1] for a, b in itertools.pairwise(events))
    loads = [record.wire_bytes for record, _, _ in events if record.phase == 1]
    assert all(task.images[0].size < wire < 2 * task.images[0].size + 200 for wire in loads)
    assert all(record.macs > 0 for record, _, _ in events if record.phase in (3, 4))
    assert all(record.updates > 0 for record, _, _ in events if record.phase == 5)
    assert events[-1][0].flash_bytes > 0
    assert [r.index for r, _, _ in events if r.phase == 3] == list(range(8))


def test_lost_events_are_read_again(device: Device, task: SmallTask) -> None:
    events: list[m.PhaseRecord] = []
    device.configure(3, on_phase=lambda record, _start, _stop: events.append(record))
    device.load_samples(task.images, task.labels)
    before = len(events)
    receive = device.link.on_events
    device.link.on_events = lambda _: None
    device.train_epoch(range(COUNT), BATCH, LR)
    assert len(events) == before
    device.link.on_events = receive
    device.train_epoch(range(COUNT), BATCH, LR)
    device.complete_events()
    assert device.events is not None
    assert device.events.lost == 0
    assert [record.phase for record in events[before:]].count(3) == 2 * COUNT
    device.link.on_events = lambda _: None
    for _ in range(30):
        device.train_epoch(range(COUNT), BATCH, LR)
    device.complete_events()
    assert device.events.lost > 0


class Raw:
    """Frames by hand."""

    def __init__(self) -> None:
        self.port = open_port(native_url())
        self.decoder = FrameDecoder()

    def send(self, sequence: int, *messages: m.Message, version: int = m.PROTOCOL_VERSION) -> None:
        for number, message in enumerate(messages):
            data = encode_frame(message.TYPE, sequence + number, message.pack(), version)
            self.port.write(data)

    def receive(self, count: int) -> list[Frame]:
        frames: list[Frame] = []
        self.port.timeout = 5
        while len(frames) < count:
            data = self.port.read(1)
            assert data, f"{len(frames)} of {count} frames came"
            frames += list(self.decoder.push(data))
        return frames

    def nothing_more(self) -> bool:
        self.port.timeout = 0.1
        return self.port.read(1) == b""


@pytest.fixture
def raw(task: SmallTask) -> Iterator[Raw]:
    board = Raw()
    yield board
    board.port.close()


def load_raw(raw: Raw, task: SmallTask) -> int:
    """Artifact and one cached sample; returns the next sequence number."""
    upload: list[m.Message] = [m.ArtifactBegin(len(task.data), hashlib.sha256(task.data).digest())]
    upload += [
        m.ArtifactChunk(at, task.data[at : at + 1000]) for at in range(0, len(task.data), 1000)
    ]
    upload += [m.ArtifactEnd(), m.Configure(1, 0)]
    upload += [m.InputChunk(0, task.images[0].tobytes()), m.CacheInput(0, 1, 0)]
    for number, message in enumerate(upload):
        raw.send(100 + number, message)
        (answer,) = raw.receive(1)
        assert (answer.type, answer.sequence) == (message.TYPE | 0x80, 100 + number), answer
    return 100 + len(upload)


def test_a_request_sent_twice_is_executed_once(raw: Raw, task: SmallTask) -> None:
    at = load_raw(raw, task)
    train = m.Train(1 << 30, 0, 1, 0, (0,))
    raw.send(at, train)
    raw.send(at, train)
    # Where the second comes while the first is being executed, it gets a Progress.
    first, second = sorted(raw.receive(2), key=lambda frame: frame.type != m.Progress.TYPE)
    if first.type == m.Progress.TYPE:
        raw.send(at, train)
        (first,) = raw.receive(1)
    assert first == second
    assert m.TrainResponse.unpack(first.body).step == 1
    raw.send(at + 1, train)
    assert m.TrainResponse.unpack(raw.receive(1)[0].body).step == 2
    # The same sequence number with other contents is a new request.
    raw.send(at + 1, m.Train(1 << 30, 1, 1, 0, (0,)))
    assert m.TrainResponse.unpack(raw.receive(1)[0].body).step == 3


def test_identify_makes_the_board_forget_the_kept_response(raw: Raw, task: SmallTask) -> None:
    at = load_raw(raw, task)
    train = m.Train(1 << 30, 0, 1, 0, (0,))
    raw.send(at, train)
    raw.receive(1)
    raw.send(at + 1, m.Identify())
    raw.receive(1)
    raw.send(at, train)
    assert m.TrainResponse.unpack(raw.receive(1)[0].body).step == 2


def test_only_abort_interrupts_a_long_request(raw: Raw, task: SmallTask) -> None:
    at = load_raw(raw, task)
    long = m.Train(1 << 30, 0, 0, 0, (0,) * 64)
    frames = b"".join(
        encode_frame(message.TYPE, at + number, message.pack())
        for number, message in enumerate((long, m.WeightsHash(), m.Abort(), m.Identify()))
    )
    raw.port.write(frames)
    busy, aborted, idle, identity = raw.receive(4)
    assert (busy.type, busy.sequence) == (m.Error.TYPE, at + 1)
    assert m.Error.unpack(busy.body).code == m.WireStatus.BUSY
    assert (aborted.type, aborted.sequence) == (m.Error.TYPE, at)
    assert m.Error.unpack(aborted.body).code == m.WireStatus.ABORTED
    assert (idle.type, idle.sequence) == (m.Abort.TYPE | 0x80, at + 2)
    assert m.IdentifyResponse.unpack(identity.body).step == 0
    assert raw.nothing_more()


def test_an_abort_of_another_version_or_form_ends_nothing(raw: Raw, task: SmallTask) -> None:
    at = load_raw(raw, task)
    long = m.Train(1 << 30, 0, 0, 0, (0,) * 64)
    foreign = encode_frame(m.Abort.TYPE, at + 1, b"", m.PROTOCOL_VERSION + 1)
    malformed = encode_frame(m.Abort.TYPE, at + 2, b"x")
    raw.port.write(encode_frame(long.TYPE, at, long.pack()) + foreign + malformed)
    answers = {frame.sequence: frame for frame in raw.receive(3)}
    assert m.Error.unpack(answers[at + 1].body).code == m.WireStatus.WRONG_VERSION
    assert m.Error.unpack(answers[at + 2].body).code == m.WireStatus.BAD_BODY
    assert m.TrainResponse.unpack(answers[at].body).samples == 64
    # The refusals are not kept in place of the response.
    raw.send(at, long)
    assert raw.receive(1)[0] == answers[at]


def test_weights_that_were_replaced_are_not_called_restored(
    task: SmallTask, tmp_path: Path
) -> None:
    flash = flash_file(tmp_path)
    with open_native(flash=flash) as board:
        board.push_artifact(task.data)
        board.configure(3)
        board.commit()
    with open_native(flash=flash) as board:
        for change in (
            lambda: board.configure(3),
            lambda: board.write_weights(board.read_weights(task.nodes), task.nodes),
        ):
            board.push_artifact(task.data)
            assert board.identify().flags & 2
            board.configure(3, reset_weights=False)
            assert board.identify().flags & 2
            change()
            assert not board.identify().flags & 2


def test_an_artifact_file_that_fills_the_store(task: SmallTask, tmp_path: Path) -> None:
    path = tmp_path / "model.tbfa"
    path.write_bytes(task.data.ljust(4 << 20, b"\0"))
    with open_native(artifact=path) as board:
        assert board.identity.load_code == 0


def test_unknown_requests_and_versions_are_answered(raw: Raw) -> None:
    raw.port.write(encode_frame(0x55, 1, b""))
    assert m.Error.unpack(raw.receive(1)[0].body).code == m.WireStatus.UNKNOWN_REQUEST
    raw.port.write(encode_frame(m.Configure.TYPE, 2, b"x"))
    assert m.Error.unpack(raw.receive(1)[0].body).code == m.WireStatus.BAD_BODY
    raw.send(3, m.WeightsHash(), version=m.PROTOCOL_VERSION + 1)
    error = m.Error.unpack(raw.receive(1)[0].body)
    assert (error.code, error.record) == (m.WireStatus.WRONG_VERSION, m.PROTOCOL_VERSION)
    raw.send(4, m.Identify(), version=m.PROTOCOL_VERSION + 1)
    assert raw.receive(1)[0].type == m.Identify.TYPE | 0x80
    raw.port.write(encode_frame(m.Log.TYPE, 5, b"\1echo"))
    assert raw.nothing_more()
    raw.port.write(b"noise\0")
    assert raw.receive(1)[0].type == m.Damaged.TYPE


def test_a_killed_board_is_one_sentence(device: Device, task: SmallTask) -> None:
    device.load_samples(task.images, task.labels)
    process = device.link._port._process
    os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(HostError, match="firmware process ended with status -9"):
        device.train_epoch(range(COUNT), BATCH, LR)
    device.close()


def test_a_board_that_starts_again_in_between_is_noticed(device: Device, task: SmallTask) -> None:
    device.load_samples(task.images, task.labels)
    device.train_epoch(range(COUNT), BATCH, LR)
    device.link.request(m.Configure(3, 2))  # as if it had: its counter is 0 again
    with pytest.raises(HostError, match="weight updates, expected"):
        device.train_epoch(range(COUNT), BATCH, LR)


def test_closing_ends_the_process(task: SmallTask) -> None:
    board = open_native()
    process: subprocess.Popen[bytes] = board.link._port._process
    board.close()
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("native://?nonsense=1", "unknown option 'nonsense'"),
        ("native://somewhere", "names a place"),
        ("native://?arena-bytes=many", "unknown option or value out of range"),
        ("/dev/does-not-exist", "cannot be opened"),
        ("sorcery://x", "cannot be opened"),
    ],
)
def test_ports_that_do_not_open(url: str, sentence: str) -> None:
    with pytest.raises(HostError, match=sentence):
        Device.open(url)


def test_a_firmware_that_was_not_built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TBFT_NATIVE", str(tmp_path / "none"))
    with pytest.raises(HostError, match="make firmware"):
        Device.open("native://")
