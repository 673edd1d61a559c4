"""The registry takes any plugin, however broken: it says which one and why, and goes on with the others."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import vlmad_core
from vlmad_core.cli import terminal
from vlmad_core.errors import UnknownComponentError
from vlmad_core.registry import Component, distributions
from vlmad_core.registry.project_plugins import PROJECT_PLUGINS
from vlmad_core.registry.registry import Entry, Plugin, Problem, Registry
from vlmad_core.testing import memory_registry

BROKEN = Path(__file__).parents[1] / "broken_plugins"

# folder: distribution, stage, words of the problem; what still works of it
FAILS = {
    "import_error": ("vlmad-import-error", "import", ["ModuleNotFoundError", "a_package_that_nobody_has"], set()),
    "syntax_error": ("vlmad-syntax-error", "import", ["SyntaxError"], set()),
    "exits": ("vlmad-exits", "import", ["SystemExit: 3"], set()),
    "warns": ("vlmad-warns", "import", ["DeprecationWarning: old news"], set()),
    "bad_entry_point": ("vlmad-bad-entry-point", "import", ["ModuleNotFoundError", "not a module!"], set()),
    "no_metadata": ("no-metadata", "import", ["ModuleNotFoundError", "vlmad_no_metadata"], set()),
    "wrong_version": ("vlmad-wrong-version", "version", ["needs vlmad-core>=9, this is 0.", "upgrade"], set()),
    "misspelt_hook": ("vlmad-misspelt-hook", "register", ["unknown hook 'vlmad_extractor'"], set()),
    "unknown_argument": ("vlmad-unknown-argument", "register", ["vlmad_extractors", "registry"], set()),
    "late_error": (
        "vlmad-late-error",
        "register",
        ["vlmad_extractors: RuntimeError: failed after the first entry"],
        {"late-score"},
    ),
    "wrong_type": ("vlmad-wrong-type", "register", ["must yield Component entries, got 'windows'"], set()),
    "not_iterable": ("vlmad-not-iterable", "register", ["vlmad_extractors: TypeError", "not iterable"], set()),
    "recipe_as_part": ("vlmad-recipe-as-part", "register", ["must yield Component entries, got Recipe("], set()),
    "late_dataset": ("vlmad-late-dataset", "register", ["vlmad_datasets: RuntimeError: no more"], {"late-view"}),
    "same_name_twice": ("vlmad-same-name-twice", "register", ["yields two entries called 'echo'"], {"echo"}),
    "bad_name": ("vlmad-bad-name", "register", ["lower-case words joined by dashes", "'Bad_Name'"], set()),
    "bad_target": ("vlmad-bad-target", "register", ["'package.module:Class'", "'somewhere.module'"], set()),
    "half": ("vlmad-half", "import", ["RuntimeError: this half is broken"], {"half-look"}),
}

# folder: distribution, what it offers
WORKS = {
    "good": ("vlmad-good-plugin", {"good-look", "good-recipe"}),
    "no_range": ("vlmad-no-range", {"no-range-score"}),
    "odd_range": ("vlmad-odd-range", {"odd-range-score"}),
    "late_target": ("vlmad-late-target", {"no-module", "no-class", "exits-later"}),
    "prints": ("vlmad-prints", {"chatty-look"}),
    "shadows_builtin": ("vlmad-shadows-builtin", {"memory", "own-score"}),
    "cutlery": ("vlmad-cutlery", {"cutlery"}),
    "twin_one": ("vlmad-twin-one", {"twin", "only-one"}),
    "twin_two": ("vlmad-twin-two", {"twin", "only-two"}),
}

DATASETS = {
    *("mvtec-ad", "mvtec-ad-2", "mvtec-loco", "visa", "visa-converted", "btad", "mpdd", "real-iad"),
    *("kolektor-sdd", "kolektor-sdd2", "dagm", "elpv", "mvtec-layout", "folders", "manifest"),
}
BUILTINS = {
    "open-clip",
    "patches",
    "templates",
    "text-match",
    "memory",
    "clip",
    "patch-memory",
    "anomaly-dino",
} | DATASETS


pytestmark = pytest.mark.usefixtures("forget_fakes")


def offered(registry: Registry, plugin: str) -> set[str]:
    return {entry.name for entry in registry.entries() if entry.plugin == plugin}


def status(registry: Registry, plugin: str) -> set[str]:
    return {found.status for found in registry.plugins if found.name == plugin}


def test_every_fake_distribution_is_in_a_table():
    assert {path.name for path in BROKEN.iterdir() if path.is_dir()} == {*FAILS, *WORKS, "interrupts"}


# -- one at a time


@pytest.mark.parametrize("folder", FAILS)
def test_broken_plugin_is_named_with_stage_and_reason(install, folder):
    plugin, stage, words, left = FAILS[folder]
    found = install(folder)
    (problem,) = [problem for problem in found.problems if problem.plugin == plugin]
    assert problem.stage == stage
    assert [word for word in words if word not in problem.error] == []
    assert "\n" not in problem.error
    assert "failed" in status(found, plugin)
    assert offered(found, plugin) == left


@pytest.mark.parametrize("folder", WORKS)
def test_plugin_that_works_has_no_problem(install, folder):
    plugin, names = WORKS[folder]
    found = install(folder)
    assert [problem for problem in found.problems if problem.plugin == plugin] == []
    assert status(found, plugin) == {"loaded"}
    assert offered(found, plugin) == names


def test_good_half_of_a_plugin_counts_as_loaded(install):
    assert status(install("half"), "vlmad-half") == {"failed", "loaded"}


def test_plugin_for_another_version_is_not_imported(install):
    install("wrong_version")
    assert "vlmad_wrong_version" not in sys.modules
    assert "VLMAD_WRONG_VERSION_IMPORTED" not in os.environ


def test_development_version_of_the_core_satisfies_a_range(install, monkeypatch):
    monkeypatch.setattr(distributions, "version", lambda _: "0.2.0.dev1")
    assert offered(install("good"), "vlmad-good-plugin") == {"good-look", "good-recipe"}


def test_interrupt_by_the_user_is_not_swallowed(install):
    with pytest.raises(KeyboardInterrupt):
        install("interrupts")


def test_what_a_plugin_prints_goes_to_stderr_on_the_command_line(install, capsys):
    with terminal.stdout_to_stderr():
        install("prints")
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "hello from the import\nhello from the hook\n"


# -- all at once


@pytest.fixture
def crowd(install):
    return install(*FAILS, *WORKS)


def test_all_at_once_each_failure_is_told(crowd):
    message = {(problem.plugin, problem.stage) for problem in crowd.problems}
    assert message >= {(plugin, stage) for plugin, stage, _, _ in FAILS.values()}
    fakes = {plugin for plugin, _, _, _ in FAILS.values()} | {plugin for plugin, _ in WORKS.values()}
    assert sum(problem.plugin in fakes for problem in crowd.problems) == len(FAILS)


@pytest.mark.parametrize("folder", WORKS)
def test_all_at_once_good_plugins_still_work(crowd, folder):
    plugin, names = WORKS[folder]
    assert offered(crowd, plugin) == names


def test_all_at_once_builtins_are_there(crowd):
    assert offered(crowd, "vlmad-core") == BUILTINS


# -- names


def test_short_and_full_name_find_the_same_entry(install):
    found = install("good")
    assert found.get("extractor", "good-look") is found.get("extractor", "vlmad-good-plugin:good-look")


def test_distribution_names_are_canonical(install):
    assert install("good").get("extractor", "good-look").full_name == "vlmad-good-plugin:good-look"


def test_clash_names_both_plugins(install):
    found = install("twin_one", "twin_two")
    with pytest.raises(UnknownComponentError, match="more than one plugin") as caught:
        found.get("extractor", "twin")
    assert "vlmad-twin-one:twin, vlmad-twin-two:twin" in str(caught.value)


def test_clash_spoils_only_the_short_name(install):
    found = install("twin_one", "twin_two")
    assert found.get("extractor", "vlmad-twin-one:twin").plugin == "vlmad-twin-one"
    assert found.get("extractor", "vlmad-twin-two:twin").plugin == "vlmad-twin-two"
    assert found.get("extractor", "only-one").plugin == "vlmad-twin-one"
    assert found.get("extractor", "only-two").plugin == "vlmad-twin-two"


def test_builtin_is_not_shadowed_in_silence(install):
    found = install("shadows_builtin")
    with pytest.raises(UnknownComponentError, match="vlmad-core:memory, vlmad-shadows-builtin:memory"):
        found.get("scorer", "memory")
    assert found.get("scorer", "vlmad-core:memory").plugin == "vlmad-core"


def test_one_name_may_serve_two_kinds():
    part = Component(name="both", target="a.b:C", summary="For tests.")
    found = memory_registry(extractors=[part], scorers=[part])
    assert {entry.kind for entry in found.find("both")} == {"extractor", "scorer"}
    assert found.get("scorer", "both").kind == "scorer"


def test_unknown_name_lists_choices_and_the_nearest(install):
    with pytest.raises(UnknownComponentError) as caught:
        install("good").get("extractor", "god-look")
    text = str(caught.value)
    assert text.startswith("no extractor 'god-look'. Did you mean 'good-look'? There are: ")
    assert "good-look" in text.partition("There are: ")[2]
    assert "patches" in text.partition("There are: ")[2]


def test_unknown_name_tells_why_plugins_failed(crowd):
    with pytest.raises(UnknownComponentError) as caught:
        crowd.get("extractor", "echo-look")
    lines = str(caught.value).splitlines()[1:]
    assert lines == [f"  {problem}" for problem in crowd.problems]
    assert "  vlmad-exits failed at import: SystemExit: 3" in lines


def test_unknown_name_tells_what_is_disabled(install):
    found = install("good", "twin_one", env={"VLMAD_DISABLE_PLUGINS": "vlmad-good-plugin"})
    with pytest.raises(UnknownComponentError, match=r"Disabled by the environment: vlmad-good-plugin\."):
        found.get("extractor", "good-look")


def test_unknown_name_in_an_empty_registry():
    with pytest.raises(UnknownComponentError, match=r"^no scorer 'x'\. There are: none\.$"):
        Registry().get("scorer", "x")


def test_name_of_a_plugin_of_the_project_that_is_missing_says_what_to_install() -> None:
    with pytest.raises(UnknownComponentError) as caught:
        memory_registry().get("recipe", "winclip")
    assert "Did you mean" not in str(caught.value)
    assert str(caught.value).endswith(" Install it: pip install vlmad-winclip.")
    there = Registry(plugins=[Plugin("vlmad-winclip", "0.1.0", "failed")])
    with pytest.raises(UnknownComponentError, match=r"^no recipe 'winclip'\. There are: none\.$"):
        there.get("recipe", "winclip")


def test_names_of_the_plugins_of_the_project_are_all_known() -> None:
    folders = {path.name for path in Path(vlmad_core.__file__).parents[1].joinpath("plugins").glob("vlmad-*")}
    offered = {entry.name: entry.plugin for entry in Registry.discover({}).entries() if entry.plugin in folders}
    assert offered == PROJECT_PLUGINS


def test_missing_part_of_a_recipe_says_what_to_install(install):
    with pytest.raises(UnknownComponentError, match=r"no backbone 'far'.*Install it: pip install vlmad-far\."):
        vlmad_core.build("good-recipe", registry=install("good"))


def test_recipe_is_not_a_part(install):
    with pytest.raises(UnknownComponentError, match="'vlmad-good-plugin:good-recipe' is a recipe"):
        install("good").get("recipe", "good-recipe").load()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no-module", ["vlmad-late-target:no-module", "a_package_that_nobody_has.look:Look", "ModuleNotFoundError"]),
        ("no-class", ["vlmad-late-target:no-class", "AttributeError", "Nobody"]),
        ("exits-later", ["vlmad-late-target:exits-later", "SystemExit: 4"]),
    ],
)
def test_target_that_cannot_be_imported_is_told_when_used(install, name, words):
    with pytest.raises(UnknownComponentError, match="cannot be imported") as caught:
        install("late_target").get("extractor", name).load()
    assert [word for word in words if word not in str(caught.value)] == []


def test_entry_and_problem_read_well():
    entry = Entry("extractor", Component(name="a", target="a.b:C", summary="x"), "vlmad-a", "1.0")
    assert (entry.name, entry.full_name) == ("a", "vlmad-a:a")
    assert str(Problem("vlmad-a", "import", "OSError: x")) == "vlmad-a failed at import: OSError: x"


def test_memory_registry_reports_what_it_was_given_wrong():
    found = memory_registry(extractors=["windows"])
    assert [str(problem) for problem in found.problems] == [
        "in-memory failed at register: vlmad_extractors: TypeError: vlmad_extractors must yield Component entries, "
        "got 'windows'"
    ]


def test_memory_registry_does_not_change_its_base():
    base = memory_registry()
    count = len(base.plugins)
    found = memory_registry(base=base, plugin="second", backbones=())
    assert len(base.plugins) == count
    assert len(found.plugins) == count + 1
