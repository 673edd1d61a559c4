"""From names to validated parts: each name is looked up once, and its options are validated once. Free of torch.

Whatever a person can get wrong in a name or an option is refused here, before the first heavy import.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from vlmad_core.errors import ConfigError
from vlmad_core.pipeline.arithmetic import PRECISIONS
from vlmad_core.pipeline.input_spec import image_size_of
from vlmad_core.pipeline.spec import PartSpec, PipelineSpec, override, read_spec
from vlmad_core.registry.component import QUALITIES, Config, Recipe
from vlmad_core.registry.registry import CORE, Entry, Registry, default_registry
from vlmad_core.registry.validate import validate

__all__ = [
    "KEEP",
    "Part",
    "Resolved",
    "ResolvedPart",
    "Size",
    "changes_of",
    "is_file",
    "resolve",
    "resolve_part",
    "short_name",
]

Part = str | Mapping[str, Any] | PartSpec
"""A name, or ``{"use": name, "config": {...}}``."""

Size = int | tuple[int, int] | str
"""A side, ``(height, width)``, or a policy: ``"fit"``, ``"fit:1024"``, ``"stretch"``."""

KEEP: Final[Any] = object()
"""Leave this part as the recipe has it."""

MAX_SIDE = 16_384
"""Pixels of a side that a backbone is asked for, at most: 16 times the area of the largest that is in use."""


@dataclass(frozen=True)
class ResolvedPart:
    """A part that is there, with options that are valid.

    Args:
        kind: ``backbone``, ``extractor``, ``prompts`` or ``scorer``.
        where: Its place in the pipeline, such as ``scorers.0``.
        spec: As the pipeline has it.
        entry: Who offers it.
        config: Its validated options.
    """

    kind: str
    where: str
    spec: PartSpec
    entry: Entry
    config: Config


@dataclass(frozen=True)
class Resolved:
    """A pipeline whose parts are all there, ready to be assembled.

    Args:
        spec: The validated pipeline.
        backbone: None where one that is built already takes its place.
        extractor: The extractor.
        prompts: None where the pipeline has none.
        scorers: In order.
        recipe: Name of the recipe, or path of the file, that it comes from; empty: a mapping.
        few_shot: The recipe that takes over where normal images are given; empty: none.
        changes: What was exchanged in the recipe.
        quality: The preset that was chosen; None: none.
        prefer: Distributions that win where several offer a short name: those that the recipe comes from and needs.
    """

    spec: PipelineSpec
    backbone: ResolvedPart | None
    extractor: ResolvedPart
    prompts: ResolvedPart | None
    scorers: tuple[ResolvedPart, ...]
    recipe: str = ""
    few_shot: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict)
    quality: str | None = None
    prefer: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """What to call it in a sentence: the recipe without its distribution, or the file."""
        if not self.recipe:
            return "this pipeline"
        return f"recipe '{short_name(self.recipe)}'"

    @property
    def needs_normal_images(self) -> bool:
        """Whether a scorer compares with normal images; imports the scorers."""
        return any(part.entry.load().needs_fit for part in self.scorers)


def resolve(
    recipe: str | Path | Mapping[str, Any] | PipelineSpec,
    changes: Mapping[str, Any] | None = None,
    *,
    shared: PartSpec | None = None,
    quality: str | None = None,
    prefer: Collection[str] = (),
    registry: Registry | None = None,
) -> Resolved:
    """Look up and validate every part of a recipe, a file or a mapping; imports no part.

    A part that is exchanged for itself, without options, keeps the options that the recipe gives it: naming a recipe's
    own backbone changes nothing.

    Args:
        recipe: Name of a recipe, path of a pipeline file, or a spec.
        changes: Values at dotted paths, put in place of the recipe's.
        shared: What a backbone that is built already was made from: it is taken as it is and not looked up.
        quality: A preset of the recipe.
        prefer: Distributions that win where several offer a short name.
        registry: Where to look; the installed plugins by default.

    Raises:
        UnknownComponentError: A name that nobody offers.
        ConfigError: An option that does not exist or does not fit, with one line for each.
    """
    registry = registry or default_registry()
    changes = dict(changes or {})
    few_shot, data = "", None
    item: Recipe | None = None
    if isinstance(recipe, PipelineSpec):
        data = recipe.model_dump()
    elif isinstance(recipe, Mapping):
        data = dict(recipe)
    elif is_file(recipe):
        data = read_spec(recipe)
        needs = data.pop("needs", {})
        registry.require(needs, f"{recipe}: ")
        prefer = (*prefer, *needs)
    else:
        entry = registry.get("recipe", str(recipe), prefer=prefer)
        assert isinstance(entry.item, Recipe)
        item = entry.item
        data, few_shot = dict(item.spec), item.few_shot
        prefer = (*prefer, entry.plugin, CORE)
    named = "" if isinstance(recipe, PipelineSpec | Mapping) else str(recipe)
    data = override(data, _with_own_options(data, changes, registry))
    if quality is not None:  # of the size alone, so a backbone that was exchanged takes it too
        data = override(data, _preset(quality, item, changes, registry))
    spec = validate(PipelineSpec, data)
    if shared is not None:
        spec = spec.model_copy(update={"backbone": shared})
    about = {"recipe": named, "few_shot": few_shot, "changes": changes, "quality": quality, "prefer": tuple(prefer)}
    return _resolved(spec, registry, shared is None, about)


def resolve_part(
    kind: str, part: PartSpec, where: str = "", *, prefer: Collection[str] = (), registry: Registry | None = None
) -> ResolvedPart:
    """Look up and validate one part by itself.

    Raises:
        As :func:`resolve`.
    """
    where = where or kind
    entry = (registry or default_registry()).get(kind, part.use, prefer=prefer)
    config = validate(entry.component.config, part.config, f"{where}.config", part.use)
    sides = getattr(config, "image_size", None)
    for side in sides if isinstance(sides, tuple) else (sides,):
        if isinstance(side, int) and side > MAX_SIDE:
            raise ConfigError(f"{where}.config.image_size: must be at most {MAX_SIDE} pixels, got {side}.")
    part = part.model_copy(update={"config": config.stored(part.config)})
    return ResolvedPart(kind, where, part, entry, config)


def changes_of(
    *,
    backbone: Any = KEEP,
    extractor: Any = KEEP,
    prompts: Any = KEEP,
    scorers: Any = KEEP,
    weights: str | Path | None = None,
    model: str | None = None,
    precision: str | None = None,
    image_size: Size | None = None,
    scales: Sequence[int] | None = None,
    tiles: int | str | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What is exchanged in a recipe, as values at dotted paths; see :func:`vlmad_core.build` for the arguments.

    Raises:
        ConfigError: A ``precision``, or an ``image_size`` in words, that is none.
    """
    parts = {"backbone": backbone, "extractor": extractor, "prompts": prompts, "scorers": scorers}
    changes = {kind: part for kind, part in parts.items() if part is not KEEP}
    try:
        policy = image_size_of(image_size) if isinstance(image_size, str) else {}
    except ValueError as error:
        raise ConfigError(f"image_size: {error}, got {image_size!r}.") from error
    sides = policy.get("size") if isinstance(image_size, str) else image_size
    if precision is not None and precision not in PRECISIONS:
        raise ConfigError(f"precision must be one of {', '.join(PRECISIONS)}; got {precision!r}.")
    options = {
        "pretrained": None if weights is None else str(weights),
        "model": model,
        "image_size": sides,
        "dtype": None if precision is None else PRECISIONS[precision],
    }
    changes |= {f"backbone.config.{name}": value for name, value in options.items() if value is not None}
    if isinstance(image_size, str) and sides is None:
        changes["image_size"] = policy
    if scales is not None:
        changes["scales"] = list(scales)
    if tiles is not None:
        changes["tiles"] = tiles
    return changes | dict(overrides or {})


