"""The trained weights as files: int8 as the board has them, and a checkpoint that PyTorch reads."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from exporter.trained import merge_trained, write_trained
from host.errors import HostError
from host.export_folder import Export
from host.runfolder import RunFolder

WEIGHTS = "weights.safetensors"
CHECKPOINT = "checkpoint.safetensors"
Tensors = Mapping[str, NDArray[np.integer]]


def write_weights(
    folder: RunFolder,
    export: Export,
    tensors: Tensors,
    metrics: Mapping[str, object],
    checkpoint_out: Path | None = None,
) -> dict[str, str]:
    """Writes the trained tensors into the run folder, and to `checkpoint_out` where it is given.

    `weights.safetensors` holds them as the board does (int8 weights, int32 biases) and dequantized
    beside them (float32); `checkpoint.safetensors` the whole network in the layout that it was
    exported from. Returns file names with their SHA-256, hex. Raises HostError and ExporterError.
    """
    text = {
        key: str(metrics[key])
        for key in ("data", "seed", "epochs", "weights_sha256", "model_sha256")
    }
    files: dict[str, str] = {}
    with folder.writing(WEIGHTS) as path:
        path.write_bytes(save({**_shaped(export, tensors), **_floats(export, tensors)}, text))
        files[WEIGHTS] = hashlib.sha256(path.read_bytes()).hexdigest()
    source = export.graph()
    if source is None:
        if checkpoint_out is not None:
            raise HostError(
                f"the checkpoint {checkpoint_out} cannot be written: the network that "
                f"{export.folder} was exported from is not at hand any more; name it with "
                f"--checkpoint (the trained tensors are in {folder.path / WEIGHTS})"
            )
        return files
    graph, checkpoint = source
    merged = merge_trained(graph, tensors)
    for target in (folder.path / CHECKPOINT, checkpoint_out):
        if target is not None:
            for path in write_trained(target, merged, checkpoint, export.blocks, text):
                files[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return files


def _records(export: Export) -> list[dict[str, object]]:
    return list(export.artifact.meta.get("trained", []))


def _shaped(export: Export, tensors: Tensors) -> dict[str, NDArray[np.integer]]:
    """Weights in OHWI (depthwise 1, h, w, C) layout, as in memory."""
    shaped = dict(tensors)
    for record in _records(export):
        name = f"{record['node']}.weight"
        if name in shaped:
            shape = record["weight_shape"]
            assert isinstance(shape, list)
            shaped[name] = shaped[name].reshape(shape)
    return shaped


def _floats(export: Export, tensors: Tensors) -> dict[str, NDArray[np.float32]]:
    """`<node>.weight.float32` and `<node>.bias.float32`: the real values of the integers."""
    floats: dict[str, NDArray[np.float32]] = {}
    for record in _records(export):
        scale = np.asarray(record["weight_scale"], np.float64)
        input_scale = float(str(record["input_scale"]))
        weight = _shaped(export, tensors).get(f"{record['node']}.weight")
        if weight is not None:
            depthwise = record["kind"] == "depthwise"
            rows = scale if depthwise else scale.reshape(-1, 1, 1, 1)
            floats[f"{record['node']}.weight.float32"] = (weight * rows).astype(np.float32)
        bias = tensors.get(f"{record['node']}.bias")
        if bias is not None:
            floats[f"{record['node']}.bias.float32"] = (bias * scale * input_scale).astype(
                np.float32
            )
    return floats
