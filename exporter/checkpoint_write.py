"""Writing of checkpoints: atomic safetensors files, and calibration ranges embedded in an existing one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from exporter.calibration import METADATA_KEY, Ranges
from exporter.errors import ExporterError
from exporter.frontends.checkpoint import read_checkpoint


def write_safetensors(
    path: Path, tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]
) -> None:
    """Write ``path`` under a temporary name beside it and rename it when whole.

    Raises:
        ExporterError: the file cannot be written.
    """
    contents = save({k: np.array(v, order="C") for k, v in tensors.items()}, dict(metadata))
    temporary = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(contents)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ExporterError(
            f"the checkpoint {path} cannot be written ({error.strerror}); free space or choose another "
            "folder"
        ) from error


def store_calibration(path: Path, ranges: Ranges) -> None:
    """Embed ``ranges`` in the metadata of the safetensors checkpoint ``path``, in place of any that are there.

    Raises:
        ExporterError: the file is not safetensors, or cannot be read or written.
    """
    if path.suffix.lower() != ".safetensors":
        raise ExporterError(
            f"the checkpoint {path} cannot hold calibration ranges, expected a .safetensors file; save "
            "the state dict in that format"
        )
    checkpoint = read_checkpoint(path, keep_prefixes=True)
    write_safetensors(
        path, checkpoint.tensors, {**checkpoint.metadata, METADATA_KEY: ranges.to_json()}
    )
