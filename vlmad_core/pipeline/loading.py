"""From a folder that a detector was saved in back to the detector; what does not fit is refused in a sentence."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vlmad_core.contracts.device import AUTO
from vlmad_core.contracts.towers import Backbone
from vlmad_core.errors import ConfigError
from vlmad_core.pipeline.calibration_file import read_calibration
from vlmad_core.pipeline.checkpoint import RECORD, read_checkpoint
from vlmad_core.pipeline.construct import assemble
from vlmad_core.pipeline.exported import is_exported, load_exported
from vlmad_core.pipeline.migrate import NEEDED, upgrade_record
from vlmad_core.pipeline.pipeline import Pipeline
from vlmad_core.pipeline.resolve import resolve
from vlmad_core.pipeline.spec import PipelineSpec, override
from vlmad_core.registry.distributions import compatible_range, is_version
from vlmad_core.registry.registry import CORE, Registry, default_registry
from vlmad_core.registry.validate import validate

__all__ = ["load"]

_RANGES = ("normal_range", "scale_ranges")
"""Tensors that are NaN where a detector was fitted on fewer than two normal images."""


def load(
    folder: str | Path,
    *,
    backbone: Backbone | None = None,
    device: str = AUTO,
    overrides: Mapping[str, Any] | None = None,
    registry: Registry | None = None,
) -> Pipeline:
    """Read a detector back that :meth:`Pipeline.save` wrote, in this version or an earlier one, or `vlmad export`.

    Args:
        folder: Of the detector; or a file ``nut.onnx`` or ``nut.xml`` of `vlmad export`, for plugin ``vlmad-export``.
        backbone: A shared one with the same weights; built from the spec if None.
        device: Where it runs; ``"auto"``: cuda, else mps, else cpu.
        overrides: Values for dotted paths of the spec, such as
            ``{"backbone.config.pretrained": "elsewhere.safetensors"}``.
        registry: Where to look for parts.

    Raises:
        ConfigError: Not a detector, another version, damaged or changed, or other backbone weights.
    """
    if is_exported(folder):
        return load_exported(Path(folder), device, backbone, overrides)
    folder, registry = Path(folder), registry or default_registry()
    record, tensors = read_checkpoint(folder, needed=NEEDED)
    record = upgrade_record(record, str(folder / RECORD))
    plugins: Mapping[str, str] = record["plugins"]
    # Of the core, the format of the record says what it can read.
    needs = {name: compatible_range(version, minor=False) for name, version in plugins.items() if name != CORE}
    registry.require(needs, f"{folder}: ")
    _warn_of_versions(folder, plugins, registry)
    spec = validate(PipelineSpec, override(record["spec"], overrides or {}), str(folder / RECORD))
    shared = None if backbone is None else spec.backbone
    resolved = resolve(spec, shared=shared, prefer=tuple(plugins), registry=registry)
    pipeline = assemble(resolved, backbone=backbone, device=device, registry=registry)
    before, now = record["backbone"].get("sha256"), pipeline.backbone.provenance.get("sha256")
    if before != now:
        raise ConfigError(
            f"{folder}: was made with other backbone weights (sha256 {before}, these are {now}). "
            "What it was fitted on would mean nothing here; use the same weights or fit again."
        )
    tensors = _of_scales(folder, tensors, pipeline)
    _check_tensors(folder, tensors, pipeline.state_dict())
    try:
        pipeline.load_state_dict(tensors)
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{folder}: what was saved does not fit this detector: {reason}") from error
    pipeline.class_name = record["class_name"]
    pipeline.trained = record["trained"]
    pipeline.stored_calibration = read_calibration(folder)
    pipeline.normals = record.get("normals", {})
    pipeline.normal_images = [(path, digest) for path, digest in record["normal_images"]]
    pipeline.bits = record.get("bits")
    return pipeline


def _warn_of_versions(folder: Path, plugins: Mapping[str, str], registry: Registry) -> None:
    from packaging.version import Version

    here = {plugin.name: plugin.version for plugin in registry.plugins if plugin.entries}
    for name, saved in plugins.items():
        now = here.get(name, "")
        if is_version(saved) and is_version(now) and Version(saved).release[:2] != Version(now).release[:2]:
            warnings.warn(f"{folder}: was made with {name} {saved}, this is {now}.", UserWarning, stacklevel=3)


def _of_scales(folder: Path, tensors: dict[str, Tensor], pipeline: Pipeline) -> dict[str, Tensor]:
    """What was saved, without further scales where only one is asked for now.

    Raises:
        ConfigError: Normal images were read at other scales, or in no tiles.
    """

    def more(names: Iterable[str]) -> set[str]:
        return {name.split(".")[1] for name in names if name.startswith("more_scales.")}

    saved, wanted = more(tensors), more(pipeline.state_dict())
    if saved and not wanted:
        return {name: t for name, t in tensors.items() if not name.startswith(("more_scales.", "scale_ranges"))}
    if saved != wanted:
        raise ConfigError(
            f"{folder}: its normal images were read at {1 + len(saved)} scales, counting tiles as one, and "
            f"{1 + len(wanted)} are asked for. Leave scales and tiles as they were saved, or fit again."
        )
    return tensors


def _check_tensors(folder: Path, tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    """Refuse values that no detector saves: of another kind, or not finite."""
    for name, tensor in tensors.items():
        kind = own[name].dtype if name in own else tensor.dtype
        alike = (tensor.is_floating_point(), tensor.is_complex(), tensor.dtype == torch.bool) == (
            kind.is_floating_point,
            kind.is_complex,
            kind == torch.bool,
        )
        if not alike:
            raise ConfigError(f"{folder}: tensor '{name}' is of type {tensor.dtype}, and must be {kind}. Fit again.")
        unknown = tensor.isnan().all(-1, keepdim=True) if name in _RANGES else torch.tensor(False)
        if tensor.is_floating_point() and not bool((tensor.isfinite() | unknown).all()):
            raise ConfigError(f"{folder}: tensor '{name}' holds values that are not finite numbers. Fit again.")
