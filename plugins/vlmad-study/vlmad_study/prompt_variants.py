"""Prompts to compare: one sentence, those of other recipes, states apart, other class names, and invented words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vlmad_core.benchmark import Method
from vlmad_core.pipeline import PartSpec
from vlmad_core.registry import Registry
from vlmad_study.backbone import BackboneInfo
from vlmad_study.catalogue import main_recipes
from vlmad_study.class_names import ANY_OBJECT, NONSENSE_NAME, NONSENSE_STATES, synonyms_of
from vlmad_study.methods import with_prompts
from vlmad_study.report.render import printable
from vlmad_study.settings import StudySettings

if TYPE_CHECKING:
    from vlmad_study.sections import PlannedSection

__all__ = ["prompt_variants"]

_SENTENCES = {"normal": ["a photo of a flawless {}."], "abnormal": ["a photo of a damaged {}."]}


def prompt_variants(
    section: PlannedSection,
    settings: StudySettings,
    info: BackboneInfo,
    registry: Registry,
    class_names: Mapping[str, str],
) -> list[tuple[Method, dict[str, str]]]:
    """Add the prompts that share one plan to a section, and give those that need other class names.

    Args:
        section: Gets the methods.
        settings: Of the study.
        info: A backbone with a text encoder.
        registry: What is installed.
        class_names: Every category that is tested to its class name.
    """
    own = info.prompts
    section.add(with_prompts(info, "the recipe's own prompts", own.model_dump()), "own")
    section.add(with_prompts(info, "one sentence each", {"use": "templates", "config": _SENTENCES}))
    tried = [own.model_dump()]
    for recipe in main_recipes(info, registry):
        prompts = recipe.spec.prompts
        if prompts is None or recipe.is_learned or prompts.name == "templates":
            continue
        if info.ensemble is not None and _lists(prompts, registry) == _lists(own, registry):
            continue
        if prompts.model_dump() not in tried:
            tried.append(prompts.model_dump())
            section.add(with_prompts(info, f"prompts of {recipe.name}", prompts.model_dump()))
    if info.ensemble is not None:
        normal, *kinds = info.ensemble.states
        apart = {f"state {i}": [state] for i, state in enumerate((s for kind in kinds for s in kind), 1)}
        section.add(with_prompts(info, "each abnormal state apart", _ensemble(info, list(normal), apart)))
    else:
        section.leave_out("States and templates are not compared: the prompts of this backbone are no ensemble.")
    for word in (*ANY_OBJECT, NONSENSE_NAME):
        kind = "invented class name" if word == NONSENSE_NAME else "class name"
        section.add(with_prompts(info, f"{kind} '{word}'", _with_class_name(info, word)))
    for i, (normal_states, abnormal) in enumerate(NONSENSE_STATES, 1):
        section.add(with_prompts(info, f"invented states {i}", _ensemble(info, normal_states, abnormal)), "nonsense")
    renamed = _synonyms(settings, info, class_names)
    if not renamed:
        section.leave_out("No synonyms of the class names are known; --synonyms CATEGORY=NAME,NAME gives some.")
    return renamed


def _lists(prompts: PartSpec, registry: Registry) -> tuple[Any, Any]:
    """Its states and templates, those that are its defaults too."""
    options = registry.get("prompts", prompts.use).component.config(**prompts.config)
    return getattr(options, "states", None), getattr(options, "templates", None)


def _ensemble(info: BackboneInfo, normal: Any, abnormal: Any) -> dict[str, Any]:
    """The recipe's prompts with other states."""
    if info.ensemble is None:
        sides = {"normal": normal, "abnormal": abnormal}
        config = {side: [f"a photo of {state}." for state in states] for side, states in sides.items()}
        return {"use": "templates", "config": config}
    lists = {"states": {"normal": normal, "abnormal": abnormal}, "templates": list(info.ensemble.templates)}
    return {"use": info.prompts.use, "config": {**info.prompts.config, **lists}}


def _with_class_name(info: BackboneInfo, word: str) -> dict[str, Any]:
    """The recipe's prompts with one class name for every category."""
    if info.ensemble is None:
        config = {side: [text.replace("{}", word) for text in texts] for side, texts in _SENTENCES.items()}
        return {"use": "templates", "config": config}
    normal, *kinds = [[state.replace("{}", word) for state in states] for states in info.ensemble.states]
    abnormal: Any = kinds[0] if len(kinds) == 1 else {f"kind {i}": kind for i, kind in enumerate(kinds, 1)}
    return _ensemble(info, normal, abnormal)


def _synonyms(
    settings: StudySettings, info: BackboneInfo, class_names: Mapping[str, str]
) -> list[tuple[Method, dict[str, str]]]:
    """The n-th synonym of each category, for every n; a category that has fewer keeps its class name."""
    given = settings.synonyms
    lists = {
        category: given.get(category) or given.get("*") or synonyms_of(category) or synonyms_of(name)
        for category, name in class_names.items()
    }
    found = []
    for i in range(max(map(len, lists.values()), default=0)):
        names = {category: some[i] for category, some in lists.items() if i < len(some)}
        distinct = {*names.values()}
        label = f"synonym '{printable(distinct.pop())}'" if len(distinct) == 1 else f"synonym {i + 1} of each name"
        found.append((with_prompts(info, label, info.prompts.model_dump()), names))
    return found
