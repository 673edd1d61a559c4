"""Run the commands that the pages show, and put what they print and draw under them: ``make gallery DATA=folder``.

A page asks for it with a comment under a block of code::

    <!-- shows: text, sheet results/ -->
    <!-- end -->

``text`` puts what the block printed there, ``sheet FOLDER`` the contact sheet of a folder of results. The block is run
as it stands, in a folder with ``photo.jpg`` and ``parts/`` (broken and whole cookies), ``good/`` and ``more-good/``
(whole ones), ``papers/`` and ``good-papers/``. The picture of README and home page is drawn here too.
Durations are replaced by an ellipsis, so that running it again changes nothing unless vlmad does.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

import vlmad_core
from vlmad_core.run import Scale, contact_sheet
from vlmad_core.run.colour import colours

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
GALLERY = DOCS / "assets" / "gallery"
_ASKED = re.compile(r"(?P<before>.*?)<!-- shows: (?P<what>[^\n]+?) -->\n(?P<old>.*?)<!-- end -->", re.DOTALL)
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_DURATION = re.compile(r"in [\d.]+ (?:s|min)(?: \([\d.]+ a second\))?")
_QUALITY = {"quality": 82, "optimize": True}


@dataclass(frozen=True)
class Shown:
    """A request of a page: which block to run and what to show of it."""

    page: Path
    number: int
    language: str
    code: str
    wanted: tuple[str, ...]

    def picture(self, results: str) -> Path:
        """File of the picture of a folder of results."""
        place = self.page.relative_to(DOCS).with_suffix("").as_posix().replace("/", "-")
        return GALLERY / f"{place}-{self.number}-{results.strip('/')}.jpg"


def requests(page: Path) -> list[Shown]:
    """The requests of a page, in their order.

    Raises:
        ValueError: A request without a block of code above it.
    """
    found = []
    for number, asked in enumerate(_ASKED.finditer(page.read_text(encoding="utf-8")), start=1):
        above = _BLOCK.findall(asked["before"])
        if not above:
            raise ValueError(f"{page.name}: '{asked['what']}' has no block of code above it.")
        language, code = above[-1]
        found.append(Shown(page, number, language, code, tuple(part.strip() for part in asked["what"].split(","))))
    return found


def lay_out(data: Path, place: Path) -> None:
    """The images that the pages name, copied from the data sets of cookies and papers."""
    cookie, paper = data / "cookies" / "cookie", data / "piped" / "PA_BRG01_RL"
    wanted = {"photo.jpg": cookie / "test/defect/003.jpg"}
    wanted |= {f"good/{i:03}.jpg": cookie / f"train/good/{i:03}.jpg" for i in range(4)}
    wanted |= {f"more-good/{i:03}.jpg": cookie / f"train/good/{i:03}.jpg" for i in range(4, 28)}
    wanted |= {f"parts/broken-{i}.jpg": cookie / f"test/defect/{i:03}.jpg" for i in (0, 3, 10)}
    wanted |= {f"parts/whole-{i}.jpg": cookie / f"test/good/{i:03}.jpg" for i in (1, 4, 6)}
    wanted |= {f"good-papers/{i:03}.png": paper / f"train/good/{i:03}.png" for i in range(8)}
    wanted |= {f"papers/impure-{i}.png": paper / f"test/defect/{i:03}.png" for i in (4, 11, 30)}
    wanted |= {f"papers/clean-{i}.png": paper / f"test/good/{i:03}.png" for i in (1, 5, 9)}
    for name, source in wanted.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, place / name)


def fill(page: Path, data: Path) -> None:
    """Run what a page asks for and write the page."""
    with tempfile.TemporaryDirectory() as folder:
        lay_out(data, Path(folder))
        for block in _BLOCK.findall(page.read_text(encoding="utf-8")):  # a block that begins with the name of a file
            if named := re.match(r"# ([\w.-]+\.ya?ml)\n", block[1]):
                (Path(folder) / named[1]).write_text(block[1], encoding="utf-8")
        results = iter(["".join(_shown(one, Path(folder))) for one in requests(page)])
        text = page.read_text(encoding="utf-8")
        text = _ASKED.sub(lambda a: f"{a['before']}<!-- shows: {a['what']} -->\n{next(results)}<!-- end -->", text)
    page.write_text(text, encoding="utf-8")


def _shown(one: Shown, folder: Path) -> Iterator[str]:
    printed = run(one, folder)
    for wanted in one.wanted:
        kind, _, place = wanted.partition(" ")
        if kind == "text":
            yield f"\n```text\n{printed}\n```\n\n"
        elif kind == "sheet":
            picture = one.picture(place)
            contact_sheet(folder / place, folder / "sheet.png", count=3, columns=3)
            Image.open(folder / "sheet.png").save(picture, **_QUALITY)
            link = os.path.relpath(picture, one.page.parent)
            yield f"\n![Contact sheet of {place.strip('/')}: highest and lowest scores]({Path(link).as_posix()})\n\n"
        else:
            raise ValueError(f"{one.page.name}: nothing is known of '{wanted}'; use 'text' or 'sheet FOLDER'.")


def run(one: Shown, folder: Path) -> str:
    """What a block prints, on stdout and stderr together, without durations.

    Raises:
        RuntimeError: It failed.
    """
    if one.language == "python":
        command = [sys.executable, "-c", one.code]
    else:
        command = ["bash", "-ec", "".join(_commands(one.code))]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "COLUMNS": "100", "PATH": path, "NO_COLOR": "1"}
    together = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    done = subprocess.run(command, cwd=folder, env=environment, **together, check=False)
    if done.returncode:
        raise RuntimeError(f"{one.page.name}: {one.code}\n{done.stdout}")
    return "\n".join(line.rstrip() for line in _DURATION.sub("in …", done.stdout).strip("\n").splitlines())


def _commands(code: str) -> Iterator[str]:
    """The lines of a block that are commands of vlmad; a page may show an installation above them."""
    for line in re.sub(r"\\\n\s*", " ", code).splitlines():
        if line.startswith("vlmad "):
            yield f"{line}\n"


# -- the picture of README and home page

_SIDE, _GAP, _HEAD, _FOOT = 300, 10, 34, 34
_PAPER, _INK, _FAINT = (255, 255, 255), (27, 35, 41), (93, 107, 117)
_TITLES = ("image", "anomaly map", "above 99.5 % of normal cells", "score")


def draw_overview(data: Path, out: Path) -> None:
    """One row for each of two objects: image, map, outline above 99.5 % of normal cells, score."""
    rows = [
        ("cookie", 4, data / "cookies/cookie", "000.jpg", "4 normal images"),
        ("paper", 8, data / "piped/PA_BRG01_RL", "011.png", "8 normal images"),
    ]
    width = 4 * _SIDE + 5 * _GAP
    sheet = Image.new("RGB", (width, _HEAD + len(rows) * (_SIDE + _GAP)), _PAPER)
    pen = ImageDraw.Draw(sheet)
    for i, title in enumerate(_TITLES):
        pen.text((_GAP + i * (_SIDE + _GAP), _HEAD / 2), title, _FAINT, ImageFont.load_default(18), anchor="lm")
    for row, (name, shots, folder, image, about) in enumerate(rows):
        normals = sorted((folder / "train/good").iterdir())[:shots]
        detector = vlmad_core.build("pocket-few-shot").fit(normals, class_name=name)
        others = sorted((folder / "test/good").iterdir())[:12]
        good = [result.score for result in detector.predict(others)]
        top = _HEAD + row * (_SIDE + _GAP)
        for i, panel in enumerate(_panels(detector, folder / "test/defect" / image)):
            sheet.paste(panel, (_GAP + i * (_SIDE + _GAP), top))
        score = detector.predict(folder / "test/defect" / image).score
        left = _GAP + 3 * (_SIDE + _GAP)
        pen.text((left + 10, top + 60), f"{score:.2f}", _INK, ImageFont.load_default(72))
        lines = [
            f"{len(good)} good {name}s:",
            f"{min(good):.2f} to {max(good):.2f}",
            "",
            f"compared with {about}",
            "and no defect",
        ]
        pen.multiline_text((left + 10, top + 150), "\n".join(lines), _FAINT, ImageFont.load_default(20), spacing=6)
    out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(out, **_QUALITY)


def _panels(detector: vlmad_core.Pipeline, path: Path) -> Iterator[Image.Image]:
    result = detector.predict(path)
    with Image.open(path) as opened:
        image = _square(opened.convert("RGB"))
    values = _square(Image.fromarray(result.anomaly_map.astype(np.float32)))
    heat = np.asarray(values)
    usual = detector.normal_range[1].item()  # 99.5 % of the cells of normal images lie below
    yield image
    yield Image.fromarray(np.rint(colours(Scale.of(detector).place(heat))).astype(np.uint8))
    mask = Image.fromarray(np.uint8(heat > usual) * 255)
    edge = np.asarray(mask.filter(ImageFilter.MaxFilter(5))) > np.asarray(mask)
    outlined = np.asarray(image).copy()
    outlined[edge] = (255, 40, 90)
    yield Image.fromarray(outlined)


def _square(image: Image.Image) -> Image.Image:
    """The middle of an image, as a square of the size of a panel."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    box = (left, top, left + side, top + side)
    return image.crop(box).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)


def pages() -> list[Path]:
    """The pages that ask for something."""
    return [page for page in sorted(DOCS.rglob("*.md")) if "<!-- shows: " in page.read_text(encoding="utf-8")]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the data sets cookies/ and piped/")
    parser.add_argument("--page", type=Path, action="append", help="only this page; repeat it")
    options = parser.parse_args()
    GALLERY.mkdir(parents=True, exist_ok=True)
    if not options.page:
        draw_overview(options.data, GALLERY / "overview.jpg")
    for page in options.page or pages():
        fill(page.resolve(), options.data.resolve())


if __name__ == "__main__":
    main()
