"""Generated pictures, once through the frozen encoder, kept as shards: several epochs then cost the new parts alone.

Every picture comes twice, without and with its defect. A shard holds what block 9 gives for both (fp16), the share of
each cell that is defective, how far the defect moved each cell's token, the mask as bits, and the words of each pair.
Shards differ in size and in aspect ratio. Killed and started again, it goes on with the first shard that is missing;
several processes may share the work (``--first``, ``--step``).
"""

from __future__ import annotations

import argparse
import os
import time
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from vlmad_core.contracts import forward_blocks
from vlmad_pocket.plugin import PocketConfig
from vlmad_pocket.vision import PATCH, READ, Pocket

if TYPE_CHECKING:
    from collections.abc import Iterator

SHARD = 64
"""Pairs in a shard."""
GRIDS = ((16, 16), (24, 24), (16, 16), (32, 32), (16, 16), (16, 22), (16, 16), (28, 21))
"""Cells of the pictures, shard after shard: 224 to 448 px, square, wide and tall."""
MOVED = 0.12
"""Cosine distance from which a defect changes a token; below it the encoder cannot tell the two pictures apart."""
WORDS = ("material", "thing", "layout", "kind", "second", "strength", "place", "extent", "caption")
VALIDATION_SEED = 1_000_000_000


def generate(task: tuple[int, tuple[int, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
    """Clean and damaged image ``[H, W, 3]``, mask ``[H, W]``, words; by seed and cells.

    The scene is drawn at another size than is looked at in four pictures of ten, so that the grain of a camera and the
    width of a line are not tied to the size.
    """
    from pictures.sample import DAMAGED, make

    seed, grid = task
    rng = np.random.default_rng([seed, 23])
    height, width = grid[0] * PATCH, grid[1] * PATCH
    side = max(height, width)
    way = rng.random()
    drawn = round(side * (rng.uniform(1.1, 1.6) if way < 0.2 else rng.uniform(0.55, 0.9) if way < 0.4 else 1))
    try:
        sample = make(seed, size=drawn, kind=DAMAGED)
    except Exception as error:  # one bad draw must not end a night's run; it is told, and the next seed is taken
        print(f"seed {seed} at {drawn}: {error!r}", flush=True)
        return generate((seed + 500_000_000, grid))
    box = (0, 0, drawn, drawn)
    if height != width and rng.random() < 0.5:  # a part of the scene instead of a squeezed one
        part = np.array([min(1, width / height), min(1, height / width)]) * drawn
        corner = rng.uniform(0, 1, 2) * (drawn - part)
        box = (*corner, *(corner + part))
    clean, image = (
        np.asarray(Image.fromarray(one).resize((width, height), Image.Resampling.BICUBIC, box))
        for one in (sample.clean, sample.image)
    )
    mask = Image.fromarray(sample.mask.astype(np.uint8) * 255).resize((width, height), Image.Resampling.BOX, box)
    words = {name: getattr(sample, name, None) for name in WORDS} | {"seed": seed}
    return clean, image, np.asarray(mask) > 100, words


def cell_shares(masks: Tensor) -> Tensor:
    """``[B, H, W]`` bool to the share of each cell that is defective, ``[B, h*w]``."""
    return functional.avg_pool2d(masks[:, None].float(), PATCH).flatten(1)


def targets(share: Tensor, moved: Tensor) -> tuple[Tensor, Tensor]:
    """What the cells of damaged pictures are, ``[B, M]``: 1 for defective; and what each counts, 0 where it is neither.

    Args:
        share: Of each cell that the mask covers.
        moved: Cosine distance of its tokens with and without the defect.
    """
    defective = (share > 0.02) & (moved > MOVED)
    sound = (share == 0) & (moved < MOVED)
    return defective.float(), (defective | sound).float()


def to_batch(images: list[np.ndarray]) -> Tensor:
    """``[B, 3, H, W]``, as the preprocessing of pocket makes it."""
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float().div_(255)
    mean, std = torch.tensor((0.485, 0.456, 0.406)), torch.tensor((0.229, 0.224, 0.225))
    return pixels.sub_(mean[:, None, None]).div_(std[:, None, None])


class Frozen:
    """The first nine blocks in bfloat16: ``[B, 3, H, W]`` to ``[B, 1 + h*w, 384]``."""

    def __init__(self, device: str = "cpu") -> None:
        self.vision = Pocket(PocketConfig(words=False, dtype="bfloat16", device=device)).vision
        self.device = device

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """Block 9's output, float16."""
        x, _ = self.vision.embed(images.to(self.device, torch.bfloat16))
        return forward_blocks(self.vision.blocks[:READ], x)[0].half()

    def moved(self, clean: Tensor, damaged: Tensor) -> Tensor:
        """Cosine distance of the normed tokens of two pictures, ``[B, 1 + h*w]``."""
        left, right = (self.vision.norm(x.to(self.device, torch.bfloat16)).float() for x in (clean, damaged))
        return (1 - functional.cosine_similarity(left, right, dim=-1)).half().cpu()


def shard_path(folder: Path, split: str, number: int) -> Path:
    """Where a shard lies."""
    return folder / f"{split}-{number:04d}.pt"


def extract(folder: Path, split: str, numbers: list[int], *, workers: int, device: str = "cpu") -> None:
    """Make the shards with these numbers, those that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [n for n in numbers if not shard_path(folder, split, n).exists()]
    base = VALIDATION_SEED if split == "val" else 0
    tasks = [(base + n * SHARD + i, GRIDS[n % len(GRIDS)]) for n in wanted for i in range(SHARD)]
    frozen, began = Frozen(device), time.perf_counter()
    with get_context("fork").Pool(workers, initializer=os.nice, initargs=(0,)) as pool:
        made = pool.imap(generate, tasks, chunksize=4)
        for done, number in enumerate(wanted, start=1):
            rows = [next(made) for _ in range(SHARD)]
            clean, damaged = (
                torch.cat([frozen(to_batch([r[k] for r in rows[i : i + 16]])).cpu() for i in range(0, SHARD, 16)])
                for k in (0, 1)
            )
            masks = np.stack([r[2] for r in rows])
            shard = {
                "clean": clean,
                "damaged": damaged,
                "moved": frozen.moved(clean, damaged),
                "share": cell_shares(torch.from_numpy(masks)).half(),
                "bits": torch.from_numpy(np.packbits(masks.reshape(SHARD, -1), axis=1)),
                "grid": GRIDS[number % len(GRIDS)],
                "words": [r[3] for r in rows],
            }
            path = shard_path(folder, split, number)
            torch.save(shard, path.with_suffix(".part"))
            path.with_suffix(".part").rename(path)
            rate = done * SHARD / (time.perf_counter() - began)
            print(f"{split} shard {number}: {done}/{len(wanted)}, {rate:.1f} pairs/s", flush=True)


def load(folder: Path, split: str, most: int | None = None) -> Iterator[dict[str, Any]]:
    """The shards that are there, in order."""
    for path in sorted(folder.glob(f"{split}-*.pt"))[:most]:
        yield torch.load(path, weights_only=True, mmap=True)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--split", choices=("train", "val"), default="train")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--shards", type=int, default=128, help=f"of {SHARD} pairs each")
    parser.add_argument("--step", type=int, default=1, help="take every so many, where several processes share")
    parser.add_argument("--workers", type=int, default=1, help="processes that draw, beside the one that encodes")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    numbers = list(range(options.first, options.shards, options.step))
    extract(options.out, options.split, numbers, workers=options.workers, device=options.device)


if __name__ == "__main__":
    main()
