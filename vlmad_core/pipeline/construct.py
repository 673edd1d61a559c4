"""Each part of a detector from its entry, put together; what cannot work together is refused here."""

from __future__ import annotations

import warnings
from typing import Any

import torch

from vlmad_core.contracts.device import AUTO, find_device, slow_precision
from vlmad_core.contracts.towers import Backbone
from vlmad_core.errors import ConfigError, IncompatibleError, UnknownComponentError
from vlmad_core.pipeline.fuse import Fuse
from vlmad_core.pipeline.pipeline import Pipeline
from vlmad_core.pipeline.resolve import Resolved, ResolvedPart, resolve, resolve_part
from vlmad_core.pipeline.scales import make_views
from vlmad_core.pipeline.spec import PartSpec, PipelineSpec
from vlmad_core.registry.registry import Registry, default_registry

__all__ = ["assemble", "make_backbone"]


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
