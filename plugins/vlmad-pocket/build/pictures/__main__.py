"""`python -m pictures --out DIR --count N`: write pictures, masks and a table of captions to a folder, to look at."""

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image

from pictures.sample import stream


def main() -> None:
    """Write pictures of consecutive seeds."""
    parser = argparse.ArgumentParser(prog="pictures", description=main.__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--count", type=int, default=16, help="how many (default: 16)")
    parser.add_argument("--seed", type=int, default=0, help="first seed (default: 0)")
    parser.add_argument("--size", type=int, default=224, help="side in pixels (default: 224)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: 2)")
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    seeds = range(chosen.seed, chosen.seed + chosen.count)
    with (chosen.out / "captions.jsonl").open("w") as table:
        for seed, sample in zip(seeds, stream(seeds, size=chosen.size, workers=chosen.workers), strict=True):
            Image.fromarray(sample.image).save(chosen.out / f"{seed:08d}.png")
            Image.fromarray(sample.mask.astype(np.uint8) * 255).save(chosen.out / f"{seed:08d}-mask.png")
            words = {name: value for name, value in vars(sample).items() if name not in ("image", "mask")}
            table.write(json.dumps({"seed": seed, **words}) + "\n")


if __name__ == "__main__":
    main()
