"""Batches of features, in memory as far as they fit and on the disk beyond that; exactly as they were computed."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from vlmad_core.contracts.data import Features
from vlmad_core.files import FULL, write_whole

__all__ = ["FeatureStore"]


class FeatureStore:
    """Batches by name.

    Args:
        folder: For those that do not fit into memory; nothing else may use it.
        memory: Bytes.
    """

    def __init__(self, folder: Path, memory: float) -> None:
        self._folder, self._free = folder, memory
        self._batches: dict[str, Features] = {}
        self._files: dict[str, Path] = {}
        self._has_room = True

    def keep(self, name: str, features: Features) -> None:
        """Keep a batch, if there is room; where the disk is full it is not kept."""
        on_cpu = features.to("cpu")
        tensors = on_cpu.tensors()
        size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
        if size <= self._free:
            self._free -= size
            self._batches[name] = on_cpu
        elif self._has_room:
            self._write(name, on_cpu, tensors)

    def holds(self, name: str) -> bool:
        """Whether a batch was kept."""
        return name in self._batches

    def find(self, name: str, device: torch.device) -> Features | None:
        """A batch on a device, or None if it was not kept."""
        batch = self._batches.get(name)
        if batch is None:
            return None
        if name in self._files:
            tensors = safetensors.torch.load_file(self._files[name])
            batch = batch.with_tensors(tensors)
        return batch.to(device)

    def clear(self) -> None:
        """Give memory and disk back."""
        self._batches.clear()
        self._files.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _write(self, name: str, batch: Features, tensors: dict[str, Tensor]) -> None:
        path = self._folder / f"{len(self._files):06}.safetensors"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_whole(path, safetensors.torch.save({key: t.contiguous() for key, t in tensors.items()}))
        except OSError as error:
            if error.errno not in FULL:
                raise
            self._has_room = False
            return
        self._files[name] = path
        none = torch.empty(0)
        self._batches[name] = Features(tuple(replace(level, vectors=none) for level in batch.levels))
