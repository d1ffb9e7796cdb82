"""`python -m energy.capture` from the command line to the files, with a session of this process."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from energy import capture
from energy.errors import SessionError
from energy.session import Phase, PhaseEvent
from energy.trace import TraceReader
from tests.python.energy_fakes import FakeSession, fc_session

Run = Callable[..., tuple[int, str]]


class FakeEntryPoint:
    def __init__(self, value: str, target: object) -> None:
        self.value = value
        self._target = target

    def load(self) -> object:
        if isinstance(self._target, Exception):
            raise self._target
        return self._target


@pytest.fixture
def plug_in(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def install(*targets: object) -> None:
        entries = [FakeEntryPoint(f"fake:{k}", target) for k, target in enumerate(targets)]
        monkeypatch.setattr("energy.session.metadata.entry_points", lambda group: entries)

    return install


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line; returns exit status and what was printed. No picture unless asked."""

    def call(*arguments: str, picture: bool = False) -> tuple[int, str]:
        if not picture:  # drawing is most of a capture's time
            monkeypatch.setattr("energy.plot.draw", lambda *_: None)
        monkeypatch.setattr(sys, "argv", ["energy.capture", *arguments])
        monkeypatch.setenv("COLUMNS", "100")
        status = capture.end_well(capture.main)
        printed = capsys.readouterr()
        return status, printed.out + printed.err

    return call


def small() -> Iterator[PhaseEvent]:
    return fc_session(epochs=2, train=8, test=4)


def load(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(
        (path / "energy.json").read_text(encoding="utf-8"), parse_constant=pytest.fail
    )
    return loaded


def test_a_session_leaves_all_its_files(
    tmp_path: Path, plug_in: Callable[..., None], run: Run
) -> None:
    fake = FakeSession(tmp_path, small)
    plug_in(fake.open)
    status, printed = run(
        "--port", "native://", "--csv", "--data", "cifar-flip", "--epochs", "2", picture=True
    )
    assert status == 0, printed
    assert fake.opened_with == ("native://", ("--data", "cifar-flip", "--epochs", "2"))
    assert fake.log == ["enter", "exit clean"]
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "energy.json",
        "energy.png",
        "report.html",
        "trace.csv",
        "trace.parquet",
        "windows.parquet",
    ]
    assert "modelled" in printed and "Energy per phase" in printed
    with Image.open(tmp_path / "energy.png") as picture:
        assert picture.width == 1080 and picture.info["Description"] == "kind=modelled"
        assert len(np.unique(np.asarray(picture.convert("L")))) > 20


def test_every_file_says_modelled(tmp_path: Path, plug_in: Callable[..., None], run: Run) -> None:
    plug_in(FakeSession(tmp_path, small).open)
    assert run("--csv")[0] == 0
    assert load(tmp_path)["kind"] == "modelled"
    assert TraceReader(tmp_path / "trace.parquet").info.kind == "modelled"
    windows = pq.ParquetFile(tmp_path / "windows.parquet")
    assert windows.metadata.metadata[b"kind"] == b"modelled"
    energies = [n for n in windows.schema_arrow.names if n.startswith(("energy", "current"))]
    assert energies and all(name.endswith("_modelled") for name in energies)
    header = (tmp_path / "trace.csv").read_text().splitlines()[0]
    assert "current_a_modelled" in header


def test_the_figures_are_those_of_the_work(
    tmp_path: Path, plug_in: Callable[..., None], run: Run
) -> None:
    plug_in(FakeSession(tmp_path, small).open)
    assert run()[0] == 0
    summary = load(tmp_path)
    assert summary["complete"] is True
    assert summary["metrics"] == {"accuracy_before": 0.107, "accuracy_after": 0.884, "loss": None}
    events = list(small())
    for phase in Phase:
        of_phase = [e for e in events if e.phase == phase]
        if not of_phase:
            assert phase.label not in summary["phases"]
            continue
        figures = summary["phases"][phase.label]
        assert figures["count"] == len(of_phase)
        assert figures["macs"] == sum(e.macs for e in of_phase)
    costs = {
        name.removeprefix("cost."): entry["value"]
        for name, entry in summary["board"]["quantities"].items()
    }
    cycles = costs["cycles_per_instruction"] * (
        costs["instructions_per_mac_forward"] * 54_700_000
        + costs["instructions_per_element_forward"] * 600_000
    )
    infer = summary["phases"]["infer"]
    assert infer["energy_j"] == pytest.approx(8 * cycles / 240e6 * 0.0512 * 3.3, rel=1e-9)
    assert infer["duration_s"] == pytest.approx(8 * cycles / 240e6, rel=1e-9)
    assert infer["mean_a"] == pytest.approx(0.0512) and infer["peak_a"] == pytest.approx(0.0512)
    low_j, high_j = infer["energy_range_j"]
    assert low_j < infer["energy_j"] < high_j
    total = summary["total"]["energy_j"]
    assert sum(f["energy_j"] for f in summary["phases"].values()) == pytest.approx(total, rel=1e-9)
    assert sum(f["energy_j"] for f in summary["groups"].values()) == pytest.approx(total, rel=1e-9)
    # Epoch 2 starts from the cache: no frozen forward pass.
    first, second = summary["epochs"]
    assert (first["epoch"], second["epoch"]) == (0, 1)
    assert second["macs"] * 50 < first["macs"]
    assert summary["training_steps"] == 16


