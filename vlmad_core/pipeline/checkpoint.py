"""Save and load detectors: a spec in JSON, own tensors in safetensors, versions and hashes. Nothing is unpickled."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from packaging.version import Version
from safetensors import SafetensorError

from vlmad_core.contracts.towers import Backbone
from vlmad_core.errors import ConfigError
from vlmad_core.files import write_whole
from vlmad_core.pipeline.build import assemble
from vlmad_core.pipeline.pipeline import Pipeline
from vlmad_core.pipeline.spec import PipelineSpec, override
from vlmad_core.registry.registry import Registry, default_registry
from vlmad_core.registry.validate import validate
from vlmad_core.version import __version__

__all__ = ["load", "save"]

_FORMAT = 1
_SPEC = "detector.json"


def save(pipeline: Pipeline, folder: str | Path) -> Path:
    """Write a detector: its spec, what its parts learned and remember, and which versions and weights it was made with.

    The backbone's weights are not copied; their hash is written down and compared by :func:`load`.

    Args:
        pipeline: Made by :func:`vlmad_core.build`.
        folder: Made if needed; a detector that is there is replaced in one step.

    Raises:
        ConfigError: The pipeline was put together by hand, so there is no spec to save.
    """
    if pipeline.spec is None:
        raise ConfigError("this pipeline was put together by hand; build it with vlmad_core.build to save it.")
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be made a folder ({error.strerror}).") from error
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in pipeline.state_dict().items()}
    state = safetensors.torch.save(tensors)
    digest = hashlib.sha256(state).hexdigest()
    name = f"state-{digest[:12]}.safetensors"  # named by its content: until the spec names it, the old one is in force
    record = {
        "format": _FORMAT,
        "vlmad": __version__,
        "name": pipeline.class_name,
        "spec": pipeline.spec.model_dump(mode="json"),
        "plugins": dict(pipeline.plugins),
        "backbone": dict(pipeline.backbone.provenance),
        "trained": dict(pipeline.trained),
        "normals": dict(pipeline.normals),
        "bits": pipeline.bits,
        "state": {"file": name, "sha256": digest},
    }
    write_whole(folder / name, state, sync=True)
    write_whole(folder / _SPEC, (json.dumps(record, indent=2, sort_keys=True) + "\n").encode(), sync=True)
    for old in folder.glob("state-*.safetensors"):
        if old.name != name:
            old.unlink()
    return folder


def load(
    folder: str | Path,
    *,
    backbone: Backbone | None = None,
    overrides: Mapping[str, Any] | None = None,
    registry: Registry | None = None,
) -> Pipeline:
    """Read a detector back.

    Args:
        folder: As :func:`save` wrote it.
        backbone: A shared one with the same weights; built from the spec if None.
        overrides: Values for dotted paths of the spec, such as
            ``{"backbone.config.pretrained": "elsewhere.safetensors"}``.
        registry: Where to look for parts.

    Raises:
        ConfigError: Not a detector, another version, damaged or changed, or other backbone weights.
    """
    folder = Path(folder)
    record = _read(folder)
    registry = registry or default_registry()
    _check_versions(folder, record, registry)
    state = _checked(folder, record["state"])
    spec = validate(PipelineSpec, override(record["spec"], overrides or {}), str(folder / _SPEC))
    pipeline = assemble(spec, backbone=backbone, registry=registry)
    before, now = record["backbone"].get("sha256"), pipeline.backbone.provenance.get("sha256")
    if before != now:
        raise ConfigError(
            f"{folder}: was made with other backbone weights (sha256 {before}, these are {now}). "
            "Its memory would mean nothing here; use the same weights or fit again."
        )
    try:
        pipeline.load_state_dict(safetensors.torch.load(state))
    except (SafetensorError, RuntimeError) as error:
        raise ConfigError(f"{folder}: what was saved does not fit this detector: {error}") from error
    pipeline.class_name = record["name"]
    pipeline.trained = record.get("trained", {})
    pipeline.normals = record.get("normals", {})
    pipeline.bits = record.get("bits")
    return pipeline


def _read(folder: Path) -> dict[str, Any]:
    path = folder / _SPEC
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{folder}: holds no detector ({_SPEC} is missing). `vlmad fit` makes one.") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as JSON: {error}") from error
    needed = {"format", "vlmad", "name", "spec", "plugins", "backbone", "state"}
    missing = needed - record.keys() if isinstance(record, dict) else needed
    if missing:
        raise ConfigError(f"{path}: is not a detector; it lacks {', '.join(sorted(missing))}.")
    if record["format"] != _FORMAT:
        raise ConfigError(f"{path}: has format {record['format']}, this vlmad reads {_FORMAT}; upgrade vlmad-core.")
    for field in ("backbone", "plugins", "spec", "state", "trained"):
        if not isinstance(record.get(field, {}), dict):
            raise ConfigError(f"{path}: {field} must be a mapping, got {record[field]!r}.")
    return record


def _checked(folder: Path, state: Mapping[str, str]) -> bytes:
    path = folder / Path(str(state.get("file"))).name  # a name alone: it must not lead out of the folder
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}).") from error
    if hashlib.sha256(data).hexdigest() != state.get("sha256"):
        raise ConfigError(f"{path}: is not the file that was saved (its hash differs): damaged or changed. Fit again.")
    return data


def _check_versions(folder: Path, record: Mapping[str, Any], registry: Registry) -> None:
    """Another major version is refused, another minor one warned; before 1.0 a minor version counts as major."""
    here = {plugin.name: plugin.version for plugin in registry.plugins if plugin.entries}
    for name, saved in record["plugins"].items():
        if name not in here:
            raise ConfigError(f"{folder}: needs plugin {name} {saved}. Install it: pip install '{name}=={saved}'.")
        if not saved or not here[name] or saved == here[name]:
            continue
        then, now = Version(saved), Version(here[name])
        if then.major != now.major or (now.major == 0 and then.minor != now.minor):
            raise ConfigError(
                f"{folder}: was made with {name} {saved}, this is {now}; install the other one, or fit again."
            )
        if then.minor != now.minor:
            warnings.warn(f"{folder}: was made with {name} {saved}, this is {now}.", UserWarning, stacklevel=3)
