"""Discovery in a child: a plugin may hang, print, exit or crash, and listing stays whole, quick and quiet."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from vlmad_core import UnknownComponentError, inventory
from vlmad_core.registry import Registry, default_registry

BROKEN = Path(__file__).with_name("broken_plugins")
# These end or spoil the process that asks, or depend on its settings, when they are imported where one is.
ONLY_HERE = {"interrupts", "warns"}

GOOD = """
from vlmad_core import Component, Config, Recipe, hookimpl
from pydantic import Field

class LookConfig(Config):
    sides: int = Field(3, gt=0, description="Sides.")

@hookimpl
def vlmad_extractors():
    yield Component(name="{0}-look", target="nowhere.at_all:Look", config=LookConfig, summary="Looks.", paper="A")

@hookimpl
def vlmad_recipes():
    yield Recipe(name="{0}-recipe", spec={{"extractor": "{0}-look", "sides": (2, 3)}}, summary="Does.", few_shot="x")
"""
# name: what its module does before it offers its parts; stage and words of the problem, if there is to be one
HOSTILE = {
    "loops": ("while True: pass", "import", "took longer than 1 s"),
    "sleeps": ("import time; time.sleep(10)", "import", "took longer than 1 s"),
    "leaves": ("import os; os._exit(7)", "import", "ended Python with exit code 7"),
    "crashes": ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "import", "ended Python by SIGSEGV"),
    "stops": ("raise KeyboardInterrupt", "import", "KeyboardInterrupt"),
    "asks": ("input('Licence key? ')", "import", "EOFError"),
    "closes": ("import os; os.closerange(0, 64); import time; time.sleep(10)", "import", ""),
    "prints": ("import os; print('{\"stage\": 1}'); os.write(1, b'noise'); os.write(2, b'noise')", "", ""),
    "exits-late": ("import atexit, os, time; atexit.register(lambda: time.sleep(10))", "", ""),
    "threads": (
        "import threading, time\nfor _ in range(200): threading.Thread(target=time.sleep, args=(60,)).start()",
        "",
        "",
    ),
    "processes": (
        "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(99)'])",
        "",
        "",
    ),
    "slow-hook": (
        "from vlmad_core import hookimpl\nimport time\n@hookimpl\ndef vlmad_scorers(): time.sleep(10); return []",
        "register",
        "took longer than 1 s",
    ),
}
if sys.platform == "win32":
    del HOSTILE["crashes"]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Writes a distribution and puts it on the path; the cache is a new one."""
    monkeypatch.setenv("VLMAD_CACHE", str(tmp_path / "cache"))
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)

    def run(name: str, before: str = "") -> Path:
        module = f"vlmad_{name.replace('-', '_')}"
        info = site / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vlmad-{name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[vlmad]\nit = {module}\n")
        source = site / f"{module}.py"
        source.write_text(f"{before}\n{GOOD.format(name)}")
        return source

    return run


@pytest.fixture
def no_child(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def forbid() -> None:
        monkeypatch.setattr(inventory.subprocess, "Popen", lambda *_, **__: pytest.fail("a child was started"))

    return forbid


def only(*names: str, **more: str) -> dict[str, str]:
    return {"VLMAD_PLUGINS": " ".join(f"vlmad-{name}" for name in names), **more}


def said(registry: Registry) -> list[object]:
    """All that a registry knows, but for the time that it took."""
    entries = [
        (e.kind, e.full_name, e.version, json.dumps(_fields(e.item), default=dict), _schema(e.item))
        for e in registry.entries()
    ]
    plugins = [(p.name, p.version, p.status, len(p.entries)) for p in registry.plugins]
    return [entries, plugins, [str(problem) for problem in registry.problems]]


def _fields(item: object) -> dict[str, object]:
    return {f.name: getattr(item, f.name) for f in dataclasses.fields(item) if f.name != "config"}


def _schema(item: object) -> object:
    return item.config.model_json_schema() if hasattr(item, "config") else None


# -- what it says


@pytest.mark.usefixtures("forget_fakes")
def test_child_says_the_same_as_an_import_here(monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in sorted(BROKEN.iterdir()):
        if folder.name not in ONLY_HERE:
            monkeypatch.syspath_prepend(folder)
    assert said(Registry.discover({})) == said(Registry.discover({"VLMAD_ISOLATE": "0"}))


def test_remembered_part_is_imported_when_its_options_are_asked_for(write: Callable[..., Path]) -> None:
    write("good")
    found = Registry.discover(only("good"))
    entry, recipe = found.get("extractor", "good-look"), found.get("recipe", "good-recipe")
    assert (entry.item.summary, entry.component.target) == ("Looks.", "nowhere.at_all:Look")
    assert repr(entry.item) == "Remembered(name='good-look', target='nowhere.at_all:Look')"
    assert (recipe.item.few_shot, recipe.item.spec["sides"]) == ("x", [2, 3])
    assert "vlmad_good" not in sys.modules
    try:
        assert entry.item.config().sides == 3
        assert "vlmad_good" in sys.modules
    finally:
        sys.modules.pop("vlmad_good", None)


def test_remembered_part_that_can_no_longer_be_imported_says_why(write: Callable[..., Path]) -> None:
    write("good", "import sys\nif 'pytest' in sys.modules: raise RuntimeError('not in here')")
    entry = Registry.discover(only("good")).get("extractor", "good-look")
    with pytest.raises(UnknownComponentError, match="vlmad-good failed at import: RuntimeError: not in here"):
        _ = entry.item.config


def test_recipe_that_is_no_plain_data_is_a_problem(write: Callable[..., Path]) -> None:
    source = write("odd")
    source.write_text(source.read_text().replace("(2, 3)", "object()"))
    found = Registry.discover(only("odd"))
    assert "vlmad-odd failed at register: recipe 'odd-recipe' is no plain data" in str(found.problems[0])
    assert found.get("extractor", "odd-look").plugin == "vlmad-odd"


# -- hostile plugins


def test_hostile_plugins_are_told_of_and_spoil_nothing(
    write: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    no_child: Callable[[], None],
) -> None:
    for name, (before, _, _) in HOSTILE.items():
        write(name, before)
    write("good")
    monkeypatch.setattr(inventory, "LIMIT", 1.0)
    started = time.perf_counter()
    found = Registry.discover(only(*HOSTILE, "good"))
    assert time.perf_counter() - started < 60  # they would take for ever; a busy machine takes its time
    problems = {problem.plugin.removeprefix("vlmad-"): problem for problem in found.problems}
    assert problems.keys() == {name for name, (_, stage, _) in HOSTILE.items() if stage}
    for name, problem in problems.items():
        assert problem.stage == HOSTILE[name][1]
        assert HOSTILE[name][2] in problem.error
    sound = {"good"} | {name for name, (_, stage, _) in HOSTILE.items() if not stage}
    assert {f"{name}-look" for name in sound} < {entry.name for entry in found.entries("extractor")}
    assert capfd.readouterr() == ("", "")
    no_child()
    again = Registry.discover(only(*HOSTILE, "good"))
    assert again.plugins[1:] == found.plugins[1:]
    assert again.problems == found.problems


def test_listing_is_whole_quick_and_quiet_beside_a_plugin_that_hangs(write: Callable[..., Path]) -> None:
    write("sleeps", HOSTILE["sleeps"][0])
    site = write("good").parent
    environment = {**os.environ, **only("sleeps", "good"), "COLUMNS": "200"}

    def vlmad(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "vlmad_core.cli", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    environment["PYTHONPATH"] = os.pathsep.join([str(site), str(Path(inventory.__file__).parents[1])])
    listed = vlmad("list", "--json")
    assert {"good-look", "memory"} < {entry["name"] for entry in json.loads(listed.stdout)}
    assert "1 problem with plugins" in vlmad("list").stderr
    shown = vlmad("show", "sleeps-look")
    assert "vlmad-sleeps failed at import: took longer than 3 s" in shown.stderr
    assert "VLMAD_PLUGIN_SECONDS=30 vlmad plugins --refresh" in vlmad("plugins").stderr


def test_what_a_plugin_writes_to_the_file_of_stdout_goes_to_stderr(
    write: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    write("good", "import os\nos.write(1, b'noise')")
    try:
        Registry.discover(only("good", VLMAD_ISOLATE="0"))
    finally:
        sys.modules.pop("vlmad_good", None)
    assert capfd.readouterr() == ("", "noise")


# -- what it remembers


def test_second_look_starts_no_child(write: Callable[..., Path], no_child: Callable[[], None]) -> None:
    write("good")
    first = said(Registry.discover(only("good")))
    no_child()
    assert said(Registry.discover(only("good"))) == first


def test_edit_is_noticed(write: Callable[..., Path]) -> None:
    source = write("good")
    Registry.discover(only("good"))
    source.write_text(source.read_text().replace("Looks.", "Looks twice."))
    assert Registry.discover(only("good")).get("extractor", "good-look").item.summary == "Looks twice."


def test_edit_of_another_file_that_the_plugin_reads_is_noticed(write: Callable[..., Path]) -> None:
    source = write("good")
    package = source.with_suffix("")
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "words.py").write_text("SUMMARY = 'Looks.'")
    source.rename(package / "plugin.py")
    plugin = package / "plugin.py"
    plugin.write_text("from vlmad_good.words import SUMMARY\n" + plugin.read_text().replace('"Looks."', "SUMMARY"))
    next(source.parent.glob("*.dist-info")).joinpath("entry_points.txt").write_text("[vlmad]\nit = vlmad_good.plugin\n")
    assert Registry.discover(only("good")).get("extractor", "good-look").item.summary == "Looks."
    (package / "words.py").write_text("SUMMARY = 'Looks again.'")
    assert Registry.discover(only("good")).get("extractor", "good-look").item.summary == "Looks again."


def test_broken_plugin_is_tried_again_when_it_is_mended(write: Callable[..., Path]) -> None:
    source = write("good", "import nothing_of_the_kind")
    assert len(Registry.discover(only("good")).problems) == 1
    source.write_text(GOOD.format("good"))
    assert Registry.discover(only("good")).problems == []


def test_failure_is_forgotten_when_something_is_installed(
    write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_child: Callable[[], None]
) -> None:
    packages = tmp_path / "packages"
    packages.mkdir()
    monkeypatch.setattr(inventory.site, "getsitepackages", lambda: [str(packages)])
    monkeypatch.syspath_prepend(packages)
    write("good", "import nothing_of_the_kind")
    assert len(Registry.discover(only("good")).problems) == 1
    (packages / "nothing_of_the_kind.py").write_text("")
    assert Registry.discover(only("good")).problems == []


def test_refresh_looks_again(write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    write("good", "import os\nif os.environ.get('MENDED') is None: raise RuntimeError('not yet')")
    assert len(Registry.discover(only("good")).problems) == 1
    monkeypatch.setenv("MENDED", "1")
    assert len(Registry.discover(only("good")).problems) == 1
    assert Registry.discover(only("good"), refresh=True).problems == []
    assert Registry.discover(only("good")).problems == []


def test_more_time_can_be_allowed(write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    write("slow", "import time; time.sleep(0.6)")
    monkeypatch.setattr(inventory, "LIMIT", 0.3)
    assert "took longer than 0.3 s" in str(Registry.discover(only("slow")).problems[0])
    monkeypatch.setenv("VLMAD_PLUGIN_SECONDS", "30")
    assert Registry.discover(only("slow"), refresh=True).problems == []


@pytest.mark.parametrize("spoil", ["", "[]", '{"x": 1}'])
def test_spoilt_memory_is_made_anew(write: Callable[..., Path], tmp_path: Path, spoil: str) -> None:
    write("good")
    first = said(Registry.discover(only("good")))
    (memory,) = (tmp_path / "cache").glob("plugins-*.json")
    memory.write_text(spoil)
    assert said(Registry.discover(only("good"))) == first


def test_memory_of_entries_that_make_no_sense_is_not_used(
    write: Callable[..., Path], tmp_path: Path, no_child: Callable[[], None]
) -> None:
    write("good")
    Registry.discover(only("good"))
    (memory,) = (tmp_path / "cache").glob("plugins-*.json")
    memory.write_text(memory.read_text().replace('"summary"', '"spoon"'))
    no_child()
    try:
        assert Registry.discover(only("good")).get("extractor", "good-look").item.summary == "Looks."
    finally:
        sys.modules.pop("vlmad_good", None)


@pytest.mark.parametrize("home", ["file", "none"])
def test_listing_works_without_a_place_to_remember(
    write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str
) -> None:
    write("good")
    if home == "file":
        (tmp_path / "cache").write_text("a file where a folder should be")
    else:
        monkeypatch.delenv("VLMAD_CACHE")
        monkeypatch.setattr(inventory.Path, "expanduser", lambda _: (_ for _ in ()).throw(RuntimeError("no home")))
    for _ in range(2):
        assert Registry.discover(only("good")).get("extractor", "good-look").plugin == "vlmad-good"


def test_where_no_child_can_be_started_plugins_are_imported_here(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    write("good")
    monkeypatch.setattr(sys, "executable", "")
    try:
        found = Registry.discover(only("good"))
        assert "vlmad_good" in sys.modules
    finally:
        sys.modules.pop("vlmad_good", None)
    assert found.get("extractor", "good-look").plugin == "vlmad-good"


def test_disabled_plugin_is_not_looked_at(write: Callable[..., Path], no_child: Callable[[], None]) -> None:
    write("loops", "while True: pass")
    no_child()
    found = Registry.discover(only())
    assert ("vlmad-loops", "1.0", "disabled") in {(p.name, p.version, p.status) for p in found.plugins}


def test_building_imports_only_the_plugins_that_are_used() -> None:
    code = (
        "import sys, vlmad_core; r = vlmad_core.default_registry(); r.get('extractor', 'windows').component.config; "
        "print(sorted(m for m in sys.modules if m.startswith('vlmad_') and m.endswith('.plugin')))"
    )
    environment = {name: os.environ[name] for name in os.environ if name not in ("VLMAD_PLUGINS", "VLMAD_ISOLATE")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "['vlmad_core.builtin.plugin', 'vlmad_core.datasets.plugin', 'vlmad_winclip.plugin']\n"
    assert default_registry().get("extractor", "windows").plugin == "vlmad-winclip"
