"""Ways to say normal and abnormal: one sentence, ensembles, states apart, other names, and words without meaning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vlmad_core.benchmark.plan import Method
from vlmad_core.registry.registry import Registry
from vlmad_study.methods import reworded
from vlmad_study.probe import Eyes, has, missing
from vlmad_study.settings import StudySettings
from vlmad_study.vocabulary import ANYTHING, NONSENSE_NAME, NONSENSE_STATES, synonyms_of

__all__ = ["OWN", "wordings"]

OWN = "the recipe's own words"
"""Label of what all others are compared with."""

_SINGLE = {"normal": ["a photo of a flawless {}."], "abnormal": ["a photo of a damaged {}."]}

Words = dict[str, str]


def wordings(
    settings: StudySettings, eyes: Eyes, registry: Registry, words: Mapping[str, str]
) -> tuple[list[Method], list[tuple[Method, Words]], list[str]]:
    """Methods that share one plan, methods that need other names for the categories, and what is left out.

    Args:
        settings: Of the study.
        eyes: A backbone that reads.
        registry: What is installed.
        words: Every category that is judged to the words for it.
    """
    assert eyes.prompts is not None
    left: list[str] = []
    methods = [
        reworded(eyes, OWN, eyes.prompts.model_dump()),
        reworded(eyes, "one sentence a side", {"use": "templates", "config": _SINGLE}),
    ]
    if has(registry, "prompts", "compositional"):
        methods += _ensembles(eyes)
    else:
        left.append(missing("compositional", "Compositional prompts and their states"))
    for word in (*ANYTHING, NONSENSE_NAME):
        about = "nonsense name" if word == NONSENSE_NAME else "class name"
        methods.append(reworded(eyes, f"{about} '{word}'", _named(eyes, word)))
    for i, (normal, abnormal) in enumerate(NONSENSE_STATES, 1):
        methods.append(reworded(eyes, f"nonsense states {i}", _stated(eyes, normal, abnormal)))
    more = _synonyms(settings, eyes, words)
    if not more:
        left.append("Synonyms of the class names: none are known; --synonyms CATEGORY=WORD,WORD gives some.")
    return methods, more, left


def _ensembles(eyes: Eyes) -> list[Method]:
    """Of states and templates."""
    methods = [
        reworded(eyes, f"states and templates of {name}", {"use": "compositional", "config": {**config, **_free(eyes)}})
        for name, config in {
            "WinCLIP": {"states": "winclip", "templates": "winclip-22"},
            "APRIL-GAN": {"states": "april-gan", "templates": "april-gan-35"},
        }.items()
        if config != _lists_of(eyes)
    ]
    if eyes.states:
        normal, abnormal = eyes.states
        apart = {f"state {i}": [state] for i, state in enumerate(abnormal, 1)}
        methods.append(reworded(eyes, "each abnormal state by itself", _stated(eyes, normal, apart)))
    return methods


def _lists_of(eyes: Eyes) -> dict[str, Any]:
    assert eyes.prompts is not None
    return {key: eyes.prompts.config.get(key) for key in ("states", "templates")}


def _free(eyes: Eyes) -> dict[str, Any]:
    """Options of the recipe's prompts that are no lists."""
    assert eyes.prompts is not None
    if eyes.prompts.name != "compositional":
        return {}
    return {key: value for key, value in eyes.prompts.config.items() if key not in ("states", "templates")}


def _stated(eyes: Eyes, normal: Any, abnormal: Any) -> dict[str, Any]:
    """The recipe's prompts with other states."""
    if eyes.states:
        sides = {"normal": list(normal), "abnormal": abnormal if isinstance(abnormal, dict) else list(abnormal)}
        return {
            "use": "compositional",
            "config": {**_free(eyes), "states": sides, "templates": list(eyes.templates)},
        }
    sides = {"normal": normal, "abnormal": abnormal}
    return {
        "use": "templates",
        "config": {side: [f"a photo of {state}." for state in states] for side, states in sides.items()},
    }


def _named(eyes: Eyes, word: str) -> dict[str, Any]:
    """The recipe's prompts with one name for whatever is judged."""
    if eyes.states:
        return _stated(eyes, *([state.replace("{}", word) for state in side] for side in eyes.states))
    config = {side: [text.replace("{}", word) for text in texts] for side, texts in _SINGLE.items()}
    return {"use": "templates", "config": config}


def _synonyms(settings: StudySettings, eyes: Eyes, words: Mapping[str, str]) -> list[tuple[Method, Words]]:
    """The n-th synonym of each category, for every n; a category that has fewer keeps its name."""
    assert eyes.prompts is not None
    given = settings.synonyms
    lists = {
        category: given.get(category) or given.get("*") or synonyms_of(category) or synonyms_of(told)
        for category, told in words.items()
    }
    found = []
    for i in range(max(map(len, lists.values()), default=0)):
        names = {category: some[i] for category, some in lists.items() if i < len(some)}
        told = {*names.values()}
        label = f"synonym '{told.pop()}'" if len(told) == 1 else f"synonym {i + 1} of each name"
        found.append((reworded(eyes, label, eyes.prompts.model_dump()), names))
    return found
