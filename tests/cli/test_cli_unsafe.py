"""Plugins that hang, end Python or write to the terminal are named, and do no harm."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from vlmad_core import build
from vlmad_core.testing import guard

Vlmad = Callable[..., object]

UNSAFE = {
    "hang": ("import time\ntime.sleep(999)", "failed at import: it did not end within 4 s"),
    "exit": ("import os\nos._exit(0)", "failed at import: it ended Python with exit code 0"),
    "crash": ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", "it crashed Python with SIGSEGV"),
    "late": (
        "import os\nfrom vlmad_core.registry import hookimpl\n@hookimpl\ndef vlmad_scorers():\n    os._exit(4)",
        "failed at register: it ended Python with exit code 4",
    ),
}


def add(site: Path, name: str, source: str) -> None:
    info = site / f"vlmad_{name}-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vlmad-{name}\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text(f"[vlmad]\n{name} = vlmad_{name}\n")
    (site / f"vlmad_{name}.py").write_text(source)


@pytest.mark.parametrize("name", UNSAFE)
def test_check_names_a_plugin_that_would_end_it(
    vlmad: Vlmad, site: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    source, message = UNSAFE[name]
    add(site, name, source)
    monkeypatch.setenv("VLMAD_PLUGINS", f"vlmad-tinytest vlmad-{name}")
    monkeypatch.setenv("VLMAD_DISABLE_PLUGINS", "")
    monkeypatch.setattr(guard, "SECONDS", 4.0)
    monkeypatch.setattr("vlmad_core.testing.checks.plugin.SECONDS", 1.0)
    seen = vlmad("check", f"vlmad-{name}")
    assert seen.code == 1
    assert f"vlmad-{name}" in seen.out
    assert message in seen.out


def test_check_of_another_plugin_goes_on_beside_one_that_hangs(
    vlmad: Vlmad, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(site, "hang", UNSAFE["hang"][0])
    monkeypatch.setenv("VLMAD_PLUGINS", "vlmad-tinytest vlmad-hang")
    monkeypatch.setenv("VLMAD_DISABLE_PLUGINS", "")
    monkeypatch.setattr(guard, "SECONDS", 4.0)
    seen = vlmad("check", "vlmad-tinytest:remember")
    assert "vlmad-tinytest:remember" in seen.out
    assert os.environ["VLMAD_DISABLE_PLUGINS"].split() == ["vlmad-hang"]


def test_terminal_escapes_of_a_plugin_are_not_printed(vlmad: Vlmad, site: Path) -> None:
    path = site / "vlmad_tinytest.py"
    path.write_text(path.read_text().replace('summary="Words."', 'summary="Words.\\x1b[2J\\x9b31m\\u202e"'))
    for arguments in (["list"], ["show", "words"], ["plugins"], ["show", "words", "--json"], ["list", "--json"]):
        seen = vlmad(*arguments)
        assert seen.code == 0
        assert not [letter for letter in seen.out + seen.err if letter != "\n" and not letter.isprintable()]


def test_detector_is_shown_without_its_parts(vlmad: Vlmad, normals: Path, tmp_path: Path) -> None:
    vlmad("list")
    folder = build("remember").fit(normals, "metal \x1b[2Jnut").save(tmp_path / "detector")
    seen = vlmad("show", folder)
    assert seen.code == 0
    for text in (
        "class name",
        "metal ?[2Jnut",
        "use: memory",
        "scorers.0.bank_block3",
        "48 x 16",
        "vlmad-tinytest 0.1.0",
    ):
        assert text in seen.out
    found = json.loads(vlmad("show", folder, "--json").out)
    assert found["class_name"] == "metal \x1b[2Jnut"
    assert {"name": "scorers.0.bank_block3", "shape": [48, 16], "type": "F32"} in found["tensors"]
    (folder / "detector.json").write_text("{}")
    assert "is not a detector; it lacks backbone" in vlmad("show", folder).err
    assert "nothing is called" in vlmad("show", tmp_path).err


@pytest.mark.parametrize(
    "error", [IndexError("list index out of range"), RecursionError(), MemoryError(), KeyError("x")]
)
def test_name_of_an_exception_never_reaches_a_user(
    vlmad: Vlmad, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*arguments: object) -> None:
        raise error

    monkeypatch.setattr("vlmad_core.cli.list.table", fail)
    seen = vlmad("list")
    assert seen.code == 1
    assert type(error).__name__ not in seen.err
    assert len(seen.err.split()) > 5


def test_a_command_that_cannot_be_imported_says_why_and_leaves_the_others(
    vlmad: Vlmad, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = (
        "from vlmad_core.registry import Command, hookimpl\n@hookimpl\ndef vlmad_commands():\n"
        "    yield Command(name='watch', target='vlmad_gone:watch', summary='Not there.')\n"
    )
    add(site, "broken", source)
    monkeypatch.setenv("VLMAD_PLUGINS", "vlmad-tinytest vlmad-broken")
    seen = vlmad("--help")
    assert seen.code == 0
    assert "predict" in seen.out and "watch" in seen.out
    for arguments in (["watch"], ["watch", "folder", "--fps", "3"]):
        seen = vlmad(*arguments)
        assert seen.code == 1
        assert "command 'vlmad-broken:watch' cannot be imported from vlmad_gone:watch" in seen.err
