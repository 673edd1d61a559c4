"""The weights that lie beside this file, checked against their sha256 and read once.

``pocket.safetensors`` is the encoder as others published it (``build/extract.py``); ``joint.safetensors`` and
``tokenizer.json`` are what was trained here on top of it (``build/train.py``).
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import safetensors.torch

from vlmad_core.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer
    from torch import Tensor

__all__ = ["read_joint_note", "read_note", "read_tokenizer", "read_weights"]

FOLDER = Path(__file__).parent


def read_note() -> dict[str, str]:
    """Where the encoder comes from: sha256, name, source, licence.

    Raises:
        ConfigError: The note is not there or cannot be read.
    """
    return _read_note("pocket.json", ("sha256", "name", "source", "licence"))


def read_joint_note() -> dict[str, str]:
    """What was trained on top of it: sha256 of the weights and of the tokenizer, name, the data it saw.

    Raises:
        ConfigError: The note is not there or cannot be read.
    """
    return _read_note("joint.json", ("sha256", "tokenizer_sha256", "name", "trained_on"))


def read_weights(
    sha256: str,
    *,
    dtype: torch.dtype,
    device: torch.device,
    file: str = "pocket.safetensors",
    without: tuple[str, ...] = (),
) -> dict[str, Tensor]:
    """Tensors by name.

    Args:
        sha256: What the file must have. The bytes that are hashed are those that are used.
        dtype: To convert to.
        device: To move to.
        file: Which one.
        without: Beginnings of the names of tensors that are left out.

    Raises:
        ConfigError: The file is not there, or is not the one that was shipped.
    """
    data = _read(file, sha256)
    tensors = safetensors.torch.load(data)
    return {name: tensor.to(device, dtype) for name, tensor in tensors.items() if not name.startswith(without)}


def read_tokenizer(sha256: str) -> Tokenizer:
    """The tokenizer; here the library ``tokenizers`` is imported.

    Raises:
        ConfigError: The file is not there, or is not the one that was shipped.
    """
    data = _read("tokenizer.json", sha256)
    from tokenizers import Tokenizer

    return Tokenizer.from_buffer(data)


def _read_note(file: str, keys: tuple[str, ...]) -> dict[str, str]:
    try:
        note = json.loads((FOLDER / file).read_text(encoding="utf-8"))
        return {key: str(note[key]) for key in keys}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{file} of vlmad-pocket cannot be read ({error}); reinstall vlmad-pocket.") from error


def _read(file: str, sha256: str) -> bytes:
    try:
        data = (FOLDER / file).read_bytes()
    except OSError as error:
        raise ConfigError(f"the weights of backbone 'pocket' are missing ({error}); reinstall vlmad-pocket.") from error
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise ConfigError(
            f"{file} is damaged or was changed; reinstall vlmad-pocket. Its sha256 is {found}, and should be {sha256}."
        )
    return data
