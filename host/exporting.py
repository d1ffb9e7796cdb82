"""From a checkpoint to the folder of files a board and its user need: the work behind ``python -m host.export``."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from exporter.artifact import SelfTest, write_artifact
from exporter.artifact_read import read_artifact
from exporter.calibration import METADATA_KEY, Ranges, calibrate, stored_ranges
from exporter.emit_onnx import emit_onnx
from exporter.emit_tflite import emit_tflite, frozen_parts
from exporter.errors import ExporterError
from exporter.frontends import Checkpoint, load_graph
from exporter.graph import Graph
from exporter.oracle import forward
from exporter.partition import blocks_of_shift, parse_blocks
from exporter.plan import Plan, make_plan
from exporter.quantize import quantize, quantize_input
from exporter.report import write_plan
from exporter.trained import exact_int8

CHECKPOINTS = Path(__file__).resolve().parent.parent / "checkpoints"
DEFAULT_CHECKPOINT = CHECKPOINTS / "resnet26-cifar10.safetensors"
DEFAULT_ROOT = Path("build") / "export"
SUMMARY = "export.json"
SELFTESTS = 2
"""Calibration images that travel in the artifact with the logits a board must find."""

Progress = Callable[[str, int, int], None]
"""Called with (what is being done, steps done, steps)."""


@dataclass(frozen=True)
class Images:
    """8-bit images (N, H, W, C) with labels (N,), and where they come from."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    source: str


@dataclass(frozen=True)
class ExportResult:
    """What was exported, in memory and on disk.

    Attributes:
        folder: where the files lie.
        graph: int8 graph.
        plan: partition, program and memory plan.
        checkpoint: the source.
        blocks: trained blocks, front to rear.
        mode: ``accumulate`` or ``immediate``.
        model_sha256: model hash in the artifact's header, hex.
        files: file name to SHA-256, hex.
        summary: contents of ``export.json``.
    """

    folder: Path
    graph: Graph = field(repr=False)
    plan: Plan = field(repr=False)
    checkpoint: Checkpoint = field(repr=False)
    blocks: tuple[str, ...]
    mode: str
    model_sha256: str
    files: dict[str, str]
    summary: dict[str, Any] = field(repr=False)

    @property
    def artifact(self) -> Path:
        """The file for the board."""
        return self.folder / "model.tbfa"


def quantized_graph(
    checkpoint_path: Path,
    calibration: Path | None = None,
    progress: Progress | None = None,
) -> tuple[Graph, Graph, Checkpoint, str]:
    """Int8 and float graph of a checkpoint, the checkpoint, and a phrase on where the activation ranges come from.

    The ranges are, in this order: measured on ``calibration`` where it is given; the exact integers that ``write_trained`` left beside
    the checkpoint; those in the checkpoint's metadata; measured on ``calibration-<data set>.npz`` beside the checkpoint.

    Raises:
        ExporterError: the checkpoint or the calibration images do not fit, or there is nothing to calibrate with.
    """
    graph, checkpoint = load_graph(checkpoint_path)
    if calibration is None:
        exact = exact_int8(graph, checkpoint)
        if exact is not None:
            return exact, graph, checkpoint, "exact integers stored beside the checkpoint"
    ranges = find_ranges(graph, checkpoint, calibration, progress)
    return quantize(graph, ranges.ranges), graph, checkpoint, ranges.source


def find_ranges(
    graph: Graph,
    checkpoint: Checkpoint,
    calibration: Path | None = None,
    progress: Progress | None = None,
) -> Ranges:
    """Activation ranges of a float graph, see ``quantized_graph``."""
    if calibration is None:
        stored = stored_ranges(graph)
        if stored is not None:
            return stored
        calibration = calibration_beside(checkpoint)
    if calibration is None:
        raise ExporterError(
            f"the checkpoint {checkpoint.path} holds no activation ranges and no calibration images lie "
            "beside it; give training images as .npz with --calibration"
        )
    images = read_images(calibration)

    def report(done: int, total: int) -> None:
        if progress:
            progress("calibrating", done, total)

    return calibrate(graph, images.images, images.source, report)


