"""From what was typed to a detector. Everything that can be refused is refused here, the cheap things first."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from vlmad_core.cli.options import parse_settings
from vlmad_core.contracts.find import special_file
from vlmad_core.errors import ImageError, IncompatibleError, NotFittedError
from vlmad_core.registry.component import Recipe
from vlmad_core.registry.registry import default_registry

if TYPE_CHECKING:
    from vlmad_core.pipeline.pipeline import Pipeline
    from vlmad_core.pipeline.spec import PipelineSpec

__all__ = ["Choice", "Detector", "build", "build_unfitted", "chosen_spec", "note_missing_name"]

_DEFAULTS = ("pocket", "pocket-few-shot")
"""Recipes where nothing is named, without normal images and with them. They need no download."""

_DEFAULTS_ELSEWHERE = ("winclip", "patch-memory")
"""Likewise, where another backbone than pocket is named, or its weights are."""

_FROM = dict.fromkeys(_DEFAULTS, "vlmad-pocket")


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What was typed, as it was typed."""

    recipe: str | None = None
    backbone: str | None = None
    extractor: str | None = None
    prompts: str | None = None
    scorers: Sequence[str] = ()
    weights: str | None = None
    settings: Sequence[str] = ()
    class_name: str | None = None
    normals: Sequence[str] = ()
    detector: Path | None = None
    bits: int | None = None

    @property
    def recipe_or_default(self) -> str:
        """The recipe that was named, or the one that stands for none."""
        ours = self.weights is None and self.backbone in (None, "pocket", "vlmad-pocket:pocket")
        return self.recipe or (_DEFAULTS if ours else _DEFAULTS_ELSEWHERE)[bool(self.normals)]


@dataclass(frozen=True)
class Detector:
    """A pipeline that may still have to see its normal images.

    Args:
        pipeline: As built or loaded.
        normals: Images to show it.
        about: What decides its results beside the settings of its parts.
    """

    pipeline: Pipeline
    normals: Sequence[Path] = ()
    about: Mapping[str, Any] = field(default_factory=dict)

    def fit(self, *, batch_size: int, progress: Callable[[int], None] | None = None, workers: int = 2) -> None:
        """Fit it to the normal images, if there are any."""
        if self.normals:
            self.pipeline.fit(self.normals, batch_size=batch_size, progress=progress, workers=workers)


def build(choice: Choice, tell: Callable[[str], None]) -> Detector:
    """Build or load what was chosen; ``tell`` is called with what the user should know."""
    changes = _changes(choice)
    if choice.detector is not None:
        return _load(choice, changes)
    _check_names(choice)
    from vlmad_core.contracts.images import find_images
    from vlmad_core.pipeline.build import assemble

    spec = _spec(choice, changes, tell)
    normals = find_images(choice.normals) if choice.normals else []
    pipeline = assemble(spec)
    if any(True for _ in pipeline.parameters()):
        raise NotFittedError(
            f"'{choice.recipe_or_default}' has parts that learn, and they have learned nothing yet. Train it with "
            "`vlmad train`, or take over a paper's checkpoint with `vlmad import`; then say --detector DIR."
        )
    pipeline.class_name = choice.class_name
    pipeline.bits = choice.bits
    return Detector(pipeline, normals, {"normals": {str(path): _hash(path) for path in normals}})


def build_unfitted(choice: Choice) -> Pipeline:
    """Build what was chosen, to be trained or given learned parts; a memory in it sees its images later."""
    from vlmad_core.pipeline.build import assemble

    return assemble(chosen_spec(choice))


def chosen_spec(choice: Choice) -> PipelineSpec:
    """The recipe that was chosen, with what was exchanged in it."""
    _check_names(choice)
    from vlmad_core.pipeline.build import resolve

    return resolve(choice.recipe_or_default, _changes(choice))


def note_missing_name(pipeline: Pipeline, tell: Callable[[str], None]) -> None:
    """Say that a name would help, where the words could use one and were given none."""
    prompts = pipeline.prompts
    if (
        prompts is not None
        and prompts.takes_class_name
        and not prompts.needs_class_name
        and pipeline.class_name is None
    ):
        tell("the words speak of an 'object'; --class-name 'metal nut', or whatever it is, may give better results.")


def _changes(choice: Choice) -> dict[str, Any]:
    parts = {"backbone": choice.backbone, "extractor": choice.extractor, "prompts": choice.prompts}
    changes: dict[str, Any] = {kind: name for kind, name in parts.items() if name is not None}
    if choice.prompts == "none":
        changes["prompts"] = None
    if choice.scorers:
        changes["scorers"] = list(choice.scorers)
    if choice.weights is not None:
        changes["backbone.config.pretrained"] = choice.weights
    changes |= parse_settings(choice.settings)
    return changes


def _check_names(choice: Choice) -> None:
    """Look up every name before torch is imported, so that a slip costs no waiting."""
    named = [("backbone", choice.backbone), ("extractor", choice.extractor), ("prompts", choice.prompts)]
    named += [("scorer", name) for name in choice.scorers]
    if not _is_file(choice.recipe_or_default):
        named.append(("recipe", choice.recipe_or_default))
    for kind, name in named:
        if name is not None and (kind, name) != ("prompts", "none"):
            default_registry().get(kind, name, needs=_FROM)


def _is_file(recipe: str) -> bool:
    return Path(recipe).suffix in {".yaml", ".yml", ".json"}


def _spec(choice: Choice, changes: Mapping[str, Any], tell: Callable[[str], None]) -> PipelineSpec:
    from vlmad_core.pipeline.build import resolve

    name = choice.recipe_or_default
    spec = resolve(name, changes)
    remembers = _remembers(spec)
    if choice.normals and not remembers and not _is_file(name):
        item = default_registry().get("recipe", name).item
        if isinstance(item, Recipe) and item.few_shot:
            tell(f"recipe '{name}' remembers nothing; with normal images '{item.few_shot}' takes over.")
            spec = resolve(item.few_shot, changes)
            remembers = _remembers(spec)
    if choice.normals and not remembers:
        raise IncompatibleError(
            f"recipe '{name}' remembers nothing, so normal images are of no use to it. "
            "Leave them out, add --scorer memory, or take a recipe with few-shot in its name."
        )
    if remembers and not choice.normals:
        raise NotFittedError(f"recipe '{name}' compares with normal images, and none were given. Say --normal FOLDER.")
    return spec


def _remembers(spec: PipelineSpec) -> bool:
    return any(default_registry().get("scorer", part.use).load().needs_fit for part in spec.scorers)


def _load(choice: Choice, changes: Mapping[str, Any]) -> Detector:
    parts = [choice.recipe, choice.backbone, choice.extractor, choice.prompts, *choice.scorers, *choice.normals]
    if any(part is not None for part in parts):
        raise typer.BadParameter(
            "--detector has its parts and its normal images already; beside it, only --set and --class-name make sense."
        )
    from vlmad_core.pipeline.checkpoint import load

    assert choice.detector is not None
    pipeline = load(choice.detector, overrides=changes)
    pipeline.class_name = choice.class_name or pipeline.class_name
    pipeline.bits = choice.bits or pipeline.bits
    return Detector(pipeline, about={"detector": _hash(choice.detector / "detector.json")})


def _hash(path: Path) -> str:
    if kind := special_file(path.stat().st_mode):
        raise ImageError(f"{path}: is a {kind}, not a file; copy what it gives into a file first.")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
