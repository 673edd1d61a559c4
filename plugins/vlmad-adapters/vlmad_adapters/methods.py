"""What is compared: recipes that need no training, and what is trained on the images of the field."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import vlmad_core
from vlmad_adapters.cached import CachedExtractor
from vlmad_adapters.images import generated
from vlmad_adapters.probe import Probe
from vlmad_core.contracts import Backbone, Features
from vlmad_core.contracts.images import read, stack
from vlmad_core.datasets import Dataset, Sample, mask_of
from vlmad_core.errors import ConfigError
from vlmad_core.pipeline import Pipeline
from vlmad_core.pipeline.resolve import resolve
from vlmad_core.registry import Registry
from vlmad_core.training.options import TrainingOptions
from vlmad_core.training.train import train

__all__ = ["UNTRAINED", "WHAT", "Method", "Setting", "fit_probe", "learn", "make", "methods_of"]

UNTRAINED = ("pocket", "pocket-few-shot", "patch-memory", "subspace")
"""Recipes that are compared, as they come; prompts of a field are added where one is chosen."""

WHAT = ("probe", "prompts", "adapters", "both")
_SHARE, _PATIENCE = 0.25, 5
"""Of the images that are learned from, held out for early stopping; epochs without a lower loss on them."""

_LEARNED = {"use": "vlmad-learned-prompts:learned", "config": {"init": "a photo of a"}}
_ADAPTED = {"use": "vlmad-adapters:adapted-patches"}
_TEXT = {"use": "vlmad-core:text-match", "config": {"combine": "mean", "image": "both"}}


@dataclass(frozen=True)
class Method:
    """One row of the table.

    Args:
        name: As in the table.
        spec: Recipe, by name or as a pipeline file.
        trained: Whether it learns from the images of the field.
        command: What makes a detector of it without `vlmad adapt`; empty for what is trained.
    """

    name: str
    spec: str | Mapping[str, Any]
    trained: bool = False
    command: str = ""


@dataclass(frozen=True)
class Setting:
    """How methods are made.

    Args:
        class_name: What the images show.
        seed: Of everything random.
        epochs: Times through the images, at most.
        bits: Of the values in 16-bit grey files.
        device: Where it runs.
        batch_size: Images through the backbone at a time.
        registry: Where parts are looked up; the installed plugins by default.
        backbones: Those built already, by their options; shared by all methods.
        extractors: Likewise, those that learn nothing; they keep features.
    """

    class_name: str | None = None
    seed: int = 0
    epochs: int = 30
    bits: int | str | None = None
    device: str = "auto"
    batch_size: int = 8
    registry: Registry | None = None
    backbones: dict[str, Backbone] = field(default_factory=dict)
    extractors: dict[str, CachedExtractor] = field(default_factory=dict)


def methods_of(
    what: Sequence[str], *, states: str | None = None, untrained: Sequence[str] = UNTRAINED, has_defects: bool
) -> list[Method]:
    """The rows of the table: first what needs no training.

    Args:
        what: Of :data:`WHAT`.
        states: Prompts of a field, by the name of a list of states.
        untrained: Recipes to compare with.
        has_defects: Whether there are real defects; a probe needs them.

    Raises:
        ConfigError: A probe is asked for without defects.
    """
    found = [Method(name, name, command=_command(name)) for name in untrained]
    if states is not None:
        for name in untrained:
            spec = _spec(name)
            if _takes_states(spec):
                spec["prompts"]["config"]["states"] = states
                found.append(Method(f"{name}, field {states}", spec, command=f"{_command(name)} --field {states}"))
    if "probe" in what and not has_defects:
        raise ConfigError("a probe learns from defective images; give some with --defects, or choose another --what.")
    specs: dict[str, str | Mapping[str, Any]] = {"probe": "probe"}
    base = _spec("pocket-few-shot")
    if states is not None:
        base["prompts"]["config"]["states"] = states
    text = [_TEXT, *(scorer for scorer in base["scorers"] if scorer["use"].endswith(":memory"))]
    specs["prompts"] = {**base, "prompts": _LEARNED}
    # The memory of an adapted tower is of the adapted levels; the fused score is as that of the recipe.
    adapted = {"use": "vlmad-core:memory", "config": {**text[-1]["config"], "levels": ["*"]}}
    specs["adapters"] = {**base, "extractor": _ADAPTED, "scorers": [_TEXT, adapted]}
    specs["both"] = {**base, "extractor": _ADAPTED, "prompts": _LEARNED, "scorers": [_TEXT, adapted]}
    return [*found, *(Method(name, specs[name], trained=True) for name in WHAT if name in what)]


def make(
    method: Method, normals: Sequence[Sample], defects: Sequence[Sample], setting: Setting, folder: Path
) -> Pipeline:
    """A detector that is ready to predict.

    Args:
        method: Which.
        normals: Normal images to fit and train on.
        defects: Defective images to train on.
        setting: How.
        folder: For what a stopped training goes on from.
    """
    with torch.random.fork_rng([]):
        torch.manual_seed(setting.seed)  # the first parameters are part of the result
        detector = _build(method.spec, setting)
    detector.class_name, detector.bits = setting.class_name, setting.bits
    if not any(parameter.requires_grad for parameter in detector.extractor.parameters()):
        key = json.dumps(
            [_spec(method.spec, setting.registry)[part] for part in ("backbone", "extractor")], sort_keys=True
        )
        detector.extractor = setting.extractors.setdefault(key, CachedExtractor(detector.extractor))
    if method.trained and method.name != "probe":
        learn(detector, normals, defects, setting, folder)
    if detector.memory_scorers:
        detector.fit([sample.image for sample in normals], batch_size=setting.batch_size)
    if method.name == "probe":
        fit_probe(detector, defects, setting)
    return detector.eval()


def _build(spec: str | Mapping[str, Any], setting: Setting) -> Pipeline:
    recipe = spec if isinstance(spec, str) else dict(spec)
    key = json.dumps(_spec(spec, setting.registry)["backbone"], sort_keys=True)
    shared = setting.backbones.get(key)
    if shared is not None:
        return vlmad_core.build(recipe, backbone=shared, registry=setting.registry)
    made = vlmad_core.build(recipe, device=setting.device, registry=setting.registry)
    setting.backbones[key] = made.backbone
    return made


def learn(
    detector: Pipeline, normals: Sequence[Sample], defects: Sequence[Sample], setting: Setting, folder: Path
) -> None:
    """Learn from normal images, defects, and generated ones; stop early by the loss on those that are held out."""
    samples = [*normals, *defects, *generated(normals, "cut-paste", seed=setting.seed, bits=setting.bits)]
    on_pixels = all(sample.masks for sample in defects)
    pixels = {"focal": 1.0, "dice": 1.0} if on_pixels else {"focal": 0.0, "dice": 0.0}
    options = TrainingOptions(
        epochs=setting.epochs,
        batch_size=setting.batch_size,
        validation=_SHARE,
        patience=_PATIENCE,
        cross_entropy=1.0,
        seed=setting.seed,
        cache="memory",
        **pixels,
    )
    train(detector, Dataset("field", tuple(samples)), folder, options=options)


def fit_probe(detector: Pipeline, defects: Sequence[Sample], setting: Setting) -> None:
    """Give a fitted detector with a scorer 'probe' its defects.

    Raises:
        ConfigError: An image cannot be read.
    """
    probe = next(scorer for scorer in detector.scorers if isinstance(scorer, Probe))
    features, masks = [], list[Tensor | None]()
    with torch.no_grad():
        for pictures in read([s.image for s in defects], detector.preprocess, batch_size=setting.batch_size):
            for picture in pictures:
                if picture.error is not None:
                    raise ConfigError(f"a defective image cannot be read: {picture.error}")
            features.append(detector.extract(stack(pictures))[0])
    for sample in defects:  # at the size of the file, since a small defect vanishes from a mask that is made smaller
        masks.append(torch.from_numpy(mask_of(sample)) if sample.masks else None)
    probe.fit_defects(_joined(features), masks)


def _joined(batches: Sequence[Features]) -> Features:
    names = batches[0].tensors()
    return batches[0].with_tensors({name: torch.cat([one.tensors()[name] for one in batches]) for name in names})


def _spec(recipe: str | Mapping[str, Any], registry: Registry | None = None) -> dict[str, Any]:
    resolved = resolve(recipe if isinstance(recipe, str) else dict(recipe), {}, registry=registry)
    spec: dict[str, Any] = resolved.spec.model_dump(mode="json")
    return spec


def _takes_states(spec: Mapping[str, Any]) -> bool:
    prompts = spec.get("prompts")
    return isinstance(prompts, dict) and str(prompts["use"]).endswith("compositional")


def _command(recipe: str) -> str:
    spec = _spec(recipe)
    fits = any(str(scorer["use"]).rpartition(":")[2] in ("memory", "subspace", "probe") for scorer in spec["scorers"])
    return f"vlmad fit GOOD --recipe {recipe} --out OUT" if fits else f"vlmad predict IMAGES --recipe {recipe}"
