"""Reading of checkpoint files: named tensors and text metadata, from ``.safetensors`` or from PyTorch's own format."""

from __future__ import annotations

import hashlib
import json
import pickle
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from exporter.errors import ExporterError

Array = NDArray[Any]

NESTED_KEYS = ("state_dict", "model_state_dict", "net", "model")
"""Keys under which training scripts put the state dict in a ``.pt`` file."""
PREFIXES = ("module.", "_orig_mod.")
"""Prefixes that ``nn.DataParallel`` and ``torch.compile`` put before every name."""


@dataclass(frozen=True)
class Checkpoint:
    """Named tensors of a model file.

    Attributes:
        path: the file.
        sha256: hash of the whole file, hex.
        tensors: name to array; prefixes removed.
        metadata: text that the file holds beside them (safetensors only).
    """

    path: Path
    sha256: str
    tensors: dict[str, Array] = field(repr=False)
    metadata: dict[str, str] = field(default_factory=dict)


def read_checkpoint(path: Path, keep_prefixes: bool = False) -> Checkpoint:
    """Read a ``.safetensors``, ``.pt`` or ``.pth`` file; ``keep_prefixes`` leaves the names as they are.

    Raises:
        ExporterError: the file is missing, unreadable, damaged, of another type, or needs PyTorch, which is not installed.
    """
    suffix = path.suffix.lower()
    if suffix not in (".safetensors", ".pt", ".pth"):
        raise ExporterError(
            f"the checkpoint {path} ends in '{path.suffix}', expected .safetensors, .pt or .pth; "
            "save the model's state_dict() in one of these"
        )
    try:
        contents = path.read_bytes()
    except FileNotFoundError as error:
        raise ExporterError(
            f"the checkpoint {path} does not exist; give an existing file with --checkpoint, or make "
            "one with: python -m host.pretrain"
        ) from error
    except OSError as error:
        raise ExporterError(
            f"the checkpoint {path} cannot be read ({error.strerror}); check the path and its "
            "permissions"
        ) from error
    if suffix == ".safetensors":
        tensors, metadata = _read_safetensors(path, contents)
    else:
        tensors, metadata = _read_torch(path), {}
    if not keep_prefixes:
        tensors = {_without_prefix(name): value for name, value in tensors.items()}
    return Checkpoint(path, hashlib.sha256(contents).hexdigest(), tensors, metadata)


def _without_prefix(name: str) -> str:
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
    return name


def _read_safetensors(path: Path, contents: bytes) -> tuple[dict[str, Array], dict[str, str]]:
    try:
        tensors = load(contents)
        (length,) = struct.unpack_from("<Q", contents)
        header = json.loads(contents[8 : 8 + length])
        return tensors, dict(header.get("__metadata__", {}))
    except (SafetensorError, KeyError, ValueError, struct.error) as error:
        raise ExporterError(
            f"the checkpoint {path} is damaged or not in safetensors format "
            f"({' '.join(str(error).split())}); copy or export it again"
        ) from error


def _read_torch(path: Path) -> dict[str, Array]:
    try:
        import torch
    except ImportError as error:
        raise ExporterError(
            f"the checkpoint {path} is in PyTorch's format, which needs PyTorch to be read; install "
            "it with: make setup-dev, or give a .safetensors file"
        ) from error
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ExporterError(
            f"the checkpoint {path} is damaged, or holds more than tensors, which is not loaded "
            "because it could run code; save the model's state_dict() alone and try again"
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, OSError, BadZipFile) as error:
        raise ExporterError(
            f"the checkpoint {path} is damaged or not a PyTorch file; copy or export it again"
        ) from error
    for key in NESTED_KEYS:
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
            break
    if not isinstance(loaded, dict):
        raise ExporterError(
            f"the checkpoint {path} holds a {type(loaded).__name__}, expected a dictionary of "
            "tensors; save the model's state_dict() and try again"
        )
    tensors = {str(k): v for k, v in loaded.items() if isinstance(v, torch.Tensor)}
    return {
        name: (v.float() if v.is_floating_point() else v).detach().cpu().numpy()
        for name, v in tensors.items()
    }
