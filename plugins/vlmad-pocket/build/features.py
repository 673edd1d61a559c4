"""Generated pictures, once through the frozen encoder, kept as shards: several epochs then cost the new parts alone.

A shard holds what block 9 gives (fp16), the share of each cell that is defective, the mask itself as bits, and the
words of each picture. Killed and started again, it goes on with the first shard that is missing.
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
from torch import Tensor
from torch.nn import functional

from vlmad_core.contracts import forward_blocks
from vlmad_pocket.plugin import PocketConfig
from vlmad_pocket.vision import PATCH, READ, Pocket

if TYPE_CHECKING:
    from collections.abc import Iterator

SHARD = 128
SIZES = (224, 224, 336, 224)
"""Sides of the pictures, shard after shard: mostly those of the default."""
WORDS = ("material", "thing", "layout", "kind", "second", "strength", "place", "extent", "caption")
VALIDATION_SEED = 1_000_000_000


def generate(task: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Image ``[S, S, 3]``, mask ``[S, S]``, words; by seed and side."""
    from pictures.sample import make

    seed, side = task
    try:
        sample = make(seed, size=side)
    except Exception as error:  # one bad draw must not end a night's run; it is told, and the next seed is taken
        print(f"seed {seed} at {side}: {error!r}", flush=True)
        return generate((seed + 500_000_000, side))
    return sample.image, sample.mask, {name: getattr(sample, name, None) for name in WORDS} | {"seed": seed}


def cell_shares(masks: Tensor) -> Tensor:
    """``[B, H, W]`` bool to the share of each cell that is defective, ``[B, h*w]``."""
    return functional.avg_pool2d(masks[:, None].float(), PATCH).flatten(1)


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


def shard_path(folder: Path, split: str, number: int) -> Path:
    """Where a shard lies."""
    return folder / f"{split}-{number:04d}.pt"


def extract(folder: Path, split: str, numbers: list[int], *, workers: int, device: str = "cpu") -> None:
    """Make the shards with these numbers, those that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [n for n in numbers if not shard_path(folder, split, n).exists()]
    base = VALIDATION_SEED if split == "val" else 0
    tasks = [(base + n * SHARD + i, SIZES[n % len(SIZES)]) for n in wanted for i in range(SHARD)]
    frozen, began = Frozen(device), time.perf_counter()
    with get_context("fork").Pool(workers, initializer=os.nice, initargs=(0,)) as pool:
        made = pool.imap(generate, tasks, chunksize=4)
        for done, number in enumerate(wanted, start=1):
            rows = [next(made) for _ in range(SHARD)]
            tokens = torch.cat([frozen(to_batch([r[0] for r in rows[i : i + 16]])).cpu() for i in range(0, SHARD, 16)])
            masks = np.stack([r[1] for r in rows]).astype(bool)
            shard = {
                "tokens": tokens,
                "share": cell_shares(torch.from_numpy(masks)).half(),
                "bits": torch.from_numpy(np.packbits(masks.reshape(SHARD, -1), axis=1)),
                "size": rows[0][0].shape[0],
                "words": [r[2] for r in rows],
            }
            path = shard_path(folder, split, number)
            torch.save(shard, path.with_suffix(".part"))
            path.with_suffix(".part").rename(path)
            rate = done * SHARD / (time.perf_counter() - began)
            print(f"{split} shard {number}: {done}/{len(wanted)}, {rate:.1f} pictures/s", flush=True)


def load(folder: Path, split: str, most: int | None = None) -> Iterator[dict[str, Any]]:
    """The shards that are there, in order."""
    for path in sorted(folder.glob(f"{split}-*.pt"))[:most]:
        shard: dict[str, Any] = torch.load(path, weights_only=True)
        yield shard | {"bits": shard["bits"].numpy()}


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--split", choices=("train", "val"), default="train")
    parser.add_argument("--shards", type=int, default=96, help=f"of {SHARD} pictures each")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    extract(options.out, options.split, list(range(options.shards)), workers=options.workers, device=options.device)


if __name__ == "__main__":
    main()
