"""Measure what tiles find in a large image: a 12-megapixel sheet with a scratch of 20 pixels.

``python docs/build_tiles.py DATA OUT`` makes two sheets of paper of 4000 x 3000 pixels from the crops of PIPED (DATA
holds ``piped/``), draws a scratch on one of them, judges both by `pocket` as a whole and in tiles, each in a process of
its own, and prints one line each: scores, the map at the scratch and at its highest, seconds (of the clock and of the
processor), and peak memory. ``--megapixels 50`` makes the sheets larger, ``--ways "in tiles (auto)"`` takes one way.
``--picture FILE`` draws what such a run left in OUT: the sheet, the squashed way and the tiles side by side.

The sheets are real texture, but no photo of a whole sheet: crops of 128 x 128 pixels, turned and mirrored, that fade
into each other.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

HEIGHT, WIDTH, CROP, FADE = 3000, 4000, 128, 32
PLACE, LENGTH = (1790, 2610), 20  # row and column where the scratch begins; pixels along it
WAYS: dict[str, dict[str, object]] = {
    "squashed to 224 x 224": {"tiles": "off"},
    "squashed to 448 x 448": {"tiles": "off", "image_size": 448},
    "in tiles (auto)": {"tiles": "auto"},
}


def sheet(crops: list[Path], seed: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Image.Image:
    """Paper of any size from small crops: each is turned at random, and neighbours fade into each other.

    Deviations from the mean are faded with weights whose squares sum to 1, so that the texture is as strong at the
    seams as elsewhere.
    """
    rng = np.random.default_rng(seed)
    images = [np.asarray(Image.open(path).convert("RGB"), dtype=np.float32)[:CROP, :CROP] for path in crops]
    images = [image for image in images if image.shape == (CROP, CROP, 3)]
    mean = np.mean([image.mean((0, 1)) for image in images], axis=0)
    step = CROP - FADE
    ramp = np.sin(np.linspace(0, np.pi / 2, FADE + 2)[1:-1])
    edge = np.concatenate([ramp, np.ones(CROP - 2 * FADE), ramp[::-1]])
    weight = (edge[:, None] * edge[None, :]).astype(np.float32)[..., None]
    rows, columns = -(-size[0] // step) + 1, -(-size[1] // step) + 1
    canvas = np.zeros((rows * step + CROP, columns * step + CROP, 3), np.float32)
    for row in range(rows):
        for column in range(columns):
            image = images[rng.integers(len(images))]
            image = np.rot90(image, rng.integers(4))[:: rng.choice([-1, 1])]
            part = canvas[row * step : row * step + CROP, column * step : column * step + CROP]
            part += (image - image.mean((0, 1))) * weight
    whole = canvas[step : step + size[0], step : step + size[1]] + mean
    return Image.fromarray(np.clip(np.rint(whole), 0, 255).astype(np.uint8))


def scratched(image: Image.Image) -> Image.Image:
    """A copy with a dark line, 20 pixels long and 3 wide, drawn with soft edges."""
    image, (row, column) = image.copy(), PLACE
    box = (column - 10, row - 10, column + LENGTH + 10, row + LENGTH + 10)
    part = image.crop(box)
    large = part.resize((part.width * 4, part.height * 4), Image.Resampling.BICUBIC)
    end = 10 + LENGTH * 0.8, 10 + LENGTH * 0.6  # 20 pixels along
    ImageDraw.Draw(large).line([(40, 40), (4 * end[0], 4 * end[1])], fill=(70, 62, 55), width=12)
    image.paste(large.resize(part.size, Image.Resampling.LANCZOS), box[:2])
    return image


def measure(image: Path, way: str, few_shot: Path | None, threads: int, map_file: Path | None) -> dict[str, object]:
    """One image by one way, in this process."""
    import torch

    import vlmad_core

    torch.set_num_threads(threads)
    detector = vlmad_core.build("pocket", few_shot=few_shot is not None, **WAYS[way])
    if few_shot is not None:
        detector.fit([few_shot], "paper")
    detector.predict(np.zeros((64, 64), np.uint8), "paper")  # texts and threads are ready
    before, started, used = _peak(), time.perf_counter(), time.process_time()
    found = detector.predict(image, "paper")
    seconds, used = time.perf_counter() - started, time.process_time() - used
    values = found.raw_map
    row, column = found.peak
    down, across = found.size[0] / values.shape[0], found.size[1] / values.shape[1]
    top, left = int(PLACE[0] / down), int(PLACE[1] / across)
    bottom, right = int((PLACE[0] + LENGTH) / down) + 1, int((PLACE[1] + LENGTH) / across) + 1
    at_scratch = float(values[top:bottom, left:right].max())
    if map_file is not None:
        np.save(map_file, values)
    return {
        "way": way,
        "image": image.stem,
        "score": round(found.score, 4),
        "tiles": found.tiles,
        "peak": [row, column],
        "peak_at_scratch": bool(abs(row - PLACE[0] - 6) <= 40 and abs(column - PLACE[1] - 8) <= 40),
        "share_above_scratch": round(float((values > at_scratch).mean()), 6),
        "at_scratch": round(at_scratch, 4),
        "highest": round(float(values.max()), 4),
        "map": list(values.shape),
        "seconds": round(seconds, 2),
        "processor_seconds": round(used, 2),
        "peak_mb": round(_peak()),
        "more_mb": round(_peak() - before),
    }


def picture(out: Path, few_shot: bool) -> Image.Image:
    """The sheet, the squashed way and the tiles; above the whole sheet, below 240 x 180 pixels around the scratch."""
    from vlmad_core.contracts.data import Prediction
    from vlmad_core.run.overlay import Scale, font, heated

    width, height, gap, line = 400, 300, 12, 40
    photo = Image.open(out / "scratched.jpg").convert("RGB")
    left, top = PLACE[1] + 8 - 120, PLACE[0] + 6 - 90
    crop = (left, top, left + 240, top + 180)
    paper = Image.new("RGB", (3 * width + 4 * gap, 2 * (height + gap) + 2 * line), (18, 18, 22))
    pen, letters = ImageDraw.Draw(paper), font(760)
    for column, way in enumerate(["", *list(WAYS)[::2]]):
        small = photo.resize((width, height), Image.Resampling.LANCZOS)
        near = photo.crop(crop).resize((width, height), Image.Resampling.BICUBIC)
        if way:
            map_ = np.load(out / f"scratched {way}{' few-shot' if few_shot else ''}.npy")
            clean = np.load(out / f"clean {way}{' few-shot' if few_shot else ''}.npy")
            low, normal = float(np.median(clean)), float(clean.max())  # outlined: what the clean sheet never reaches
            found, scale = Prediction(0.0, map_, (HEIGHT, WIDTH)), Scale(low, 2 * normal - low, normal)
            whole = found.anomaly_map[crop[1] : crop[3], crop[0] : crop[2]]
            small = heated(small, found.map_at((height, width)), scale)
            near = heated(near, Prediction(0.0, np.ascontiguousarray(whole), (180, 240)).map_at((height, width)), scale)
        else:
            box = [(side - 40) * width // WIDTH for side in crop[:2]] + [
                (side + 40) * width // WIDTH for side in crop[2:]
            ]
            ImageDraw.Draw(small).rectangle(box, outline=(250, 24, 43), width=2)
        x = gap + column * (width + gap)
        pen.text((x, line / 2), way or "4000 x 3000 pixels", (238, 238, 240), letters, anchor="lm")
        paper.paste(small, (x, line))
        pen.text((x, line * 1.5 + height), "" if way else "the marked part", (160, 160, 168), letters, anchor="lm")
        paper.paste(near, (x, 2 * line + height))
    return paper


def _peak() -> float:
    """MB that this process held at most; getrusage would count the process that started it, too."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]


