"""Reads the checkpoints that the paper's authors published, or that their code writes: linear maps and nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from vlmad_core.errors import ConfigError
from vlmad_core.training import read_published

__all__ = ["convert"]

_KEY = "trainable_linearlayer"
_NAME = re.compile(r"fc\.(0|[1-9][0-9]*)\.(weight|bias)")


def convert(path: Path) -> dict[str, Tensor]:
    """The tensors of an APRIL-GAN checkpoint, named as a detector with extractor 'projections' names its own.

    The file holds a mapping with the key ``trainable_linearlayer``, in which ``fc.N.weight`` ``[D, W]`` and
    ``fc.N.bias`` ``[D]`` belong to the N-th layer, N from 0. Nothing in the file is run while it is read.

    Args:
        path: A ``.pth`` file.

    Returns:
        ``extractor.fc.N.weight`` and ``extractor.fc.N.bias``, float32.

    Raises:
        ConfigError: Not there, not such a file, one that would run code, or tensors that are missing, not known, of the
            wrong shape or not finite.
    """
    layers = _read(Path(path))
    wrong = [name for name, value in layers.items() if not isinstance(value, Tensor) or not _NAME.fullmatch(str(name))]
    if wrong or not layers:
        problem = f"holds {', '.join(map(repr, wrong[:3]))}" if wrong else "is empty"
        raise ConfigError(f"{path}: '{_KEY}' {problem}; it should hold the tensors fc.N.weight and fc.N.bias alone.")
    count = 1 + max(int(name.split(".")[1]) for name in layers)
    names = [f"fc.{i}.{part}" for i in range(count) for part in ("weight", "bias")]
    missing = [name for name in names if name not in layers]
    if missing:
        raise ConfigError(f"{path}: lacks {', '.join(missing[:3])}; {count} linear maps need a weight and a bias each.")
    shape = layers["fc.0.weight"].shape
    for name in names:
        _check(path, name, layers[name], shape)
    return {f"extractor.{name}": layers[name].float().contiguous() for name in names}


def _read(path: Path) -> Mapping[str, Tensor]:
    data = read_published(path)
    if not isinstance(data, Mapping) or not isinstance(data.get(_KEY), Mapping):
        raise ConfigError(f"{path}: is not an APRIL-GAN checkpoint; those hold a mapping called '{_KEY}'.")
    layers: Mapping[str, Tensor] = data[_KEY]
    return layers


def _check(path: Path, name: str, tensor: Tensor, first: torch.Size) -> None:
    wanted = first[:1] if name.endswith("bias") else first
    if len(first) != 2 or tensor.shape != wanted:
        form = "[D, W]" if len(first) != 2 else list(wanted)
        raise ConfigError(f"{path}: {name} has shape {list(tensor.shape)}; it should have {form}, as all maps do.")
    if not tensor.is_floating_point() or not tensor.isfinite().all():
        raise ConfigError(f"{path}: {name} holds numbers that are not finite floats; the file is damaged.")
