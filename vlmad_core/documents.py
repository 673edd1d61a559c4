"""Settings files that somebody else may have written: read with limits, and refused in a sentence. Torch-free."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

from vlmad_core.errors import ConfigError

__all__ = ["parse_json", "parse_yaml", "read_limited"]

MAX_BYTES = 16_000_000
"""Of a settings file: far more than any has, and read in a moment."""


def read_limited(path: Path, *, limit: int | None = MAX_BYTES) -> bytes:
    """The bytes of a regular file.

    Args:
        path: A pipe or a device in its place is refused, for reading it may never end.
        limit: The most bytes that are read; None: any number.

    Raises:
        FileNotFoundError: It is not there.
        ConfigError: It is no regular file, is too large, or cannot be read.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise ConfigError(f"{path}: is not a regular file, so it is not read.")
        if limit is not None and found.st_size > limit:
            raise ConfigError(f"{path}: has {found.st_size / 1e6:.0f} MB; at most {limit / 1e6:.0f} MB are read.")
        return path.read_bytes()
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{path}: cannot be read ({getattr(error, 'strerror', '') or error}).") from error


def parse_json(text: str | bytes, where: str) -> Any:
    """A JSON document.

    Args:
        text: The document.
        where: Put in front of an error.

    Raises:
        ConfigError: It is not JSON, or is nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ConfigError(f"{where}: is nested too deeply.") from error
    except ValueError as error:
        raise ConfigError(f"{where}: is not JSON: {_one_line(error)}") from error


def parse_yaml(text: str | bytes, where: str) -> Any:
    """A YAML or JSON document. Anchors are refused: a few of them can stand for gigabytes.

    Args:
        text: The document.
        where: Put in front of an error.

    Raises:
        ConfigError: It is not YAML, has an anchor, or is nested too deeply.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        def compose_node(self, parent: Any, index: Any) -> Any:
            event = self.peek_event()  # type: ignore[no-untyped-call]
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                raise ConfigError(f"{where}: anchors (& and *) are not allowed; write the values out.")
            return super().compose_node(parent, index)

    try:
        return yaml.load(text, Loader)  # it is a SafeLoader
    except RecursionError as error:
        raise ConfigError(f"{where}: is nested too deeply.") from error
    except ConfigError:
        raise
    except (yaml.YAMLError, ValueError, OverflowError, TypeError) as error:
        raise ConfigError(f"{where}: is neither YAML nor JSON: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
