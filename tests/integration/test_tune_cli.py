"""`python -m host.tune` on the native board: the run folder, and what is said when something is wrong."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from exporter.artifact_read import read_artifact
from exporter.calibration import calibrate
from exporter.checkpoint_write import store_calibration
from exporter.frontends import load_graph
from host.cli import run_command
from host.exporting import export_model
from host.quantizing import quantized_graph
from host.tune import main
from tests.native import REPO, NativeBuild
from tests.python import networks


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Done]
QUICK = ("--train-images", "24", "--test-images", "20", "--epochs", "2", "--data-source", "sample")


@pytest.fixture(scope="module")
def export(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its export with the last two blocks trained."""
    out = tmp_path_factory.mktemp("exports") / "small"
    export_model(blocks="block3,fc", checkpoint=checkpoint, out=out)
    return out


@pytest.fixture
def environment(native_build: NativeBuild) -> dict[str, str]:
    path = os.pathsep.join([str(REPO), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "TBFT_NATIVE": str(native_build.binary), "PYTHONPATH": path}


@pytest.fixture
def tune(
    native_build: NativeBuild,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Run]:
    """Runs the command in an empty folder, within this process."""
    monkeypatch.setenv("TBFT_NATIVE", str(native_build.binary))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    handler = signal.getsignal(signal.SIGTERM)

    def run(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["host.tune", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            run_command(main)
        captured = capsys.readouterr()
        return Done(int(ended.value.code or 0), captured.out, captured.err)

    yield run
    signal.signal(signal.SIGTERM, handler)


def run_folder(where: Path) -> Path:
    [folder] = (where / "runs").iterdir()
    return folder


def metrics_of(folder: Path) -> dict[str, object]:
    metrics = json.loads((folder / "metrics.json").read_text("utf-8"))
    assert isinstance(metrics, dict)
    return metrics


def test_a_run_leaves_everything_behind(
    tune: Run, export: Path, checkpoint: Path, tmp_path: Path
) -> None:
    out = tmp_path / "trained.safetensors"
    done = tune(
        *(
            "--artifact",
            export,
            "--checkpoint",
            checkpoint,
            "--checkpoint-out",
            out,
            "--lr",
            "0.01",
        ),
        *(*QUICK, "--seed", "3"),
    )
    assert done.returncode == 0, done.stderr
    assert "the firmware runs as a process of this computer" in done.stdout
    folder = run_folder(tmp_path)
    metrics = metrics_of(folder)
    artifact = read_artifact((export / "model.tbfa").read_bytes())
    assert metrics["status"] == "complete"
    expected = {
        "train_images": 24, "test_images": 20, "epochs": 2, "epochs_done": 2, "seed": 3,
        "blocks": ["block3", "fc"], "arena_bytes": artifact.arena_bytes, "port": "native://",
        "lr": 0.01, "batch": 8, "prefix_cache": True, "data": "cifar-flip", "board": "native",
        "model_sha256": artifact.model_hash.hex(), "retries": 0,
    }  # fmt: skip
    assert {key: metrics[key] for key in expected} == expected
    for key in ("accuracy_before", "accuracy_after"):
        value = metrics[key]
        assert isinstance(value, float) and 0 <= value <= 1
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "config.json", "metrics.json", "tune.png", "weights.safetensors",
        "checkpoint.safetensors", "checkpoint.int8.safetensors",
    }  # fmt: skip
    tensors = load_file(folder / "weights.safetensors")
    nodes = [record["node"] for record in artifact.meta["trained"]]
    order = [f"{node}.{part}" for node in nodes for part in ("weight", "bias")]
    held = [tensors[name] for name in order if name in tensors]
    digest = hashlib.sha256(b"".join(array.tobytes() for array in held)).hexdigest()
    assert digest == metrics["weights_sha256"]
    # The checkpoint makes the very same integers again.
    graph, *_ = quantized_graph(out)
    by_name = {node.name: node for node in graph.nodes}
    fc = by_name["fc"].quant
    assert fc is not None
    assert (np.ravel(fc.weight) == np.ravel(tensors["fc.weight"])).all()
    assert np.allclose(np.ravel(fc.weight * fc.weight_scale.reshape(-1, 1, 1, 1)),
                       np.ravel(tensors["fc.weight.float32"]))  # fmt: skip


def test_cache_or_not_the_weights_are_the_same(tune: Run, export: Path, tmp_path: Path) -> None:
    ports = ("native://", "native://?cache-bytes=20000")
    hashes = set()
    for number, extra in enumerate(
        [("--port", ports[0]), ("--port", ports[1]), ("--port", ports[0], "--no-cache")]
    ):
        runs = tmp_path / str(number)
        done = tune("--artifact", export, *QUICK, "--lr", "0.01", "--runs", runs, *extra)
        assert done.returncode == 0, done.stderr
        [folder] = runs.iterdir()
        metrics = metrics_of(folder)
        hashes.add((metrics["weights_sha256"], metrics["accuracy_after"]))
    assert len(hashes) == 1


def test_exports_on_the_spot(tune: Run, checkpoint: Path, tmp_path: Path) -> None:
    done = tune("--blocks", "block1", "--checkpoint", checkpoint, *QUICK, "--epochs", "1")
    assert done.returncode == 0, done.stderr
    assert metrics_of(run_folder(tmp_path))["blocks"] == ["block1"]
    assert (tmp_path / "build/export/small-block1/model.tbfa").exists()
    # From now on it is the newest export.
    done = tune(*QUICK, "--epochs", "0", "--runs", tmp_path / "more")
    assert done.returncode == 0, done.stderr
    [folder] = (tmp_path / "more").iterdir()
    assert metrics_of(folder)["blocks"] == ["block1"]


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (("--artifact", "nowhere"), 1, "the artifact nowhere cannot be read"),
        (("--data", "cifar-flop"), 1, "there is no data set 'cifar-flop'"),
        (("--port", "/dev/nothing"), 1, "the port /dev/nothing cannot be opened"),
        (("--port", "native://?arena-bytes=100"), 1, "bytes of arena, the board native"),
        (("--port", "native://?flash=/no/such/folder"), 1, "the flash file /no/such/folder"),
        (("--lr", "fast"), 2, "neither 'auto' nor a positive number"),
        (("--lr", "nan"), 2, "neither 'auto' nor a positive number"),
        (("--blocks", "block9"), 1, "unknown block 'block9'"),
        (("--shift", "sideways"), 2, "'sideways' is not one of"),
        (("--runs", "/proc/runs"), 1, "could not be"),
        (("--train-images", "1000000"), 1, "training images"),
    ],
)
def test_bad_input_is_one_sentence(
    tune: Run,
    export: Path,
    checkpoint: Path,
    arguments: tuple[str, ...],
    status: int,
    sentence: str,
) -> None:
    given: tuple[str, ...] = ("--artifact", str(export), *arguments)
    if "--artifact" in arguments:
        given = arguments
    elif "--blocks" in arguments:
        given = ("--checkpoint", str(checkpoint), *arguments)
    wanted = arguments[0] == "--train-images"
    done = tune(*(QUICK[2:] if wanted else QUICK), *given)
    assert done.returncode == status, done.stdout + done.stderr
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    if status == 1:
        assert done.stderr.startswith("error: ")