def calibration_beside(checkpoint: Checkpoint) -> Path | None:
    """The file of calibration images that belongs to a checkpoint by its data set's name, if it is there."""
    name = checkpoint.metadata.get("dataset")
    path = checkpoint.path.with_name(f"calibration-{name}.npz")
    return path if name and path.exists() else None


def read_images(path: Path) -> Images:
    """Images of an ``.npz`` file with ``images`` uint8 (N, H, W, C) and, optionally, ``labels`` and ``source``.

    Raises:
        ExporterError: the file is missing, damaged or lacks ``images``.
    """
    try:
        with np.load(path, allow_pickle=False) as content:
            images = content["images"]
            count = len(images)
            labels = content["labels"] if "labels" in content else np.zeros(count, dtype=np.int64)
            source = str(content["source"]) if "source" in content else path.name
    except FileNotFoundError as error:
        raise ExporterError(
            f"the calibration images {path} do not exist; give an .npz file with an array 'images'"
        ) from error
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise ExporterError(
            f"the calibration images {path} cannot be read, expected an .npz file with an array 'images' "
            "(uint8 [N, H, W, 3]); make it with numpy.savez"
        ) from error
    if len(labels) != len(images):
        raise ExporterError(
            f"the calibration images {path} have {len(labels)} labels for {len(images)} images, expected "
            "as many; write the file again"
        )
    return Images(images, labels.astype(np.int64), source)


def export_model(
    *,
    shift: str | None = None,
    blocks: str | None = None,
    checkpoint: Path = DEFAULT_CHECKPOINT,
    calibration: Path | None = None,
    mode: str = "accumulate",
    arena_limit_bytes: int | None = None,
    out: Path | None = None,
    evaluate: Images | None = None,
    progress: Progress | None = None,
) -> ExportResult:
    """Quantize, partition, plan and write one export folder, atomically.

    Args:
        shift: ``input``, ``feature`` or ``output``: trains the block that this kind of shift calls for.
        blocks: instead of ``shift``, a comma-separated list of blocks, or ``all``.
        checkpoint: trained network.
        calibration: ``.npz`` of training images; None for what comes with the checkpoint.
        mode: ``accumulate``, ``immediate`` or ``auto`` (accumulate if it fits ``arena_limit_bytes``).
        arena_limit_bytes: the board's arena; None for no limit.
        out: folder to write or replace; by default ``build/export/<checkpoint>-<blocks>``.
        evaluate: test images on which float32 and int8 accuracy are measured.
        progress: called as the work goes on.

    Raises:
        ExporterError: any input is missing, damaged or does not fit, or the folder cannot be written.
    """
    say = progress or (lambda _what, _done, _total: None)
    graph, float_graph, source, ranges = quantized_graph(checkpoint, calibration, progress)
    if (shift is None) == (blocks is None):
        raise ExporterError("name either a shift or the blocks to train, not both")
    chosen = blocks_of_shift(graph, shift) if shift else parse_blocks(graph, blocks or "")
    folder = out or DEFAULT_ROOT / f"{checkpoint.stem}-{'-'.join(chosen)}"
    graph = replace(graph, metadata={k: v for k, v in graph.metadata.items() if k != METADATA_KEY})
    say("planning memory", 0, 1)
    plan = make_plan(graph, chosen, mode, arena_limit_bytes)
    say("planning memory", 1, 1)
    measured = accuracies(graph, float_graph, evaluate, say) if evaluate else {}
    description = f"{graph.name} of {checkpoint.name} ({source.sha256[:12]}), int8, by tbft"
    with new_folder(folder) as scratch:
        artifact = write_artifact(
            plan,
            {"shift": shift, "checkpoint_sha256": source.sha256, "calibration": ranges},
            self_tests(graph, source, calibration),
        )
        (scratch / "model.tbfa").write_bytes(artifact)
        say("writing models", 0, 1)
        (scratch / "model.tflite").write_bytes(emit_tflite(graph, description=description))
        for stem, nodes in frozen_parts(graph, chosen).items():
            part = emit_tflite(graph, nodes, description=f"{description}, frozen part")
            (scratch / f"{stem}.tflite").write_bytes(part)
        (scratch / "model.onnx").write_bytes(emit_onnx(graph, description))
        say("writing models", 1, 1)
        say("drawing the plan", 0, 1)
        write_plan(plan, scratch)
        say("drawing the plan", 1, 1)
        files = {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(scratch.iterdir())
        }
        summary: dict[str, Any] = {
            "checkpoint": checkpoint.name,
            "checkpoint_sha256": source.sha256,
            "calibration": ranges,
            "shift": shift,
            "blocks": list(chosen),
            "mode": plan.mode,
            "arena_bytes": plan.arena_bytes,
            "flash_bytes": plan.flash_bytes,
            "model_sha256": read_artifact(artifact).model_hash.hex(),
            "files": files,
            "versions": versions(),
            **measured,
        }
        text = json.dumps(summary, indent=2, ensure_ascii=False) + "\n"
        (scratch / SUMMARY).write_text(text, encoding="utf-8")
    return ExportResult(
        folder, graph, plan, source, chosen, plan.mode, summary["model_sha256"], files, summary
    )