def main() -> int:
    """Make the sheets and run every way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--paper", default="PA_BTN01_RL")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--few-shot", action="store_true", help="Compare with a third sheet, without a scratch.")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--megapixels", type=float, default=HEIGHT * WIDTH / 1e6)
    parser.add_argument("--picture", type=Path, help="Draw the maps of an earlier run.")
    parser.add_argument("--one", nargs=2, metavar=("IMAGE", "WAY"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    normal = given.out / "normal.png" if given.few_shot else None
    if given.picture and (given.out / "scratched.jpg").exists() and not given.one:
        picture(given.out, given.few_shot).save(given.picture, quality=82, optimize=True)
        return 0
    if given.one:
        image, way = given.one
        name = f"{Path(image).stem} {way}{' few-shot' if given.few_shot else ''}.npy"
        print(json.dumps(measure(Path(image), way, normal, given.threads, given.out / name)))
        return 0
    paper = given.data / "piped" / given.paper
    test, train = sorted((paper / "test/good").iterdir()), sorted((paper / "train/good").iterdir())
    side = (given.megapixels * 1e6 / (HEIGHT * WIDTH)) ** 0.5
    size = round(HEIGHT * side), round(WIDTH * side)
    clean = sheet(test, 0, size)
    clean.save(given.out / "clean.jpg", quality=95)
    scratched(clean).save(given.out / "scratched.jpg", quality=95)
    sheet(train, 1, size).save(given.out / "normal.png")
    for way in given.ways:
        for name in ("clean", "scratched"):
            words = [str(given.data), str(given.out), "--threads", str(given.threads)]
            words += ["--few-shot"] if given.few_shot else []
            command = [sys.executable, __file__, *words, "--one", str(given.out / f"{name}.jpg"), way]
            print(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
