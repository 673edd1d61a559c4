"""`python -m pictures --out DIR --count N`: write pictures, masks and a table of captions to a folder.

The folder is a data set in the MVTec layout with one category, `generated`: to look at, and for `vlmad train`.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image

from pictures.sample import Sample, stream


def write(root: Path, seed: int, sample: Sample) -> None:
    """One picture, and its mask if it has a defect."""
    kind = (sample.kind or "good").replace(" ", "_")
    image = root / "test" / kind / f"{seed:08d}.png"
    image.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sample.image).save(image)
    if sample.kind is not None:
        mask = root / "ground_truth" / kind / f"{seed:08d}_mask.png"
        mask.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(sample.mask.astype(np.uint8) * 255).save(mask)


def main() -> None:
    """Write pictures of consecutive seeds, in the MVTec layout."""
    parser = argparse.ArgumentParser(prog="pictures", description=main.__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--count", type=int, default=16, help="how many (default: 16)")
    parser.add_argument("--seed", type=int, default=0, help="first seed (default: 0)")
    parser.add_argument("--size", type=int, default=224, help="side in pixels (default: 224)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: 2)")
    chosen = parser.parse_args()
    root = chosen.out / "generated"
    (root / "train" / "good").mkdir(parents=True, exist_ok=True)  # empty: every picture is for training or testing
    seeds = range(chosen.seed, chosen.seed + chosen.count)
    with (chosen.out / "captions.jsonl").open("w") as table:
        for seed, sample in zip(seeds, stream(seeds, size=chosen.size, workers=chosen.workers), strict=True):
            write(root, seed, sample)
            words = {name: value for name, value in vars(sample).items() if name not in ("image", "mask")}
            table.write(json.dumps({"seed": seed, **words}) + "\n")


if __name__ == "__main__":
    main()
