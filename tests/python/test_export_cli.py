"""``python -m host.export``: the folder it writes, and what it says when something does not fit."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from exporter import board as boards
from exporter import emit_onnx
from exporter.artifact_read import read_artifact
from exporter.calibration import calibrate
from exporter.checkpoint_write import store_calibration
from exporter.emit_tflite import emit_tflite, frozen_parts
from exporter.errors import ExporterError
from exporter.frontends import load_graph
from host.export import main
from host.exporting import export_model
from host.quantizing import Images
from tests.python import networks


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short random network with stored ranges."""
    path = tmp_path_factory.mktemp("net") / "small.safetensors"
    graph, _ = load_graph(networks.write_random(path, depth=1, width=8))
    store_calibration(path, calibrate(graph, networks.random_images(2), "random images"))
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def test_the_folder_is_complete(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "export"
    result = run("--checkpoint", checkpoint, "--shift", "output", "--out", out)
    assert result.exit_code == 0, result.output
    names = {path.name for path in out.iterdir()}
    wanted = {
        "model.tbfa",
        "model.tflite",
        "frozen.tflite",
        "model.onnx",
        "plan.txt",
        "plan.png",
        "export.json",
    }
    assert wanted <= names
    assert [p.name for p in tmp_path.iterdir()] == ["export"], "something temporary was left"
    summary = json.loads((out / "export.json").read_text())
    assert summary["blocks"] == ["fc"] and summary["shift"] == "output"
    assert summary["checkpoint_sha256"] == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    for name, sha256 in summary["files"].items():
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == sha256
    artifact = read_artifact((out / "model.tbfa").read_bytes())
    assert artifact.model_hash.hex() == summary["model_sha256"]


def test_a_plan_for_a_board(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "export"
    options = ("--checkpoint", checkpoint, "--shift", "input", "--out", out, "--board", "tiny")
    monkeypatch.setattr(boards, "FOLDER", tmp_path)
    region = '[[region]]\nname = "%s"\nbytes = %d\nbytes_per_s = %g\nsource = "test"\n'
    regions = region % ("quick", 32768, 2.0) + region % ("slow", 262144, 1.0)

    def describe(artifact: int, checkpoint_bytes: int) -> None:
        flash = f"artifact_bytes = {artifact}\ncheckpoint_bytes = {checkpoint_bytes}\n"
        (tmp_path / "tiny.toml").write_text(
            f"title = 'T'\n[flash]\n{flash}cache_bytes = 0\nerase_bytes = 4096\n{regions}"
        )

    describe(1 << 20, 1 << 20)
    result = run(*options)
    assert result.exit_code == 0, result.output
    summary = json.loads((out / "export.json").read_text())
    artifact = read_artifact((out / "model.tbfa").read_bytes())
    assert summary["board"] == artifact.meta["board"] == "tiny"
    assert summary["region_bytes"] == [size for size, _ in artifact.regions if size]
    assert len(summary["region_bytes"]) == 2 and summary["region_bytes"][0] <= 32768
    assert "quick:" in (out / "plan.txt").read_text()
    describe(1000, 1 << 20)
    assert "more than the 1,000 of board 'tiny'" in run(*options).output
    describe(1 << 20, 1024)
    assert "a checkpoint of block1" in run(*options).output


def test_the_same_input_gives_the_same_bytes(checkpoint: Path, tmp_path: Path) -> None:
    files = [
        export_model(blocks="block3,fc", checkpoint=checkpoint, out=tmp_path / name).files
        for name in ("a", "b")
    ]
    assert files[0] == files[1]


@pytest.mark.parametrize(
    ("blocks", "parts"),
    [
        ("fc", ["frozen"]),
        ("block1", ["frozen"]),
        ("block2", ["frozen-1", "frozen-2"]),
        ("block1,block3,fc", ["frozen"]),
        ("block2,fc", ["frozen-1", "frozen-2"]),
        ("all", []),
    ],
)
def test_frozen_parts(checkpoint: Path, tmp_path: Path, blocks: str, parts: list[str]) -> None:
    result = export_model(blocks=blocks, checkpoint=checkpoint, out=tmp_path / "e")
    written = sorted(p.stem for p in (tmp_path / "e").glob("frozen*.tflite"))
    assert written == parts
    found = frozen_parts(result.graph, result.blocks)
    assert sum(map(len, found.values())) == sum(
        node.block not in result.blocks for node in result.graph.nodes
    )


def test_an_earlier_export_is_replaced_and_other_folders_are_not(
    checkpoint: Path, tmp_path: Path
) -> None:
    out = tmp_path / "export"
    export_model(blocks="block2", checkpoint=checkpoint, out=out)
    export_model(blocks="fc", checkpoint=checkpoint, out=out)
    assert not (out / "frozen-2.tflite").exists()
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter1.txt").write_text("years of work")
    result = run("--checkpoint", checkpoint, "--blocks", "fc", "--out", other)
    assert result.exit_code == 1 and "not an export folder" in result.output
    assert (other / "chapter1.txt").read_text() == "years of work"


def test_nothing_half_written_is_left(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object, **_options: object) -> bytes:
        raise OSError(28, "No space left on device")

    out = tmp_path / "export"
    before = export_model(blocks="fc", checkpoint=checkpoint, out=out).files
    monkeypatch.setattr(emit_onnx, "emit_onnx", full)
    result = run("--checkpoint", checkpoint, "--blocks", "block3", "--out", out)
    assert result.exit_code == 1
    assert "No space left on device" in result.output and "Traceback" not in result.output
    assert [p.name for p in tmp_path.iterdir()] == ["export"]
    assert json.loads((out / "export.json").read_text())["files"] == before


def test_accuracy_is_measured_on_request(checkpoint: Path, tmp_path: Path) -> None:
    images = networks.random_images(4)
    test = Images(images, np.zeros(4, dtype=np.int64), "noise")
    result = export_model(blocks="fc", checkpoint=checkpoint, out=tmp_path / "e", evaluate=test)
    assert 0 <= result.summary["accuracy_int8"] <= 1
    assert result.summary["test_images"] == 4


def test_calibration_images_and_storing_their_ranges(tmp_path: Path) -> None:
    path = networks.write_random(tmp_path / "net.safetensors", depth=1, width=8)
    images = tmp_path / "train.npz"
    np.savez(images, images=networks.random_images(3))
    missing = run("--checkpoint", path, "--blocks", "fc", "--out", tmp_path / "e")
    assert missing.exit_code == 1 and "--calibration" in missing.output
    given = export_model(blocks="fc", checkpoint=path, calibration=images, out=tmp_path / "e")
    assert given.summary["calibration"] == "train.npz"
    stored = run("--checkpoint", path, "--calibration", images, "--store-calibration")
    assert stored.exit_code == 0, stored.output
    again = export_model(blocks="fc", checkpoint=path, out=tmp_path / "e")
    assert again.model_sha256 == given.model_sha256


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--shift", "sideways"], 2, "sideways"),
        (["--blocks", "block9"], 1, "block9"),
        (["--blocks", ""], 1, "no block"),
        ([], 2, "--shift"),
        (["--shift", "input", "--blocks", "fc"], 2, "--shift"),
        (["--blocks", "fc", "--arena", "1000"], 1, "1,000"),
        (["--blocks", "fc", "--board", "esp99"], 1, "esp32-nopsram"),
        (
            ["--blocks", "fc", "--board", "esp32", "--arena", "100000"],
            1,
            "either --board or --arena",
        ),
        (["--blocks", "fc", "--recompute", "maybe"], 2, "always"),
        (["--blocks", "fc", "--calibration", "absent.npz"], 1, "absent.npz"),
    ],
)
def test_arguments_that_do_not_fit(
    checkpoint: Path, tmp_path: Path, arguments: list[str], status: int, words: str
) -> None:
    result = run("--checkpoint", checkpoint, "--out", tmp_path / "e", *arguments)
    assert result.exit_code == status
    assert words in result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "e").exists()


def test_checkpoints_that_do_not_fit(tmp_path: Path) -> None:
    (tmp_path / "bad.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}      junk")
    for name in ("bad.safetensors", "absent.safetensors", "absent.h5"):
        result = run("--checkpoint", tmp_path / name, "--blocks", "fc", "--out", tmp_path / "e")
        assert result.exit_code == 1
        assert result.output.startswith("error: ") and name in result.output
        assert len(result.output.strip().splitlines()) == 1


def test_a_folder_that_cannot_be_written(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run("--checkpoint", checkpoint, "--blocks", "fc", "--out", tmp_path / "file" / "e")
    assert result.exit_code == 1 and "cannot be written" in result.output


def test_help_has_examples() -> None:
    result = run("--help")
    assert result.exit_code == 0
    assert "python -m host.export --shift output" in result.output


def test_a_float_graph_is_not_emitted(tmp_path: Path) -> None:
    with pytest.raises(ExporterError, match="quantize it"):
        emit_tflite(networks.small_float())
    shutil.rmtree(tmp_path)
