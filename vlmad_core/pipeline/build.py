"""From names, a file or a folder to a detector: the verbs for everyone who makes one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vlmad_core.contracts.device import AUTO
from vlmad_core.contracts.towers import Backbone
from vlmad_core.errors import ConfigError
from vlmad_core.pipeline.construct import assemble, make_backbone
from vlmad_core.pipeline.defaults import PREFERRED, default_recipe, take_few_shot
from vlmad_core.pipeline.exported import is_exported
from vlmad_core.pipeline.loading import load
from vlmad_core.pipeline.pipeline import Pipeline
from vlmad_core.pipeline.recipes import write_recipe
from vlmad_core.pipeline.resolve import KEEP, Part, Size, changes_of, resolve
from vlmad_core.pipeline.spec import PartSpec, PipelineSpec
from vlmad_core.registry.registry import Registry

__all__ = ["assemble", "build", "is_exported", "load", "make_backbone", "save_recipe"]


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


def _made_from(backbone: Backbone) -> PartSpec:
    """What a spec says of a backbone that was built already."""
    return backbone.made_from or PartSpec(use=backbone.provenance.get("backbone", type(backbone).__name__))
