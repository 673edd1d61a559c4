"""From the data of a plan to its categories: which images are tested, and which normal ones a method is fitted on."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from vlmad_core.benchmark.plan import BenchmarkPlan
from vlmad_core.datasets.base import Dataset, Sample
from vlmad_core.datasets.content import contents_of, hash_of, prepare
from vlmad_core.datasets.read import read_dataset
from vlmad_core.errors import ConfigError, did_you_mean
from vlmad_core.registry.registry import Registry

__all__ = ["Category", "draw", "find_categories", "path_of"]


@dataclass(frozen=True, eq=False)
class Category:
    """One kind of object of one data set.

    Args:
        dataset: What the data set is called.
        name: As the data set calls it.
        class_name: For the prompts.
        root: Paths in rows are relative to it.
        test_samples: Test images with a known label, without those that serve as references.
        pool: Normal images to draw references from, by path; or the list of the plan.
        fixed: True: the pool is a list of the plan and is taken in its order.
        contents: Gives the short hashes of all images of the data set, for what a detector was trained on.
        problems: What the reader of the data set found odd.
        saturated: Whether its defects have saturation areas.
    """

    dataset: str
    name: str
    class_name: str
    root: Path | None
    test_samples: tuple[Sample, ...]
    pool: tuple[Sample, ...]
    fixed: bool
    contents: Callable[[], frozenset[str]]
    problems: tuple[str, ...] = ()
    saturated: bool = False

    def references(self, shots: int, seed: int) -> tuple[Sample, ...]:
        """The first ``shots`` of the seed's order, so that fewer shots are a part of what more have."""
        return (self.pool if self.fixed else draw(self.pool, seed))[:shots]

    @cached_property
    def images_sha256(self) -> str:
        """Of the tested images: their paths, labels, and the contents of images and masks."""
        prepare(self.test_samples)
        lines = [content_line(sample, self.root) for sample in self.test_samples]
        if self.saturated:
            found = sorted({path for base in _bases(self) for path in base.glob("defects_config.json")})
            lines += [hash_of(path) for path in found]
        return hashlib.sha256("\n".join(sorted(lines)).encode("utf-8", "surrogateescape")).hexdigest()


def content_line(sample: Sample, root: Path | None) -> str:
    """Everything of a sample that decides a result, as a line of text."""
    hashes = [hash_of(source) for source in (sample.image, *sample.masks)]
    return " ".join([path_of(sample, root), str(sample.label), sample.kind, *hashes])


def draw(pool: Sequence[Sample], seed: int) -> tuple[Sample, ...]:
    """All of a pool in the order that a seed gives, each once."""
    return tuple(random.Random(seed).sample(pool, len(pool)))


def path_of(sample: Sample, root: Path | None) -> str:
    """Path of an image relative to the data set, with slashes; or as it is."""
    if not isinstance(sample.image, str | Path):
        return "an image in memory"
    path = Path(sample.image)
    return (path.relative_to(root) if root is not None and path.is_relative_to(root) else path).as_posix()


def find_categories(plan: BenchmarkPlan, registry: Registry) -> Iterator[Category]:
    """The categories of a plan, data set by data set; files are listed and none is opened.

    Raises:
        ConfigError: Data that cannot be read, two data sets of one name, or a category that does not exist.
    """
    found: dict[str, Dataset] = {}
    for source in plan.data:
        data = read_dataset(source.path, source.layout, config=source.config, registry=registry)
        name = source.name or data.name
        if name in found:
            raise ConfigError(f"plan.data: two data sets would be called '{name}'; give each a name of its own.")
        found[name] = data
    groups = {name: _by_category(data) for name, data in found.items()}
    there = [category for group in groups.values() for category in group]
    for what, wanted in (
        ("categories", plan.categories),
        ("class_names", plan.class_names),
        ("references", plan.references),
    ):
        for unknown in [category for category in wanted if category not in there]:
            hint = did_you_mean(unknown, there)
            raise ConfigError(f"plan.{what}: no category '{unknown}' in the data.{hint} There are: {', '.join(there)}.")
    for name, data in found.items():
        contents = _Contents(data)
        for category, samples in groups[name].items():
            if not plan.categories or category in plan.categories:
                yield _category(plan, name, data, category, samples, contents)


