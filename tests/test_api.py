"""The public surface is what ``api.json`` says, and a change of it is seen, named and judged."""

import copy
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

_spec = importlib.util.spec_from_file_location("build_api", Path(__file__).with_name("build_api.py"))
build_api = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(build_api)

HOW = """
If it is meant: python tests/build_api.py, and a line in CHANGELOG.md. What breaks after a release follows
docs/stability.md."""


def message(breaks: list[str], adds: list[str]) -> str:
    parts = {"These break those who use them:": breaks, "These only add:": adds}
    lines = [line for title, rows in parts.items() if rows for line in (title, *(f"  {row}" for row in rows))]
    return "\n".join(["the public surface is not what tests/api.json says.", *lines]) + HOW


@pytest.fixture(scope="module")
def surface():
    return build_api.surface()


def test_the_public_surface_is_the_recorded_one(surface):
    recorded = json.loads(build_api.API.read_text(encoding="utf-8"))
    breaks, adds = build_api.differences(recorded, surface)
    if breaks or adds:
        pytest.fail(message(breaks, adds), pytrace=False)


def test_it_holds_no_address_and_no_path_of_a_machine(surface):
    text = json.dumps(surface)
    assert " at 0x" not in text
    assert str(ROOT) not in text
    assert str(Path.home()) + "/" not in text


def test_it_is_the_same_with_other_plugins_installed(surface, tmp_path):
    """A distribution of somebody else, which imports and offers a part, leaves no trace."""
    (tmp_path / "vlmad_else.py").write_text(
        "from vlmad_core.registry import Component, hookimpl\n\n\n@hookimpl\ndef vlmad_scorers():\n"
        "    yield Component(name='else', target='vlmad_else:Else', summary='Somebody else wrote it.')\n"
    )
    info = tmp_path / "vlmad_else-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: vlmad-else\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[vlmad]\nelse = vlmad_else\n")
    code = (
        "import json, vlmad_core, runpy; entries = vlmad_core.registry.default_registry().entries(); "
        "assert 'else' in [entry.name for entry in entries]; "
        f"api = runpy.run_path({str(build_api.__file__)!r}); print(json.dumps(api['surface']()))"
    )
    paths = [str(tmp_path), *sys.path, os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == json.loads(json.dumps(surface))


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        (("names", "save_recipe"), None, "removed  names / save_recipe / parameters / path"),
        (("names", "save_recipe", "parameters", "path"), "0: int", "changed  names / save_recipe / parameters / path"),
        (
            ("names", "save_recipe", "parameters", "new"),
            "keyword: int",
            "names / save_recipe / parameters / new: keyword: int (must be given)",
        ),
        (("rooms", "vlmad_core.pipeline", "Fuse", "call", "map"), None, "vlmad_core.pipeline / Fuse / call / map"),
        (("parts", "scorer vlmad-core:memory", "options", "top"), None, "memory / options / top"),
        (("commands", "vlmad fit", "--out -o"), None, "removed  commands / vlmad fit / --out -o"),
        (("commands", "vlmad fit", "--new"), "str", "commands / vlmad fit / --new: str (must be given)"),
        (("hooks", "vlmad_scorers"), None, "removed  hooks / vlmad_scorers / returns"),
        (("records", "results.jsonl"), ["path"], "removed  records / results.jsonl / score"),
        (("fixtures",), [], "removed  fixtures / vlmad_registry"),
    ],
)
def test_what_breaks_is_named(surface, path, value, line):
    breaks, _ = build_api.differences(surface, changed(surface, path, value))
    assert any(line in message for message in breaks), breaks


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("names", "new"), {"parameters": {"x": "0: int"}, "returns": "int"}),
        (("names", "save_recipe", "parameters", "new"), "keyword: int = 0"),
        (("names", "save_recipe", "parameters", "new"), "**: Any"),
        (("parts", "scorer vlmad-core:memory", "options", "new"), "int = 1"),
        (("parts", "scorer vlmad-core:new"), {"options": {"path": "str"}}),
        (("commands", "vlmad new"), {"path": "str"}),
        (("commands", "vlmad fit", "--new"), "str | None = None"),
    ],
)
def test_what_only_adds_breaks_nothing(surface, path, value):
    breaks, adds = build_api.differences(surface, changed(surface, path, value))
    assert breaks == []
    assert len(adds) >= 1


def test_the_failure_says_what_changed_and_what_to_do():
    text = message(["removed  names / save_recipe"], ["added    names / stroll: Tensor"])
    for words in (
        "removed  names / save_recipe",
        "names / stroll",
        "python tests/build_api.py",
        "docs/stability.md",
    ):
        assert words in text


def changed(surface, path, value):
    """A copy with another value at a path, or none."""
    result = copy.deepcopy(surface)
    *parents, last = path
    node = result
    for step in parents:
        node = node[step]
    if value is None:
        del node[last]
    else:
        node[last] = value
    return result
