"""Features of the frozen backbone, kept in memory or on the disk, so that only the first epoch computes them."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import safetensors.torch
import torch
from torch import Tensor

from vlmad_core.contracts.data import Features
from vlmad_core.files import FULL, write_whole

__all__ = ["FeatureCache", "cache_key", "choose_storage"]

IN_MEMORY = 1e9
"""Bytes up to which ``auto`` keeps everything in memory."""


def cache_key(*parts: Any) -> str:
    """A name for features of these weights, this extractor and these images; nothing else may use them."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def choose_storage(chosen: str, size: float, limit: float, processes: int) -> Literal["memory", "disk", "off"]:
    """Where features are kept; ``auto``: in memory where all of them fit, else on the disk, which processes share."""
    if chosen == "auto":
        return "memory" if processes == 1 and size <= min(IN_MEMORY, limit) else "disk"
    return "memory" if chosen == "memory" else "disk" if chosen == "disk" else "off"


class FeatureCache:
    """Features of single images by number, up to a limit; what does not fit is computed again in every epoch.

    Args:
        storage: ``memory``, ``disk`` or ``off``.
        template: Features of one image: level names, grid and cover are the same for all.
        folder: For ``disk``; made when something is kept.
        limit: Bytes.
        precision: What the numbers are kept as.
    """

    def __init__(
        self, storage: str, template: Features, folder: Path, *, limit: float, precision: torch.dtype = torch.float32
    ) -> None:
        self.storage, self.template, self.folder, self.precision = storage, template, folder, precision
        self.bytes_each = sum(t.numel() for t in _tensors(template, 0).values()) * precision.itemsize
        room = limit
        if storage == "disk":
            room = min(limit, shutil.disk_usage(_existing(folder)).free / 2 + self._on_disk())
        self.capacity = 0 if storage == "off" else int(room / max(1, self.bytes_each))
        self._kept: dict[int, dict[str, Tensor]] = {}
        self._files: set[int] = {int(path.stem) for path in self._paths()} if storage == "disk" else set()

    def __contains__(self, index: int) -> bool:
        if index in self._kept or index in self._files:
            return True
        if self.storage == "disk" and self._path(index).exists():  # another process may have written it
            self._files.add(index)
            return True
        return False

    def __len__(self) -> int:
        return len(self._files) if self.storage == "disk" else len(self._kept)

    def keep(self, index: int, features: Features, row: int) -> None:
        """Keep one image of a batch, if there is room."""
        if len(self) >= self.capacity or index in self:
            return
        tensors = {name: t.detach().to("cpu", self.precision) for name, t in _tensors(features, row).items()}
        if self.storage == "memory":
            self._kept[index] = {name: t.clone() for name, t in tensors.items()}
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_whole(self._path(index), safetensors.torch.save({k: t.contiguous() for k, t in tensors.items()}))
        except OSError as error:
            if error.errno not in FULL:
                raise
            self.capacity = len(self)  # the rest is computed again; a state that finds no room is an error of its own
            return
        self._files.add(index)

    def batch(self, indices: Sequence[int]) -> Features:
        """Features of images that are kept, as one batch on the template's device and in its type."""
        rows = [
            self._kept[i] if self.storage == "memory" else safetensors.torch.load_file(self._path(i)) for i in indices
        ]
        return _restored(self.template, rows)

    def remove(self) -> None:
        """Take it off the disk and out of memory."""
        self._kept.clear()
        self._files.clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, index: int) -> Path:
        return self.folder / f"{index:07}.safetensors"

    def _paths(self) -> list[Path]:
        return list(self.folder.glob("*.safetensors")) if self.folder.is_dir() else []

    def _on_disk(self) -> int:
        return sum(path.stat().st_size for path in self._paths())


def _tensors(features: Features, row: int) -> dict[str, Tensor]:
    tensors = {f"level{i}": level.vectors[row] for i, level in enumerate(features.levels)}
    return tensors if features.image is None else {**tensors, "image": features.image[row]}


def _restored(template: Features, rows: Sequence[dict[str, Tensor]]) -> Features:
    levels = tuple(
        replace(level, vectors=torch.stack([row[f"level{i}"] for row in rows]).to(level.vectors))
        for i, level in enumerate(template.levels)
    )
    image = template.image
    return Features(levels, None if image is None else torch.stack([row["image"] for row in rows]).to(image))


def _existing(folder: Path) -> Path:
    """The nearest folder above that exists."""
    return next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
