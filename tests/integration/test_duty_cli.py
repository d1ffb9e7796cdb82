"""`python -m host.duty` on the native board: a run folder with numbers and a picture, and what a user does wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from host import duty
from host.duty_schedule import Entry, hours, read_schedule, seconds
from host.errors import HostError
from host.exporting import export_model
from tests.native import NativeBuild


@pytest.fixture
def export(
    checkpoint: Path, tmp_path: Path, native_build: NativeBuild, monkeypatch: pytest.MonkeyPatch
) -> Path:
    monkeypatch.setenv("TBFT_NATIVE", str(native_build.binary))
    monkeypatch.chdir(tmp_path)
    export_model(blocks="fc", checkpoint=checkpoint, out=tmp_path / "small")
    return tmp_path / "small"


def test_days_on_duty_leave_a_run_folder(export: Path) -> None:
    words = (
        f"--artifact {export} --data-source sample --days 3 --sample-every 1h --tune-every 12h --min-labelled 10 "
        "--max-samples 16 --epochs 2 --images 24 --test-images 20 --quiet 22:00-05:00 --min-battery-mv 3600"
    )
    duty.main(words.split(), standalone_mode=False)
    [folder] = (export.parent / "runs").iterdir()
    metrics = json.loads((folder / "metrics.json").read_text("utf-8"))
    assert metrics["status"] == "complete" and metrics["failures"] == 0
    assert metrics["samples"] == 3 * 17 and metrics["tunings"] >= 2
    assert [row["day"] for row in metrics["per_day"]] == [0, 1, 2]
    assert len(metrics["fine_tunings"]) == metrics["tunings"]
    assert all(0 <= row["accuracy"] <= 1 for row in metrics["per_day"])
    assert metrics["accuracy_before"] != metrics["accuracy_after"] or metrics["tunings"]
    config = json.loads((folder / "config.json").read_text("utf-8"))
    assert [entry["action"] for entry in config["schedule"]] == ["sample", "tune"]
    lines = (folder / "events.csv").read_text("utf-8").splitlines()
    assert sum(",sample," in line for line in lines) == metrics["samples"]
    with Image.open(folder / "duty.png") as picture:
        assert picture.size == (1080, 1500)


def test_looking_at_a_board_that_was_never_on_duty(
    export: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port = f"native://?artifact={export / 'model.tbfa'}"
    duty.main(["--port", port, "--status"], standalone_mode=False)
    assert "stopped" in capsys.readouterr().out
    labels = export / "labels.csv"
    labels.write_text("3,1\n", "utf-8")
    with pytest.raises(HostError, match="no such sample is stored"):
        duty.main(["--port", port, "--labels", str(labels)], standalone_mode=False)
    labels.write_text("three,1\n", "utf-8")
    with pytest.raises(HostError, match="expected lines of sample id and class"):
        duty.main(["--port", port, "--labels", str(labels)], standalone_mode=False)
    with pytest.raises(HostError, match="expected --schedule FILE"):
        duty.main(["--port", port, "--field"], standalone_mode=False)


FILE = """
[[entry]]
action = "sample"
every = "15m"
quiet = "22:00-05:30"

[[entry]]
action = "tune"
every = "1d"
first = "4h"
min_labelled = 64
max_samples = 256
epochs = 5
batch = 8
lr = 0.1
min_battery_mv = 3700
"""


def test_schedule_files(tmp_path: Path) -> None:
    path = tmp_path / "meadow.toml"
    path.write_text(FILE, "utf-8")
    sample, tune = read_schedule(path)
    assert sample == Entry("sample", 900, 0, 22 * 60, 5 * 60 + 30)
    assert tune == Entry(
        "tune", 86400, 4 * 3600, min_battery_mv=3700, min_labelled=64, max_samples=256, epochs=5, batch=8, lr=0.1
    )  # fmt: skip
    assert Entry.of(tune.record()) == tune or abs(Entry.of(tune.record()).lr - 0.1) < 1e-9
    for text, sentence in (
        ("", "no \\[\\[entry\\]\\] tables"),
        ("[[entry]]\naction = 'fly'\nevery = 3", "action = 'fly'"),
        ("[[entry]]\naction = 'sample'", "lacks its action or 'every'"),
        ("[[entry]]\naction = 'sample'\nevery = 'soon'", "'soon' cannot be read"),
        ("[[entry]]\naction = 'sample'\nevery = 3\nquiet = '25:00-26:00'", "25:00-26:00"),
        ("[[entry", "cannot be read"),
    ):
        path.write_text(text, "utf-8")
        with pytest.raises(HostError, match=sentence):
            read_schedule(path)
    with pytest.raises(HostError, match="min_battery_percent is 101"):
        Entry("sample", 60, min_battery_percent=101).record()
    assert [seconds(text) for text in ("90", "90 s", "15m", "1.5h", "2d")] == [
        90,
        90,
        900,
        5400,
        172800,
    ]
    assert hours("7:05-23:59") == (425, 1439)
