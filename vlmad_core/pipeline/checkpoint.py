"""A record in JSON and tensors in safetensors, in one folder: written whole, read with limits. Nothing is unpickled.

The record names the file of the tensors and its hash. Until a new record is in place the old pair is in force, so a
reader meets one pair or the other and never half of each. The record alone is read without torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlmad_core.documents import parse_json, read_limited
from vlmad_core.errors import ConfigError
from vlmad_core.files import folder_lock, write_whole
from vlmad_core.pipeline.tensor_file import hashed_name, remove_orphans
from vlmad_core.version import __version__

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["RECORD", "read_checkpoint", "read_detector_record", "write_checkpoint"]

RECORD = "detector.json"
"""The record of a detector."""

_FORMAT = 2
_STATE = "state"
_TRIES = 20
"""How often a folder is read again that another process is writing to."""


def write_checkpoint(
    folder: str | Path, record: Mapping[str, Any], tensors: Mapping[str, Tensor], *, file: str = RECORD
) -> Path:
    """Write a record and tensors; a pair that is there is replaced in one step.

    Nothing else is deleted but tensors without a record, which a killed save left behind.

    Args:
        folder: Made if needed.
        record: Plain data; ``format``, ``vlmad`` and ``state`` are added.
        tensors: Of any device.
        file: Name of the record; the tensors' file is named by their hash.

    Raises:
        ConfigError: The folder cannot be made or written to.
    """
    import safetensors.torch

    folder = Path(folder)
    data = safetensors.torch.save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    name, digest = hashed_name(_STATE, data)
    about = {"format": _FORMAT, "vlmad": __version__, "state": {"file": name, "sha256": digest}}
    text = json.dumps({**record, **about}, indent=2, sort_keys=True) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be made a folder ({error.strerror}).") from error
    try:
        with folder_lock(folder) as locked:
            before = _state_file(folder / file)
            write_whole(folder / name, data, sync=True)
            write_whole(folder / file, text.encode(), sync=True)
            if before not in (None, name):
                (folder / str(before)).unlink(missing_ok=True)
            if locked:
                remove_orphans(folder, _STATE, {str(_state_file(path)) for path in folder.glob("*.json")})
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written ({error.strerror}).") from error
    return folder


def read_checkpoint(
    folder: str | Path, *, file: str = RECORD, needed: Collection[str] = ()
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The record and the tensors that belong to it, also while another process replaces both.

    Args:
        folder: As :func:`write_checkpoint` wrote it, in this version or an earlier one.
        file: Name of the record.
        needed: Keys that the record must have.

    Raises:
        ConfigError: There is none, another version wrote it, or it is damaged or changed.
    """
    folder = Path(folder)
    record = read_detector_record(folder, file=file, needed=needed)
    for _ in range(_TRIES):
        try:
            return record, _tensors(folder, record["state"])
        except ConfigError:
            again = read_detector_record(folder, file=file, needed=needed)
            if again["state"] == record["state"]:
                raise
            record = again
    raise ConfigError(f"{folder}: another process keeps writing there; try again when it is done.")


def read_detector_record(folder: str | Path, *, file: str = RECORD, needed: Collection[str] = ()) -> dict[str, Any]:
    """The record alone; see :func:`read_checkpoint`."""
    path = Path(folder) / file
    try:
        record = parse_json(read_limited(path), str(path))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ConfigError(f"{folder}: holds no detector ({file} is missing). `vlmad fit` makes one.") from error
    expected = {"format", "vlmad", "state", *needed}
    missing = expected - record.keys() if isinstance(record, dict) else expected
    if missing:
        raise ConfigError(f"{path}: is not a detector; it lacks {', '.join(sorted(missing))}.")
    if type(record["format"]) is not int or not 1 <= record["format"] <= _FORMAT:
        raise ConfigError(
            f"{path}: has format {record['format']!r}, this vlmad reads 1 to {_FORMAT}; upgrade vlmad-core."
        )
    if not isinstance(record["state"], dict):
        raise ConfigError(f"{path}: state must be a mapping, got {record['state']!r}.")
    found: dict[str, Any] = record
    return found


def _tensors(folder: Path, state: Mapping[str, Any]) -> dict[str, Tensor]:
    import safetensors.torch

    path = folder / Path(str(state.get("file"))).name  # a name alone: it must not lead out of the folder
    try:
        data = read_limited(path, limit=None)
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}).") from error
    if hashlib.sha256(data).hexdigest() != state.get("sha256"):
        raise ConfigError(f"{path}: is not the file that was saved (its hash differs): damaged or changed. Fit again.")
    try:
        return safetensors.torch.load(data)
    except (safetensors.SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise ConfigError(f"{path}: holds no tensors that can be read: {' '.join(str(error).split())}") from error


def _state_file(path: Path) -> str | None:
    """The file of tensors that a record names, if it is one of ours."""
    try:
        name = str(parse_json(read_limited(path), str(path))["state"]["file"])
    except (OSError, ConfigError, KeyError, TypeError):
        return None
    return name if Path(name).match("state-*.safetensors") and Path(name).name == name else None
