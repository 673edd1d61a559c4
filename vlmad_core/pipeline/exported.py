"""Files of `vlmad export`, which plugin ``vlmad-export`` opens."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from vlmad_core.contracts.towers import Backbone
from vlmad_core.errors import ConfigError
from vlmad_core.pipeline.pipeline import Pipeline

__all__ = ["is_exported", "load_exported"]


def is_exported(path: str | Path) -> bool:
    """Whether a path is that of a file of `vlmad export`, by its ending."""
    return Path(path).suffix.lower() in (".onnx", ".xml") and not Path(path).is_dir()


def load_exported(path: Path, device: str, backbone: Backbone | None, overrides: Mapping[str, Any] | None) -> Pipeline:
    """Open one.

    Raises:
        ConfigError: The plugin is not installed, or parts are to be changed, which are fixed in the file.
    """
    if backbone is not None or overrides:
        given = ", ".join(overrides) if overrides else "a backbone"
        raise ConfigError(
            f"{path}: is an exported detector, whose parts are fixed in the file; {given} cannot be changed."
        )
    try:
        module = import_module("vlmad_export.exported")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("vlmad_export", "vlmad_edge"):
            raise
        raise ConfigError(
            f"{path}: is an exported detector, and plugin vlmad-export, which opens it, is not installed: "
            "pip install vlmad-export. Without torch, `vlmad-edge` runs it."
        ) from error
    found: Pipeline = module.load_exported(path, device=device)
    return found
