"""From a plan to its cells: which images are judged, which normal ones are drawn, by which pipeline; and what is not.

A cell is one row of the results to be: a method on a backbone, judging one category after some normal images.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from vlmad_core.benchmark.plan import BenchmarkPlan
from vlmad_core.benchmark.variants import find_variants
from vlmad_core.datasets.base import Dataset, Sample
from vlmad_core.datasets.read import read_dataset
from vlmad_core.errors import ConfigError, did_you_mean
from vlmad_core.pipeline.spec import PipelineSpec
from vlmad_core.pipeline.trained import fingerprint
from vlmad_core.registry.registry import Registry, default_registry

__all__ = ["Category", "Cell", "draw", "find_cells", "path_of"]


@dataclass(frozen=True, eq=False)
class Category:
    """One kind of object of one data set.

    Args:
        dataset: What the data set is called.
        name: As the data set calls it.
        words: For the prompts.
        root: Paths in rows are relative to it.
        judged: Test images with a known label, without those that serve as references.
        pool: Normal images to draw from, by path; or the list that was given.
        given: True: the pool is a list that is taken in its order.
        known_as: Name of the data set in the plan and by its layout.
        sha256: Of the whole data set and of this category, for what a detector was trained on.
        saturated: Whether its defects have saturation areas.
    """

    dataset: str
    name: str
    words: str
    root: Path | None
    judged: tuple[Sample, ...]
    pool: tuple[Sample, ...]
    given: bool
    known_as: tuple[str, ...]
    sha256: tuple[str, ...]
    saturated: bool = False

    def references(self, shots: int, seed: int) -> tuple[Sample, ...]:
        """The first ``shots`` of the seed's order, so that fewer shots see a part of what more see."""
        return (self.pool if self.given else draw(self.pool, seed))[:shots]

    @cached_property
    def images_sha256(self) -> str:
        """Of the list of judged images."""
        return fingerprint(self.judged)


@dataclass(frozen=True, kw_only=True, eq=False)
class Cell:
    """One row to be.

    Args:
        category: What is judged.
        method: Its label.
        recipe: The recipe in the end: a few-shot one may have taken over.
        backbone: Its label.
        spec: The whole pipeline.
        detector: Folder, where it is not built from the spec alone.
        shots: How many normal images it sees.
        seed: Of their draw.
        resolution: Of maps and masks; None: native.
        stepped: Also the 200-step AUPRO.
        status: ``waiting``, ``skipped`` (makes no sense) or ``failed`` (cannot be done).
        reason: Why it does not wait.
    """

    category: Category
    method: str
    recipe: str
    backbone: str
    spec: PipelineSpec
    detector: Path | None
    shots: int
    seed: int
    resolution: tuple[int, int] | None
    stepped: bool = False
    status: str = "waiting"
    reason: str = ""

    @cached_property
    def references(self) -> tuple[Sample, ...]:
        """The normal images, in the order of the draw."""
        return self.category.references(self.shots, self.seed)

    @cached_property
    def key(self) -> str:
        """16 hex digits: a hash of everything that decides the row."""
        parts = {
            "dataset": [self.category.dataset, self.category.name, self.category.words, self.category.images_sha256],
            "method": [self.method, self.recipe, self.backbone, self.spec.model_dump(mode="json")],
            "detector": None if self.detector is None else _hash(self.detector / "detector.json"),
            "shots": [self.shots, self.seed, [path_of(sample, self.category.root) for sample in self.references]],
            "resolution": [self.resolution or "native", self.stepped],
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode("utf-8", "surrogateescape")).hexdigest()[:16]

    def __str__(self) -> str:
        shots = f", {self.shots} shots, seed {self.seed}" if self.shots else ""
        return f"{self.method} on {self.backbone}, {self.category.dataset}/{self.category.name}{shots}"


def draw(pool: Sequence[Sample], seed: int) -> tuple[Sample, ...]:
    """All of a pool in the order that a seed gives, each once."""
    return tuple(random.Random(seed).sample(pool, len(pool)))


def path_of(sample: Sample, root: Path | None) -> str:
    """Path of an image relative to the data set, with slashes; or as it is."""
    if not isinstance(sample.image, str | Path):
        return "a picture in memory"
    path = Path(sample.image)
    return (path.relative_to(root) if root is not None and path.is_relative_to(root) else path).as_posix()


