"""Which plugins are looked at: what the environment says, what is traced, and that it happens once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import vlmad_core
from vlmad_core.registry.registry import Registry, default_registry
from vlmad_core.testing import memory_registry

BROKEN = Path(__file__).with_name("broken_plugins")
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


# -- the environment


@pytest.mark.parametrize(
    ("env", "loaded"),
    [
        ({}, {"good", "one", "two"}),
        ({"VLMAD_PLUGINS": ""}, set()),
        ({"VLMAD_PLUGINS": "vlmad-twin-one"}, {"one"}),
        ({"VLMAD_PLUGINS": "vlmad-twin-one,vlmad-twin-two"}, {"one", "two"}),
        ({"VLMAD_PLUGINS": " vlmad_twin_one , VLMAD.Good_Plugin "}, {"good", "one"}),
        ({"VLMAD_PLUGINS": "nobody"}, set()),
        ({"VLMAD_DISABLE_PLUGINS": ""}, {"good", "one", "two"}),
        ({"VLMAD_DISABLE_PLUGINS": "vlmad-twin-one"}, {"good", "two"}),
        ({"VLMAD_DISABLE_PLUGINS": "Vlmad_Twin_One vlmad-good.plugin"}, {"two"}),
        ({"VLMAD_PLUGINS": "vlmad-twin-one vlmad-twin-two", "VLMAD_DISABLE_PLUGINS": "vlmad-twin-two"}, {"one"}),
    ],
)
def test_environment_chooses_plugins(install, env, loaded):
    folders = {"good": "vlmad-good-plugin", "one": "vlmad-twin-one", "two": "vlmad-twin-two"}
    found = install("good", "twin_one", "twin_two", env=env)
    assert {short for short, plugin in folders.items() if offered(found, plugin)} == loaded
    for short, plugin in folders.items():
        assert status(found, plugin) == {"loaded" if short in loaded else "disabled"}
    assert offered(found, "vlmad-core") == BUILTINS


def test_environment_is_read_from_the_process_by_default(install, monkeypatch):
    monkeypatch.setenv("VLMAD_PLUGINS", "")
    monkeypatch.syspath_prepend(str(BROKEN / "good"))
    assert offered(Registry.discover(), "vlmad-good-plugin") == set()


def test_builtins_cannot_be_disabled(install):
    found = install(env={"VLMAD_PLUGINS": "", "VLMAD_DISABLE_PLUGINS": "vlmad-core"})
    assert offered(found, "vlmad-core") == BUILTINS
    assert next(found.entries("backbone")).name == "open-clip"


def test_disabled_plugin_is_not_imported(install):
    found = install("exits", "good", env={"VLMAD_DISABLE_PLUGINS": "vlmad-exits,vlmad-good-plugin"})
    assert found.problems == []
    assert "vlmad_good" not in sys.modules
    (record,) = [plugin for plugin in found.plugins if plugin.name == "vlmad-good-plugin"]
    assert (record.version, record.status, record.entries) == ("1.2", "disabled", ())


def test_trace_tells_each_plugin_on_stderr(install, monkeypatch, capsys):
    monkeypatch.setenv("VLMAD_TRACE", "1")
    install("good", "exits", "twin_one", env={"VLMAD_DISABLE_PLUGINS": "vlmad-twin-one"})
    out, err = capsys.readouterr()
    assert out == ""
    assert "vlmad: vlmad-good-plugin 1.2: loaded, 2 entries" in err
    assert "vlmad: vlmad-exits failed at import: SystemExit: 3" in err
    assert "vlmad: vlmad-twin-one: disabled" in err


def test_nothing_is_traced_unless_asked(install, capsys):
    install("good", "exits")
    assert capsys.readouterr() == ("", "")


# -- discovery


def test_default_registry_is_discovered_once(monkeypatch):
    first = default_registry()
    monkeypatch.setattr(Registry, "discover", classmethod(lambda cls: pytest.fail("discovered again")))
    assert default_registry() is first


def test_distribution_on_the_path_twice_is_loaded_once(install):
    found = install("good", "good")
    assert [plugin.name for plugin in found.plugins].count("vlmad-good-plugin") == 1


def test_plugins_come_in_order_of_name_after_the_builtins(install):
    names = [plugin.name for plugin in install("twin_two", "good", "twin_one").plugins]
    assert names[0] == "vlmad-core"
    assert names[1:] == sorted(names[1:])


def test_loading_is_timed(install):
    (record,) = [plugin for plugin in install("good").plugins if plugin.name == "vlmad-good-plugin"]
    assert record.version == "1.2"
    assert 0 < record.seconds < 60


def test_builtins_have_the_version_of_the_package():
    registry = memory_registry()
    assert registry.get("scorer", "memory").version.split("+")[0] == vlmad_core.__version__