def test_data_counts_for_what_the_board_does_with_it(
    tmp_path: Path, plug_in: Callable[..., None], run: Run
) -> None:
    plug_in(FakeSession(tmp_path, small).open)
    assert run()[0] == 0
    groups = load(tmp_path)["groups"]
    # 8 images cached for training, 4 tested before and 4 after, 3,072 bytes each.
    assert groups["fine_tuning"]["wire_bytes"] == 8 * 3072
    assert groups["evaluation"]["wire_bytes"] == 8 * 3072
    assert (groups["other"]["wire_bytes"], groups["other"]["count"]) == (0, 1)  # the idle span


def test_the_trace_agrees_with_the_spans(
    tmp_path: Path, plug_in: Callable[..., None], run: Run
) -> None:
    plug_in(FakeSession(tmp_path, small).open)
    assert run("--rate", "2000")[0] == 0
    summary = load(tmp_path)
    assert summary["trace"]["rate_hz"] == 2000.0
    for figures in [summary["total"], *summary["phases"].values()]:
        from_trace = figures["from_trace"]
        assert from_trace["invalid_windows"] == 0
        apart = abs(from_trace["energy_j"] - figures["energy_j"])
        assert apart <= from_trace["sampling_uncertainty_j"] + 1e-6 * figures["energy_j"]
    total = summary["total"]
    assert abs(total["from_trace"]["energy_j"] / total["energy_j"] - 1) < 1e-4


def test_block_fine_tuning_saves_what_the_cache_saves(
    tmp_path: Path, plug_in: Callable[..., None], run: Run
) -> None:
    figures = []
    for cached in (True, False):
        plug_in(FakeSession(tmp_path, lambda c=cached: fc_session(10, 8, 1, c)).open)  # type: ignore[misc]
        assert run()[0] == 0
        figures.append(load(tmp_path)["groups"]["fine_tuning"]["energy_j"])
    assert 0.88 < (figures[1] - figures[0]) / figures[1] < 0.91


def test_another_board_gives_other_figures(
    tmp_path: Path, plug_in: Callable[..., None], run: Run
) -> None:
    plug_in(FakeSession(tmp_path, small).open)
    assert run("--board", "esp32")[0] == 0
    summary = load(tmp_path)
    assert summary["board"]["name"] == "esp32"
    assert summary["phases"]["infer"]["mean_a"] == pytest.approx(0.049)
    for quantity in summary["board"]["quantities"].values():
        assert quantity["source"]


def test_ctrl_c_leaves_what_was_recorded(
    tmp_path: Path, plug_in: Callable[..., None], run: Run
) -> None:
    fake = FakeSession(tmp_path, small, failure=KeyboardInterrupt(), fail_after=20)
    plug_in(fake.open)
    status, printed = run()
    assert status == 130 and "Traceback" not in printed
    assert fake.log == ["enter", "exit KeyboardInterrupt"]
    summary = load(tmp_path)
    assert summary["complete"] is False and summary["total"]["count"] == 20
    reader = TraceReader(tmp_path / "trace.parquet")
    assert not reader.complete and reader.samples > 0
    assert not list(tmp_path.glob(".*"))


def test_a_pulled_cable_leaves_what_was_recorded(
    tmp_path: Path, plug_in: Callable[..., None], run: Run
) -> None:
    failure = SessionError("the board stopped answering; plug it in again and repeat")
    plug_in(FakeSession(tmp_path, small, failure=failure, fail_after=20).open)
    status, printed = run()
    assert status == 1 and "error: the board stopped answering" in printed
    assert load(tmp_path)["complete"] is False