def test_a_damaged_artifact_is_one_sentence(tune: Run, export: Path, tmp_path: Path) -> None:
    data = bytearray((export / "model.tbfa").read_bytes())
    data[len(data) // 2] ^= 0x10
    path = tmp_path / "damaged.tbfa"
    path.write_bytes(data)
    done = tune("--artifact", path, *QUICK)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "damaged" in done.stderr


def test_data_with_other_classes_is_one_sentence(tune: Run, tmp_path: Path) -> None:
    checkpoint = networks.write_random(tmp_path / "three.safetensors", classes=3, depth=1, width=8)
    graph, _ = load_graph(checkpoint)
    store_calibration(checkpoint, calibrate(graph, networks.random_images(2), "random images"))
    done = tune("--shift", "output", "--checkpoint", checkpoint, *QUICK)
    assert done.returncode == 1
    assert "has 10 classes, the network in" in done.stderr


def test_a_full_disk_is_one_sentence(
    environment: dict[str, str], export: Path, tmp_path: Path
) -> None:
    code = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1500, resource.RLIM_INFINITY))\n"
        "sys.argv[0] = 'tune'\n"
        "import runpy; runpy.run_module('host.tune', run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", code, "--artifact", str(export), *QUICK],
        cwd=tmp_path,
        env={**environment, "MPLCONFIGDIR": str(tmp_path / "mpl")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr.startswith("error: ") or "\nerror: " in done.stderr
    assert "could not be written" in done.stderr
    folder = run_folder(tmp_path)
    assert metrics_of(folder)["status"] in ("running", "failed", "prepared")
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_a_readable_folder(
    environment: dict[str, str], export: Path, tmp_path: Path, number: signal.Signals
) -> None:
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "host.tune", "--artifact", str(export), *QUICK),
            *("--epochs", "100000"),
        ],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell's background job ignores Ctrl-C, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            found = list(tmp_path.glob("runs/*/metrics.json"))
            if found and metrics_of(found[0].parent)["epochs_done"]:
                break
            time.sleep(0.05)
        process.send_signal(number)
        try:
            output, errors = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "the board is idle" in output
    folder = run_folder(tmp_path)
    metrics = metrics_of(folder)
    assert metrics["status"] == "interrupted"
    assert metrics["accuracy_before"] is not None
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]
    alive = subprocess.run(["pgrep", "-s", str(process.pid)], capture_output=True, text=True)
    assert alive.stdout == "", "the firmware process is still there"


def test_help_is_for_newcomers(tune: Run) -> None:
    done = tune("--help")
    assert done.returncode == 0
    for word in ("--port", "--data", "--epochs", "--lr", "Examples", "cifar-flip", "native://"):
        assert word in done.stdout
