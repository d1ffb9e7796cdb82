"""The export that a run uses: a folder named, the newest one, or one made on the spot."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from exporter.artifact_read import Artifact, read_artifact
from exporter.errors import ExporterError
from exporter.frontends import Checkpoint
from exporter.graph import Graph
from host.errors import HostError
from host.exporting import DEFAULT_ROOT, ExportResult, export_model
from host.quantizing import CHECKPOINTS, DEFAULT_CHECKPOINT, quantized_graph

ARTIFACT_FILE = "model.tbfa"
Report = Callable[[int, int, str], None]


@dataclass
class Export:
    """One export: its artifact, and the graph it was made from where that can be had."""

    folder: Path
    data: bytes = field(repr=False)
    artifact: Artifact = field(repr=False)
    result: ExportResult | None = field(default=None, repr=False)
    checkpoint: Path | None = None
    """The checkpoint to look for the graph in, when `result` is None."""

    @property
    def sha256(self) -> str:
        """SHA-256 of the artifact, hex."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def blocks(self) -> tuple[str, ...]:
        """Trained blocks, front to rear."""
        return tuple(block.name for block in self.artifact.blocks if block.trained)

    @property
    def nodes(self) -> list[str]:
        """Names of the trained nodes in their order."""
        return [str(record["node"]) for record in self.artifact.meta.get("trained", [])]

    def graph(self) -> tuple[Graph, Checkpoint] | None:
        """The int8 graph and its checkpoint; None where the checkpoint is not at hand any more."""
        if self.result is not None:
            return self.result.graph, self.result.checkpoint
        wanted = self.artifact.meta.get("checkpoint_sha256")
        for path in self._candidates():
            try:
                if hashlib.sha256(path.read_bytes()).hexdigest() == wanted:
                    graph, _, checkpoint, _ = quantized_graph(path)
                    return graph, checkpoint
            except (OSError, ExporterError):
                continue
        return None

    def _candidates(self) -> list[Path]:
        named = [self.checkpoint] if self.checkpoint else []
        return [*named, *sorted(CHECKPOINTS.glob("*.safetensors"))]


def read_export(folder: Path, checkpoint: Path | None = None) -> Export:
    """The export in `folder` (or the artifact file that it names).

    Raises HostError where there is none, it is damaged, or `checkpoint` is not what it was made from.
    """
    path = folder / ARTIFACT_FILE if folder.is_dir() else folder
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise HostError(
            f"the artifact {path} cannot be read ({exc.strerror}); make one with "
            "python -m host.export --shift output"
        ) from exc
    try:
        artifact = read_artifact(data)
    except ExporterError as exc:
        raise HostError(f"{path} cannot be used: {exc}") from exc
    if checkpoint is not None:
        _check_origin(checkpoint, artifact, path)
    return Export(folder, data, artifact, checkpoint=checkpoint)


def _check_origin(checkpoint: Path, artifact: Artifact, path: Path) -> None:
    try:
        found = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    except OSError as exc:
        raise HostError(
            f"the checkpoint {checkpoint} cannot be read ({exc.strerror}), expected the one that "
            f"{path} was exported from; name it, or leave --checkpoint out"
        ) from exc
    wanted = artifact.meta.get("checkpoint_sha256")
    if found != wanted:
        raise HostError(
            f"the checkpoint {checkpoint} has the SHA-256 {found[:12]}, expected {str(wanted)[:12]}, "
            f"which {path} was exported from; name that one, or leave --artifact out to export it"
        )


def newest_export(root: Path = DEFAULT_ROOT) -> Path | None:
    """The folder under `root` that was exported last."""
    found = [path for path in root.glob(f"*/{ARTIFACT_FILE}") if path.is_file()]
    return max(found, key=lambda path: path.stat().st_mtime).parent if found else None


def default_checkpoint(task: str) -> Path:
    """The bundled checkpoint for a task: the one whose data set begins the task's name
    (``resnet26-living14`` for ``living14-tiny``), else the one for CIFAR-10."""
    for path in sorted(CHECKPOINTS.glob("resnet26-*.safetensors")):
        if task.startswith(path.stem.removeprefix("resnet26-")):
            return path
    return DEFAULT_CHECKPOINT


def make_export(
    task: str,
    shift: str | None,
    blocks: str | None,
    checkpoint: Path | None,
    mode: str,
    report: Report,
) -> Export:
    """Exports for a task on the spot. Raises ExporterError."""

    def progress(what: str, done: int, total: int) -> None:
        report(done, total, what)

    result = export_model(
        shift=shift,
        blocks=blocks,
        checkpoint=checkpoint or default_checkpoint(task),
        mode=mode,
        progress=progress,
    )
    data = result.artifact.read_bytes()
    return Export(result.folder, data, read_artifact(data), result)
