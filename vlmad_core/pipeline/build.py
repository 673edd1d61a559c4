"""From names to a pipeline: spec and registry in, parts that fit each other out. What cannot fit is refused here."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from vlmad_core.contracts.towers import Backbone
from vlmad_core.errors import ConfigError, IncompatibleError, UnknownComponentError
from vlmad_core.pipeline.fuse import Fuse
from vlmad_core.pipeline.pipeline import Pipeline
from vlmad_core.pipeline.recipes import check_needs
from vlmad_core.pipeline.spec import PartSpec, PipelineSpec, override, read_spec
from vlmad_core.registry.component import Recipe
from vlmad_core.registry.registry import Entry, Registry, default_registry
from vlmad_core.registry.validate import validate

__all__ = ["KEEP", "assemble", "build", "check_parts", "make_backbone", "resolve"]

Part = str | Mapping[str, Any]
"""A name, or ``{"use": name, "config": {...}}``."""

KEEP: Final[Any] = object()
"""Leave this part as the recipe has it."""


def build(
    recipe: str | Path | Mapping[str, Any] | PipelineSpec,
    *,
    backbone: Part | Backbone = KEEP,
    extractor: Part = KEEP,
    prompts: Part | None = KEEP,
    scorers: Part | Sequence[Part] = KEEP,
    weights: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    registry: Registry | None = None,
) -> Pipeline:
    """Build a detector: a recipe, perhaps with parts exchanged.

    Args:
        recipe: Name of a recipe, path of a pipeline file, or a spec.
        backbone: Another one, by name, by ``{"use": ..., "config": ...}``, or built already and shared.
        extractor: Another one.
        prompts: Others; None for no words.
        scorers: Others, one or several.
        weights: Of the backbone: a tag such as ``"laion400m_e31"``, which may be downloaded, or a local file. Short for
            ``overrides={"backbone.config.pretrained": ...}``.
        overrides: Values for dotted paths, such as ``{"scorers.0.config.temperature": 0.01}``, after the exchanges.
        registry: Where to look; the installed plugins by default.

    Raises:
        UnknownComponentError: A name that nobody offers.
        ConfigError: An option that does not exist or does not fit.
        IncompatibleError: Parts that cannot work together; the text says what would.

    >>> build("winclip", backbone="pocket", prompts=None, scorers="memory")  # doctest: +SKIP
    """
    ready = backbone if isinstance(backbone, Backbone) else None
    parts: dict[str, Any] = {"extractor": extractor, "prompts": prompts, "scorers": scorers}
    parts["backbone"] = _said_of(ready) if ready else backbone
    changes = {kind: part for kind, part in parts.items() if part is not KEEP}
    if weights is not None:
        changes["backbone.config.pretrained"] = str(weights)
    spec = resolve(recipe, {**changes, **(overrides or {})}, registry=registry)
    return assemble(spec, backbone=ready, registry=registry)


def resolve(
    recipe: str | Path | Mapping[str, Any] | PipelineSpec,
    changes: Mapping[str, Any] | None = None,
    *,
    registry: Registry | None = None,
) -> PipelineSpec:
    """The validated spec of a recipe, a file or a mapping, with changes at dotted paths; imports no part."""
    registry = registry or default_registry()
    data: Mapping[str, Any]
    if isinstance(recipe, PipelineSpec):
        data = recipe.model_dump()
    elif isinstance(recipe, Mapping):
        data = recipe
    elif Path(recipe).suffix in {".yaml", ".yml", ".json"}:
        data = read_spec(recipe)
        check_needs(data.pop("needs", {}), registry, f"{recipe}: ")
    else:
        item = registry.get("recipe", str(recipe)).item
        assert isinstance(item, Recipe)
        data = item.spec
    return validate(PipelineSpec, override(data, changes or {}))


def assemble(spec: PipelineSpec, *, backbone: Backbone | None = None, registry: Registry | None = None) -> Pipeline:
    """Build each part with its options and put them together.

    Args:
        spec: Which parts.
        backbone: A shared one; built from the spec if None.
        registry: Where to look.

    Raises:
        As :func:`build`.
    """
    maker = _Maker(registry or default_registry())
    # All names and options are looked at before the first heavy import, so that a slip costs no waiting.
    maker.check(spec, skip_backbone=backbone is not None)
    model = backbone if backbone is not None else maker.make("backbone", spec.backbone, "backbone", ())
    model.made_from = model.made_from or spec.backbone
    text = model.text
    met = f"on backbone '{spec.backbone.use}'"
    extractor = maker.make("extractor", spec.extractor, "extractor", (model,), met)

    wanted = [(part, maker.load("scorer", part.use)) for part in spec.scorers]
    kept = [(part, cls) for part, cls in wanted if not (part.optional and cls.needs_text and text is None)]
    if not kept:
        kept = wanted  # then the constructor says why it cannot be
    elif len(kept) < len(wanted):
        left = ", ".join(f"'{part.use}'" for part, _ in wanted if all(part is not other for other, _ in kept))
        warnings.warn(
            f"backbone '{spec.backbone.use}' has no text, so scorer {left} is left out: this detector judges by "
            "normal images alone.",
            UserWarning,
            stacklevel=3,
        )
    needs_words = any(cls.needs_text for _, cls in kept)
    prompts = None
    if spec.prompts is not None and (text is not None or needs_words):
        if text is None:
            raise IncompatibleError(
                f"prompts '{spec.prompts.use}' need a backbone with text, and '{spec.backbone.use}' has none. "
                "Take a backbone with text such as 'open-clip', or compare with normal images alone: "
                "prompts=None, scorers='memory' (on the command line: --prompts none --scorer memory)."
            )
        prompts = maker.make("prompts", spec.prompts, "prompts", (model,), met)
    met += f", extractor '{spec.extractor.use}'"
    dim = None if text is None else text.dim
    scorers = [
        maker.make("scorer", part, f"scorers.{i}", (extractor.levels, dim), met) for i, (part, _) in enumerate(kept)
    ]
    final = spec.model_copy(
        update={"scorers": tuple(part for part, _ in kept), "prompts": spec.prompts if prompts else None}
    )
    fuse = Fuse(spec.fuse.image, spec.fuse.map, spec.output.smooth)
    pipeline = Pipeline(model, extractor, scorers, prompts, fuse, spec=final)
    pipeline.plugins = dict(sorted(maker.used.items()))
    if model.device.type != "cpu":
        pipeline.to(model.device)
    return pipeline


def check_parts(spec: PipelineSpec, *, registry: Registry | None = None) -> None:
    """Every name and option of a pipeline, without importing a part.

    Raises:
        As :func:`build`, but for parts that do not fit each other.
    """
    _Maker(registry or default_registry()).check(spec, skip_backbone=False)


def make_backbone(part: PartSpec, *, registry: Registry | None = None) -> Backbone:
    """Build a backbone by itself, for several detectors to share.

    Raises:
        As :func:`build`.
    """
    maker = _Maker(registry or default_registry())
    model: Backbone = maker.make("backbone", part, "backbone", ())
    model.made_from = model.made_from or part
    return model


def _said_of(backbone: Backbone) -> Mapping[str, Any]:
    """What a spec says of a backbone that was built already."""
    if backbone.made_from is not None:
        return backbone.made_from.model_dump()
    return {"use": backbone.provenance.get("backbone", type(backbone).__name__)}


class _Maker:
    """Looks up, validates and constructs parts, and notes which plugins were used."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.used: dict[str, str] = {}
        self._needs = {name: plugin for entry in registry.entries("recipe") for name, plugin in _needs(entry).items()}

    def entry(self, kind: str, name: str) -> Entry:
        entry = self.registry.get(kind, name, needs=self._needs)
        self.used[entry.plugin] = entry.version
        return entry

    def load(self, kind: str, name: str) -> Any:
        return self.entry(kind, name).load()

    def check(self, spec: PipelineSpec, *, skip_backbone: bool) -> None:
        """Every name and option, before anything is imported."""
        parts: list[tuple[str, PartSpec | None, str]] = [
            ("extractor", spec.extractor, "extractor"),
            ("prompts", spec.prompts, "prompts"),
            *(("scorer", part, f"scorers.{i}") for i, part in enumerate(spec.scorers)),
        ]
        if not skip_backbone:
            parts.insert(0, ("backbone", spec.backbone, "backbone"))
        wrong = []
        for kind, part, where in parts:
            if part is not None:
                try:
                    self.config(kind, part, where)
                except ConfigError as error:
                    wrong.append(str(error))
        if wrong:
            raise ConfigError("\n".join(wrong))

    def config(self, kind: str, part: PartSpec, where: str) -> Any:
        return validate(self.entry(kind, part.use).component.config, part.config, f"{where}.config", part.use)

    def make(self, kind: str, part: PartSpec, where: str, given: tuple[Any, ...], met: str = "") -> Any:
        config = self.config(kind, part, where)
        try:
            return self.load(kind, part.use)(config, *given)
        except IncompatibleError as error:
            raise IncompatibleError(f"{kind} '{part.use}' {met}: {error}".replace(" :", ":")) from error
        except (ConfigError, UnknownComponentError) as error:
            raise type(error)(f"{where}: {error}") from error


def _needs(entry: Entry) -> Mapping[str, str]:
    return entry.item.needs if isinstance(entry.item, Recipe) else {}
