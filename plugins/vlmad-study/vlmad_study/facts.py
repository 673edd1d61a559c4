"""What a study finds out before it begins: the data, what its things are called, and what the backbone offers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vlmad_core.benchmark.plan import Source
from vlmad_core.datasets.base import Dataset
from vlmad_core.datasets.read import read_dataset
from vlmad_core.errors import ConfigError, did_you_mean
from vlmad_core.registry.registry import Registry
from vlmad_study.budget import choose_scope
from vlmad_study.learn import lessons
from vlmad_study.probe import Eyes, look_at
from vlmad_study.settings import Scope, StudySettings

__all__ = ["Facts", "told_apart"]


@dataclass(frozen=True)
class Facts:
    """What is known before anything runs.

    Args:
        data: What is judged.
        words: Its categories to the words for them.
        other: Those of the second data set.
        eyes: The backbone.
        sources: "train", "other" and "data" to what may be learned from.
    """

    data: Dataset
    words: Mapping[str, str]
    other: Mapping[str, str]
    eyes: Eyes
    sources: Mapping[str, Source]

    @classmethod
    def find(cls, asked: StudySettings, registry: Registry) -> Facts:
        """Read the data sets and build the backbone.

        Raises:
            ConfigError: Data that cannot be read, a category that is not there, or two data sets with one name.
            UnknownComponentError: A name that nobody offers.
        """
        data = _read(asked.data, registry)
        unknown = [name for name in asked.categories if name not in data.categories]
        unknown += [name for names in (asked.class_names, asked.synonyms) for name in names if name != "*"]
        for name in unknown:
            if name not in data.categories:
                hint = did_you_mean(name, data.categories)
                raise ConfigError(
                    f"no category '{name}' in {asked.data.path}.{hint} It has: {', '.join(data.categories)}."
                )
        words = _words(data, asked.categories or data.categories, asked.class_names)
        sources = {"train": asked.train, "other": asked.other}
        other: dict[str, str] = {}
        if asked.other is not None:
            there = _read(asked.other, registry)
            if (asked.other.name or there.name) == (asked.data.name or data.name):
                raise ConfigError(f"both data sets are called '{data.name}'; rename the folder of one of them.")
            other = _words(there, there.categories, {})
            if "cross-domain" in asked.sections:
                sources["data"] = asked.data
        given = {name: source for name, source in sources.items() if source is not None}
        return cls(data, words, other, look_at(asked.backbone, registry), given)

    def scope(self, asked: StudySettings, registry: Registry, say: Callable[[str], None]) -> Scope:
        """How much of the study fits into its time."""
        count = len(lessons(asked.learned_from, self.sources, self.eyes, Path(), registry)[0])
        return choose_scope(
            asked,
            self.data,
            self.eyes,
            registry,
            lessons=count,
            pictures=asked.learned_from,
            words=self.words,
            say=say,
        )


def told_apart(asked: StudySettings, registry: Registry) -> StudySettings:
    """The same, with a data set called by its folder where an earlier one has its name, as two parts of MVTec AD have.

    Raises:
        As :meth:`Facts.find`.
    """
    taken = {asked.data.name or _read(asked.data, registry).name}
    named = {}
    for which in ("other", "train"):
        source: Source | None = getattr(asked, which)
        if source is None or source.name:
            continue
        name = _read(source, registry).name
        if name in taken:
            name = source.path.resolve().name
            named[which] = source.model_copy(update={"name": name})
        taken.add(name)
    return asked.model_copy(update=named)


def _read(source: Source, registry: Registry) -> Dataset:
    return read_dataset(source.path, source.layout, config=source.config, registry=registry)


def _words(data: Dataset, categories: Sequence[str], named: Mapping[str, str]) -> dict[str, str]:
    usual = {sample.category: sample.class_name for sample in data}
    return {name: named.get(name) or named.get("*") or usual[name] for name in categories}
