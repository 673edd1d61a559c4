"""Published checkpoints as detectors: read by the plugin of their recipe, checked here, saved as safetensors.

A plugin's reader opens the file with :func:`read_published`, so nothing in it is run; what it returns must be the
detector's own tensors, by name and shape.
"""

from __future__ import annotations

import hashlib
import pickle
import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vlmad_core.errors import ConfigError
from vlmad_core.files import refuse_special
from vlmad_core.pipeline.pipeline import Pipeline
from vlmad_core.registry.component import Recipe
from vlmad_core.registry.registry import Registry, default_registry
from vlmad_core.version import __version__

__all__ = ["find_reader", "import_checkpoint", "read_published"]

CheckpointReader = Callable[[Path], Mapping[str, Tensor]]


def read_published(path: Path) -> Any:
    """What ``torch.save`` wrote, as tensors and plain containers; nothing in the file is run.

    Raises:
        ConfigError: It cannot be read, is damaged, or holds more than tensors.
    """
    try:
        content = refuse_special(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}).") from error
    try:
        with warnings.catch_warnings(action="ignore"):  # torch's remarks on how a file was pickled
            return torch.load(BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ConfigError(
            f"{path}: holds more than tensors, or is no checkpoint at all. Reading it could run code that is in it, so "
            "it is refused. Take the file from its authors' repository."
        ) from error
    except Exception as error:  # a damaged file stops torch's reader in many ways
        raise ConfigError(f"{path}: is damaged, or no checkpoint of PyTorch. Fetch it again.") from error


def find_reader(recipe: str, registry: Registry | None = None) -> tuple[Recipe, CheckpointReader]:
    """A recipe and what reads its authors' checkpoints.

    Raises:
        UnknownComponentError: No such recipe.
        ConfigError: It reads none, or its reader cannot be imported.
    """
    registry = registry or default_registry()
    item = registry.get("recipe", recipe).item
    assert isinstance(item, Recipe)
    if not item.checkpoint:
        able = [e.name for e in registry.entries("recipe") if isinstance(e.item, Recipe) and e.item.checkpoint]
        raise ConfigError(f"recipe '{recipe}' reads no checkpoint; these do: {', '.join(able) or 'none'}.")
    module, _, name = item.checkpoint.partition(":")
    try:
        reader: CheckpointReader = getattr(import_module(module), name)
    except (Exception, SystemExit) as error:
        raise ConfigError(f"recipe '{recipe}': {item.checkpoint} cannot be imported: {error}") from error
    return item, reader


def import_checkpoint(
    detector: Pipeline,
    file: str | Path,
    *,
    recipe: str,
    trained_on: str,
    epoch: int | None = None,
    registry: Registry | None = None,
) -> Pipeline:
    """Put a published checkpoint into a detector, in place, with a record of where it comes from.

    Args:
        detector: Built from the recipe, on the backbone that the checkpoint was trained with.
        file: The checkpoint.
        recipe: Whose plugin reads it.
        trained_on: Data set that it was trained on, such as ``"mvtec-ad"``: an evaluation on it is marked.
        epoch: That it was saved after, if known.
        registry: Where to look for the recipe.

    Returns:
        The detector; ``detector.save(folder)`` keeps it, as safetensors.

    Raises:
        ConfigError: A file that cannot be read, or tensors that are missing, unknown or of another shape.
    """
    item, reader = find_reader(recipe, registry)
    path = Path(file)
    try:
        content = refuse_special(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}).") from error
    tensors = reader(path)
    own = detector.state_dict()
    _check(path, tensors, own, [name for name, _ in detector.named_parameters()])
    with torch.no_grad():
        for name, tensor in tensors.items():
            own[name].copy_(tensor)
    detector.load_state_dict(own)  # forgets text embeddings that were computed before
    record: dict[str, Any] = {
        "how": "imported",
        "data": {"name": trained_on},
        "epoch": epoch,
        "recipe": item.name,
        "paper": item.paper,
        "file": path.name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "vlmad": __version__,
    }
    detector.trained = record
    return detector


def _check(path: Path, given: Mapping[str, Tensor], own: Mapping[str, Tensor], learned: list[str]) -> None:
    wrong = [
        f"{name} has shape {list(tensor.shape)}, and here it is {list(own[name].shape)}"
        for name, tensor in given.items()
        if name in own and tensor.shape != own[name].shape
    ]
    unknown, missing = [name for name in given if name not in own], [name for name in learned if name not in given]
    faults = wrong[:2]
    faults += [f"{', '.join(unknown[:3])} is not a part of this detector"] * bool(unknown)
    faults += [f"{', '.join(missing[:3])} is missing"] * bool(missing)
    if faults:
        raise ConfigError(
            f"{path}: does not fit this detector: {'; '.join(faults)}. Take the backbone and the options that it was "
            "trained with, those of the recipe as it is."
        )
