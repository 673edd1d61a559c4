"""The sections of a study as benchmark plans, with the group of each method and what had to be left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vlmad_core.benchmark import BenchmarkPlan, Method, Source
from vlmad_core.registry import Registry
from vlmad_study.backbone import BackboneInfo
from vlmad_study.catalogue import extractions, main_recipes, missing
from vlmad_study.methods import recipe_on, with_memory, with_text, with_text_and_memory, zero_shot
from vlmad_study.prompt_variants import prompt_variants
from vlmad_study.settings import Scope, StudySettings

__all__ = ["PlannedSection", "TrainedMethod", "plan_section"]

NO_TEXT = "The backbone has no text encoder, so methods that need text are left out."
NO_NORMALS = "The data set has no normal images for training (train/good), so methods that need some are left out."
NOT_TRAINED = (
    "Methods that must be trained are left out: no training data was given. --train FOLDER names images with masks "
    "that are not tested on, --other FOLDER a second data set. Nothing is trained on what it is tested on."
)


@dataclass(frozen=True)
class TrainedMethod:
    """A detector that the study trained.

    Args:
        method: Label of the method.
        source: What it was trained on: "train", "other" or "data".
        dataset: Name of that data set.
        folder: Of the detector.
        is_plain: Its features are those that section `prompts` compares on.
    """

    method: str
    source: str
    dataset: str
    folder: Path
    is_plain: bool = False

    @property
    def label(self) -> str:
        """As rows of results have it."""
        return f"{self.method}, trained on {self.dataset}"

    def planned(self) -> Method:
        """For a plan."""
        return Method(label=self.label, detector=self.folder, shots=(0,))


@dataclass
class PlannedSection:
    """A section that is to run.

    Args:
        name: Its name, and that of its folder.
        plans: To run one after the other in the same folder.
        groups: Label of a method to what it is compared in: "text", "memory", "own", "nonsense", …
        left_out: Sentences.
    """

    name: str
    plans: tuple[BenchmarkPlan, ...] = ()
    groups: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    methods: list[Method] = field(default_factory=list)

    def add(self, method: Method, group: str = "") -> None:
        """One more method."""
        self.methods.append(method)
        self.groups[method.name] = group

    def leave_out(self, *sentences: str) -> None:
        """Say what is not compared, once."""
        self.left_out += [sentence for sentence in sentences if sentence not in self.left_out]


def plan_section(
    name: str,
    settings: StudySettings,
    scope: Scope,
    info: BackboneInfo,
    registry: Registry,
    *,
    trained: Sequence[TrainedMethod] = (),
    class_names: Mapping[str, str],
) -> PlannedSection:
    """Which methods a section compares, on which data.

    Args:
        name: "shots" (also the methods of `alignment` and `efficiency`), "features", "prompts" or "cross-domain".
        settings: Of the study.
        scope: Numbers of images, draws and normal images.
        info: The backbone.
        registry: What is installed.
        trained: Detectors that were trained.
        class_names: Every category that is tested to its class name.
    """
    section = PlannedSection(name)
    renamed: list[tuple[Method, dict[str, str]]] = []
    data: tuple[Source, ...] = (settings.data,)
    fair = [one for one in trained if one.source != "data"]
    if not info.has_text:
        section.leave_out(NO_TEXT)
    if not scope.reference and name != "prompts":
        section.leave_out(NO_NORMALS)
    if name == "shots":
        _shots(section, settings, scope, info, registry, fair)
    elif name == "features":
        _features(section, scope, info, registry)
    elif name == "prompts" and info.has_text:
        renamed = prompt_variants(section, settings, info, registry, class_names)
        for one in fair:
            if one.is_plain:
                section.add(one.planned(), "learned")
    elif name == "cross-domain" and settings.other is not None:
        data = (settings.data, settings.other)
        _cross_domain(section, scope, info, registry, trained)
    elif name == "cross-domain":
        section.leave_out("There is no second data set to train on and test on; --other FOLDER names one.")
    section.methods = [method for method in section.methods if name != "shots" or method.name not in scope.dropped]
    if not section.methods:
        return section
    plan = BenchmarkPlan(
        data=data,
        categories=settings.categories if name != "cross-domain" else (),
        methods=tuple(section.methods),
        backbones=(info.choice,),
        seeds=tuple(range(scope.seeds if name == "shots" else 1)),
        train_share=settings.train_share,
        max_images=scope.max_images.get(name, settings.max_images),
        class_names=dict(class_names),
        bits=settings.bits,
        batch_size=settings.batch_size,
        workers=settings.workers,
        device=settings.device,
    )
    again = [
        plan.model_copy(update={"methods": (method,), "class_names": {**plan.class_names, **names}})
        for method, names in renamed
    ]
    section.plans = (plan, *again)
    return section


def _shots(
    section: PlannedSection,
    settings: StudySettings,
    scope: Scope,
    info: BackboneInfo,
    registry: Registry,
    fair: Sequence[TrainedMethod],
) -> None:
    """Ready methods: zero-shot ones once, the others with each number of normal images."""
    shots = tuple(number for number in scope.shots if number)
    if "shots" not in settings.sections:
        shots = tuple(number for number in shots if number == scope.reference)
    if info.has_text and 0 in scope.shots:
        section.add(zero_shot(info), "own")
        for one in fair:
            section.add(one.planned(), "learned")
        if not fair:
            section.leave_out(NOT_TRAINED)
    if info.has_text and shots:
        section.add(with_text_and_memory(info, shots), "own")
    for recipe in main_recipes(info, registry):
        needs_text = recipe.spec.prompts is not None and not recipe.is_few_shot
        is_own = recipe.name in (info.recipe, f"{info.recipe}-few-shot")
        # Two fixed sentences are what the backbone's own recipe improves on.
        is_plain = bool(info.recipe) and recipe.full_name == "vlmad-core:clip"
        if recipe.is_learned or is_own or is_plain or (needs_text and not info.has_text):
            continue
        wanted = shots if recipe.is_few_shot else tuple(number for number in scope.shots if not number)
        if wanted:
            section.add(recipe_on(info, recipe, wanted))
    if info.has_text and scope.reference and "alignment" in settings.sections:
        joint = {"use": "patches", "config": {"layers": [-1], "space": "joint"}}
        section.add(with_memory(info, "memory in the joint space", joint, (scope.reference,)), "joint")
    section.leave_out(*missing(registry))


def _features(section: PlannedSection, scope: Scope, info: BackboneInfo, registry: Registry) -> None:
    """Patches of each depth, then every other extractor; against text, and against a memory."""
    shots = (scope.reference,) if scope.reference else ()

    def add(label: str, part: Mapping[str, object], *, for_text: bool) -> None:
        if info.has_text and for_text:
            section.add(with_text(info, f"{label}: text", part), "text")
        if shots:
            section.add(with_memory(info, f"{label}: memory", part, shots), "memory")

    def patches(layers: Sequence[int], space: str) -> dict[str, object]:
        return {"use": "patches", "config": {"layers": list(layers), "space": space}}

    quarters = list(dict.fromkeys(info.block(share) for share in (0.25, 0.5, 0.75, 1.0)))
    for block in quarters:
        add(f"patches of block {block}", patches([block], "raw"), for_text=False)
    if len(quarters) > 3:
        add(f"patches of blocks {' + '.join(map(str, quarters[1:-1]))}", patches(quarters[1:-1], "raw"), for_text=False)
    add("patches of all quarters", patches(quarters, "raw"), for_text=False)
    if info.has_text:
        add(f"joint patches of block {info.depth}", patches([info.depth], "joint"), for_text=True)
        add("joint patches of all quarters", patches(quarters, "joint"), for_text=True)
    for one in extractions(info, registry):
        add(one.label, one.part, for_text=one.for_text)
    section.leave_out(*missing(registry))


def _cross_domain(
    section: PlannedSection,
    scope: Scope,
    info: BackboneInfo,
    registry: Registry,
    trained: Sequence[TrainedMethod],
) -> None:
    if info.has_text:
        section.add(zero_shot(info))
        for one in trained:
            section.add(one.planned(), "learned")
    memory = next((one for one in main_recipes(info, registry) if one.full_name == "vlmad-core:patch-memory"), None)
    if scope.reference and memory is not None:
        section.add(recipe_on(info, memory, (scope.reference,)))
