"""``run.json``: what a run was made with, so that a folder never holds the results of two different detectors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlmad_core.errors import ConfigError
from vlmad_core.files import differences, refuse_special, write_whole
from vlmad_core.pipeline.pipeline import Pipeline
from vlmad_core.version import __version__

__all__ = ["check_same", "differences", "read_run_record", "settings_of", "write_record"]

RUN = "run.json"
_FORMAT = 1


def settings_of(pipeline: Pipeline, **options: Any) -> dict[str, Any]:
    """Everything that decides what the results are, as JSON would give it back."""
    settings = {
        "vlmad": __version__,
        "plugins": dict(pipeline.plugins),
        "spec": pipeline.spec.model_dump(mode="json") if pipeline.spec else None,
        "class_name": pipeline.class_name,
        "backbone": dict(pipeline.backbone.provenance),
        "bits": pipeline.bits,
        **options,
    }
    if pipeline.normals and not {"normals", "detector"} & options.keys():
        settings["normals"] = dict(pipeline.normals)
    plain: dict[str, Any] = json.loads(json.dumps(settings))
    return plain


def read_run_record(folder: Path) -> dict[str, Any] | None:
    """What ``run.json`` says, or None if there is none.

    Raises:
        ConfigError: It cannot be read.
    """
    path = folder / RUN
    try:
        record = json.loads(refuse_special(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as JSON ({error}); use another --out, or --overwrite.") from error
    if not isinstance(record, dict) or record.get("format") != _FORMAT or not isinstance(record.get("settings"), dict):
        raise ConfigError(f"{path}: is not a record of this vlmad; use another --out, or --overwrite.")
    return record


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write ``run.json`` in one step."""
    write_whole(folder / RUN, (json.dumps({"format": _FORMAT, **record}, indent=2) + "\n").encode())


def check_same(folder: Path, settings: Mapping[str, Any]) -> None:
    """Refuse to mix the results of two detectors.

    Raises:
        ConfigError: The folder holds results made with other settings; the text says which differ.
    """
    record = read_run_record(folder)
    if record is None:
        return
    changes = differences(record["settings"], settings)
    if changes:
        raise ConfigError(f"{folder}: was made with other settings: {changes}. Use another --out, or --overwrite.")
