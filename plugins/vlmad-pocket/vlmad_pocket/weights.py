"""The weights that lie beside this file, checked against their sha256 and read once. Made by ``build/extract.py``."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import safetensors.torch

from vlmad_core import ConfigError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["read_note", "read_weights"]

FOLDER = Path(__file__).parent


def read_note() -> dict[str, str]:
    """Where the weights come from: sha256, name, source, licence.

    Raises:
        ConfigError: The note is not there or cannot be read.
    """
    try:
        note = json.loads((FOLDER / "pocket.json").read_text(encoding="utf-8"))
        return {key: str(note[key]) for key in ("sha256", "name", "source", "licence")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"pocket.json of vlmad-pocket cannot be read ({error}); reinstall vlmad-pocket.") from error


def read_weights(sha256: str, *, dtype: torch.dtype, device: torch.device) -> dict[str, Tensor]:
    """All tensors by name.

    Args:
        sha256: What the file must have. The bytes that are hashed are those that are used.
        dtype: To convert to.
        device: To move to.

    Raises:
        ConfigError: The file is not there, or is not the one that was shipped.
    """
    try:
        data = (FOLDER / "pocket.safetensors").read_bytes()
    except OSError as error:
        raise ConfigError(f"the weights of backbone 'pocket' are missing ({error}); reinstall vlmad-pocket.") from error
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise ConfigError(
            f"pocket.safetensors is damaged or was changed; reinstall vlmad-pocket. "
            f"Its sha256 is {found}, and should be {sha256}."
        )
    return {name: tensor.to(device, dtype) for name, tensor in safetensors.torch.load(data).items()}
