"""Data sets of others: offered through the same hook, found by the same rules, named where they fail."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from vlmad_core import Dataset, Sample, read_dataset
from vlmad_core.datasets import DatasetReader, LayoutMatch
from vlmad_core.errors import ConfigError, UnknownComponentError
from vlmad_core.registry import Component, Config
from vlmad_core.registry.registry import Registry
from vlmad_core.testing import memory_registry


class SpoonsConfig(Config):
    """Options of 'spoons'."""

    left: bool = False


class Spoons(DatasetReader):
    """``*.spoon``, whose first letter says whether it is bent."""

    tree = "*.spoon"

    def __init__(self, config):
        super().__init__(config)
        self.left = config.left

    def fits(self, root):
        return LayoutMatch.KNOWN if any(root.glob("*.spoon")) else LayoutMatch.NO

    def read(self, root):
        paths = sorted(root.glob("*.spoon"), reverse=self.left)
        return Dataset("spoons", tuple(Sample(p, p.name[0] == "b", "spoon", "test") for p in paths), root)


class Stubborn(Spoons):
    """Fits everything."""

    def fits(self, root):
        return LayoutMatch.KNOWN


class NoReader:
    """Not what the hook asks for."""

    def __init__(self, config):
        pass


@pytest.fixture(autouse=True)
def somewhere(monkeypatch):
    module = ModuleType("vlmad_spoons")
    module.Spoons, module.Stubborn, module.NoReader = Spoons, Stubborn, NoReader
    monkeypatch.setitem(sys.modules, "vlmad_spoons", module)


def offer(name: str = "spoons", target: str = "Spoons", plugin: str = "vlmad-spoons", base: Registry | None = None):
    component = Component(name=name, target=f"vlmad_spoons:{target}", config=SpoonsConfig, summary="Spoons.")
    return memory_registry(datasets=[component], plugin=plugin, base=base)


@pytest.fixture
def drawer(tmp_path):
    for name in ("a.spoon", "b.spoon"):
        (tmp_path / name).touch()
    return tmp_path


def test_found_by_itself(drawer):
    dataset = read_dataset(drawer, registry=offer())
    assert [sample.label for sample in dataset] == [False, True]


def test_by_name_with_options(drawer):
    dataset = read_dataset(drawer, "vlmad-spoons:spoons", config={"left": True}, registry=offer())
    assert [sample.label for sample in dataset] == [True, False]
    with pytest.raises(ConfigError, match=r"config\.let: no such option of 'spoons'\. Did you mean 'left'\?"):
        read_dataset(drawer, "spoons", config={"let": True}, registry=offer())


def test_listed_where_nothing_fits(tmp_path):
    with pytest.raises(ConfigError, match=r"spoons: \*\.spoon"):
        read_dataset(tmp_path, registry=offer())


def test_two_plugins_with_one_name(drawer):
    registry = offer(plugin="vlmad-cutlery", base=offer())
    with pytest.raises(UnknownComponentError, match="dataset 'spoons' is offered by more than one plugin; say which"):
        read_dataset(drawer, "spoons", registry=registry)
    assert len(read_dataset(drawer, "vlmad-cutlery:spoons", registry=registry)) == 2
    with pytest.raises(ConfigError, match=r"fits more than one layout.*vlmad-spoons:spoons, vlmad-cutlery:spoons"):
        read_dataset(drawer, registry=registry)


def test_one_name_for_a_data_set_and_a_part(drawer):
    registry = offer(name="memory")
    assert len(read_dataset(drawer, "memory", registry=registry)) == 2
    assert {entry.kind for entry in registry.find("memory")} == {"scorer", "dataset"}


def test_a_target_that_is_no_reader(drawer):
    with pytest.raises(ConfigError, match=r"'vlmad-spoons:spoons': its target must make a Reader, got NoReader\."):
        read_dataset(drawer, "spoons", registry=offer(target="NoReader"))


@pytest.mark.parametrize("target", ["Missing", "NoReader"])
def test_a_broken_reader_does_not_stop_the_others(tree, target):
    registry = offer(target=target)
    assert read_dataset(tree("btad"), registry=registry).name == "btad"


def test_a_broken_reader_is_told_where_nothing_fits(tmp_path):
    with pytest.raises(ConfigError, match="dataset 'vlmad-spoons:spoons' cannot be imported from vlmad_spoons:Missing"):
        read_dataset(tmp_path, registry=offer(target="Missing"))


def test_a_reader_that_takes_everything_is_told_from_the_others(tree):
    with pytest.raises(ConfigError, match="say which with --layout: vlmad-core:btad, vlmad-spoons:spoons"):
        read_dataset(tree("btad"), registry=offer(target="Stubborn"))


def test_the_hook_takes_components_alone():
    registry = memory_registry(datasets=["spoons"], plugin="vlmad-spoons")
    (problem,) = registry.problems
    assert "vlmad_datasets must yield Component entries, got 'spoons'" in problem.error


def test_an_installed_distribution_offers_a_data_set(drawer, install):
    registry = install("cutlery")
    assert registry.problems == []
    assert [sample.label for sample in read_dataset(drawer, registry=registry)] == [False, True]
    assert registry.get("dataset", "cutlery").full_name == "vlmad-cutlery:cutlery"