def test_lost_events_make_the_energies_a_lower_bound(
    tmp_path: Path, plug_in: Callable[..., None], run: Run
) -> None:
    plug_in(FakeSession(tmp_path, small, metrics={"events_lost": 3}).open)
    status, printed = run()
    assert status == 0
    assert "3 phase events were lost" in printed and "lower bound" in " ".join(printed.split())
    summary = load(tmp_path)
    assert summary["events_lost"] == 3 and summary["complete"] is False


def silent() -> Iterator[PhaseEvent]:
    return iter(())


def idle() -> Iterator[PhaseEvent]:
    yield PhaseEvent(Phase.INFER, 0, 10)


@pytest.mark.parametrize("events", [silent, idle])
def test_no_work_is_no_energy(
    tmp_path: Path,
    plug_in: Callable[..., None],
    run: Run,
    events: Callable[[], Iterator[PhaseEvent]],
) -> None:
    plug_in(FakeSession(tmp_path, events).open)
    status, printed = run()
    assert status == 1 and "no energy to tell" in printed
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["--probe", "toaster"], 1, "no probe called 'toaster'"),
        (["--probe", "replay"], 1, "--probe replay needs the path of the file"),
        (["--board", "toaster"], 1, "no board called 'toaster'"),
        (["--rate", "0"], 2, "--rate"),
        (["--rate", "nan"], 1, "sample rate is nan"),
    ],
)
def test_bad_usage_is_one_sentence(
    tmp_path: Path,
    plug_in: Callable[..., None],
    run: Run,
    arguments: list[str],
    status: int,
    says: str,
) -> None:
    fake = FakeSession(tmp_path, small)
    plug_in(fake.open)
    got, printed = run(*arguments)
    assert got == status and says in printed and "Traceback" not in printed
    assert fake.log == [] and list(tmp_path.iterdir()) == []


def test_a_real_port_can_be_modelled_when_asked(
    tmp_path: Path, plug_in: Callable[..., None], run: Run
) -> None:
    fake = FakeSession(tmp_path, small)
    plug_in(fake.open)
    status, printed = run("--port", "/dev/ttyUSB0", "--probe", "model")
    assert status == 0 and "modelled" in printed
    assert fake.opened_with[0] == "/dev/ttyUSB0"


def test_a_run_folder_that_is_none_is_refused(
    tmp_path: Path, plug_in: Callable[..., None], run: Run
) -> None:
    fake = FakeSession(tmp_path / "gone", small)
    plug_in(fake.open)
    status, printed = run()
    assert status == 1 and "run folder" in printed


def test_plug_ins_that_are_missing_doubled_or_broken(
    tmp_path: Path, plug_in: Callable[..., None], run: Run
) -> None:
    fake = FakeSession(tmp_path, small)
    for targets, says in (
        ((), "no board session is installed"),
        ((fake.open, fake.open), "several board sessions"),
        ((ImportError("no module named host"),), "cannot be loaded"),
        (("not callable",), "no function"),
    ):
        plug_in(*targets)
        status, printed = run()
        assert status == 1 and says in " ".join(printed.split()), says


def test_help_shows_an_example_and_the_sessions_options(
    plug_in: Callable[..., None], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = sys.modules["tests.python.energy_fakes"]
    monkeypatch.setattr(module, "OPTIONS_HELP", "  --data NAME  the data set\n", raising=False)

    plug_in(FakeSession.open)
    status, printed = run("--help")
    assert status == 0
    assert "python -m energy.capture --port native://" in printed
    assert "--data NAME  the data set" in printed
    plug_in()
    assert run("--help")[0] == 0


def test_the_sampled_trace_shows_the_phases_in_its_trigger_bits(
    tmp_path: Path, plug_in: Callable[..., None], run: Run
) -> None:
    plug_in(FakeSession(tmp_path, small).open)
    assert run()[0] == 0
    reader = TraceReader(tmp_path / "trace.parquet")
    trigger = np.concatenate([chunk.trigger for chunk in reader.chunks()])
    windows = pq.read_table(tmp_path / "windows.parquet").to_pydict()
    for k in (1, 2, 9, 10):
        middle = (windows["start_s"][k] + windows["stop_s"][k]) / 2
        at = math.floor(middle * reader.info.rate_hz)
        assert Phase(int(trigger[at])).label == windows["phase"][k]
