"""What a training learns from: usable samples, their order, mosaics, and the images that are held out for validation.

The order is a function of seed, epoch and step alone, so that a training goes on exactly where it stopped.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlmad_core.contracts.decode import as_converted, open_image
from vlmad_core.datasets.base import Dataset, Sample
from vlmad_core.datasets.masks import mask_of
from vlmad_core.errors import ConfigError
from vlmad_core.training.options import TrainingOptions

__all__ = ["Item", "Mosaics", "epoch_steps", "shard", "split_validation", "step_seed", "usable_samples"]

_ORDER, _MOSAIC, _VALIDATION, _STEP = range(4)
"""What a random generator is for; a part of its seed, so that none repeats another."""


def usable_samples(data: Dataset, options: TrainingOptions, on_message: Callable[[str], None]) -> Sequence[Sample]:
    """Samples that one can learn from.

    Raises:
        ConfigError: None, none with a defect where a loss needs one, or masks that are missing.
    """
    samples = [sample for sample in data.samples if sample.label is not None]
    if len(samples) < len(data.samples):
        on_message(f"{len(data.samples) - len(samples)} images have no label and are left out.")
    if not samples:
        raise ConfigError(f"data set '{data.name}': there is no image with a label in what was chosen.")
    abnormal = [sample for sample in samples if sample.label]
    if not abnormal and options.needs_defects:
        raise ConfigError(
            f"data set '{data.name}': none of the {len(samples)} chosen images shows a defect, and a detector learns "
            "from defects. They are usually in the split 'test'."
        )
    without = [sample for sample in abnormal if not sample.masks]
    if without and options.on_pixels:
        raise ConfigError(
            f"data set '{data.name}': {len(without)} of {len(abnormal)} images with defects have no mask, such as "
            f"{_name(without[0])}. To learn from labels alone, set training.focal=0, training.dice=0, "
            "training.dice_normal=0 and training.cross_entropy=1."
        )
    return samples


def _name(sample: Sample) -> str:
    return str(sample.image) if isinstance(sample.image, str | Path) else f"one of '{sample.category}'"


# -- which image comes when


@dataclass(frozen=True)
class Item:
    """One image of an epoch.

    Args:
        index: Of the sample.
        mosaic: Seed of its mosaic; None: the image as it is.
    """

    index: int
    mosaic: int | None = None


def epoch_steps(indices: Sequence[int], size: int, *, seed: int, epoch: int, mosaic: float = 0.0) -> list[list[Item]]:
    """Every image once, in a new order each epoch, cut into steps of ``size`` images over all devices together.

    >>> [[item.index for item in step] for step in epoch_steps([0, 1, 2], 2, seed=0, epoch=0)]
    [[2, 0], [1]]
    """
    order = np.random.default_rng((_ORDER, seed, epoch)).permutation(np.asarray(indices))
    rng = np.random.default_rng((_MOSAIC, seed, epoch))
    chosen = rng.random(len(order)) < mosaic
    seeds = rng.integers(2**62, size=len(order))
    items = [Item(int(index), int(s) if c else None) for index, c, s in zip(order, chosen.tolist(), seeds, strict=True)]
    return [items[start : start + size] for start in range(0, len(items), size)]


def shard(step: Sequence[Item], index: int, count: int, batch_size: int) -> list[list[Item]]:
    """What process ``index`` of ``count`` does of a step, in batches; nothing, perhaps, of a last short step."""
    own = list(step[index::count])
    return [own[start : start + batch_size] for start in range(0, len(own), batch_size)]


def split_validation(samples: Sequence[Sample], share: float, *, seed: int) -> tuple[list[int], list[int]]:
    """Indices to learn from and indices to validate on, each category and label divided by the same share."""
    groups: dict[tuple[str, bool | None], list[int]] = defaultdict(list)
    for i, sample in enumerate(samples):
        groups[sample.category, sample.label].append(i)
    rng = np.random.default_rng((_VALIDATION, seed))
    held_out: set[int] = set()
    for group in groups.values():
        # Rounded by chance: were it by rule, ten categories of three images would hold out nothing of any.
        count = min(int(share * len(group) + rng.random()), len(group) - 1)
        held_out.update(int(i) for i in rng.permutation(group)[:count])
    return [i for i in range(len(samples)) if i not in held_out], sorted(held_out)


def step_seed(seed: int, epoch: int, step: int, process: int) -> int:
    """What torch is seeded with before a step, so that no generator's state need be saved."""
    return int(np.random.SeedSequence((_STEP, seed, epoch, step, process)).generate_state(1)[0])


# -- mosaics


class Mosaics:
    """Two by two images of one category in one, made anew in every epoch (APRIL-GAN, VAND 2023).

    Args:
        samples: All samples.
        indices: Of those that may appear in a mosaic: the images to learn from, never those held out for validation.
        bits: Of the values in 16-bit grey files; None: what the file says, or 16.
    """

    def __init__(
        self, samples: Sequence[Sample], indices: Iterable[int] | None = None, *, bits: int | str | None = None
    ) -> None:
        self.samples, self.bits = samples, bits
        kinds: dict[str, dict[str, list[Sample]]] = defaultdict(lambda: defaultdict(list))
        for index in range(len(samples)) if indices is None else sorted(indices):
            kinds[samples[index].category][samples[index].kind].append(samples[index])
        self._pools = {category: [pools[kind] for kind in sorted(pools)] for category, pools in kinds.items()}

    def make(self, index: int, seed: int) -> Sample:
        """One mosaic of the category of a sample.

        Each of the four is drawn with replacement: first a kind of defect (or "good"), all kinds alike, then an image
        of that kind. They are laid side by side at the size of the first; the others are resized to it.

        Args:
            index: Of the sample whose category is taken.
            seed: Decides the draw.

        Returns:
            A sample with the image and its mask in memory; abnormal if any of the four is.

        Raises:
            ImageError: An image or a mask cannot be read.
        """
        first = self.samples[index]
        pools = self._pools[first.category]
        rng = np.random.default_rng(seed)
        chosen = []
        for _ in range(4):
            pool = pools[rng.integers(len(pools))]
            chosen.append(pool[rng.integers(len(pool))])
        images = [open_image(sample.image, bits=self.bits) for sample in chosen]
        size = images[0].size
        tiles = [image if image.size == size else image.resize(size) for image in images]
        masks = [mask_of(sample, (size[1], size[0])).astype(np.uint8) for sample in chosen]
        return Sample(
            image=as_converted(Image.fromarray(_square([np.asarray(tile) for tile in tiles]))),
            label=any(sample.label for sample in chosen),
            category=first.category,
            split=first.split,
            kind="mosaic",
            masks=(_square(masks),),
        )


def _square(tiles: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    top, bottom = np.concatenate(tiles[:2], axis=1), np.concatenate(tiles[2:], axis=1)
    return np.concatenate([top, bottom], axis=0)
