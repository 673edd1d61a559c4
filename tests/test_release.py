"""What is released is whole, moves together, and installs and runs where there is no network."""

import datetime
import doctest
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
import venv
import zipfile
from pathlib import Path

import pytest
import release
from distributions import CORE, ROOT, closure, distributions
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import vlmad_core

OURS = distributions()
EDGE = "vlmad-edge"  # runs where there is no core
PLUGINS = [ours for ours in OURS[1:] if ours.name != EDGE]
IDS = [ours.name for ours in OURS]
each = pytest.mark.parametrize("ours", OURS, ids=IDS)
each_plugin = pytest.mark.parametrize("ours", PLUGINS, ids=[ours.name for ours in PLUGINS])


def test_the_examples_in_the_script_hold():
    found = doctest.testmod(release)
    assert found.attempted > 0
    assert found.failed == 0


def test_all_have_one_version():
    assert {ours.version for ours in OURS} == {vlmad_core.__version__}


@each_plugin
def test_a_plugin_takes_this_core_and_not_the_next(ours):
    names = {other.name for other in OURS}
    for requirement in (r for requirements in ours.extras.values() for r in requirements if r.name in names):
        assert requirement.specifier == SpecifierSet(release.contract_range(ours.version)), str(requirement)
    assert CORE in [requirement.name for requirement in ours.extras[""]]


@each
def test_the_metadata_are_whole(ours):
    project = ours.project
    assert project["license"] == "Apache-2.0"
    assert "LICENSE" in project["license-files"]
    assert all((ours.folder / name).is_file() for name in (project["readme"], *project["license-files"]))
    assert (ours.folder / "LICENSE").read_text().split() == (ROOT / "LICENSE").read_text().split()
    assert project["requires-python"] == OURS[0].project["requires-python"]
    assert project["description"].endswith(".") and len(project["description"]) < 160
    assert "urls" not in project
    assert (ours.package / "py.typed").is_file()


@each
def test_the_classifiers_are_known_and_say_nothing_twice(ours):
    known = pytest.importorskip("trove_classifiers").classifiers
    named = ours.project.get("classifiers", [])
    assert set(named) <= known
    assert not [name for name in named if name.startswith("License ::")]  # the field `license` says it


@each_plugin
def test_the_entry_point_leads_to_the_plugin(ours):
    assert ours.folder.name == ours.name
    points = ours.project["entry-points"]["vlmad"]
    assert list(points.values()) == [f"{ours.package.name}.plugin"]
    assert (ours.package / "plugin.py").is_file()


def test_every_folder_of_plugins_is_a_distribution():
    folders = [path for path in (ROOT / "plugins").iterdir() if any(path.glob("vlmad_*/plugin.py"))]
    assert sorted(folder.name for folder in folders) == [ours.name for ours in PLUGINS]


@each
def test_a_wheel_holds_the_package_and_nothing_else(ours):
    wheel = pytest.importorskip("hatchling.builders.wheel").WheelBuilder(str(ours.folder))
    held = {file.distribution_path for file in wheel.recurse_included_files()}
    assert held == {f"{ours.package.name}/{name}" for name in files(ours.package)}
    assert not [path for path in held if {"tests", "benchmarks", "build"} & set(Path(path).parts)]


@each
def test_an_sdist_holds_what_the_wheel_and_its_tests_need(ours):
    sdist = pytest.importorskip("hatchling.builders.sdist").SdistBuilder(str(ours.folder))
    held = {file.distribution_path for file in sdist.recurse_included_files()}
    named = {ours.project["readme"], *ours.project["license-files"]}
    named |= {f"{ours.package.name}/{name}" for name in files(ours.package)}
    if ours is not OURS[0]:  # the tests of the core are those of the repository: they need its plugins
        named |= {f"tests/{name}" for name in files(ours.folder / "tests")}
    assert named <= held


def files(folder: Path) -> list[str]:
    """What git would keep of a folder."""
    kept = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return sorted(path.relative_to(folder).as_posix() for path in kept)


