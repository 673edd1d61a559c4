"""A calibration beside the tensors of a detector: JSON, and the class tokens of the normal images in safetensors."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from vlmad_core.errors import ConfigError
from vlmad_core.inspection.calibration import Calibration, ImageScore
from vlmad_core.pipeline.checkpoint import read_checkpoint, write_checkpoint
from vlmad_core.pipeline.decisions import StoredCalibration

__all__ = ["CALIBRATION", "read_calibration", "remove_calibration", "write_calibration"]

CALIBRATION = "calibration.json"


def write_calibration(folder: str | Path, stored: StoredCalibration) -> Path:
    """Write it beside and rename, so that the former one is in force until the new one is whole.

    Raises:
        ConfigError: The folder cannot be written to.
    """
    record = {"calibration": json.loads(stored.calibration.to_json())}
    tensors = {name: torch.from_numpy(tokens.copy()) for name, tokens in stored.tokens.items()}
    return write_checkpoint(folder, record, tensors, file=CALIBRATION)


def read_calibration(folder: str | Path) -> StoredCalibration | None:
    """What `write_calibration` wrote; None where there is none.

    Raises:
        ConfigError: It is cut off, edited into something impossible, or does not fit its class tokens.
    """
    path = Path(folder) / CALIBRATION
    if not path.exists():
        return None
    try:
        record, tensors = read_checkpoint(folder, file=CALIBRATION, needed=["calibration"])
        calibration = Calibration.from_json(json.dumps(record["calibration"]), name=str(path))
    except ConfigError as error:
        raise ConfigError(
            f"{error} The detector itself is unharmed: restore {path}, or remove it and calibrate again."
        ) from error
    sides: dict[str, tuple[ImageScore, ...]] = {"references": calibration.references, "held_out": calibration.held_out}
    for name, tensor in tensors.items():
        if tensor.ndim != 2 or len(tensor) != len(sides.get(name, ())) or tensor.dtype != torch.float32:
            raise ConfigError(
                f"{path}: the class tokens '{name}' do not belong to its images. Restore it, or remove it and "
                "calibrate again."
            )
    return StoredCalibration(calibration, {name: tensor.numpy() for name, tensor in tensors.items()})


def remove_calibration(folder: str | Path) -> None:
    """Remove a calibration that belongs to what was in the folder before, with its class tokens."""
    path = Path(folder) / CALIBRATION
    if not path.exists():
        return
    try:
        name = str(json.loads(path.read_bytes())["state"]["file"])
    except (OSError, ValueError, KeyError, TypeError):
        name = ""
    path.unlink(missing_ok=True)
    if Path(name).name == name and Path(name).match("state-*.safetensors"):
        (Path(folder) / name).unlink(missing_ok=True)