def find_cells(plan: BenchmarkPlan, registry: Registry | None = None) -> list[Cell]:
    """See :meth:`BenchmarkPlan.cells`; by backbone, then by category, so that features are shared."""
    registry = registry or default_registry()
    variants = list(find_variants(plan, registry))
    common = {"resolution": _pair(plan.resolution), "stepped": plan.aupro_200}
    cells = [
        Cell(category=category, **{**common, **variant, **_check(variant, category)})
        for category in _categories(plan, registry)
        for variant in variants
        if not (category.given and variant["shots"] and variant["seed"] != plan.seeds[0])  # nothing to draw
    ]
    order = {key: place for place, key in enumerate(dict.fromkeys(_backbone_key(cell) for cell in cells))}
    return sorted(cells, key=lambda cell: order[_backbone_key(cell)])  # stable: categories stay together


def _backbone_key(cell: Cell) -> str:
    return cell.spec.backbone.model_dump_json()


def _check(variant: Mapping[str, Any], category: Category) -> dict[str, Any]:
    if variant.get("reason"):
        return {}
    where = f"{category.dataset}/{category.name}"
    if not category.judged:
        return {"status": "failed", "reason": f"{where}: has no test image whose label is known."}
    if variant["shots"] > len(category.pool):
        there = f"{len(category.pool)} normal images" if category.pool else "no normal image"
        return {"status": "failed", "reason": f"{where}: has {there} to draw {variant['shots']} from (train/good)."}
    return {}


def _categories(plan: BenchmarkPlan, registry: Registry) -> Iterator[Category]:
    found: dict[str, Dataset] = {}
    for source in plan.data:
        data = read_dataset(source.path, source.layout, config=source.config, registry=registry)
        name = source.name or data.name
        if name in found:
            raise ConfigError(f"plan.data: two data sets would be called '{name}'; give each a name of its own.")
        found[name] = data
    there = [category for data in found.values() for category in data.categories]
    for what, wanted in (
        ("categories", plan.categories),
        ("class_names", plan.class_names),
        ("references", plan.references),
    ):
        for unknown in [category for category in wanted if category not in there]:
            hint = did_you_mean(unknown, there)
            raise ConfigError(f"plan.{what}: no category '{unknown}' in the data.{hint} There are: {', '.join(there)}.")
    for name, data in found.items():
        for category in data.categories:
            if not plan.categories or category in plan.categories:
                yield _category(plan, name, data, category)


def _category(plan: BenchmarkPlan, name: str, data: Dataset, category: str) -> Category:
    mine = data.select(category=category)
    given = category in plan.references
    if given:
        pool = _given(plan.references[category], mine)
    else:
        normal = mine.select(split="train", label=False)
        pool = tuple(sorted(normal, key=lambda sample: path_of(sample, data.root)))
    taken = {id(sample) for sample in pool}
    tested = [sample for sample in mine.select(split="test") if sample.label is not None and id(sample) not in taken]
    return Category(
        dataset=name,
        name=category,
        words=plan.class_names.get(category, mine.samples[0].class_name),
        root=data.root,
        judged=tuple(_most(tested, plan.max_images)),
        pool=pool,
        given=given,
        known_as=(name, data.name),
        sha256=(fingerprint(data), fingerprint(mine)),
        saturated=data.name == "mvtec-loco",
    )


def _given(paths: Sequence[str], mine: Dataset) -> tuple[Sample, ...]:
    """Normal images of any split, by their path in the data set; one of the test set is then not judged."""
    by_path = {path_of(sample, mine.root): sample for sample in mine}
    for path in paths:
        sample = by_path.get(path)
        if sample is None:
            hint = did_you_mean(path, by_path)
            raise ConfigError(f"plan.references: no image '{path}' in {mine.root} (category {_first(mine)}).{hint}")
        if sample.label:
            raise ConfigError(f"plan.references: '{path}' is defective; references are normal images.")
    if len(set(paths)) < len(paths):
        raise ConfigError(f"plan.references: an image of {_first(mine)} is there twice.")
    return tuple(by_path[path] for path in paths)


def _first(data: Dataset) -> str:
    return data.categories[0]


def _most(samples: Sequence[Sample], most: int | None) -> Sequence[Sample]:
    """At most so many of each label, the same for every seed of a plan, in their order."""
    if most is None:
        return samples
    kept: set[int] = set()
    for label in (False, True):
        places = [i for i, sample in enumerate(samples) if sample.label is label]
        kept |= set(random.Random(0).sample(places, len(places))[:most])
    return [samples[i] for i in sorted(kept)]


def _pair(size: int | tuple[int, int] | str) -> tuple[int, int] | None:
    return None if isinstance(size, str) else (size, size) if isinstance(size, int) else size


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
