"""Reads the tensors of a local weights file, by name. Nothing in the file is run, whatever it holds."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vlmad_core.contracts.torchscript import is_torchscript, read_torchscript
from vlmad_core.errors import ConfigError

__all__ = ["WEIGHT_SUFFIXES", "read_weights", "sha256_of"]

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
WEIGHT_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")
"""Endings of files that hold weights."""


def sha256_of(path: Path) -> str:
    """Hash of a file, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, a PyTorch file of tensors or a TorchScript archive.

    The wrappings of training checkpoints are removed: ``state_dict`` or ``model`` around the tensors, ``module.`` and
    ``_orig_mod.`` in front of their names.

    Raises:
        ConfigError: Damaged, a text file in place of the weights, holding more than tensors, or holding none.
    """
    _refuse_text(path)
    state = _load(path)
    for key in ("state_dict", "model"):
        state = state[key] if isinstance(state, dict) and isinstance(state.get(key), dict) else state
    if not isinstance(state, dict) or not state or not all(isinstance(key, str) for key in state):
        raise ConfigError(f"weights {path}: holds no parameters by name.")
    for prefix in ("module.", "_orig_mod."):  # DistributedDataParallel, torch.compile
        if all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    tensors = {key: value for key, value in state.items() if isinstance(value, Tensor)}
    _refuse_not_finite(path, tensors)
    return tensors


def _load(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix.lower() == ".safetensors":
            return load_file(path)
        if is_torchscript(path):
            return read_torchscript(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ConfigError(
            f"weights {path}: holds more than tensors, and unpickling it would run code from the file; where you trust "
            "it, load it there and save its state dict with safetensors.torch.save_file."
        ) from error
    except (SafetensorError, OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"weights {path}: damaged or of no known format ({reason}).") from error


def _refuse_text(path: Path) -> None:
    """A pointer of git LFS or an error page, saved in place of the weights."""
    with path.open("rb") as file:
        head = file.read(512)
    if head.startswith(b"version https://git-lfs"):
        raise ConfigError(
            f"weights {path}: is a pointer of git LFS, a small text file in place of the weights. Run `git lfs pull` "
            "where it was cloned, or download the file itself."
        )
    if head and (head.lstrip().startswith(b"<") or all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head)):
        shown = head[:60].decode("ascii", "replace").split("\n")[0]
        raise ConfigError(
            f"weights {path}: is damaged: a text file ('{shown}') in place of weights, perhaps an error page. Download "
            "it again."
        )


def _refuse_not_finite(path: Path, tensors: Mapping[str, Tensor]) -> None:
    # The causal mask, where a file holds it, is infinite on purpose.
    checked = {key: value for key, value in tensors.items() if value.dtype in _FLOATS and "attn_mask" not in key}
    bad = [key for key, value in checked.items() if not bool(value.isfinite().all())]
    if bad:
        raise ConfigError(
            f"weights {path}: {len(bad)} tensors hold NaN or infinite values ({', '.join(bad[:3])}), so every score "
            "would be wrong: a broken training, or an overflow in float16."
        )
