"""The board session that energy.capture runs, and what `make demo` shows, on the native board."""

from __future__ import annotations

import itertools
import json
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from energy.errors import SessionError
from energy.session import Phase, PhaseEvent, find_plugin
from host import demo, session
from host.exporting import export_model
from host.protocol import messages as m
from tests.native import NativeBuild

TRAIN, TEST, EPOCHS = 10, 6, 2


@pytest.fixture(scope="module")
def export(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exports") / "small"
    export_model(shift="output", checkpoint=checkpoint, out=out)
    return out


@pytest.fixture(autouse=True)
def folder(native_build: NativeBuild, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TBFT_NATIVE", str(native_build.binary))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def options(export: Path) -> list[str]:
    return [
        *("--artifact", str(export), "--data-source", "sample", "--epochs", str(EPOCHS)),
        *("--train-images", str(TRAIN), "--test-images", str(TEST)),
    ]


def test_a_session_tells_all_that_the_board_did(export: Path) -> None:
    events: list[PhaseEvent] = []
    seen: list[str] = []
    with session.open_session("native://", [*options(export), "--commit"]) as opened:
        facts = opened.describe()
        metrics = opened.run(events.append, lambda _done, _total, what: seen.append(what))
    assert facts["board"] == "native"
    assert facts["blocks"] == "fc"
    assert facts["train_images"] == TRAIN
    run_dir = Path(str(facts["run_dir"]))
    assert metrics == json.loads((run_dir / "metrics.json").read_text("utf-8"))
    assert metrics["status"] == "complete"
    assert {"caching training images", "testing before", "epoch 2 of 2"} <= set(seen)

    assert all(a.t_stop_us <= b.t_start_us for a, b in itertools.pairwise(events))
    count = Counter(event.phase for event in events)
    assert count[Phase.LOAD] == TRAIN + TEST
    assert count[Phase.FROZEN_FORWARD] == TRAIN  # cached: once, whatever the epochs
    assert count[Phase.TRAIN_FORWARD] == count[Phase.BACKWARD] == TRAIN * EPOCHS
    assert count[Phase.UPDATE] == 2 * EPOCHS
    assert count[Phase.INFER] == TEST * (2 + EPOCHS)  # cached, before, after each epoch
    assert count[Phase.COMMIT] == 1
    forward = [event for event in events if event.phase is Phase.TRAIN_FORWARD]
    assert [(e.epoch, e.sample) for e in forward] == [
        (epoch, sample) for epoch in range(EPOCHS) for sample in range(TRAIN)
    ]
    others = [e for e in events if e.phase in (Phase.LOAD, Phase.INFER, Phase.FROZEN_FORWARD)]
    assert {(e.epoch, e.sample) for e in others} == {(-1, -1)}
    assert all(e.macs > 0 for e in events if e.phase in (Phase.FROZEN_FORWARD, Phase.BACKWARD))
    assert [e.flash_bytes > 0 for e in events if e.phase is Phase.COMMIT] == [True]


def test_an_interrupted_session_tells_nothing_more(export: Path) -> None:
    """Ctrl-C within an epoch: events that come while the board is being stopped are nobody's."""
    events: list[PhaseEvent] = []

    def on_event(event: PhaseEvent) -> None:
        events.append(event)
        if event.phase is Phase.BACKWARD:
            raise KeyboardInterrupt

    opened = session.open_session("native://", options(export))
    with pytest.raises(KeyboardInterrupt), opened:
        opened.run(on_event, lambda _done, _total, _what: None)
    told = len(events)
    stream = opened._device.events if opened._device else None
    assert stream is not None
    late = m.PhaseRecord(3, 255, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0)
    stream._on_phase(late, 0, 1)
    assert len(events) == told and events[-1].phase is Phase.BACKWARD


def test_a_session_without_cache_runs_the_frozen_layers_each_time(export: Path) -> None:
    events: list[PhaseEvent] = []
    with session.open_session("native://", [*options(export), "--no-cache"]) as opened:
        opened.run(events.append, lambda _done, _total, _what: None)
    frozen = [event for event in events if event.phase is Phase.FROZEN_FORWARD]
    assert [event.epoch for event in frozen] == [0] * TRAIN + [1] * TRAIN


def test_the_plug_in_is_registered() -> None:
    plugin = find_plugin()
    assert plugin.open_session is session.open_session
    assert "--data" in plugin.options_help
    assert "--port" not in plugin.options_help


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--nonsense"], "No such option"),
        (["--epochs", "many"], "energy.capture --help"),
        (
            ["--artifact", "nowhere", "--data-source", "sample"],
            "the artifact nowhere cannot be read",
        ),
    ],
)
def test_bad_options_are_one_sentence(words: list[str], sentence: str) -> None:
    with (
        pytest.raises(SessionError, match=sentence),
        session.open_session("native://", words),
    ):
        pass


def test_a_session_that_is_interrupted_leaves_the_board_idle(export: Path) -> None:
    def interrupt(event: PhaseEvent) -> None:
        if event.phase is Phase.BACKWARD:
            raise KeyboardInterrupt

    opened = session.open_session("native://", options(export))
    with pytest.raises(KeyboardInterrupt), opened:
        assert opened._device is not None
        process: subprocess.Popen[bytes] = opened._device.link._port._process
        opened.run(interrupt, lambda _done, _total, _what: None)
    assert process.returncode == 0
    metrics = json.loads((Path(str(opened.describe()["run_dir"])) / "metrics.json").read_text())
    assert metrics["status"] == "interrupted"


def test_the_demo_ends_with_a_table_and_pictures(
    checkpoint: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def small(**arguments: object) -> object:
        return export_model(checkpoint=checkpoint, **arguments)

    monkeypatch.setattr(demo, "export_model", small)
    monkeypatch.setenv("COLUMNS", "300")
    demo.main(["--epochs", "1", "--train-images", "20"], standalone_mode=False)
    output = capsys.readouterr().out
    assert "accuracy after" in output
    assert "modelled" in output
    [run_dir] = (folder / "runs").iterdir()
    for name in ("tune.png", "energy.png", "metrics.json", "energy.json", "trace.parquet"):
        assert (run_dir / name).exists()
    assert str(Path("runs") / run_dir.name / "tune.png") in output
