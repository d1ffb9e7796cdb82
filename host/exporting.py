"""From a checkpoint to the folder of files a board and its user need: the work behind ``python -m host.export``."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from exporter.artifact import SelfTest, write_artifact
from exporter.artifact_read import read_artifact
from exporter.board import load_board
from exporter.calibration import METADATA_KEY
from exporter.emit_tflite import emit_tflite, frozen_parts
from exporter.errors import ExporterError
from exporter.flash_room import check_artifact_fits, check_checkpoint
from exporter.frontends import Checkpoint, load_graph
from exporter.graph import Graph
from exporter.oracle import forward
from exporter.partition import blocks_of_shift, parse_blocks
from exporter.plan import Plan, make_plan
from exporter.quantize import quantize_input
from exporter.report import write_plan
from host.quantizing import (
    CHECKPOINTS,
    DEFAULT_CHECKPOINT,
    Images,
    Progress,
    calibration_beside,
    quantized_graph,
    read_images,
)

__all__ = [
    "CHECKPOINTS",
    "DEFAULT_CHECKPOINT",
    "DEFAULT_ROOT",
    "ExportResult",
    "Images",
    "Progress",
    "export_model",
    "quantized_graph",
]


DEFAULT_ROOT = Path("build") / "export"
SUMMARY = "export.json"
SELFTESTS = 2
"""Calibration images that travel in the artifact with the logits a board must find."""


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


def export_model(
    *,
    shift: str | None = None,
    blocks: str | None = None,
    checkpoint: Path = DEFAULT_CHECKPOINT,
    calibration: Path | None = None,
    mode: str = "accumulate",
    arena_limit_bytes: int | None = None,
    board: str | None = None,
    recompute: str = "auto",
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
        board: name of the board to plan for instead (``exporter/boards``); it must have room for artifact and checkpoint as well.
        recompute: ``auto``, ``never`` or ``always``: whether activations may be computed again in the backward pass.
        out: folder to write or replace; by default ``build/export/<checkpoint>-<blocks>``.
        evaluate: test images on which float32 and int8 accuracy are measured.
        progress: called as the work goes on.

    Raises:
        ExporterError: any input is missing, damaged or does not fit, or the folder cannot be written.
    """
    say = progress or (lambda _what, _done, _total: None)
    if (shift is None) == (blocks is None):
        raise ExporterError(
            "both a shift and the blocks to train were named, or neither, expected one of them; "
            "give either --shift or --blocks"
        )
    if board is not None and arena_limit_bytes is not None:
        raise ExporterError(
            "both a board and an arena size were given, expected one of them; give either --board or --arena"
        )
    # What is wrong with the wishes is said before the long work.
    target = load_board(board) if board is not None else None
    wanted = load_graph(checkpoint)[0]
    chosen = blocks_of_shift(wanted, shift) if shift else parse_blocks(wanted, blocks or "")
    folder = out or DEFAULT_ROOT / f"{checkpoint.stem}-{'-'.join(chosen)}"
    check_replaceable(folder)
    graph, float_graph, source, ranges = quantized_graph(checkpoint, calibration, progress)
    graph = replace(graph, metadata={k: v for k, v in graph.metadata.items() if k != METADATA_KEY})
    say("planning memory", 0, 1)
    plan = make_plan(graph, chosen, mode, arena_limit_bytes, board=target, recompute=recompute)
    if target is not None:
        check_checkpoint(plan, target)
    say("planning memory", 1, 1)
    measured = accuracies(graph, float_graph, evaluate, say) if evaluate else {}
    description = f"{graph.name} of {checkpoint.name} ({source.sha256[:12]}), int8, by tbft"
    with new_folder(folder) as scratch:
        artifact = write_artifact(
            plan,
            {
                "shift": shift,
                "checkpoint_sha256": source.sha256,
                "calibration": ranges,
                "board": board,
                "recomputed": list(plan.program.recomputed),
            },
            self_tests(graph, source, calibration),
        )
        if target is not None:
            check_artifact_fits(len(artifact), plan, target)
        (scratch / "model.tbfa").write_bytes(artifact)
        say("writing models", 0, 1)
        (scratch / "model.tflite").write_bytes(emit_tflite(graph, description=description))
        for stem, nodes in frozen_parts(graph, chosen).items():
            part = emit_tflite(graph, nodes, description=f"{description}, frozen part")
            (scratch / f"{stem}.tflite").write_bytes(part)
        # Late: onnx takes 10 MB that a long capture has other use for.
        from exporter.emit_onnx import emit_onnx

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
            "board": board,
            "arena_bytes": plan.arena_bytes,
            "region_bytes": [use.bytes for use in plan.regions],
            "recomputed": list(plan.program.recomputed),
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


def check_replaceable(target: Path) -> None:
    """Raises ExporterError where ``target`` exists and is not an export."""
    if (
        target.exists()
        and not (target / SUMMARY).is_file()
        and (not target.is_dir() or any(target.iterdir()))
    ):
        raise ExporterError(
            f"{target} exists and is not an export folder (it has no {SUMMARY}), so it is not replaced; "
            "choose another folder with --out"
        )


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A scratch folder beside ``target`` that takes its place when the block ends well, and is removed when it does not.

    Raises:
        ExporterError: ``target`` exists and is not an export, or cannot be written.
    """
    check_replaceable(target)
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