def _by_category(data: Dataset) -> dict[str, list[Sample]]:
    """In one pass: a data set may have 150,000 images in 30 categories."""
    groups: dict[str, list[Sample]] = {}
    for sample in data:
        groups.setdefault(sample.category, []).append(sample)
    return groups


@dataclass(frozen=True, eq=False)
class _Contents:
    """Computed when a detector asks what it was trained on, once for all categories of a data set."""

    data: Dataset

    def __call__(self) -> frozenset[str]:
        return self._found

    @cached_property
    def _found(self) -> frozenset[str]:
        return frozenset(contents_of(self.data, most=None))


def _category(
    plan: BenchmarkPlan,
    name: str,
    data: Dataset,
    category: str,
    samples: Sequence[Sample],
    contents: Callable[[], frozenset[str]],
) -> Category:
    test = [sample for sample in samples if sample.split == "test" and sample.label is not None]
    fixed = category in plan.references
    if fixed:
        pool = _listed(plan.references[category], category, samples, data.root)
    else:
        pool = _sorted([s for s in samples if s.split == "train" and s.label is False], data.root)
        if not pool and plan.train_share:
            pool = _share([sample for sample in test if not sample.label], plan.train_share, data.root)
    taken = {id(sample) for sample in pool}
    return Category(
        dataset=name,
        name=category,
        class_name=plan.class_names.get(category, samples[0].class_name),
        root=data.root,
        test_samples=tuple(_at_most([sample for sample in test if id(sample) not in taken], plan.max_images)),
        pool=pool,
        fixed=fixed,
        contents=contents,
        problems=data.problems,
        saturated=data.name == "mvtec-loco",
    )


def _sorted(samples: Sequence[Sample], root: Path | None) -> tuple[Sample, ...]:
    return tuple(sorted(samples, key=lambda sample: path_of(sample, root)))


def _share(good: Sequence[Sample], share: float, root: Path | None) -> tuple[Sample, ...]:
    """A share of normal test images, the same for every method and seed of a plan; at least one stays for the test."""
    count = min(max(1, round(share * len(good))), len(good) - 1)
    return _sorted(draw(_sorted(good, root), 0)[: max(0, count)], root)


def _listed(paths: Sequence[str], category: str, samples: Sequence[Sample], root: Path | None) -> tuple[Sample, ...]:
    """Normal images of any split, by their path in the data set; one of the test set is then not tested."""
    by_path = {path_of(sample, root): sample for sample in samples}
    for path in paths:
        sample = by_path.get(path)
        if sample is None:
            hint = did_you_mean(path, by_path)
            raise ConfigError(f"plan.references: no image '{path}' in {root} (category {category}).{hint}")
        if sample.label:
            raise ConfigError(f"plan.references: '{path}' is defective; references are normal images.")
    if len(set(paths)) < len(paths):
        raise ConfigError(f"plan.references: an image of {category} is there twice.")
    return tuple(by_path[path] for path in paths)


def _at_most(samples: Sequence[Sample], limit: int | None) -> Sequence[Sample]:
    """At most so many of each label, the same for every seed of a plan, in their order."""
    if limit is None:
        return samples
    kept: set[int] = set()
    for label in (False, True):
        indices = [i for i, sample in enumerate(samples) if sample.label is label]
        kept |= set(random.Random(0).sample(indices, len(indices))[:limit])
    return [samples[i] for i in sorted(kept)]


def _bases(category: Category) -> set[Path]:
    """Where MVTec LOCO has its list of saturation areas."""
    return set() if category.root is None else {category.root, category.root / category.name}
