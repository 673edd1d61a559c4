"""How much of a study fits into the time that it may take: measured on a few images first, then cut down fairly."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from vlmad_core.benchmark.estimate import estimate
from vlmad_core.datasets.base import Dataset
from vlmad_core.registry.registry import Registry
from vlmad_study.probe import Eyes
from vlmad_study.sections import plan_section
from vlmad_study.settings import Scope, StudySettings

__all__ = ["choose_scope"]

_FEWEST = 8
"""Judged images of each label and category below which a comparison says nothing."""
_METHOD_SECONDS = 12.0
"""For the efficiency of one method, and for its pictures."""
_LEARNING = 4.0
"""A picture that is learned from, in judged ones: looked at once with two towers' worth of work, then many steps."""
_LEAVING = 2.0
_ONE_DRAW = 0.6
"""What is left of the work with one draw in place of three: images are looked at all the same."""
_LEARNED = 0.4
"""Share of the time that training may take."""
_FEWEST_LEARNED = 24
"""A picture that is judged in some fifty wordings, in judged ones."""


@dataclass(frozen=True)
class _Size:
    """What the data set has, in the category that has most and in the one that has fewest."""

    judged: int
    label: int
    pool: int


def choose_scope(
    settings: StudySettings,
    data: Dataset,
    eyes: Eyes,
    registry: Registry,
    *,
    lessons: int,
    pictures: int,
    words: Mapping[str, str],
    say: Callable[[str], None],
) -> Scope:
    """The largest scope that fits into ``settings.minutes``: all if it does, else fewer images, then fewer draws.

    Args:
        settings: Of the study.
        data: What is judged.
        eyes: The backbone.
        registry: What is installed.
        lessons: Detectors to train.
        pictures: That each learns from.
        words: Every category to the words for it.
        say: Called with what is being tried.
    """
    size = _size(data, list(words))
    shots = tuple(number for number in settings.shots if number <= size.pool)
    scope = Scope(max_images=settings.max_images, seeds=settings.seeds, shots=shots)
    seconds = _seconds(settings, scope, eyes, registry, words, size, say)
    each = seconds.pop("each")
    told = []
    fits = int(_LEARNED * settings.minutes * 60 / max(1e-9, lessons * each * _LEARNING))
    if fits < pictures:
        pictures = max(min(pictures, _FEWEST_LEARNED), fits)
        told.append(f"each training learns from at most {pictures} pictures in place of {settings.learned_from}")
    own = {
        "learn": lessons * pictures * each * _LEARNING,
        "leave-one-out": size.judged * each * _LEAVING if eyes.states and "prompts" in settings.sections else 0.0,
        "efficiency": 8 * _METHOD_SECONDS if "efficiency" in settings.sections else 0.0,
        "gallery": 4 * _METHOD_SECONDS if "shots" in settings.sections else 0.0,
    }
    fixed = own["learn"] + own["efficiency"] + own["gallery"]
    by_image = sum(seconds.values()) + own["leave-one-out"]
    room = max(0.1 * settings.minutes * 60, settings.minutes * 60 - fixed)
    share, most, seeds = room / max(by_image, 1e-9), settings.max_images, settings.seeds
    if share < 1:
        there = min(size.label, settings.max_images or size.label)
        most = max(min(_FEWEST, there), int(there * share))
        told.append(f"at most {most} images of each label and category are judged, of up to {there}")
        share /= most / there
        by_image *= most / there
    if share < 0.999 and seeds > 1:
        seeds = 1
        by_image *= _ONE_DRAW
        told.append(f"one draw of normal images is made in place of {settings.seeds}")
    reduced = f"To stay within {settings.minutes:g} minutes on this machine, {'; '.join(told)}." if told else ""
    cut = by_image / max(1e-9, sum(seconds.values()) + own["leave-one-out"])
    steps = {name: round(value * cut, 1) for name, value in {**seconds, "leave-one-out": own["leave-one-out"]}.items()}
    steps |= {name: round(own[name], 1) for name in ("learn", "efficiency", "gallery")}
    return Scope(max_images=most, seeds=seeds, shots=shots, pictures=pictures, seconds=steps, reduced=reduced)


def _seconds(
    settings: StudySettings,
    scope: Scope,
    eyes: Eyes,
    registry: Registry,
    words: Mapping[str, str],
    size: _Size,
    say: Callable[[str], None],
) -> dict[str, float]:
    """Section to seconds for all images; and "each", of the plainest method for one."""
    found: dict[str, float] = {}
    for name in settings.sections:
        if name in ("efficiency", "cross-domain"):
            continue
        say(f"trying {name}")
        planned = plan_section(name, settings, scope, eyes, registry, words=words)
        found[name] = sum(estimate(plan, registry=registry).seconds for plan in planned.plans)
    plain = found.get("prompts") or found.get("alignment") or max(found.values(), default=1.0)
    if "cross-domain" in settings.sections and settings.other is not None:
        found["cross-domain"] = plain
    found["each"] = plain / max(1, size.judged) / 4
    return found


def _size(data: Dataset, categories: Sequence[str]) -> _Size:
    counts = [data.count()[category] for category in categories]
    judged = sum(count.get(f"test/{label}", 0) for count in counts for label in ("good", "defective"))
    label = max((count.get(f"test/{label}", 0) for count in counts for label in ("good", "defective")), default=1)
    return _Size(judged, max(1, label), min((count.get("train/good", 0) for count in counts), default=0))
