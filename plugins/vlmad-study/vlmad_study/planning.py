"""What a study will run: its steps, and how much of each section fits into the time that it has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlmad_core.benchmark import Cell, Source, find_cells
from vlmad_core.registry import Registry, default_registry, validate
from vlmad_study.backbone import BackboneInfo, inspect_backbone
from vlmad_study.cost import Timing, time_cells
from vlmad_study.data import StudyData, read_data, with_distinct_names
from vlmad_study.sections import PlannedSection, TrainedMethod, plan_section
from vlmad_study.settings import Scope, StudySettings
from vlmad_study.time_limit import fit_images, minutes

__all__ = ["BENCHMARKS", "Chosen", "Planner", "Step", "cells_of", "first_scope", "plan_study", "share"]
__all__ += ["steps_of", "to_settings"]

STEPS = ("train", "shots", "examples", "efficiency", "features", "prompts", "ablation", "cross-domain")
"""In the order of running: what the recommendation is made of comes first."""
BENCHMARKS = ("shots", "features", "prompts", "cross-domain")
_SHARES = {"train": 0.3, "shots": 0.55}
"""Of the time that is left; every other step gets an equal share of the rest."""


@dataclass(frozen=True)
class Step:
    """A section that would run.

    Args:
        name: Of the section.
        seconds: About how long it takes here.
        rows: Rows of its benchmark.
        left_out: Sentences.
    """

    name: str
    seconds: float
    rows: int = 0
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Chosen:
    """How much of a section is run.

    Args:
        scope: With what was reduced for it.
        planned: By this scope; None where not even the smallest comparison fits.
        seconds: About how long it takes.
        cuts: Key to sentence.
    """

    scope: Scope
    planned: PlannedSection | None
    seconds: float
    cuts: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Planner:
    """Plans sections of one study.

    Args:
        settings: Of the study.
        data: As read.
        info: The backbone.
        registry: Where to look for parts.
        trained: Detectors that were trained.
    """

    settings: StudySettings
    data: StudyData
    info: BackboneInfo
    registry: Registry
    trained: list[TrainedMethod] = field(default_factory=list)

    def plan(self, name: str, scope: Scope) -> PlannedSection:
        """The section as the scope has it."""
        names = self.data.class_names
        names = {**names, **self.data.other_class_names} if name == "cross-domain" else names
        return plan_section(
            name, self.settings, scope, self.info, self.registry, trained=self.trained, class_names=names
        )

    def choose(self, name: str, scope: Scope, room: float, pace: float, check: Callable[[], None]) -> Chosen:
        """The largest comparison that fits: fewer draws first, then fewer shots, fewer images, fewer methods.

        Args:
            name: Of the section.
            scope: So far.
            room: Seconds that it may take.
            pace: How much longer steps took than was estimated.
            check: Called before each measurement; what it raises stops them.
        """
        planned, cuts = self.plan(name, scope), list[str]()
        timing = time_cells(cells_of(planned, self.registry), self.registry, check, device=self.settings.device)
        seconds = self._seconds(planned, timing, pace)
        if name == "shots":
            if seconds > room and scope.seeds > 1:
                cuts.append(f"one draw of normal images in place of {scope.seeds}")
                scope = scope.model_copy(update={"seeds": 1})
                seconds = self._seconds(self.plan(name, scope), timing, pace)
            if seconds > room and len([number for number in scope.shots if number]) > 1:
                cuts.append(f"{scope.reference} normal images alone in place of {', '.join(map(str, scope.shots))}")
                shots = tuple(number for number in scope.shots if number in (0, scope.reference))
                scope = scope.model_copy(update={"shots": shots})
                seconds = self._seconds(self.plan(name, scope), timing, pace)
        images = fit_images(seconds, room, self.data.most_of_a_label(), self.settings.max_images)
        cuts += [images.cut] if images.cut else []
        sentences = {name: f"{name}: {'; '.join(cuts)}."} if cuts else {}
        if name != "shots" and images.seconds > 1.5 * room:
            sentence = f"{name}: left out for lack of time; it needs about {minutes(images.seconds)}."
            return Chosen(scope, None, images.seconds, {f"{name}, time": sentence})
        scope = scope.model_copy(update={"max_images": {**scope.max_images, name: images.max_images}})
        planned = self.plan(name, scope)
        seconds = self._seconds(planned, timing, pace)
        for methods in sorted(timing.features, key=lambda methods: -timing.features[methods]):
            if name != "shots" or seconds <= room:
                break
            if not any(planned.groups.get(method) == "own" for method in methods):
                scope = scope.model_copy(update={"dropped": (*scope.dropped, *methods)})
                planned = self.plan(name, scope)
                seconds = self._seconds(planned, timing, pace)
        if scope.dropped and name == "shots":
            dropped = ", ".join(scope.dropped)
            sentences[f"{name}, methods"] = f"{name}: methods left out for lack of time: {dropped}."
        return Chosen(scope, planned, seconds, sentences)

    def _seconds(self, planned: PlannedSection, timing: Timing, pace: float) -> float:
        return pace * timing.seconds(cells_of(planned, self.registry))


def plan_study(
    data: StudySettings | Source | Mapping[str, Any] | str | Path,
    *,
    progress: Callable[[str], None] | None = None,
    registry: Registry | None = None,
    **settings: Any,
) -> tuple[Scope, list[Step]]:
    """What a study would run and how long it would take; nothing is written.

    Raises:
        ConfigError: Wrong settings.
        UnknownComponentError: A name that no plugin offers.
    """
    registry, notify = registry or default_registry(), progress or (lambda what: None)
    chosen = with_distinct_names(to_settings(data, settings), registry)
    planner = Planner(chosen, read_data(chosen, registry), backbone_of(chosen, registry), registry)
    scope, steps, room = first_scope(chosen, planner.data), list[Step](), 60 * chosen.minutes
    names = steps_of(planner)
    for place, name in enumerate(names):
        if name not in BENCHMARKS or name == "cross-domain":  # cross-domain: its methods are not trained yet
            continue
        notify(f"timing {name}")
        found = planner.choose(name, scope, room * share(names, place), 1.0, lambda: None)
        scope = found.scope.model_copy(update={"cuts": {**scope.cuts, **found.cuts}})
        if found.planned is not None:
            rows = len(cells_of(found.planned, registry))
            steps.append(Step(name, found.seconds, rows, tuple(found.planned.left_out)))
            room -= found.seconds
    return scope, steps


def backbone_of(settings: StudySettings, registry: Registry) -> BackboneInfo:
    """The backbone as the settings ask for it, built once."""
    return inspect_backbone(settings.backbone, registry, device=settings.device, bits=settings.bits)


def steps_of(planner: Planner) -> list[str]:
    """Names of :data:`STEPS` that the settings ask for."""
    sections = set(planner.settings.sections)
    needs = {"shots": {"shots", "alignment", "efficiency"}, "examples": {"shots"}, "ablation": {"prompts"}}
    wanted = [name for name in STEPS if needs.get(name, {name}) & sections]
    if planner.data.sources and planner.info.has_text and sections - {"features"}:
        wanted = ["train", *wanted]
    return [name for name in wanted if name != "ablation" or planner.info.ensemble is not None]


def share(names: Sequence[str], place: int) -> float:
    """Of the time that is left, for a step."""
    return _SHARES.get(names[place], 1 / (len(names) - place)) if len(names) > 1 else 1.0


def first_scope(settings: StudySettings, data: StudyData) -> Scope:
    """Everything that was asked for, as far as there are normal images for it."""
    shots = tuple(number for number in settings.shots if number <= data.fewest_normals(settings.train_share))
    return Scope(shots=shots, seeds=settings.seeds, train_images=settings.train_images)


def cells_of(planned: PlannedSection, registry: Registry) -> list[Cell]:
    """Of all its plans."""
    return [cell for plan in planned.plans for cell in find_cells(plan, registry)]


def to_settings(data: Any, settings: Mapping[str, Any]) -> StudySettings:
    """Settings from what :func:`~vlmad_study.run.study` was given.

    Raises:
        ConfigError: With a line for each thing that is wrong.
    """
    if isinstance(data, StudySettings):
        given: dict[str, Any] = data.model_dump()
    else:
        given = dict(data) if isinstance(data, Mapping) else {"data": data}
    return validate(StudySettings, {**given, **settings}, "study", "a study")
