"""`vlmad list`, `plugins`, `show`, `doctor`, and the frame around all commands."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import vlmad_core
from vlmad_core.cli import terminal
from vlmad_core.cli.names import complete
from vlmad_core.registry.project_plugins import PROJECT_PLUGINS
from vlmad_core.testing import memory_registry

Vlmad = Callable[..., object]


def test_list_names_everything(vlmad: Vlmad) -> None:
    seen = vlmad("list")
    assert seen.code == 0
    for word in ("words", "tiny", "patches", "templates", "memory", "vlmad-tinytest"):
        assert word in seen.out


@pytest.mark.parametrize("kind", ["backbone", "backbones"])
def test_list_of_one_kind_as_json(vlmad: Vlmad, kind: str) -> None:
    found = json.loads(vlmad("list", kind, "--json").out)
    assert {entry["kind"] for entry in found} == {"backbone"}
    assert "tiny" in {entry["name"] for entry in found}


def test_list_of_no_kind(vlmad: Vlmad) -> None:
    seen = vlmad("list", "spoons")
    assert seen.code == 2
    assert "backbone, extractor, prompts, scorer, recipe" in seen.err


def test_plugins(vlmad: Vlmad) -> None:
    seen = vlmad("plugins", "--strict")
    assert seen.code == 0
    assert "1 backbone, 2 recipes" in seen.out
    found = json.loads(vlmad("plugins", "--json").out)
    (tiny,) = (plugin for plugin in found["plugins"] if plugin["name"] == "vlmad-tinytest")
    assert tiny["entries"] == {"backbone": 1, "recipe": 2}
    assert tiny["status"] == "loaded"


def test_plugins_tells_what_is_broken_and_what_to_do(vlmad: Vlmad, site: Path) -> None:
    (site / "vlmad_tinytest.py").write_text("import nothing_of_the_kind")
    assert vlmad("plugins").code == 0
    seen = vlmad("plugins", "--strict")
    assert seen.code == 1
    assert "vlmad-tinytest failed at import: ModuleNotFoundError" in seen.err
    assert "to do: reinstall that plugin" in seen.err
    assert "1 problem with plugins" in vlmad("list").err


def test_show_a_part(vlmad: Vlmad) -> None:
    seen = vlmad("show", "text-match")
    assert "scorer text-match: Softmax" in seen.out
    assert "0.07" in seen.out
    assert "float, > 0" in seen.out
    assert "class | max" in seen.out
    schema = json.loads(vlmad("show", "vlmad-core:text-match", "--json").out)["options"]
    assert schema["properties"]["temperature"]["default"] == 0.07


def test_show_a_recipe(vlmad: Vlmad) -> None:
    seen = vlmad("show", "words")
    assert "Nobody, 2020" in seen.out
    assert "use: text-match" in seen.out
    assert "'remember' takes over" in seen.out
    assert json.loads(vlmad("show", "words", "--json").out)["spec"]["backbone"] == "tiny"


def test_show_an_ambiguous_name(vlmad: Vlmad, site: Path) -> None:
    source = (site / "vlmad_tinytest.py").read_text()
    (site / "vlmad_tinytest.py").write_text(source.replace('name="words"', 'name="patches"'))
    seen = vlmad("show", "patches")
    assert seen.code == 1
    assert "vlmad-core:patches (extractor), vlmad-tinytest:patches (recipe)" in seen.err
    assert vlmad("show", "patches", "--kind", "extractor").code == 0
    assert vlmad("show", "patches", "--kind", "spoon").code == 2


def test_show_takes_the_part_where_a_recipe_of_the_same_plugin_has_its_name(vlmad: Vlmad, site: Path) -> None:
    source = (site / "vlmad_tinytest.py").read_text()
    (site / "vlmad_tinytest.py").write_text(source.replace('name="words"', 'name="tiny"'))
    seen = vlmad("show", "tiny")
    assert "backbone tiny: Random weights" in seen.out
    assert "vlmad show tiny --kind recipe" in seen.out
    assert json.loads(vlmad("show", "tiny", "--json").out)["kind"] == "backbone"
    assert "recipe tiny: Words." in vlmad("show", "tiny", "--kind", "recipe").out


def test_show_an_unknown_name(vlmad: Vlmad, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = vlmad("show", "memori")
    assert seen.code == 1
    assert "Did you mean 'memory'?" in seen.err
    monkeypatch.setitem(PROJECT_PLUGINS, "memori", "vlmad-far")
    assert "nothing installed is called 'memori'. Install it: pip install vlmad-far." in vlmad("show", "memori").err


def test_completion_offers_a_name_once(monkeypatch: pytest.MonkeyPatch) -> None:
    both = memory_registry(recipes=[vlmad_core.registry.Recipe(name="memory", spec={}, summary="Remembers.")])
    monkeypatch.setattr("vlmad_core.cli.names.default_registry", lambda: both)
    assert [name for name, _ in complete()("mem")] == ["memory"]


def test_doctor_without_weights(vlmad: Vlmad, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)  # importing it here would change it for other tests
    monkeypatch.setattr("vlmad_core.cli.doctor._version", lambda name: None)
    seen = vlmad("doctor")
    assert seen.code == 0
    assert "pip install vlmad-pocket" in seen.out
    states = {finding["what"]: finding["state"] for finding in json.loads(vlmad("doctor", "--json").out)}
    assert states["torch"] == "ok"
    assert states["self-test"] == "note"


def test_doctor_finds_what_is_broken(vlmad: Vlmad, site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vlmad_core.cli.doctor._version", lambda name: None)
    (site / "vlmad_tinytest.py").write_text("raise SystemExit('no')")
    seen = vlmad("doctor")
    assert seen.code == 1
    assert "broken" in seen.out


def test_version_help_and_slips(vlmad: Vlmad) -> None:
    assert vlmad("--version").out == f"vlmad {vlmad_core.__version__}\n"
    seen = vlmad("--help")
    for word in ("predict", "fit", "list", "show", "plugins", "doctor", "130 interrupted", "--install-completion"):
        assert word in seen.out
    assert "130 interrupted" in " ".join(vlmad("predict", "-h").out.split())
    seen = vlmad("predct")
    assert seen.code == 2
    assert "Did you mean 'predict'?" in seen.err


def test_unexpected_errors_are_one_sentence(vlmad: Vlmad, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("something odd")

    monkeypatch.setattr("vlmad_core.cli.list.table", fail)
    seen = vlmad("list")
    assert seen.code == 1
    assert "stopped this command: something odd. `vlmad --verbose ...` shows where." in seen.err
    with pytest.raises(RuntimeError, match="something odd"):
        vlmad("--verbose", "list")


def test_warnings_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.show_warning("two\n  lines", UserWarning, "file.py", 1)
    assert capsys.readouterr().err == "vlmad: two lines\n"


def test_paths_cannot_disturb_the_terminal() -> None:
    assert terminal.shown("a\x1b[31m\udcffü.png") == "a?[31m?ü.png"
