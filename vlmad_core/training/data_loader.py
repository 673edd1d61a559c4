"""Batches of an epoch: features from the cache where they are kept, the rest read ahead and encoded."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlmad_core.contracts.data import Features
from vlmad_core.contracts.images import Picture, read, stack
from vlmad_core.datasets.base import Sample
from vlmad_core.datasets.masks import mask_of
from vlmad_core.errors import ImageError
from vlmad_core.training.cache import FeatureCache
from vlmad_core.training.data import Item, Mosaics
from vlmad_core.training.model import TrainableModel

__all__ = ["Batch", "DataLoader"]

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Batch:
    """Images of a step, encoded.

    Args:
        features: For :meth:`TrainableModel.score`.
        class_names: What each image shows.
        labels: ``[B]`` float32, 1 where abnormal.
        masks: ``[B, H, W]`` bool; None where no loss reads pixels.
        encoded: How many of the images went through the backbone now, and did not come from the cache.
    """

    features: Features
    class_names: list[str]
    labels: Tensor
    masks: Tensor | None
    encoded: int

    def __len__(self) -> int:
        return len(self.class_names)


class DataLoader:
    """Turns items into batches.

    Args:
        samples: With labels, and with masks where a loss reads pixels.
        model: Encodes images.
        cache: Keeps features of the frozen part.
        mosaics: Makes mosaics.
        masks: Whether batches have masks.
        autocast: Makes the context in which the backbone runs.
        workers: Threads that decode images.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        model: TrainableModel,
        cache: FeatureCache,
        mosaics: Mosaics,
        *,
        masks: bool,
        autocast: Callable[[], AbstractContextManager[object]],
        workers: int = 2,
    ) -> None:
        self.samples, self.model, self.cache, self.mosaics = samples, model, cache, mosaics
        self.autocast, self.workers, self.with_masks = autocast, workers, masks
        self.preprocess = model.pipeline.preprocess
        self._mosaics: dict[Item, Sample] = {}
        self._packed: dict[int, NDArray[np.uint8]] = {}  # masks as bits: 34 kB each at 518 x 518

    def __call__(self, batches: Iterable[Sequence[Item]]) -> Generator[Batch]:
        """One batch for each list of items; each image occurs once.

        Raises:
            ImageError: An image or a mask cannot be read.
        """
        batches = list(batches)
        order = list(chain.from_iterable(batches))
        new = {item for item in order if item.mosaic is not None or item.index not in self.cache}
        sources = (self._sample(item, make=True).image for item in order if item in new)
        size = max(map(len, batches), default=1)
        with closing(read(sources, self.preprocess, batch_size=size, workers=self.workers)) as decoded:
            images = chain.from_iterable(decoded)
            for items in batches:
                yield self._batch(items, [item for item in items if item in new], images)

    def _sample(self, item: Item, *, make: bool = False) -> Sample:
        if item.mosaic is None:
            return self.samples[item.index]
        if make:
            self._mosaics[item] = self.mosaics.make(item.index, item.mosaic)
        return self._mosaics[item]

    def _batch(self, items: Sequence[Item], new: Sequence[Item], images: Iterator[Picture]) -> Batch:
        features = self._encode(new, images) if new else None
        if features is None:
            features = self.cache.batch([item.index for item in items])
        elif len(new) < len(items):
            rows = {item: features.select(slice(row, row + 1)) for row, item in enumerate(new)}
            features = _cat([rows[item] if item in rows else self.cache.batch([item.index]) for item in items])
        samples = [self._sample(item) for item in items]
        batch = Batch(
            features,
            [sample.class_name for sample in samples],
            torch.tensor([float(bool(sample.label)) for sample in samples]),
            torch.from_numpy(np.stack([self._mask(item) for item in items])) if self.with_masks else None,
            len(new),
        )
        for item in items:
            self._mosaics.pop(item, None)
        return batch

    def _encode(self, new: Sequence[Item], images: Iterator[Picture]) -> Features:
        """What is not cached goes through the backbone, all of a batch at once."""
        read_now = [next(images) for _ in new]
        for image in read_now:
            if image.error is not None:
                raise ImageError(f"an image to learn from cannot be read: {image.error}")
        with self.autocast():
            features = self.model.encode(stack(read_now))
        for row, item in enumerate(new):
            if item.mosaic is None:
                self.cache.keep(item.index, features, row)
        return features

    def _mask(self, item: Item) -> Mask:
        """``[H, W]`` at the detector's size; normal where there is none."""
        size = self.preprocess.size
        if item.mosaic is None and item.index in self._packed:
            return np.unpackbits(self._packed[item.index], count=size[0] * size[1]).reshape(size).astype(np.bool_)
        mask = mask_of(self._sample(item), size)
        if item.mosaic is None:
            self._packed[item.index] = np.packbits(mask)
        return mask


def _cat(parts: Sequence[Features]) -> Features:
    """Features of single images as those of a batch."""
    levels = tuple(
        replace(first, vectors=torch.cat([part.levels[i].vectors for part in parts]))
        for i, first in enumerate(parts[0].levels)
    )
    images = [part.image for part in parts if part.image is not None]
    return Features(levels, torch.cat(images) if images else None)
