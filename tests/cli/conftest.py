from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlmad_core.cli import __main__, terminal
from vlmad_core.registry.registry import default_registry

PLUGIN = """
from vlmad_core.registry import Recipe, hookimpl
from vlmad_core.testing.registry import TINY

PATCHES = {"use": "patches", "config": {"space": "both"}}
WORDS = {"backbone": "tiny", "extractor": PATCHES, "prompts": "templates",
         "scorers": [{"use": "text-match", "config": {"levels": ["block*"]}, "optional": True}]}
MEMORY = {"backbone": "tiny", "extractor": "patches", "scorers": ["memory"]}

@hookimpl
def vlmad_backbones():
    yield TINY

@hookimpl
def vlmad_recipes():
    yield Recipe(name="words", spec=WORDS, summary="Words.", few_shot="remember", paper="Nobody, 2020")
    yield Recipe(name="remember", spec=MEMORY, summary="A memory.")
"""


@dataclass
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder for PYTHONPATH with a distribution that offers the tiny backbone."""
    folder = tmp_path / "site"
    info = folder / "vlmad_tinytest-0.1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "vlmad_tinytest.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: vlmad-tinytest\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text("[vlmad]\ntiny = vlmad_tinytest\n")
    return folder


@pytest.fixture
def environment(site: Path) -> dict[str, str]:
    root = str(Path(__main__.__file__).parents[2])
    paths = os.pathsep.join([str(site), root, os.environ.get("PYTHONPATH", "")])
    alone = {"PYTHONPATH": paths, "VLMAD_PLUGINS": "vlmad-tinytest", "PYTHONDONTWRITEBYTECODE": "1"}
    return {**os.environ, **alone, "OMP_NUM_THREADS": "1"}


@pytest.fixture
def vlmad(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Outcome]]:
    """The command line in this process, with the built-ins and the tiny backbone alone."""
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("VLMAD_PLUGINS", "vlmad-tinytest")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("VLMAD_DEBUG", raising=False)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.setattr(terminal, "verbose", False)
    default_registry.cache_clear()

    def call(*arguments: object) -> Outcome:
        with pytest.raises(SystemExit) as left:
            __main__.main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return Outcome(int(left.value.code or 0), said.out, said.err)

    yield call
    default_registry.cache_clear()
    sys.modules.pop("vlmad_tinytest", None)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    draw(folder, 6)
    return folder


@pytest.fixture
def normals(tmp_path: Path) -> Path:
    folder = tmp_path / "normals"
    draw(folder, 3, seed=1)
    return folder


def draw(folder: Path, count: int, seed: int = 0) -> None:
    folder.mkdir()
    rng = np.random.default_rng(seed)
    for i in range(count):
        Image.fromarray(rng.integers(0, 255, (40, 40, 3), np.uint8)).save(folder / f"{i:03}.png")
