"""What a stopped training goes on from: tensors in safetensors, the rest in JSON, there whole or not at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from vlmad_core.errors import ConfigError
from vlmad_core.files import write_whole
from vlmad_core.run.settings import differences

__all__ = ["RECORD", "Place", "optimizer_state", "read_state", "restore_optimizer", "under", "write_state"]

RECORD = "training.json"
_FORMAT = 1


@dataclass
class Place:
    """How far a training is.

    Args:
        epoch: Epochs that are done.
        step: Steps of the present epoch that are done.
        steps: Steps that are done in all.
        best: Lowest validation loss so far.
        best_epoch: Where that was, from 1.
        finished: Nothing is left to do.
        loss: Sum of the losses of the present epoch so far, over images.
        images: Images of the present epoch so far.
        looked: Of those, how many went through the tower.
        seconds: That the present epoch took so far.
        scaler: Of fp16, how gradients are scaled.
    """

    epoch: int = 0
    step: int = 0
    steps: int = 0
    best: float | None = None
    best_epoch: int | None = None
    finished: bool = False
    loss: float = 0.0
    images: int = 0
    looked: int = 0
    seconds: float = 0.0
    scaler: dict[str, Any] = field(default_factory=dict)


def write_state(folder: Path, settings: Mapping[str, Any], place: Place, tensors: Mapping[str, Tensor]) -> None:
    """Tensors first, then the record that names them: until it does, the old ones are in force."""
    data = safetensors.torch.save({name: t.detach().cpu().contiguous() for name, t in tensors.items()})
    digest = hashlib.sha256(data).hexdigest()
    name = f"resume-{digest[:12]}.safetensors"
    record = {
        "format": _FORMAT,
        "settings": settings,
        "place": vars(place),
        "state": {"file": name, "sha256": digest},
    }
    write_whole(folder / name, data, sync=True)
    write_whole(folder / RECORD, (json.dumps(record, indent=2) + "\n").encode(), sync=True)
    for old in folder.glob("resume-*.safetensors"):
        if old.name != name:
            old.unlink()


def read_state(folder: Path, settings: Mapping[str, Any]) -> tuple[Place, dict[str, Tensor]] | None:
    """What a training in this folder goes on from; None where there was none.

    Raises:
        ConfigError: A training with other settings, a detector that came otherwise, or a damaged state.
    """
    path = folder / RECORD
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if (folder / "detector.json").exists():
            raise ConfigError(f"{folder}: holds a detector that was not trained here; use another --out.") from None
        return None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as JSON ({error}); use another --out, or remove it.") from error
    if not isinstance(record, dict) or record.get("format") != _FORMAT:
        raise ConfigError(f"{path}: is not a record of this vlmad; use another --out.")
    told = differences(record["settings"], settings)
    if told:
        raise ConfigError(f"{folder}: holds a training with other settings: {told}. Use another --out, or remove it.")
    state = folder / str(record["state"]["file"])
    try:
        data = state.read_bytes()
    except OSError as error:
        raise ConfigError(f"{state}: cannot be read ({error.strerror}); remove {path} to start afresh.") from error
    if hashlib.sha256(data).hexdigest() != record["state"]["sha256"]:
        raise ConfigError(f"{state}: is damaged (its hash differs); remove {path} to start afresh.")
    return Place(**record["place"]), safetensors.torch.load(data)


def under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Those under a prefix, without it."""
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def optimizer_state(optimizer: torch.optim.Optimizer, names: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What the optimiser remembers, by the name of the parameter."""
    return {
        f"{name}/{key}": value if isinstance(value, Tensor) else torch.tensor(value)
        for name, parameter in names.items()
        for key, value in optimizer.state[parameter].items()
    }


def restore_optimizer(
    optimizer: torch.optim.Optimizer, names: Mapping[str, Tensor], saved: Mapping[str, Tensor]
) -> None:
    """Put back what :func:`optimizer_state` gave."""
    for name, parameter in names.items():
        own = under(saved, f"{name}/")
        optimizer.state[parameter] = {
            # Adam counts its steps on the CPU, whatever the parameter lies on
            key: value.clone() if value.ndim == 0 else value.to(parameter).clone()
            for key, value in own.items()
        }
