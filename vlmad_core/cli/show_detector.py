"""A saved detector on the terminal: what it is made of, from its record alone. Free of torch."""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import Any

from vlmad_core.cli.terminal import grid, print_json, safe, table
from vlmad_core.documents import parse_json
from vlmad_core.errors import ConfigError
from vlmad_core.pipeline.checkpoint import RECORD, read_detector_record
from vlmad_core.pipeline.migrate import NEEDED, upgrade_record
from vlmad_core.pipeline.trained import describe_training

__all__ = ["is_detector", "show_detector"]


def is_detector(path: Path) -> bool:
    """Whether a folder holds a detector."""
    return (path / RECORD).exists()


def show_detector(folder: Path, *, as_json: bool) -> None:
    """Its parts, class name, training and tensors; no part is imported.

    Raises:
        ConfigError: The folder holds no detector that can be read.
    """
    record = upgrade_record(read_detector_record(folder, needed=NEEDED), str(folder / RECORD))
    file = folder / Path(str(record["state"].get("file"))).name
    tensors = _tensors(file)
    if as_json:
        shapes = [{"name": name, "shape": shape, "type": kind} for name, shape, kind in tensors]
        print_json({**record, "tensors": shapes})
        return
    import yaml

    trained = record["trained"]
    rows = [
        ("made by", f"vlmad {record['vlmad']}, format {record['format']}"),
        ("class name", record["class_name"] or "none"),
        ("trained", describe_training(trained) if trained else "no part of it was trained"),
        ("plugins", ", ".join(f"{name} {version}" for name, version in record["plugins"].items())),
        *((f"backbone {key}", str(value)) for key, value in record["backbone"].items()),
        ("size", f"{file.stat().st_size / 1e6:.1f} MB"),
    ]
    sys.stdout.write(f"detector {safe(str(folder))}\n\n")
    grid(rows)
    text = yaml.safe_dump(record["spec"], sort_keys=False, default_flow_style=None, width=100)
    sys.stdout.write(f"\n{safe(text)}\n")
    table(["tensor", "shape", "type"], [(name, " x ".join(map(str, shape)), kind) for name, shape, kind in tensors])


def _tensors(file: Path) -> list[tuple[str, list[int], str]]:
    """Name, shape and type of each tensor, from the header of a safetensors file."""
    wrong = ConfigError(f"{file}: holds no tensors that can be read: damaged or changed.")
    try:
        with file.open("rb") as opened:
            (length,) = struct.unpack("<Q", opened.read(8))
            if length > file.stat().st_size:
                raise wrong
            header: dict[str, Any] = parse_json(opened.read(length), str(file))
        return [(key, list(value["shape"]), str(value["dtype"])) for key, value in header.items() if key[:2] != "__"]
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror}).") from error
    except (struct.error, AttributeError, KeyError, TypeError) as error:
        raise wrong from error