def self_tests(graph: Graph, source: Checkpoint, calibration: Path | None) -> list[SelfTest]:
    """A few calibration images with the logits the board must find; none where no images are at hand."""
    path = calibration or calibration_beside(source)
    if path is None:
        return []
    images = read_images(path)
    x = quantize_input(images.images[:SELFTESTS])
    logits = forward(graph, x)[graph.output].reshape(len(x), -1)
    return [
        SelfTest(one, int(label), found)
        for one, label, found in zip(x, images.labels, logits, strict=False)
    ]


def accuracies(graph: Graph, float_graph: Graph, test: Images, say: Progress) -> dict[str, Any]:
    """Fractions of test images that the float32 and the int8 network classify rightly."""
    from exporter.reference import logits

    step, count = 32, len(test.images)
    right_int8 = right_float = 0
    for start in range(0, count, step):
        images, labels = test.images[start : start + step], test.labels[start : start + step]
        scores = forward(graph, quantize_input(images))[graph.output].reshape(len(images), -1)
        right_int8 += int((scores.argmax(axis=1) == labels).sum())
        right_float += int((logits(float_graph, images).argmax(axis=1) == labels).sum())
        say("measuring accuracy", min(start + step, count), count)
    return {
        "accuracy_float32": right_float / count,
        "accuracy_int8": right_int8 / count,
        "test_images": count,
        "test_source": test.source,
    }


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A scratch folder beside ``target`` that takes its place when the block ends well, and is removed when it does not.

    Raises:
        ExporterError: ``target`` exists and is not an export, or cannot be written.
    """
    if (
        target.exists()
        and not (target / SUMMARY).is_file()
        and (not target.is_dir() or any(target.iterdir()))
    ):
        raise ExporterError(
            f"{target} exists and is not an export folder (it has no {SUMMARY}), so it is not replaced; "
            "choose another folder with --out"
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise _not_written(target, error) from error
    old = scratch.with_name(scratch.name + ".old")
    try:
        yield scratch
        scratch.chmod(0o755)
        if target.exists():
            target.rename(old)
        scratch.rename(target)
    except OSError as error:
        if old.exists() and not target.exists():
            old.rename(target)
        raise _not_written(target, error) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _not_written(target: Path, error: OSError) -> ExporterError:
    return ExporterError(
        f"the export folder {target} cannot be written ({error.strerror}); free space or choose another "
        "with --out"
    )


def versions() -> dict[str, str]:
    """Versions of what the result may depend on."""
    found = {"python": platform.python_version()}
    for package in ("tbft", "numpy", "onnx", "tflite"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
