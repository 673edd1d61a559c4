"""Contact sheets to look at: every material in its normal state and every kind of defect with its mask beside it.

`python -m pictures.sheet --out DIR` writes JPEG files; `--png` writes PNG ones. They are what realism is judged by.
"""

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy import ndimage

from pictures import defects, materials
from pictures.sample import Sample, make

Bytes = npt.NDArray[np.uint8]
COLUMNS = 8
LABEL = 84


def outlined(sample: Sample) -> Bytes:
    """The picture with the border of its mask in red, [S, S, 3]."""
    image = sample.image.copy()
    ring = ndimage.binary_dilation(sample.mask, iterations=2) & ~ndimage.binary_dilation(sample.mask)
    image[ring] = (255, 30, 30)
    return image


def sheet(rows: list[tuple[str, list[Bytes]]], side: int) -> Image.Image:
    """Named rows of pictures of one size."""
    columns = max(len(pictures) for _, pictures in rows)
    page = Image.new("RGB", (LABEL + columns * (side + 2), len(rows) * (side + 2)), "white")
    draw = ImageDraw.Draw(page)
    for y, (name, pictures) in enumerate(rows):
        for line, word in enumerate(name.split()):
            draw.text((3, y * (side + 2) + 10 + 14 * line), word, fill="black")
        for x, picture in enumerate(pictures):
            small = Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS)
            page.paste(small, (LABEL + x * (side + 2), y * (side + 2)))
    return page


def pages(first: int, side: int) -> dict[str, Image.Image]:
    """All sheets by file name without ending."""
    out: dict[str, Image.Image] = {}
    per_page = 12
    stuffs = list(materials.BY_NAME)
    for start in range(0, len(stuffs), per_page):
        rows = [
            (name, [make(first + 100 * k + n, kind=None, material=name).image for n in range(COLUMNS)])
            for k, name in enumerate(stuffs[start : start + per_page], start)
        ]
        out[f"materials-{start // per_page + 1}"] = sheet(rows, side)
    kinds = list(defects.BY_NAME)
    for start in range(0, len(kinds), per_page):
        rows = []
        for k, name in enumerate(kinds[start : start + per_page], start):
            samples = [make(first + 9000 + 100 * k + n, kind=name) for n in range(COLUMNS)]
            rows.append((name, [view for one in samples for view in (one.image, outlined(one))]))
        out[f"defects-{start // per_page + 1}"] = sheet(rows, side)
    return out


def main() -> None:
    """Write the sheets."""
    parser = argparse.ArgumentParser(prog="pictures.sheet", description=main.__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--seed", type=int, default=0, help="first seed (default: 0)")
    parser.add_argument("--side", type=int, default=100, help="side of one picture on the sheet (default: 100)")
    parser.add_argument("--png", action="store_true", help="write PNG files, larger and exact")
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    for name, page in pages(chosen.seed, chosen.side).items():
        ending = "png" if chosen.png else "jpg"
        page.save(chosen.out / f"{name}.{ending}", **({} if chosen.png else {"quality": 74}))


if __name__ == "__main__":
    main()
