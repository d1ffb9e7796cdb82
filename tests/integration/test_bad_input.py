"""What a user does wrong, and what goes wrong under one: one sentence, a status, and nothing half-written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import pytest
from serial import serial_for_url

from energy.errors import TraceError
from energy.trace import TraceChunk, TraceInfo, TraceWriter
from exporter.errors import ExporterError
from host import exporting, pretrain, session
from host.errors import HostError
from host.export_folder import read_export
from host.exporting import export_model
from host.protocol import messages as m
from host.protocol import timing
from host.protocol.link import Link
from host.quantizing import read_images
from host.tuning import METRICS, TuneOptions, Tuning
from tests.native import REPO, NativeBuild

Plan = Callable[..., Tuning]


@pytest.fixture(scope="module")
def export(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its export with the last layer trained."""
    out = tmp_path_factory.mktemp("exports") / "small"
    export_model(blocks="fc", checkpoint=checkpoint, out=out)
    return out


@pytest.fixture
def plan(
    export: Path, tmp_path: Path, native_build: NativeBuild, monkeypatch: pytest.MonkeyPatch
) -> Plan:
    """A run of `host.tune` that is not prepared yet."""
    monkeypatch.setenv("TBFT_NATIVE", str(native_build.binary))

    def make(**options: object) -> Tuning:
        wishes: dict[str, object] = {
            "artifact": export, "epochs": 1, "train_images": 24, "test_images": 20,
            "data_source": "sample", "runs": tmp_path / "runs",
        }  # fmt: skip
        return Tuning(TuneOptions(**(wishes | options)), lambda *_: None)  # type: ignore[arg-type]

    return make


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"shift": "output"}, "exported for its blocks already"),
        ({"blocks": "fc"}, "exported for its blocks already"),
        ({"artifact": None, "shift": "output", "blocks": "fc"}, "either --shift or --blocks"),
        ({"checkpoint_out": Path("x.weird")}, "x.weird cannot be written"),
        ({"checkpoint_out": Path("/tmp")}, "/tmp cannot be written"),
        ({"checkpoint": Path("/no/such.pt")}, "/no/such.pt cannot be read"),
        ({"checkpoint": Path(__file__)}, "has the SHA-256"),
    ],
)
def test_wishes_that_do_not_fit_are_told_before_the_work(
    plan: Plan, tmp_path: Path, options: dict[str, object], sentence: str
) -> None:
    with pytest.raises(HostError, match=sentence):
        plan(**options).prepare()
    assert not (tmp_path / "runs").exists()


def test_a_damaged_artifact_is_named(export: Path, tmp_path: Path) -> None:
    path = tmp_path / "short.tbfa"
    path.write_bytes((export / "model.tbfa").read_bytes()[:1000])
    with pytest.raises(HostError, match="short.tbfa cannot be used: the artifact is cut short"):
        read_export(path)


@pytest.mark.parametrize("port", ["", "/dev/nothing", "foo://bar"])
def test_a_port_that_cannot_be_opened_leaves_a_failed_run(plan: Plan, port: str) -> None:
    tuning = plan(port=port)
    tuning.prepare()
    with pytest.raises(HostError, match="cannot be opened"):
        tuning.open()
    metrics = json.loads((tuning.folder.path / METRICS).read_text("utf-8"))
    assert metrics["status"] == "failed"


def test_what_echoes_is_no_board() -> None:
    with serial_for_url("loop://", timeout=0) as port:
        link = Link(port, "loop://")
        started = time.monotonic()
        with pytest.raises(HostError, match="nothing at loop:// answers"):
            link.request(m.Abort(), timing.Timeouts(0.05, 0.5))
        assert time.monotonic() - started < 10


def test_an_unknown_block_is_told_before_the_calibration(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("the long work began")

    monkeypatch.setattr(exporting, "quantized_graph", never)
    with pytest.raises(ExporterError, match="unknown block 'block9'"):
        export_model(blocks="block9", checkpoint=checkpoint, out=tmp_path / "out")
    (tmp_path / "mine").write_text("something else", "utf-8")
    with pytest.raises(ExporterError, match="not an export folder"):
        export_model(blocks="fc", checkpoint=checkpoint, out=tmp_path / "mine")
    with pytest.raises(ExporterError, match="either --shift or --blocks"):
        export_model(blocks="fc", shift="output", checkpoint=checkpoint, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_calibration_labels_that_are_no_numbers(tmp_path: Path) -> None:
    path = tmp_path / "images.npz"
    np.savez(path, images=np.zeros((1, 32, 32, 3), np.uint8), labels=np.array(["cat"]))
    with pytest.raises(ExporterError, match="cannot be read, expected an .npz file"):
        read_images(path)


def test_a_data_folder_that_does_not_exist_is_not_passed_over() -> None:
    with pytest.raises(click.ClickException, match="/no/such"):
        session._parse.main(["--data-dir", "/no/such"], standalone_mode=False)


@pytest.mark.parametrize("rate", ["nan", "inf", "-1"])
def test_a_rate_to_pretrain_with_is_a_number(rate: str) -> None:
    with pytest.raises(click.BadParameter):
        pretrain.main(["--lr", rate], standalone_mode=False)


def test_half_a_trace_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = TraceInfo("modelled", 1000.0, "mean", "test")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pyarrow.parquet.ParquetWriter.write_table", full)
    none = np.zeros(4)
    chunk = TraceChunk(0, none, none, np.zeros(4, np.uint8))
    with (
        pytest.raises(TraceError, match="free some space"),
        TraceWriter(tmp_path / "trace.parquet", info) as writer,
    ):
        writer.write(chunk)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("program", ["host.tune", "energy.capture"])
def test_a_stopped_program_leaves_a_readable_folder(
    program: str, export: Path, tmp_path: Path, native_build: NativeBuild
) -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPO), "TBFT_NATIVE": str(native_build.binary)}
    words = f"--artifact {export} --data-source sample --train-images 24 --test-images 20 --epochs 100000"
    with subprocess.Popen(
        [sys.executable, "-m", program, *words.split()],
        cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            found = list(tmp_path.glob(f"runs/*/{METRICS}"))
            if found and json.loads(found[0].read_text("utf-8"))["epochs_done"]:
                break
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert errors.strip() == "interrupted"
    [folder] = (tmp_path / "runs").iterdir()
    assert json.loads((folder / METRICS).read_text("utf-8"))["status"] == "interrupted"
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("module", ["host.tune", "host.export", "energy.capture"])
def test_ctrl_c_while_importing_is_quiet(module: str, tmp_path: Path) -> None:
    """The first second of a command is spent in imports; Ctrl-C must not show a traceback there either."""
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt\n")
    done = subprocess.run(
        [sys.executable, "-m", module],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == "interrupted\n"
    assert done.returncode in (130, -signal.SIGINT)
