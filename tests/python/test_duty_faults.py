"""What goes wrong on duty: a flash that fails, a sensor that gives nothing, samples that rot. Told in words; the board stays
reachable, and no committed weights are lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from host.duty_schedule import schedule_bytes
from host.errors import HostError
from host.protocol import messages as m
from host.protocol.link import DeviceError
from tests.native import NativeBuild
from tests.python.duty_board import PAUSED, RUNNING, STOPPED, DutyBoard, Geometry
from tests.python.duty_scene import SCHEDULE, START_S, TUNE, artifact, images, on_duty, reset
from tests.python.runtime_board import RuntimeFault
from tests.python.small_board import flash_file, open_native, small_task

ERASE, PROGRAM, READ, SILENT = 1, 2, 4, 8
WORDS = {
    ERASE: "the flash could not be erased",
    PROGRAM: "the flash could not be written",
    READ: "the flash could not be read",
    SILENT: "the flash does not hold what was written",
}


def until_tuning(board: DutyBoard, tunings: int) -> None:
    """To the middle of a fine-tuning, with so many committed before it."""
    while not (board.status().tuning and board.status().tunings == tunings):
        assert board.run(1)
    board.run(3)


@pytest.mark.parametrize("kind", [PROGRAM, SILENT])
def test_a_commit_that_fails_leaves_the_last_one(kind: int) -> None:
    board = on_duty(6)
    until_tuning(board, 1)
    committed = reset(board.flash()).weights()
    while board.status().tuning and board.status().failures == 0:
        board.run(1)
        if not any(e.kind == "tuned" for e in board.events()):
            continue
        board.fail_flash(kind)
        board.run(1)
    board.run(1)
    assert board.status().failures >= 1 and board.status().tunings == 1
    assert "fine-tuning was not committed" in board.text()
    assert board.weights() == committed, "back at the last commit, in the arena too"
    board.fail_flash(0)
    assert reset(board.flash()).weights() == committed
    board.run()
    status = board.status()
    assert status.mode == STOPPED and status.tunings == 8 and status.used_labels == 32


@pytest.mark.parametrize("kind", [ERASE, PROGRAM, READ, SILENT])
def test_a_flash_that_fails_for_a_while(kind: int) -> None:
    """Samples are lost meanwhile, and nothing else; the board says so and goes on."""
    board = on_duty(4)
    board.run(60)
    before, text = board.status(), board.text()
    assert before.failures == 0 and not text
    board.fail_flash(kind)
    while board.status().failures < 3:
        assert board.run(1)
    assert board.status().mode in (RUNNING, PAUSED) and board.status().failures > 0
    assert WORDS[kind] in board.text()
    board.fail_flash(0)
    if board.status().mode == PAUSED:
        board.resume()
    board.run()
    status = board.status()
    assert status.mode == STOPPED
    again = reset(board.flash())
    again.open()
    assert again.samples() == board.samples() and again.weights() == board.weights()


def test_weights_that_cannot_be_read_are_not_trained_over() -> None:
    board = on_duty(6)
    while board.status().tunings < 2:
        board.run(1)
    good = board.weights()
    broken = DutyBoard(flash=board.flash())
    broken.make_unreadable(0, Geometry().weights)
    broken.load(artifact())
    with pytest.raises(RuntimeFault, match="could not be read"):
        broken.boot()
    assert broken.status().mode == STOPPED
    assert "does not go on after the restart: the flash could not be read" in broken.text()
    broken.make_unreadable(0, 0)
    assert reset(broken.flash()).weights() == good


def test_a_sensor_that_gives_nothing() -> None:
    board = on_duty(3)
    board.run(40)
    taken = board.status().samples
    board.break_sensor(True)
    board.run(40)
    assert board.status().samples == taken and board.status().failures > 3
    assert "a sample was not taken: the sensor gave no sample" in board.text()
    board.break_sensor(False)
    board.run()
    assert board.status().mode == STOPPED and board.status().samples > taken
    ids = [row[0] for row in board.samples()]
    assert ids == [*range(len(ids))], "no id is skipped"


def test_a_sample_that_rotted_is_left_out() -> None:
    board = on_duty(3)
    while board.status().labels < 3:
        board.run(1)
    flash = bytearray(board.flash())
    # The second sample's bytes: behind the first segment's header, the start record and the first sample.
    at = Geometry().store_at + 256 + 64 + 64 + 224 + 64
    flash[at + 10] ^= 4
    board = reset(bytes(flash))
    board.boot()
    board.run()
    assert (
        "a stored sample is left out of the fine-tuning: the stored sample is damaged"
        in board.text()
    )
    with pytest.raises(RuntimeFault, match="damaged"):
        board.read_sample(1, 216)
    assert board.status().tunings == 4 and board.status().used_labels == 16


def test_when_every_sample_rotted_the_board_still_sleeps() -> None:
    """With nothing to train on, the fine-tuning waits for its next time; it is not tried again at once."""
    board = on_duty(3)
    while not board.status().tuning:
        assert board.run(1)
    flash = bytearray(board.flash())
    rotted = 0
    for image in images():
        at = flash.find(image.tobytes(), Geometry().store_at)
        while at >= 0:
            flash[at + 10] ^= 4
            rotted += 1
            at = flash.find(image.tobytes(), Geometry().store_at)
    assert rotted >= 4
    board = reset(bytes(flash))
    board.boot()
    assert board.run(5000) < 5000, "it comes to the end of its three hours"
    assert "no sample was left to fine-tune on" in board.text()
    assert board.status().mode == STOPPED and board.status().wakes > 4


@pytest.mark.parametrize(
    ("geometry", "name"),
    [
        (Geometry(store=1024), "store_geometry"),
        (Geometry(program=512), "store_geometry"),
        (Geometry(schedule=512), "flash_geometry"),
    ],
)
def test_a_flash_that_is_too_small_or_too_coarse(geometry: Geometry, name: str) -> None:
    board = reset(geometry=geometry)
    with pytest.raises(RuntimeFault) as caught:
        board.write_schedule(schedule_bytes(SCHEDULE))
        board.start(START_S)
    assert caught.value.name == name and board.status().mode == STOPPED


def test_duty_is_not_begun_twice() -> None:
    board = on_duty(3)
    for call in (board.start, board.resume, lambda: board.write_schedule(schedule_bytes((TUNE,)))):
        with pytest.raises(RuntimeFault) as caught:
            call()
        assert caught.value.name == "duty_mode"


def test_an_artifact_too_large_is_refused_and_costs_nothing(
    tmp_path: Path, native_build: NativeBuild, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over the wire: the network that is there stays, with its weights, in the arena and in flash."""
    monkeypatch.setenv("TBFT_NATIVE", str(native_build.binary))
    task = small_task()
    with open_native(flash=flash_file(tmp_path)) as device:
        device.push_artifact(task.data)
        device.configure(3)
        device.load_samples(task.images, task.labels)
        device.train_epoch(range(len(task.images)), 4, 0.05)
        device.commit()
        weights = device.weights_sha256()
        with pytest.raises(DeviceError, match="larger than the board's room for it"):
            device.link.request(m.ArtifactBegin(1 << 30, bytes(32)))
        with pytest.raises(HostError, match="use a smaller network or another board"):
            device.push_artifact(task.data + bytes(device.identity.artifact_limit_bytes))
        assert device.weights_sha256() == weights and device.infer(task.images[0]).size
    with open_native(flash=flash_file(tmp_path)) as device:
        device.push_artifact(task.data)
        assert device.weights_sha256() == weights
