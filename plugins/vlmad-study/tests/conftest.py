from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlmad_core.cli import __main__, terminal
from vlmad_core.registry import Registry, default_registry
from vlmad_core.testing import memory_registry

PLUGIN = """
from vlmad_core.registry import hookimpl
from vlmad_core.testing.registry import TINY

@hookimpl
def vlmad_backbones():
    yield TINY
"""


@dataclass
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture
def registry() -> Registry:
    """The built-ins and the tiny backbone."""
    return memory_registry()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data set in MVTec's layout: noise, with a bright rectangle where it is defective."""
    return draw(tmp_path / "things")


@pytest.fixture
def typed(data: Path) -> list[object]:
    """A short study, as it is typed."""
    words = "study --backbone tiny --sections alignment,shots --shots 0,1 --seeds 1 --data"
    return [*words.split(), data]


def draw(root: Path, category: str = "plate", normals: int = 2, count: int = 4) -> Path:
    rng = np.random.default_rng(0)
    for kind, number in (("train/good", normals), ("test/good", count), ("test/hole", count)):
        for i in range(number):
            pixels, mask = rng.integers(60, 160, (32, 32, 3), np.uint8), np.zeros((32, 32), np.uint8)
            if kind == "test/hole":
                mask[8 + i : 20 + i, 10:24] = 255
                pixels[mask > 0] = 250
                save(mask, root / category / f"ground_truth/hole/{i}_mask.png")
            save(pixels, root / category / kind / f"{i}.png")
    return root


def save(pixels: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def vlmad(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Outcome]]:
    """The command line in this process, with the built-ins, the study and the tiny backbone."""
    site = tmp_path / "site"
    about = site / "vlmad_tinystudy-0.1.0.dist-info"
    about.mkdir(parents=True)
    (site / "vlmad_tinystudy.py").write_text(PLUGIN)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: vlmad-tinystudy\nVersion: 0.1.0\n")
    (about / "entry_points.txt").write_text("[vlmad]\ntiny = vlmad_tinystudy\n")
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("VLMAD_PLUGINS", "vlmad-tinystudy vlmad-study")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("VLMAD_DEBUG", raising=False)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.setattr(terminal, "verbose", False)
    default_registry.cache_clear()

    def call(*arguments: object) -> Outcome:
        with pytest.raises(SystemExit) as left:
            __main__.main([str(argument) for argument in arguments])
        written = capsys.readouterr()
        return Outcome(int(left.value.code or 0), written.out, written.err)

    yield call
    default_registry.cache_clear()
    sys.modules.pop("vlmad_tinystudy", None)
