"""What the frozen tower saw, kept in memory or on the disk, so that epochs after the first need no tower."""

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
from vlmad_core.files import write_whole
from vlmad_core.run.disk import FULL

__all__ = ["FeatureCache", "cache_key", "choose_place"]

IN_MEMORY = 1e9
"""Bytes up to which ``auto`` keeps everything in memory."""


def cache_key(*parts: Any) -> str:
    """A name for what was kept with these weights, this extractor and these images; nothing else may use it."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def choose_place(asked: str, size: float, limit: float, processes: int) -> Literal["memory", "disk", "off"]:
    """Where ``auto`` keeps things: memory where all of it fits, else disk, which several processes share."""
    if asked == "auto":
        return "memory" if processes == 1 and size <= min(IN_MEMORY, limit) else "disk"
    return "memory" if asked == "memory" else "disk" if asked == "disk" else "off"


class FeatureCache:
    """Features of single images by number, up to a limit; what does not fit is simply not there.

    Args:
        place: ``memory``, ``disk`` or ``off``.
        template: Features of one image, for what all images share: level names, grid, cover.
        folder: For ``disk``; made when something is kept.
        limit: Bytes.
        precision: What the numbers are kept as.
    """

    def __init__(
        self, place: str, template: Features, folder: Path, *, limit: float, precision: torch.dtype = torch.float32
    ) -> None:
        self.place, self.template, self.folder, self.precision = place, template, folder, precision
        self.bytes_each = sum(t.numel() for t in _tensors(template, 0).values()) * precision.itemsize
        room = limit
        if place == "disk":
            room = min(limit, shutil.disk_usage(_there(folder)).free / 2 + self._on_disk())
        self.capacity = 0 if place == "off" else int(room / max(1, self.bytes_each))
        self._kept: dict[int, dict[str, Tensor]] = {}
        self._files: set[int] = {int(path.stem) for path in self._paths()} if place == "disk" else set()

    def __contains__(self, index: int) -> bool:
        if index in self._kept or index in self._files:
            return True
        if self.place == "disk" and self._path(index).exists():  # another process may have written it
            self._files.add(index)
            return True
        return False

    def __len__(self) -> int:
        return len(self._files) if self.place == "disk" else len(self._kept)

    def keep(self, index: int, features: Features, row: int) -> None:
        """Keep one image of a batch, if there is room."""
        if len(self) >= self.capacity or index in self:
            return
        tensors = {name: t.detach().to("cpu", self.precision) for name, t in _tensors(features, row).items()}
        if self.place == "memory":
            self._kept[index] = {name: t.clone() for name, t in tensors.items()}
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_whole(self._path(index), safetensors.torch.save({k: t.contiguous() for k, t in tensors.items()}))
        except OSError as error:
            if error.errno not in FULL:
                raise
            self.capacity = len(self)  # the rest goes through the tower; a state that finds no room says so itself
            return
        self._files.add(index)

    def batch(self, indices: Sequence[int]) -> Features:
        """Features of images that are kept, as one batch on the template's device and in its type."""
        rows = [
            self._kept[i] if self.place == "memory" else safetensors.torch.load_file(self._path(i)) for i in indices
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


def _there(folder: Path) -> Path:
    """The nearest folder above that exists."""
    return next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
