"""What the cases share: the command line, small pictures, and what is expected. A case runs in a folder of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

warnings.filterwarnings("ignore", category=DeprecationWarning)
BIN = Path(sys.executable).parent
WORK = Path(tempfile.mkdtemp(prefix="vlmad-case-"))
os.chdir(WORK)
FAILED: list[str] = []


def vlmad(*args: object, **env: str) -> subprocess.CompletedProcess[str]:
    """The command line, with what it printed."""
    done = subprocess.run(
        [str(BIN / "vlmad"), *map(str, args)],
        capture_output=True,
        text=True,
        errors="replace",
        env={**os.environ, "OMP_NUM_THREADS": "1", **env},
        timeout=900,
    )
    print("$ vlmad", *args, "-> exit", done.returncode)
    for line in (done.stdout + done.stderr).strip().splitlines()[-6:]:
        print("    ", line[:200])
    return done


def lines(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """The JSON lines of a command."""
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def row(folder: str | Path) -> dict[str, Any]:
    """The first row of a benchmark."""
    found: dict[str, Any] = json.loads((Path(folder) / "rows.jsonl").read_text().splitlines()[0])
    return found


def texture(seed: int, size: tuple[int, int] = (160, 128), defect: bool = False) -> tuple[Image.Image, Image.Image]:
    """An even, grainy surface; with a dark stain on it. Gives the picture and the mask."""
    noise = np.random.default_rng(seed).normal(150, 40, (size[1], size[0], 3)).clip(0, 255).astype(np.uint8)
    picture = Image.fromarray(noise).filter(ImageFilter.GaussianBlur(2))
    mask = Image.new("L", size, 0)
    if defect:
        x, y = 20 + (seed * 37) % (size[0] - 70), 15 + (seed * 23) % (size[1] - 60)
        box = (x, y, x + 34, y + 22)
        ImageDraw.Draw(picture).ellipse(box, fill=(25, 20, 20))
        ImageDraw.Draw(mask).ellipse(box, fill=255)
    return picture, mask


def save(picture: Image.Image, path: str | Path, **options: Any) -> Path:
    """The picture as a file, in a folder that is made if needed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, **options)
    return path


def mvtec(
    root: str,
    good: int = 3,
    bad: int = 3,
    size: tuple[int, int] = (160, 128),
    write_mask: Callable[[Image.Image, str], object] | None = None,
    ending: str = "png",
) -> None:
    """A data set of one's own in MVTec's layout."""
    for i in range(good):
        save(texture(i, size)[0], f"{root}/train/good/{i:03}.png")
        save(texture(100 + i, size)[0], f"{root}/test/good/{i:03}.png")
    for i in range(bad):
        picture, mask = texture(200 + i, size, True)
        save(picture, f"{root}/test/stain/{i:03}.png")
        place = f"{root}/ground_truth/stain/{i:03}_mask.{ending}"
        write_mask(mask, place) if write_mask else save(mask, place)


def expect(good: bool, text: str) -> None:
    """Print whether something is as it should be, and remember it where not."""
    print("ok  " if good else "FAIL", text)
    if not good:
        FAILED.append(text)


def end() -> None:
    """Leave with 1 where anything was not as expected."""
    os.chdir("/")
    shutil.rmtree(WORK, ignore_errors=True)
    sys.exit(1 if FAILED else 0)
