"""What a stopped training goes on from: tensors in safetensors, the rest in JSON, there whole or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from vlmad_core.errors import ConfigError
from vlmad_core.files import differences, read_record, refuse_special, write_record, write_whole
from vlmad_core.pipeline.tensor_file import hashed_name, remove_orphans

__all__ = ["RECORD", "Position", "optimizer_state", "read_state", "restore_optimizer", "with_prefix", "write_state"]

RECORD = "training.json"
_FORMAT = 1
_STATE = "resume"


@dataclass
class Position:
    """How far a training is.

    Args:
        epoch: Epochs that are done.
        step: Steps of the present epoch that are done.
        steps: Steps that are done in all.
        best: Lowest validation loss so far.
        best_epoch: Where that was, from 1.
        stopped: The validation loss has not fallen for too long, so no epoch follows.
        finished: The detector is saved; nothing is left to do.
        loss: Sum of the losses of the present epoch so far, over images.
        images: Images of the present epoch so far.
        encoded: Of those, how many went through the backbone.
        seconds: That the present epoch took so far.
        scaler: State of the gradient scaler of fp16.
    """

    epoch: int = 0
    step: int = 0
    steps: int = 0
    best: float | None = None
    best_epoch: int | None = None
    stopped: bool = False
    finished: bool = False
    loss: float = 0.0
    images: int = 0
    encoded: int = 0
    seconds: float = 0.0
    scaler: dict[str, Any] = field(default_factory=dict)


def write_state(folder: Path, settings: Mapping[str, Any], position: Position, tensors: Mapping[str, Tensor]) -> None:
    """Tensors first, then the record that names them: until it does, the old ones are in force."""
    data = safetensors.torch.save({name: t.detach().cpu().contiguous() for name, t in tensors.items()})
    name, digest = hashed_name(_STATE, data)
    record = {
        "format": _FORMAT,
        "settings": settings,
        "position": vars(position),
        "state": {"file": name, "sha256": digest},
    }
    write_whole(folder / name, data, sync=True)
    write_record(folder / RECORD, record, sync=True)
    remove_orphans(folder, _STATE, {name})


def read_state(folder: Path, settings: Mapping[str, Any]) -> tuple[Position, dict[str, Tensor]] | None:
    """What a training in this folder goes on from; None where there was none.

    Raises:
        ConfigError: A training with other settings or data, a detector that came otherwise, or a damaged state.
    """
    path = folder / RECORD
    record = read_record(path, format=_FORMAT, advice="use another --out, or remove it.")
    if record is None:
        if (folder / "detector.json").exists():
            raise ConfigError(f"{folder}: holds a detector that was not trained here; use another --out.")
        return None
    changed = differences(record["settings"], settings)
    if "data.sha256 was" in changed:
        changed += " (images, labels or masks have changed since)"
    if changed:
        raise ConfigError(
            f"{folder}: holds a training with other settings: {changed}. Use another --out, or remove it."
        )
    try:
        position = Position(**record["position"])
        state, digest = folder / str(record["state"]["file"]), record["state"]["sha256"]
    except (KeyError, TypeError) as error:
        raise ConfigError(f"{path}: is not a record of this vlmad; use another --out, or remove it.") from error
    try:
        data = refuse_special(state).read_bytes()
    except OSError as error:
        raise ConfigError(f"{state}: cannot be read ({error.strerror}); remove {path} to start afresh.") from error
    if hashlib.sha256(data).hexdigest() != digest:
        raise ConfigError(f"{state}: is damaged (its hash differs); remove {path} to start afresh.")
    return position, safetensors.torch.load(data)


def with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Those whose name begins so, without the prefix."""
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def optimizer_state(optimizer: torch.optim.Optimizer, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of the optimiser, by the name of the parameter."""
    return {
        f"{name}/{key}": value if isinstance(value, Tensor) else torch.tensor(value)
        for name, parameter in parameters.items()
        for key, value in optimizer.state[parameter].items()
    }


def restore_optimizer(
    optimizer: torch.optim.Optimizer, parameters: Mapping[str, Tensor], saved: Mapping[str, Tensor]
) -> None:
    """Put back what :func:`optimizer_state` gave."""
    for name, parameter in parameters.items():
        own = with_prefix(saved, f"{name}/")
        optimizer.state[parameter] = {
            # Adam counts its steps on the CPU, whatever the parameter lies on
            key: value.clone() if value.ndim == 0 else value.to(parameter).clone()
            for key, value in own.items()
        }
