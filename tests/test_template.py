"""``vlmad new-plugin``: what it writes is complete, and passes its checks and its own tests at once, for each kind."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import get_args
from xml.etree import ElementTree

import pytest
import yaml
from release import contract_range
from typer.testing import CliRunner

import vlmad_core
from vlmad_core.cli.__main__ import app
from vlmad_core.cli.new_plugin import TEMPLATE, Kind, write_plugin
from vlmad_core.errors import ConfigError

KINDS = get_args(Kind)


def pretend_to_install(folder: Path) -> None:
    """The metadata that pip would write, beside the package: found where the folder is on the path."""
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    needs = "".join(f"Requires-Dist: {line}\n" for line in project["dependencies"])
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n{needs}"
    )
    points = "".join(f"{name} = {value}\n" for name, value in project["entry-points"]["vlmad"].items())
    (info / "entry_points.txt").write_text(f"[vlmad]\n{points}")


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> dict[str, Path]:
    """One distribution of each kind."""
    out = tmp_path_factory.mktemp("new")
    folders = {kind: write_plugin(f"trial-{kind}", kind, out) for kind in KINDS}
    for folder in folders.values():
        pretend_to_install(folder)
    return folders


def python(folders: dict[str, Path], *arguments: str) -> subprocess.CompletedProcess[str]:
    """A fresh Python in which they are installed."""
    path = os.pathsep.join([*map(str, folders.values()), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment, check=False)


@pytest.fixture(scope="module")
def results(written, tmp_path_factory) -> dict[str, list[ElementTree.Element]]:
    """Their own tests, each contract among them, in one process: the cases by kind."""
    report = tmp_path_factory.mktemp("results") / "junit.xml"
    tests = [str(folder / "tests") for folder in written.values()]
    done = python(
        written,
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "--import-mode=importlib", "-c", os.devnull),
        *(f"--junitxml={report}", "--rootdir", str(report.parent), *tests),
    )
    assert report.is_file(), done.stdout + done.stderr
    cases = list(ElementTree.parse(report).iter("testcase"))
    return {kind: [case for case in cases if f"test_trial_{kind}" in case.get("classname", "")] for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_its_own_tests_pass(results, kind):
    failed = [case.find("failure") if case.find("error") is None else case.find("error") for case in results[kind]]
    assert [problem.text for problem in failed if problem is not None] == []
    names = [case.get("name") for case in results[kind]]
    assert sum(name.startswith("test_contract[") for name in names) > 10
    assert sum(not name.startswith("test_contract[") for name in names) >= 2


@pytest.mark.parametrize("kind", KINDS)
def test_every_check_of_its_contract_runs_or_says_why_not(results, kind):
    skipped = [case for case in results[kind] if case.find("skipped") is not None]
    assert all(len(case.find("skipped").get("message").split()) > 3 for case in skipped)
    assert len(skipped) < len(results[kind]) / 2


def test_vlmad_check_passes_from_the_command_line(written):
    """One kind stands for all: the others are checked by their own tests above."""
    done = python(
        written, "-m", "vlmad_core.cli", "check", "vlmad-trial-dataset", "--json", "--root",
        str(written["dataset"] / "tests" / "example"),
    )  # fmt: skip
    report = json.loads(done.stdout)
    assert done.returncode == 0, report
    assert (report["failed"], report["known"]) == (0, 0)
    assert report["passed"] > 10


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_a_whole_distribution(written, kind):
    folder = written[kind]
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["name"] == folder.name == f"vlmad-trial-{kind}"
    assert project["dependencies"] == [f"vlmad-core{contract_range(vlmad_core.__version__)}"]
    assert project["entry-points"]["vlmad"] == {f"trial-{kind}": f"vlmad_trial_{kind}.plugin"}
    workflow = yaml.safe_load((folder / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8"))
    assert f"vlmad check {folder.name}" in [step.get("run") for step in workflow["jobs"]["test"]["steps"]]
    assert "Apache License" in (folder / "LICENSE").read_text(encoding="utf-8")
    assert f"pip install {folder.name}" in (folder / "README.md").read_text(encoding="utf-8")
    for file in folder.rglob("*"):
        if file.is_file() and file.suffix != ".pyc":
            assert re.search(r"\$\{?[A-Za-z]", file.read_text(encoding="utf-8")) is None, file


@pytest.mark.parametrize("kind", KINDS)
def test_listing_it_imports_no_torch(written, kind):
    code = (
        "import sys, vlmad_core; r = vlmad_core.registry.default_registry(); print(r.problems, 'torch' in sys.modules)"
    )
    assert python({kind: written[kind]}, "-c", code).stdout == "[] False\n"


def test_every_file_of_the_template_is_used(written):
    read = {path.relative_to(TEMPLATE).parts[0] for path in TEMPLATE.rglob("*") if path.is_file()}
    assert read == {"common", *KINDS}


@pytest.mark.parametrize("name", ["", "Mine", "my_part", "-a", "a-", "1a", "vlmad-", "a b", "a/b", "..", "ä"])
def test_a_name_of_the_wrong_form_is_refused(tmp_path, name):
    with pytest.raises(ConfigError, match="lower-case words joined by dashes"):
        write_plugin(name, "scorer", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_taken_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="'vlmad-core' is installed already"):
        write_plugin("core", "scorer", tmp_path)


def test_nothing_is_written_over(tmp_path):
    folder = write_plugin("vlmad-mine", "scorer", tmp_path)
    (folder / "README.md").write_text("mine")
    with pytest.raises(ConfigError, match="is there already; choose another name"):
        write_plugin("mine", "prompts", tmp_path)
    assert (folder / "README.md").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["vlmad-mine"]


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def full(*arguments: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="no space left"):
        write_plugin("mine", "scorer", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_what_comes_next(tmp_path):
    done = CliRunner().invoke(app, ["new-plugin", "mine", "--kind", "scorer", "--out", str(tmp_path / "new")])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "new" / "vlmad-mine" / "vlmad_mine" / "scorer.py").is_file()
    assert "vlmad check vlmad-mine" in done.output
    wrong = CliRunner().invoke(app, ["new-plugin", "mine", "--kind", "spoon"])
    assert wrong.exit_code == 2


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_it_installs(tmp_path, kind):
    """Really, by pip, into a folder of its own."""
    folder, site = write_plugin(f"trial-{kind}", kind, tmp_path), tmp_path / "site"
    pytest.importorskip("hatchling")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", str(site), str(folder)], check=True)
    done = python({kind: site}, "-m", "vlmad_core.cli", "check", folder.name, "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 0, report
    assert report["passed"] > 10
