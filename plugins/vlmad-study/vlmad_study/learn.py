"""Detectors that learn, trained on pictures that they are not judged on; a training that was stopped goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vlmad_core.benchmark.plan import Source
from vlmad_core.datasets.base import Dataset
from vlmad_core.datasets.read import read_dataset
from vlmad_core.errors import ConfigError
from vlmad_core.files import write_whole
from vlmad_core.pipeline.build import build
from vlmad_core.registry.registry import Registry
from vlmad_core.training.train import train
from vlmad_study.probe import Eyes, has, missing
from vlmad_study.sections import Learned

__all__ = ["Lesson", "lessons", "teach"]


@dataclass(frozen=True)
class Lesson:
    """One training.

    Args:
        learned: What comes of it.
        recipe: That brings the options of its paper.
        changes: Parts and settings in place of the recipe's.
        data: To learn from.
    """

    learned: Learned
    recipe: str
    changes: Mapping[str, Any]
    data: Dataset


def lessons(
    pictures: int, sources: Mapping[str, Source], eyes: Eyes, out: Path, registry: Registry
) -> tuple[list[Lesson], list[str]]:
    """What is to be trained on which data, and what is left out.

    Args:
        pictures: To learn from, at most.
        sources: "train", "other" and "data" to where they are; only those that may be learned from.
        eyes: The backbone.
        out: Folder for the detectors.
        registry: What is installed.

    Raises:
        ConfigError: Data that has no defect with a mask to learn from.
    """
    left: list[str] = []
    if not eyes.reads or not sources:
        return [], left
    kinds = {
        "words": ("anomalyclip", ("dpam", "learned"), {}),
        "words on patches": (
            "anomalyclip",
            ("learned",),
            {"extractor": {"use": "patches", "config": {"layers": [-1]}}},
        ),
        "projections": ("april-gan", (), {}),
    }
    found = []
    for source, where in sources.items():
        data = _some(where, pictures, registry)
        for kind, (recipe, parts, changes) in kinds.items():
            lacks = [name for name in (recipe, *parts) if not _there(registry, name)]
            if lacks:
                sentence = missing(lacks[0], f"Learned {kind}")
                left += [sentence] if sentence not in left else []
                continue
            folder = out / f"{kind.replace(' ', '-')}-from-{source}"
            found.append(Lesson(Learned(kind, source, where.name or data.name, folder), recipe, changes, data))
    return found, left


def teach(
    lesson: Lesson, eyes: Eyes, epochs: int, registry: Registry, progress: Callable[[int, int], None] | None = None
) -> None:
    """Train one detector and save it; at once where that was done before.

    Args:
        lesson: What.
        eyes: On which backbone.
        epochs: Times through the pictures.
        registry: Where to look for parts.
        progress: Called with pictures learned from, and with how many there will be.
    """
    label = lesson.learned.folder / "label"  # written last
    if label.exists():
        return
    # Where the backbone's own words take the highest cell, its whole-image feature is no good for others either.
    rule = {"scorers.0.config.image": eyes.image_rule}
    with torch.random.fork_rng():
        torch.manual_seed(0)  # the first parameters are part of the result
        detector = build(lesson.recipe, backbone=eyes.choice.part, overrides=rule, registry=registry, **lesson.changes)
    train(
        detector,
        lesson.data,
        lesson.learned.folder,
        recipe=lesson.recipe,
        epochs=epochs,
        mosaic=0.0,  # a picture of four cannot be kept as features
        cache="memory",
        minutes=1.0,
        progress=None if progress is None else (lambda now: progress(now.done, now.total)),
    )
    write_whole(label, lesson.learned.label.encode())


def _there(registry: Registry, name: str) -> bool:
    kinds = {"dpam": "extractor", "learned": "prompts"}
    return has(registry, kinds.get(name, "recipe"), name)


def _some(source: Source, most: int, registry: Registry) -> Dataset:
    """At most so many test images, good ones and such with masks, spread over the whole set."""
    data = read_dataset(source.path, source.layout, config=source.config, registry=registry)
    usable = [s for s in data.select(split="test") if s.label is False or (s.label and s.masks)]
    if not any(sample.label for sample in usable):
        raise ConfigError(f"{source.path}: has no test image with a mask to learn from.")
    order: Iterable[int] = np.random.default_rng(0).permutation(len(usable))[:most]
    return Dataset.of(source.name or data.name, (usable[i] for i in sorted(order)), data.root)