@pytest.fixture
def copy(tmp_path):
    """A repository with what a release touches, all of it committed."""
    root = tmp_path / "copy"
    for path in [ROOT / "CHANGELOG.md", ROOT / "vlmad_core" / "version.py", *ROOT.glob("docs/**/*.md")]:
        place = root / path.relative_to(ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
    for ours in OURS:
        place = root / ours.folder.relative_to(ROOT)
        place.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ours.folder / "pyproject.toml", place / "pyproject.toml")
    git(root, "init", "--quiet")
    commit(root)
    return root


def git(root: Path, *arguments: str) -> None:
    who = ["-c", "user.name=someone", "-c", "user.email=someone@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, *arguments], cwd=root, check=True, capture_output=True)


def commit(root: Path) -> None:
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "all")


def texts(root: Path) -> dict[Path, str]:
    kept = (path for path in root.rglob("*") if path.is_file() and ".git" not in path.parts)
    return {path: path.read_text(encoding="utf-8") for path in kept}


@pytest.mark.parametrize(("version", "ranges"), [("3.4.1", ">=3.4,<4"), ("0.9.0", ">=0.9,<0.10")])
def test_a_release_sets_the_version_everywhere(copy, version, ranges):
    written = release.set_version(version, copy, today=datetime.date(2030, 1, 31))
    assert {ours.version for ours in distributions(copy)} == {version}
    assert f'__version__ = "{version}"' in (copy / "vlmad_core" / "version.py").read_text()
    assert f"\n## {version}, 2030-01-31\n" in (copy / "CHANGELOG.md").read_text()
    asked = [
        r for ours in distributions(copy) for rs in ours.extras.values() for r in rs if r.name.startswith("vlmad-")
    ]
    assert {requirement.specifier for requirement in asked} == {SpecifierSet(ranges)}
    assert f'dependencies = ["vlmad-core{ranges}"]' in (copy / "docs" / "plugins.md").read_text()
    assert copy / "docs" / "plugins.md" in written
    assert {extra for requirement in asked for extra in requirement.extras} >= {"open-clip", "evaluation", "training"}


def test_a_second_release_needs_something_to_release(copy):
    release.set_version("3.4.1", copy)
    commit(copy)
    before = texts(copy)
    with pytest.raises(release.Refused, match=r"CHANGELOG\.md"):
        release.set_version("3.5.0", copy)
    assert texts(copy) == before


@pytest.mark.parametrize(
    ("version", "said"),
    [("1.0", "reads x.y.z"), ("1.0.0rc1", "reads x.y.z"), ("v1.0.0", "reads x.y.z"), ("0.0.1", "is older than")],
)
def test_a_version_that_is_none_is_refused(copy, version, said):
    before = texts(copy)
    with pytest.raises(release.Refused, match=said):
        release.set_version(version, copy)
    assert texts(copy) == before


@pytest.mark.parametrize("name", ["new.txt", "CHANGELOG.md"])
def test_a_tree_with_changes_is_refused(copy, name):
    with (copy / name).open("a") as file:
        file.write("more\n")
    before = texts(copy)
    with pytest.raises(release.Refused, match=f"not committed(.|\n)*{name}"):
        release.set_version("3.0.0", copy)
    assert texts(copy) == before


def test_a_place_that_is_not_as_it_should_be_stops_all_of_it(copy):
    path = copy / "vlmad_core" / "version.py"
    path.write_text(path.read_text() + '__version__ = "1"\n')
    commit(copy)
    before = texts(copy)
    with pytest.raises(release.Refused, match=r"version\.py: .* should be there 1 times"):
        release.set_version("3.0.0", copy)
    assert texts(copy) == before


@each
def test_the_version_stands_in_one_place(ours):
    """And hatchling finds it, also where it builds a wheel from an sdist, which has no other folder beside it."""
    metadata = pytest.importorskip("hatchling.metadata.core").ProjectMetadata(str(ours.folder), plugins())
    assert metadata.version == vlmad_core.__version__
    assert "version" not in ours.project


def plugins():
    from hatchling.plugin.manager import PluginManager

    return PluginManager()