_SIZES = ("image_size", "scales", "backbone.config.image_size")


def _preset(quality: str, recipe: Recipe | None, changes: Mapping[str, Any], registry: Registry) -> Mapping[str, Any]:
    """What a preset changes.

    Raises:
        ConfigError: There is none of this name, or the size of the input is chosen twice.
    """
    if quality not in QUALITIES:
        raise ConfigError(f"quality must be one of {', '.join(QUALITIES)}; got {quality!r}.")
    if recipe is None or not recipe.quality:
        recipes = (entry.item for entry in registry.entries("recipe"))
        those = ", ".join(sorted(one.name for one in recipes if isinstance(one, Recipe) and one.quality)) or "none"
        named = "a pipeline file" if recipe is None else f"recipe '{recipe.name}'"
        raise ConfigError(f"{named} has no presets of quality; these recipes have: {those}. Give image_size or scales.")
    twice = [path for path in _SIZES if path in changes]
    if twice:
        raise ConfigError(f"quality chooses the size of the input, and so does {twice[0]}; give one of them.")
    return recipe.quality[quality]


def is_file(recipe: str | Path) -> bool:
    """Whether a recipe is given as a pipeline file, and not by name."""
    return Path(recipe).suffix in {".yaml", ".yml", ".json"}


def short_name(recipe: str) -> str:
    """A recipe without its distribution; a file as it is."""
    return recipe if is_file(recipe) else recipe.rpartition(":")[2]


