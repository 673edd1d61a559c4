"""Deliberately wrong distributions, options, recipes and readers, each caught by the check that is meant for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ConfigDict, Field
from release import contract_range

import vlmad_core
from vlmad_core import Dataset, Sample
from vlmad_core.builtin.memory import Memory
from vlmad_core.builtin.plugin import MemoryConfig
from vlmad_core.datasets import DatasetInfo, LayoutMatch
from vlmad_core.datasets.folders import Folders
from vlmad_core.datasets.plugin import FoldersConfig
from vlmad_core.errors import ConfigError
from vlmad_core.registry import Config, Recipe
from vlmad_core.registry.registry import Registry
from vlmad_core.testing import check_component, memory_registry
from vlmad_core.testing.run import subjects

PLUGIN = """
from vlmad_core.registry import Component, hookimpl
{top}
@hookimpl
def vlmad_scorers():
    yield Component(name="odd", target="vlmad_core.builtin.memory:Memory", summary="Odd.")
"""
RANGE = f"vlmad-core{contract_range(vlmad_core.__version__)}"


@pytest.fixture
def distribution(tmp_path, monkeypatch):
    """Write a distribution with an import of this kind in its ``plugin.py``, and find it."""

    def write(package: str, plugin: str, needs: str) -> dict[str, str]:
        (tmp_path / f"{package}.py").write_text(plugin)
        info = tmp_path / f"{package}-1.0.dist-info"
        info.mkdir()
        name = package.replace("_", "-")
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nRequires-Dist: {needs}\n")
        (info / "entry_points.txt").write_text(f"[vlmad]\n{package} = {package}\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        registry = Registry.discover({})
        (plugin, *_) = subjects(name, registry=registry)
        assert plugin.kind == "plugin"
        failed = {outcome.check: outcome.message for outcome in plugin.run() if outcome.status == "failed"}
        assert all(message.endswith(".") for message in failed.values())
        return failed

    return write


@pytest.mark.parametrize(
    ("top", "needs", "meant"),
    [
        ("import torch", RANGE, "imports_no_torch"),
        ("import numpy", RANGE, "imports_no_torch"),
        ("import time; time.sleep(2.2)", RANGE, "imports_quickly"),
        ("print('welcome')", RANGE, "imports_quietly"),
        ("import warnings; warnings.warn('old')", RANGE, "imports_quietly"),
        ("from vlmad_core.registry.registry import Registry", RANGE, "imports_public_names"),
        ("import vlmad_core.contracts.ops", RANGE, "imports_public_names"),
        ("from vlmad_core.contracts.ops import combine", RANGE, "imports_public_names"),
        ("def later(): import vlmad_winclip.plugin", RANGE, "imports_public_names"),
        ("raise SystemExit(3)", RANGE, "registers"),
        ("@hookimpl\ndef vlmad_scorer(): return []", RANGE, "registers"),
        ("", "vlmad-core", "has_a_core_range"),
        ("", "vlmad-core>=0.1", "has_a_core_range"),
        ("", "numpy", "has_a_core_range"),
    ],
)
@pytest.mark.filterwarnings("ignore:old:UserWarning")
def test_a_wrong_distribution_is_caught(distribution, request, top, needs, meant):
    package = f"vlmad_odd_{abs(hash(request.node.name)) % 10**9}"
    assert meant in distribution(package, PLUGIN.format(top=top), needs)


def test_a_right_distribution_passes(distribution):
    assert distribution("vlmad_even", PLUGIN.format(top=""), RANGE) == {}


# -- options


class Bare(MemoryConfig):
    more: int = 3


class Inner(Config):
    bare: int = 0


class Nested(MemoryConfig):
    inner: Inner = Field(Inner(), description="More.")


class Loose(MemoryConfig):
    model_config = ConfigDict(extra="allow")


class Thawed(MemoryConfig):
    model_config = ConfigDict(frozen=False)


class Callables(MemoryConfig):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    dtype: np.dtype = Field(np.dtype("float32"), description="A type that JSON does not know.")


@pytest.mark.parametrize(
    ("config", "meant"),
    [
        (Bare, "describes_every_option"),
        (Nested, "describes_every_option"),
        (Loose, "options_are_strict"),
        (Thawed, "options_are_strict"),
        (Callables, "options_can_be_saved"),
    ],
)
def test_wrong_options_are_caught(broken, config, meant):
    assert meant in broken("scorer", Memory, config, meant)


# -- recipes

RIGHT = {"backbone": "tiny", "extractor": "patches", "scorers": ["memory"]}


@pytest.mark.parametrize(
    ("options", "meant"),
    [
        ({"spec": {"extractor": "patches"}}, "spec_is_valid"),
        ({"spec": {**RIGHT, "extractor": "pathces"}}, "parts_are_found"),
        ({"spec": {**RIGHT, "extractor": {"use": "patches", "config": {"tabs": [1]}}}}, "parts_are_found"),
        ({"spec": RIGHT, "few_shot": "nobody"}, "few_shot_is_found"),
        ({"spec": RIGHT, "checkpoint": "vlmad_core.nothing:convert"}, "checkpoint_is_found"),
        ({"spec": RIGHT, "checkpoint": "vlmad_core:nothing"}, "checkpoint_is_found"),
    ],
)
def test_a_wrong_recipe_is_caught(options, meant):
    registry = memory_registry(recipes=[Recipe(name="odd", summary="Odd.", **options)], plugin="vlmad-odd")
    failed = {
        outcome.check: outcome.message for outcome in check_component("vlmad-odd:odd", registry=registry).failures
    }
    assert meant in failed
    assert all(message.endswith(".") for message in failed.values())


def test_a_right_recipe_passes():
    recipe = Recipe(name="odd", summary="Odd.", spec={**RIGHT, "scorers": ["memory", "nobody"]}, needs={"nobody": "x"})
    report = check_component("odd", registry=memory_registry(recipes=[recipe]))
    assert report.failures == ()
    (judged,) = [outcome for outcome in report.outcomes if outcome.check == "builds_and_scores"]
    assert judged.status == "skipped"


# -- readers


class FitsEverything(Folders):
    def fits(self, root):
        return LayoutMatch.KNOWN


class FitsNothing(Folders):
    def fits(self, root):
        return LayoutMatch.NO


class StopsWhereNothingIs(Folders):
    def fits(self, root):
        return LayoutMatch(bool(list(root.iterdir())))


class ReadsNothing(Folders):
    def read(self, root):
        return Dataset("none", ())


class StopsOnNothing(Folders):
    def read(self, root):
        return super().read(sorted(root.iterdir())[0])


class RefusesInAWord(Folders):
    def read(self, root):
        raise ConfigError("empty")


class HasNoTree(Folders):
    tree = ""


class HasNoLicence(Folders):
    facts = DatasetInfo("Odd", "https://example.org", "")


class Shuffles(Folders):
    def read(self, root):
        found = super().read(root)
        order = np.random.default_rng().permutation(len(found))
        return Dataset("odd", tuple(found.samples[i] for i in order))


class MissesFiles(Folders):
    def read(self, root):
        samples = super().read(root).samples
        return Dataset("odd", tuple(Sample(Path(s.image).name, s.label, s.category, s.split) for s in samples))


class Writes(Folders):
    def read(self, root):
        (root / "cache.json").write_text(str(np.random.default_rng().random()))
        return super().read(root)


READERS = {
    FitsEverything: "fits_nothing_that_is_not_there",
    StopsWhereNothingIs: "fits_nothing_that_is_not_there",
    ReadsNothing: "refuses_an_empty_folder",
    StopsOnNothing: "refuses_an_empty_folder",
    RefusesInAWord: "refuses_an_empty_folder",
    HasNoTree: "describes_its_layout",
    HasNoLicence: "describes_its_layout",
    FitsNothing: "fits_its_example",
    Shuffles: "reads_in_a_fixed_order",
    MissesFiles: "reads_its_example",
    Writes: "changes_nothing_on_the_disk",
}


@pytest.fixture
def example(tmp_path):
    for kind in ("good", "defects"):
        (tmp_path / kind).mkdir()
        for number in range(6):
            (tmp_path / kind / f"{kind}-{number}.pgm").write_text("P2 1 1 255 9")
    return tmp_path


@pytest.mark.parametrize(("wrong", "meant"), READERS.items(), ids=[wrong.__name__ for wrong in READERS])
def test_a_wrong_reader_is_caught(broken, example, wrong, meant):
    assert meant in broken("dataset", wrong, FoldersConfig, meant, example)


def test_a_right_reader_passes(broken, example):
    assert broken("dataset", Folders, FoldersConfig, root=example) == {}
