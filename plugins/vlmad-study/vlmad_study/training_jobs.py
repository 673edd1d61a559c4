"""Detectors that must be trained, on images that they are not tested on; a training that was stopped goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vlmad_core.benchmark import Source
from vlmad_core.datasets import Dataset
from vlmad_core.errors import ConfigError, VlmadError
from vlmad_core.files import write_whole
from vlmad_core.pipeline.build import build
from vlmad_core.registry import Registry
from vlmad_core.run.disk import file_name
from vlmad_core.training import train
from vlmad_study.backbone import BackboneInfo
from vlmad_study.catalogue import RecipeInfo, main_recipes
from vlmad_study.data import read
from vlmad_study.methods import recipe_label
from vlmad_study.report.render import printable
from vlmad_study.sections import TrainedMethod
from vlmad_study.settings import StudySettings

__all__ = ["TrainingJob", "plan_training", "run_training"]


@dataclass(frozen=True)
class TrainingJob:
    """One training.

    Args:
        result: The trained method.
        recipe: Brings the training options of its paper.
        changes: Parts in place of the recipe's.
        data: To train on.
    """

    result: TrainedMethod
    recipe: str
    changes: Mapping[str, Any]
    data: Dataset

    @property
    def is_done(self) -> bool:
        """Whether its detector is there."""
        return (self.result.folder / "label").exists()


def plan_training(
    train_images: int, sources: Mapping[str, Source], info: BackboneInfo, out: Path, registry: Registry
) -> tuple[list[TrainingJob], list[str]]:
    """What is to be trained on which data, and what is left out.

    Each plugin's first recipe that must be trained takes part; where only its prompts learn, they are also trained on
    the plain patches that section `prompts` compares on.

    Args:
        train_images: Images of each training, at most.
        sources: "train", "other" and "data" to data sets.
        info: The backbone.
        out: Folder for the detectors.
        registry: What is installed.

    Raises:
        ConfigError: Data that has no defect with a mask to train on.
    """
    jobs: list[TrainingJob] = []
    left_out: list[str] = []
    if not info.has_text:
        return jobs, left_out
    learned = [recipe for recipe in main_recipes(info, registry) if recipe.is_learned and not recipe.is_few_shot]
    for source, where in sources.items():
        data = _subset(where, train_images, registry)
        dataset = printable(where.name or data.name)
        for recipe in learned:
            try:
                variants = _variants(recipe, info, registry)
            except VlmadError as error:
                sentence = f"'{recipe.name}' cannot be trained on this backbone: {error}"
                left_out += [sentence] if sentence not in left_out else []
                continue
            for label, changes in variants.items():
                folder = out / file_name(f"{label}/{source}")
                result = TrainedMethod(label, source, dataset, folder, bool(changes))
                jobs.append(TrainingJob(result, recipe.full_name, changes, data))
    return jobs, left_out


def run_training(
    job: TrainingJob,
    info: BackboneInfo,
    settings: StudySettings,
    registry: Registry,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Train one detector and save it; nothing to do where that was done before.

    Args:
        job: What.
        info: The backbone.
        settings: Of the study: epochs, device, and how images are read.
        registry: Where to look for parts.
        progress: Called with images done and images in all; what it raises stops the training, which then goes on
            from its last saved state.
    """
    if job.is_done:
        return
    # Where the backbone's own recipe takes the highest cell, its whole-image feature is of no use to others either.
    rule = {"scorers.0.config.image": info.image_score}
    with torch.random.fork_rng():
        torch.manual_seed(0)  # the first parameters are part of the result
        part, device = info.choice.part, settings.device
        detector = build(job.recipe, backbone=part, overrides=rule, device=device, registry=registry, **job.changes)
    detector.bits = settings.bits
    train(
        detector,
        job.data,
        job.result.folder,
        recipe=job.recipe,
        epochs=settings.epochs,
        mosaic=0.0,  # an image made of four cannot be cached as features
        cache="memory",
        workers=settings.workers,
        minutes=1.0,
        progress=None if progress is None else (lambda now: progress(now.done, now.total)),
    )
    write_whole(job.result.folder / "label", job.result.label.encode())  # last: it says that the training is whole


def _variants(recipe: RecipeInfo, info: BackboneInfo, registry: Registry) -> dict[str, dict[str, Any]]:
    """Label to what is exchanged: as the recipe is, and its prompts on plain patches where they alone learn."""
    detector = build(recipe.full_name, backbone=info.model, registry=registry)
    label = recipe_label(info, recipe)
    variants: dict[str, dict[str, Any]] = {label: {}}
    learns_elsewhere = any(True for _ in detector.extractor.parameters())
    if detector.prompts is not None and any(True for _ in detector.prompts.parameters()) and not learns_elsewhere:
        plain = {"use": "patches", "config": {"layers": [-1]}}
        variants[f"{label} on plain patches"] = {"extractor": plain}
    return variants


def _subset(source: Source, count: int, registry: Registry) -> Dataset:
    """At most so many test images, normal ones and defective ones with masks, spread over the whole set."""
    data = read(source, registry)
    usable = [s for s in data.select(split="test") if s.label is False or (s.label and s.masks)]
    if not any(sample.label for sample in usable):
        raise ConfigError(f"{source.path}: has no test image with a mask to train on.")
    order = np.random.default_rng(0).permutation(len(usable))[:count]
    return Dataset.of(source.name or data.name, (usable[i] for i in sorted(order)), data.root)