def built(folder: Path, out: Path, *what: str) -> list[Path]:
    """What a folder is built to, with the tools that are here."""
    command = [sys.executable, "-m", "build", "--no-isolation", *what, "--outdir", str(out), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return sorted(out.iterdir())


@pytest.mark.slow
@each
def test_a_wheel_from_the_sdist_is_the_wheel_from_the_tree_to_the_byte(ours, tmp_path):
    sdist, by_sdist = sorted(built(ours.folder, tmp_path / "a"), key=lambda path: path.suffix == ".whl")
    (direct,) = built(ours.folder, tmp_path / "b", "--wheel")
    assert direct.name == by_sdist.name
    assert direct.read_bytes() == by_sdist.read_bytes()
    (again,) = built(ours.folder, tmp_path / "c", "--sdist")
    assert again.read_bytes() == sdist.read_bytes()
    with zipfile.ZipFile(direct) as wheel, tarfile.open(sdist) as source:
        assert [name for name in wheel.namelist() if name.endswith(".dist-info/licenses/LICENSE")]
        assert f"{sdist.name.removesuffix('.tar.gz')}/pyproject.toml" in source.getnames()


@pytest.fixture(scope="module")
def wheelhouse(tmp_path_factory):
    """Our wheels as the tree has them now, and those of others that `make wheelhouse` fetched."""
    fetched = [path for path in sorted((ROOT / "wheelhouse").glob("*.whl")) if not path.name.startswith("vlmad_")]
    if not fetched:
        pytest.skip("there is no wheelhouse; `make wheelhouse` makes it")
    folder = tmp_path_factory.mktemp("wheelhouse")
    for path in fetched:
        (folder / path.name).symlink_to(path)
    for ours in OURS:
        built(ours.folder, folder, "--wheel")
    return folder


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """An empty environment: a function that runs its Python, with the network refused and no path to anything else."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "VLMAD_", "PYTHON"))}
    environment = {**kept, "PIP_CONFIG_FILE": os.devnull, "PYTHONPATH": str(ROOT / "tests" / "offline")}
    environment |= {"VLMAD_TESTS_OFFLINE": "1", "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return folder, run


def installed(run) -> set[str]:
    listed = json.loads(run("python", "-m", "pip", "list", "--format", "json", "--disable-pip-version-check"))
    return {canonicalize_name(row["name"]) for row in listed}


def measure(folder: Path, run, wheelhouse: Path, *names: str) -> str:
    def size() -> int:
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())

    before, started = size(), time.perf_counter()
    run("python", "-m", "pip", "install", "--quiet", "--no-index", "--find-links", str(wheelhouse), *names)
    took = time.perf_counter() - started
    return f"pip install {' '.join(names)}: {(size() - before) / 1e6:.0f} MB, {took:.0f} s"


@pytest.mark.slow
def test_wheels_alone_install_and_run_in_an_empty_environment(wheelhouse, bare, capsys):
    """First the core, which brings nothing that it does not need; then WinCLIP and pocket, and a picture."""
    folder, run = bare
    tools = installed(run)
    message = [measure(folder, run, wheelhouse, CORE)]
    assert installed(run) - tools - {"setuptools"} == set(closure([CORE])) - {"setuptools"}
    assert run("python", str(ROOT / "tests" / "core_alone.py")) == "it runs\n"
    run("vlmad", "doctor")

    message.append(measure(folder, run, wheelhouse, CORE, "vlmad-winclip", "vlmad-pocket"))
    run("python", "-m", "pip", "check")
    listed = {(row["kind"], row["name"]) for row in json.loads(run("vlmad", "list", "--json"))}
    assert {("recipe", "winclip"), ("backbone", "pocket"), ("extractor", "windows")} <= listed
    picture = "from PIL import Image; Image.effect_noise((200, 150), 40).convert('RGB').save('a.png')"
    run("python", "-c", picture)
    run("vlmad", "predict", "a.png", "--recipe", "pocket", "--out", "out")
    (line,) = (folder / "out" / "results.jsonl").read_text().splitlines()
    assert 0 <= json.loads(line)["score"] <= 1
    with capsys.disabled():
        print("", *message, sep="\n")
