"""The data sets of a study: what is tested on, what may be trained on, and the class name of each category."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vlmad_core.benchmark import Source
from vlmad_core.datasets import Dataset, read_dataset
from vlmad_core.errors import ConfigError, did_you_mean
from vlmad_core.registry import Registry
from vlmad_study.report.render import printable
from vlmad_study.settings import StudySettings

__all__ = ["StudyData", "read", "read_data", "with_distinct_names"]


@dataclass(frozen=True)
class StudyData:
    """What is known of the data before anything runs.

    Args:
        test: The data set that methods are tested on.
        class_names: Category to class name.
        other_class_names: The same of the second data set.
        sources: "train", "other" and "data" to what may be trained on.
    """

    test: Dataset
    class_names: Mapping[str, str]
    other_class_names: Mapping[str, str]
    sources: Mapping[str, Source]

    def fewest_normals(self, train_share: float = 0.0) -> int:
        """Normal images to draw from in the category that has the fewest.

        Args:
            train_share: Share of the normal test images that is set aside where there are no others.
        """
        counts, fewest = self.test.count(), []
        for category in self.class_names:
            test = counts[category].get("test/good", 0)
            aside = min(max(1, round(train_share * test)), test - 1) if train_share else 0
            fewest.append(counts[category].get("train/good", 0) or max(0, aside))
        return min(fewest, default=0)

    def most_of_a_label(self) -> int:
        """Test images of one label in the category that has the most."""
        counts, labels = self.test.count(), ("test/good", "test/defective")
        return max((counts[category].get(label, 0) for category in self.class_names for label in labels), default=0)


def read_data(settings: StudySettings, registry: Registry) -> StudyData:
    """Read the data sets.

    Raises:
        ConfigError: Data that cannot be read, an unknown category, or two data sets with one name.
    """
    test = read(settings.data, registry)
    named = [*settings.categories, *settings.class_names, *settings.synonyms]
    for name in named:
        if name != "*" and name not in test.categories:
            hint = did_you_mean(name, test.categories)
            raise ConfigError(
                f"no category '{name}' in {settings.data.path}.{hint} It has: {', '.join(test.categories)}."
            )
    names = _class_names(test, settings.categories or test.categories, settings.class_names)
    other: dict[str, str] = {}
    sources = {"train": settings.train, "other": settings.other}
    if settings.other is not None:
        second = read(settings.other, registry)
        if (settings.other.name or second.name) == (settings.data.name or test.name):
            raise ConfigError(f"both data sets are called '{test.name}'; rename the folder of one of them.")
        other = _class_names(second, second.categories, {})
        if "cross-domain" in settings.sections:
            sources["data"] = settings.data
    given = {name: source for name, source in sources.items() if source is not None}
    return StudyData(test, names, other, given)


def with_distinct_names(settings: StudySettings, registry: Registry) -> StudySettings:
    """The same settings; a data set gets the name of its folder where an earlier one has its name already.

    Raises:
        ConfigError: Data that cannot be read.
    """
    taken = {settings.data.name or read(settings.data, registry).name}
    renamed = {}
    for field in ("other", "train"):
        source: Source | None = getattr(settings, field)
        if source is None or source.name:
            continue
        name = read(source, registry).name
        if name in taken:
            name = source.path.resolve().name
            renamed[field] = source.model_copy(update={"name": name})
        taken.add(name)
    return settings.model_copy(update=renamed)


def read(source: Source, registry: Registry) -> Dataset:
    """One data set, as :func:`vlmad_core.read_dataset` reads it."""
    return read_dataset(source.path, source.layout, config=source.config, registry=registry)


def _class_names(data: Dataset, categories: Sequence[str], given: Mapping[str, str]) -> dict[str, str]:
    """As given, else as the data set has it; what is not UTF-8 in a folder's name is no text for a tokenizer."""
    usual = {sample.category: sample.class_name for sample in data}
    return {name: given.get(name) or given.get("*") or printable(usual[name]) for name in categories}
