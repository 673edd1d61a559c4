"""The mosaic that APRIL-GAN trains with: four images of a category in one, made anew in every epoch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlmad_core.contracts.images import open_image
from vlmad_core.datasets.base import Sample
from vlmad_core.datasets.masks import mask_of

__all__ = ["mosaic"]


def mosaic(samples: Sequence[Sample], index: int, seed: int) -> Sample:
    """Two by two images of the category of ``samples[index]`` (APRIL-GAN, VAND 2023).

    Each is drawn with replacement: first a kind of defect (or "good"), all kinds alike, then an image of that kind.
    They are laid side by side at the size of the first; the others are resized to it where they differ.

    Args:
        samples: What may be drawn from.
        index: Whose category.
        seed: Decides the draw.

    Returns:
        A sample with the picture and its mask in memory; abnormal if any of the four is.

    Raises:
        ImageError: An image or a mask cannot be read.
    """
    first = samples[index]
    kinds: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        if sample.category == first.category:
            kinds[sample.kind].append(sample)
    rng = np.random.default_rng(seed)
    pools = [kinds[kind] for kind in sorted(kinds)]
    chosen = []
    for _ in range(4):
        pool = pools[rng.integers(len(pools))]
        chosen.append(pool[rng.integers(len(pool))])
    pictures = [open_image(sample.image) for sample in chosen]
    size = pictures[0].size
    tiles = [picture if picture.size == size else picture.resize(size) for picture in pictures]
    masks = [mask_of(sample, (size[1], size[0])).astype(np.uint8) for sample in chosen]
    return Sample(
        image=Image.fromarray(_square([np.asarray(tile) for tile in tiles])),
        label=any(sample.label for sample in chosen),
        category=first.category,
        split=first.split,
        kind="mosaic",
        masks=(_square(masks),),
    )


def _square(tiles: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    top, bottom = np.concatenate(tiles[:2], axis=1), np.concatenate(tiles[2:], axis=1)
    return np.concatenate([top, bottom], axis=0)
