"""From names or a folder to a detector: parts that fit each other. What cannot fit is refused here."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vlmad_core.contracts.device import AUTO, find_device, slow_precision
from vlmad_core.contracts.towers import Backbone
from vlmad_core.errors import ConfigError, IncompatibleError, UnknownComponentError
from vlmad_core.pipeline.calibration_file import read_calibration
from vlmad_core.pipeline.checkpoint import RECORD, read_checkpoint
from vlmad_core.pipeline.defaults import PREFERRED, default_recipe, take_few_shot
from vlmad_core.pipeline.fuse import Fuse
from vlmad_core.pipeline.migrate import NEEDED, upgrade_record
from vlmad_core.pipeline.pipeline import Pipeline
from vlmad_core.pipeline.recipes import write_recipe
from vlmad_core.pipeline.resolve import KEEP, Part, Resolved, ResolvedPart, Size, changes_of, resolve, resolve_part
from vlmad_core.pipeline.scales import make_views
from vlmad_core.pipeline.spec import PartSpec, PipelineSpec, override
from vlmad_core.registry.distributions import compatible_range, is_version
from vlmad_core.registry.registry import CORE, Registry, default_registry
from vlmad_core.registry.validate import validate

__all__ = ["assemble", "build", "is_exported", "load", "make_backbone", "save_recipe"]

_RANGES = ("normal_range", "scale_ranges")
"""Tensors that are NaN where a detector was fitted on fewer than two normal images."""


def build(
    recipe: str | Path | Mapping[str, Any] | PipelineSpec | None = None,
    *,
    backbone: Part | Backbone = KEEP,
    extractor: Part = KEEP,
    prompts: Part | None = KEEP,
    scorers: Part | Sequence[Part] = KEEP,
    weights: str | Path | None = None,
    model: str | None = None,
    precision: str | None = None,
    image_size: Size | None = None,
    scales: Sequence[int] | None = None,
    tiles: int | str | None = None,
    quality: str | None = None,
    device: str = AUTO,
    few_shot: bool = False,
    overrides: Mapping[str, Any] | None = None,
    registry: Registry | None = None,
) -> Pipeline:
    """Build a detector: a recipe, perhaps with parts exchanged.

    Args:
        recipe: Name of a recipe, path of a pipeline file, or a spec; None: ``pocket``, or ``winclip`` where another
            backbone, a model or weights are named; with ``few_shot`` ``pocket-few-shot``, or ``patch-memory``.
        backbone: Another one, by name, by ``{"use": ..., "config": ...}``, or built already and shared. The recipe's
            own, by name alone, keeps the options that the recipe gives it; so do the other parts.
        extractor: Another one.
        prompts: Others; None for no text.
        scorers: Others, one or several.
        weights: Of the backbone: a tag such as ``"laion400m_e31"``, which may be downloaded, or a local file. Short for
            ``overrides={"backbone.config.pretrained": ...}``.
        model: Architecture of the backbone, such as ``"ViT-L-14"``, where it has several.
        precision: ``"fp32"``, ``"bf16"`` or ``"fp16"``: the type of the backbone's weights; what compares and scores
            computes in float32. Short for ``overrides={"backbone.config.dtype": ...}``.
        image_size: Side, or ``(height, width)``, in pixels, that every image is stretched to; or ``"fit"``: the aspect
            ratio is kept and as many patches are made as the backbone's own size has, or ``"fit:1024"``: at most 1,024.
        scales: Several sides, such as ``[224, 448]``: the same parts at each of them, scores and maps fused.
        tiles: Large images in overlapping tiles too: ``"auto"`` (more than 36 times the pixels of the input), a number
            along the longer side, ``"512px"``, or ``"off"``.
        quality: ``"fast"``, ``"balanced"`` or ``"best"``: the size of the input that the recipe names for it.
        device: Where it runs, such as ``"cuda:1"``; ``"auto"``: cuda, else mps, else cpu.
        few_shot: It will be fitted on normal images: where the recipe has no memory bank, its few-shot counterpart
            takes over.
        overrides: Values for dotted paths, such as ``{"scorers.0.config.temperature": 0.01}``, after the exchanges.
        registry: Where to look; the installed plugins by default.

    Raises:
        UnknownComponentError: A name that nobody offers.
        ConfigError: An option that does not exist or does not fit.
        IncompatibleError: Parts that cannot work together; the text says what would.

    >>> build("winclip", backbone="pocket", prompts=None, scorers="memory")  # doctest: +SKIP
    """
    shared = backbone if isinstance(backbone, Backbone) else None
    sides = None if isinstance(image_size, str) else image_size
    chosen = {"weights": weights, "model": model, "precision": precision, "image_size": sides, "quality": quality}
    given = [name for name, value in chosen.items() if value]
    if shared is not None and (given or device != AUTO):
        raise ConfigError(
            f"{', '.join(given) or 'device'}: the backbone is built already; give its name to choose "
            "weights, model, precision, image_size, quality and device."
        )
    prefer = () if recipe is not None else PREFERRED
    if recipe is None:
        own = backbone in (KEEP, "pocket", "vlmad-pocket:pocket") and weights is None and model is None
        recipe = default_recipe(normal_images=few_shot, own_backbone=own)
    changes = changes_of(
        backbone=KEEP if shared is not None else backbone,
        extractor=extractor,
        prompts=prompts,
        scorers=scorers,
        weights=weights,
        model=model,
        precision=precision,
        image_size=image_size,
        scales=scales,
        tiles=tiles,
        overrides=overrides,
    )
    made_from = None if shared is None else _made_from(shared)
    resolved = resolve(recipe, changes, shared=made_from, quality=quality, prefer=prefer, registry=registry)
    if few_shot:
        resolved = take_few_shot(resolved, registry=registry)
    return assemble(resolved, backbone=shared, device=device, registry=registry)


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
        return _load_exported(Path(folder), device, backbone, overrides)
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


def is_exported(path: str | Path) -> bool:
    """Whether a path is that of a file of `vlmad export`, by its ending."""
    return Path(path).suffix.lower() in (".onnx", ".xml") and not Path(path).is_dir()


def _load_exported(path: Path, device: str, backbone: Backbone | None, overrides: Mapping[str, Any] | None) -> Pipeline:
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


def save_recipe(pipeline: Pipeline, path: str | Path) -> Path:
    """Write how a detector is built, without what it learned or was fitted on, for ``build(path)``.

    Args:
        pipeline: Made by :func:`vlmad_core.build`.
        path: A ``.yaml`` file; replaced if it is there.

    Raises:
        ConfigError: The pipeline was put together by hand, or the path cannot be written or is of another kind.

    >>> save_recipe(build("winclip", extractor="dpam"), "mine.yaml")  # doctest: +SKIP
    """
    if pipeline.spec is None:
        raise ConfigError("this pipeline was put together by hand; build it with vlmad_core.build to save its recipe.")
    return write_recipe(path, pipeline.spec, pipeline.plugins)


def assemble(
    pipeline: PipelineSpec | Resolved,
    *,
    backbone: Backbone | None = None,
    device: str = AUTO,
    registry: Registry | None = None,
) -> Pipeline:
    """Construct each part and put them together.

    Args:
        pipeline: Which parts.
        backbone: A shared one; built from the spec if None.
        device: Where a backbone that is built runs.
        registry: Where to look.

    Raises:
        As :func:`build`.
    """
    registry = registry or default_registry()
    if isinstance(pipeline, PipelineSpec):
        shared = pipeline.backbone if backbone is not None else None
        pipeline = resolve(pipeline, shared=shared, registry=registry)
    spec = pipeline.spec
    if backbone is None:
        assert pipeline.backbone is not None
        backbone = make_backbone(pipeline.backbone, device=device)
    backbone.made_from = backbone.made_from or spec.backbone
    text, on = backbone.text, f"on backbone '{spec.backbone.name}'"
    extractor = _construct(pipeline.extractor, (backbone,), on)
    scorer_parts = _possible(pipeline, has_text=text is not None)
    prompts = None
    if pipeline.prompts is not None:
        if text is not None:
            prompts = _construct(pipeline.prompts, (backbone,), on)
        elif any(part.entry.load().needs_text for part in scorer_parts):
            raise IncompatibleError(
                f"prompts '{pipeline.prompts.spec.name}' need a backbone with text, and '{spec.backbone.name}' has "
                "none. Take a backbone with text such as 'open-clip', or compare with normal images alone: "
                "prompts=None, scorers='memory' (on the command line: --prompts none --scorer memory)."
            )
    on += f", extractor '{spec.extractor.name}'"
    dim = None if text is None else text.dim
    scorers = [_construct(part, (extractor.levels, dim), on) for part in scorer_parts]
    kept = pipeline.prompts.spec if pipeline.prompts is not None and prompts is not None else None
    changes = {"scorers": tuple(part.spec for part in scorer_parts), "prompts": kept}
    made = Pipeline(
        backbone,
        extractor,
        scorers,
        prompts,
        Fuse(spec.fuse.image, spec.fuse.map, spec.output.smooth, spec.fuse.scales),
        spec=spec.model_copy(update=changes),
        views=make_views(spec, backbone),
    )
    used = [pipeline.backbone, pipeline.extractor, pipeline.prompts if prompts else None, *scorer_parts]
    made.plugins = dict(sorted((part.entry.plugin, part.entry.version) for part in used if part is not None))
    if backbone.device.type != "cpu":
        made.to(backbone.device)
    return made


def make_backbone(part: PartSpec | ResolvedPart, *, device: str = AUTO, registry: Registry | None = None) -> Backbone:
    """Build a backbone by itself, for several detectors to share.

    Args:
        part: Which, and its options; a device among them is kept unless another one than ``auto`` is asked for.
        device: Where it runs; it is not part of what is saved.
        registry: Where to look.

    Raises:
        As :func:`build`.
    """
    if isinstance(part, PartSpec):
        part = resolve_part("backbone", part, registry=registry)
    takes_device = "device" in type(part.config).model_fields
    named = device != AUTO or not part.spec.config.get("device")
    target = str(find_device(device)) if named else None
    config = part.config
    if target is not None and takes_device:
        config = config.model_copy(update={"device": target})
    model: Backbone = _construct(part, (), config=config)
    if target is not None and not takes_device:
        model.to(target)
    if slow := slow_precision(model.device, model.dtype):
        warnings.warn(f"backbone '{part.spec.name}': {slow}", UserWarning, stacklevel=2)
    model.made_from = model.made_from or part.spec
    return model


def _made_from(backbone: Backbone) -> PartSpec:
    """What a spec says of a backbone that was built already."""
    return backbone.made_from or PartSpec(use=backbone.provenance.get("backbone", type(backbone).__name__))


def _possible(pipeline: Resolved, *, has_text: bool) -> tuple[ResolvedPart, ...]:
    """The scorers, without optional ones that need text where there is none."""
    optional = [getattr(part, "optional", False) for part in pipeline.spec.scorers]
    dropped = [
        part
        for part, may_go in zip(pipeline.scorers, optional, strict=True)
        if may_go and not has_text and part.entry.load().needs_text
    ]
    if not dropped or len(dropped) == len(pipeline.scorers):
        return pipeline.scorers  # of none, the constructor says why it cannot be
    names = ", ".join(f"'{part.spec.name}'" for part in dropped)
    warnings.warn(
        f"backbone '{pipeline.spec.backbone.name}' has no text, so scorer {names} is left out: this detector compares "
        "with normal images alone.",
        UserWarning,
        stacklevel=4,
    )
    return tuple(part for part in pipeline.scorers if part not in dropped)


def _construct(part: ResolvedPart, arguments: tuple[Any, ...], on: str = "", config: Any = None) -> Any:
    what = " ".join(word for word in (part.kind, f"'{part.spec.name}'", on) if word)
    try:
        return part.entry.load()(part.config if config is None else config, *arguments)
    except IncompatibleError as error:
        raise IncompatibleError(f"{what}: {error}") from error
    except (ConfigError, UnknownComponentError) as error:
        raise type(error)(f"{part.where}: {error}") from error
    except (MemoryError, OverflowError, torch.OutOfMemoryError) as error:
        raise ConfigError(f"{what}: there is not enough memory for these options, or a number is too large.") from error
    except RuntimeError as error:
        if "allocate memory" not in str(error):
            raise
        raise ConfigError(f"{what}: there is not enough memory for these options.") from error


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
