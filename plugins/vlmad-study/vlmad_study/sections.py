"""The sections of a study as benchmark plans, and what had to be left out of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vlmad_core.benchmark.plan import BenchmarkPlan, Method, Source
from vlmad_core.registry.registry import Registry
from vlmad_study.methods import borrowed, both, by_memory, by_words
from vlmad_study.probe import Eyes, has, missing
from vlmad_study.settings import Scope, StudySettings
from vlmad_study.wordings import wordings

__all__ = ["Learned", "Planned", "plan_section"]

NO_TEXT = "The backbone has no text, so whatever compares with words is left out."
NO_NORMALS = (
    "The data set has no normal images to compare with (train/good), so whatever compares with them is left out."
)
NOT_LEARNED = (
    "Learned words and projections are left out: nothing to learn from was given. --train FOLDER names pictures with "
    "masks that are not judged, --other FOLDER a second data set. Nothing is trained on what it is judged on."
)
ATTENTIONS = {"vv": "V-V", "qq": "Q-Q", "kk": "K-K", "qq+kk": "Q-Q + K-K", "value": "value alone"}


@dataclass(frozen=True)
class Learned:
    """A detector that the study trained.

    Args:
        kind: What learned: "words", "projections" or "words on patches".
        source: What it learned from: "train", "other" or "data".
        name: Of that data set.
        folder: Of the detector.
    """

    kind: str
    source: str
    name: str
    folder: Path

    @property
    def label(self) -> str:
        """As rows have it."""
        return f"learned {self.kind}, from {self.name}"

    def method(self) -> Method:
        """For a plan."""
        return Method(label=self.label, detector=self.folder, shots=(0,))


@dataclass(frozen=True)
class Planned:
    """A section that is to run.

    Args:
        name: Its name, and that of its folder.
        plans: To run one after the other in the same folder.
        left_out: Sentences.
    """

    name: str
    plans: tuple[BenchmarkPlan, ...]
    left_out: tuple[str, ...] = ()


@dataclass
class _Draft:
    """A section in the making."""

    methods: list[Method] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def lack(self, sentence: str) -> None:
        if sentence not in self.left_out:
            self.left_out.append(sentence)


def plan_section(
    name: str,
    settings: StudySettings,
    scope: Scope,
    eyes: Eyes,
    registry: Registry,
    *,
    learned: Sequence[Learned] = (),
    words: Mapping[str, str],
) -> Planned:
    """Which methods a section compares, on which data.

    Args:
        name: Of :data:`~vlmad_study.settings.SECTIONS`, but for efficiency, which is no benchmark.
        settings: Of the study.
        scope: Likewise.
        eyes: The backbone.
        registry: What is installed.
        learned: Detectors that were trained, or will be.
        words: Every category that is judged to the words for it.
    """
    draft, more = _Draft(), list[tuple[Method, dict[str, str]]]()
    fair = [one for one in learned if one.source != "data"]
    data: tuple[Source, ...] = (settings.data,)
    seeds = scope.seeds
    if name == "features":
        _features(draft, eyes, scope, registry)
        seeds = 1
    elif name == "alignment":
        _alignment(draft, eyes, scope, registry, fair)
    elif name == "shots":
        _shots(draft, eyes, scope, registry, fair)
    elif name == "prompts" and eyes.reads:
        draft.methods, more, draft.left_out = wordings(settings, eyes, registry, words)
        draft.methods += [one.method() for one in fair if one.kind == "words on patches"]
    elif name == "prompts":
        draft.lack(NO_TEXT)
    elif name == "cross-domain" and settings.other is not None:
        data = (settings.data, settings.other)
        _cross(draft, eyes, scope, registry, learned)
    elif name == "cross-domain":
        draft.lack("There is no second data set to train on and to judge; --other FOLDER names one.")
    if not draft.methods:
        return Planned(name, (), tuple(draft.left_out))
    common = BenchmarkPlan(
        data=data,
        categories=settings.categories if name != "cross-domain" else (),
        methods=tuple(draft.methods),
        backbones=(eyes.choice,),
        seeds=tuple(range(seeds)),
        max_images=scope.max_images,
        class_names=dict(words),
    )
    plans = [common]
    plans += [
        common.model_copy(update={"methods": (method,), "class_names": {**common.class_names, **names}})
        for method, names in more
    ]
    return Planned(name, tuple(plans), tuple(draft.left_out))


def _features(draft: _Draft, eyes: Eyes, scope: Scope, registry: Registry) -> None:
    shots = (scope.reference,) if scope.reference else ()
    if not shots:
        draft.lack(NO_NORMALS)
    if not eyes.reads:
        draft.lack(NO_TEXT)

    def add(label: str, extractor: dict[str, object], levels: str = "*", *, joint: bool = True, raw: str = "") -> None:
        if eyes.reads and joint:
            draft.methods.append(by_words(eyes, f"{label}, words", extractor, levels=levels))
        if shots:
            draft.methods.append(by_memory(eyes, f"{label}, memory", extractor, shots, levels=raw or levels))

    def patches(layers: Sequence[int], space: str) -> dict[str, object]:
        return {"use": "patches", "config": {"layers": list(layers), "space": space}}

    quarters = list(dict.fromkeys(eyes.block(share) for share in (0.25, 0.5, 0.75, 1.0)))
    for block in quarters:
        add(f"patches of block {block}", patches([block], "raw"), joint=False)
    if len(quarters) > 2:
        told = " + ".join(map(str, quarters[1:-1]))
        add(f"patches of blocks {told}", patches(quarters[1:-1], "raw"), joint=False)
    add("stages: ends of all quarters", patches(quarters, "raw"), joint=False)
    if eyes.reads:
        add(f"joint patches of block {eyes.depth}", patches([eyes.depth], "joint"))
        add("joint patches of all quarters", patches(quarters, "joint"))
    if has(registry, "extractor", "dpam"):
        for attention, told in ATTENTIONS.items():
            add(f"DPAM, {told}", {"use": "dpam", "config": {"layers": [-1], "attention": attention}})
    else:
        draft.lack(missing("dpam", "DPAM and its relatives"))
    if has(registry, "extractor", "windows"):
        for scales in ([2], [3], [2, 3]):
            told = " + ".join(f"{side} x {side}" for side in scales)
            add(f"windows of {told}", {"use": "windows", "config": {"scales": scales}}, "window*")
    else:
        draft.lack(missing("windows", "Windows"))
    if has(registry, "extractor", "foreground"):
        config = {"layers": quarters[1:-1] or quarters, "space": "raw"}
        add("patches without background", {"use": "foreground", "config": config}, joint=False)
    else:
        draft.lack(missing("foreground", "Patches without background"))


def _alignment(draft: _Draft, eyes: Eyes, scope: Scope, registry: Registry, fair: Sequence[Learned]) -> None:
    shots = (scope.reference,) if scope.reference else ()
    joint = {"use": "patches", "config": {"layers": [-1], "space": "joint"}}
    if eyes.reads:
        draft.methods.append(_words(eyes))
        if fair:
            draft.methods += [one.method() for one in fair]
        else:
            draft.lack(NOT_LEARNED)
    else:
        draft.lack(NO_TEXT)
    if not shots:
        draft.lack(NO_NORMALS)
        return
    if eyes.reads:
        draft.methods.append(by_memory(eyes, "memory in the joint space", joint, shots))
    _memories(draft, eyes, shots, registry)
    if eyes.reads:
        draft.methods.append(_words_and_memory(eyes, shots))


def _shots(draft: _Draft, eyes: Eyes, scope: Scope, registry: Registry, fair: Sequence[Learned]) -> None:
    some = tuple(number for number in scope.shots if number)
    if eyes.reads and 0 in scope.shots:
        draft.methods.append(_words(eyes))
        draft.methods += [one.method() for one in fair]
    elif not eyes.reads:
        draft.lack(NO_TEXT)
    if has(registry, "recipe", "winclip") and has(registry, "prompts", "compositional"):
        wanted = scope.shots if eyes.reads else some
        if wanted:
            recipe = "winclip" if eyes.reads else "winclip-few-shot"
            draft.methods.append(borrowed(eyes, recipe, wanted, registry, label="winclip"))
    else:
        draft.lack(missing("winclip", "WinCLIP"))
    if not some:
        draft.lack(NO_NORMALS)
        return
    if eyes.reads:
        draft.methods.append(_words_and_memory(eyes, some))
    _memories(draft, eyes, some, registry)


def _cross(draft: _Draft, eyes: Eyes, scope: Scope, registry: Registry, learned: Sequence[Learned]) -> None:
    if eyes.reads:
        draft.methods.append(_words(eyes))
        draft.methods += [one.method() for one in learned]
    else:
        draft.lack(NO_TEXT)
    if scope.reference:
        draft.methods.append(borrowed(eyes, "patch-memory", (scope.reference,), registry))


def _words(eyes: Eyes) -> Method:
    """Words alone, on the backbone's own space."""
    if eyes.own:
        return Method(label=eyes.own, recipe=eyes.own, shots=(0,))
    assert eyes.words is not None
    return Method(label="words", recipe=eyes.words.model_dump(), shots=(0,))


def _words_and_memory(eyes: Eyes, shots: Sequence[int]) -> Method:
    if eyes.own:
        return Method(label=f"{eyes.own}-few-shot", recipe=eyes.own, shots=tuple(shots))
    return both(eyes, "words + memory", shots)


def _memories(draft: _Draft, eyes: Eyes, shots: Sequence[int], registry: Registry) -> None:
    for recipe, told in {
        "patch-memory": "Patch memory",
        "foreground-memory": "A memory without background",
        "subspace": "A subspace of normal patches",
    }.items():
        if has(registry, "recipe", recipe):
            draft.methods.append(borrowed(eyes, recipe, shots, registry))
        else:
            draft.lack(missing(recipe, told))