def _resolved(spec: PipelineSpec, registry: Registry, with_backbone: bool, about: Mapping[str, Any]) -> Resolved:
    parts: list[tuple[str, str, PartSpec | None]] = [
        ("backbone", "backbone", spec.backbone if with_backbone else None),
        ("extractor", "extractor", spec.extractor),
        ("prompts", "prompts", spec.prompts),
        *(("scorer", f"scorers.{i}", part) for i, part in enumerate(spec.scorers)),
    ]
    found: dict[str, ResolvedPart] = {}
    wrong: list[str] = []
    for kind, where, part in parts:
        if part is not None:
            try:
                found[where] = resolve_part(kind, part, where, prefer=about["prefer"], registry=registry)
            except ConfigError as error:
                wrong.append(str(error))
    if wrong:
        raise ConfigError("\n".join(wrong))
    scorers = tuple(found[f"scorers.{i}"] for i in range(len(spec.scorers)))
    return Resolved(spec, found.get("backbone"), found["extractor"], found.get("prompts"), scorers, **about)


def _with_own_options(data: Mapping[str, Any], changes: Mapping[str, Any], registry: Registry) -> dict[str, Any]:
    """The changes, with the recipe's own options for each part that is only named and is the recipe's own."""
    kept = dict(changes)
    for kind in ("backbone", "extractor", "prompts"):
        name = _bare_name(changes.get(kind))
        if name and _same(registry, kind, name, _name(data.get(kind))):
            kept[kind] = data[kind]
    if "scorers" in changes:
        own = list(_listed(data.get("scorers")))
        kept["scorers"] = [_own_scorer(scorer, own, registry) for scorer in _listed(changes["scorers"])]
    return kept


def _own_scorer(scorer: Any, own: Sequence[Any], registry: Registry) -> Any:
    name = _bare_name(scorer)
    alike = [one for one in own if name and _same(registry, "scorer", name, _name(one))]
    return alike[0] if len(alike) == 1 else scorer


def _listed(scorers: Any) -> Iterator[Any]:
    if isinstance(scorers, str | Mapping | PartSpec):
        yield scorers
    elif isinstance(scorers, Sequence):
        yield from scorers


def _name(part: Any) -> str:
    if isinstance(part, Mapping):
        return str(part.get("use", ""))
    return part.use if isinstance(part, PartSpec) else part if isinstance(part, str) else ""


def _bare_name(part: Any) -> str:
    """The name of a part that is given without options."""
    if isinstance(part, Mapping):
        return "" if part.get("config") or part.get("optional") else _name(part)
    return "" if isinstance(part, PartSpec) and part.config else _name(part)


def _same(registry: Registry, kind: str, name: str, other: str) -> bool:
    """Whether two names, short or full, are those of one part."""
    if name == other:
        return True
    ours, theirs = ({e.full_name for e in registry.entries(kind) if n in (e.name, e.full_name)} for n in (name, other))
    return len(ours) == 1 and ours == theirs
