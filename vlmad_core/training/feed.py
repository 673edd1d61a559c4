"""Batches of an epoch: what was seen before comes from the cache, the rest is read ahead and goes through the tower."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlmad_core.contracts.data import Features
from vlmad_core.contracts.images import Picture, read, stack
from vlmad_core.datasets.base import Sample
from vlmad_core.datasets.masks import mask_of
from vlmad_core.errors import ImageError
from vlmad_core.training.augment import mosaic
from vlmad_core.training.cache import FeatureCache
from vlmad_core.training.learner import Learner
from vlmad_core.training.plan import Draw

__all__ = ["Batch", "Feed"]

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Batch:
    """Images of a step, seen by the tower.

    Args:
        seen: For :meth:`Learner.judge`.
        names: What each shows.
        labels: ``[B]`` float32, 1 where abnormal.
        masks: ``[B, H, W]`` bool; None where no loss looks at pixels.
        looked: How many went through the tower now.
    """

    seen: Features
    names: list[str]
    labels: Tensor
    masks: Tensor | None
    looked: int

    def __len__(self) -> int:
        return len(self.names)


class Autocast(Protocol):
    """Makes a context in which towers run."""

    def __call__(self) -> AbstractContextManager[object]:
        """A new one."""
        ...


class Feed:
    """Turns draws into batches.

    Args:
        samples: With labels, and with masks where pixels count.
        learner: Whose tower looks.
        cache: Where it keeps what it saw.
        masks: Whether masks are wanted.
        autocast: In which the tower runs.
    """

    def __init__(
        self, samples: Sequence[Sample], learner: Learner, cache: FeatureCache, *, masks: bool, autocast: Autocast
    ) -> None:
        self.samples, self.learner, self.cache, self.autocast = samples, learner, cache, autocast
        self.wants_masks = masks
        self.preprocess = learner.pipeline.backbone.preprocess
        self._made: dict[Draw, Sample] = {}
        self._packed: dict[int, NDArray[np.uint8]] = {}  # masks as bits: 34 kB each at 518 x 518

    def __call__(self, batches: Iterable[Sequence[Draw]]) -> Generator[Batch]:
        """One batch for each list of draws; each image occurs once.

        Raises:
            ImageError: An image or a mask cannot be read.
        """
        batches = list(batches)
        order = list(chain.from_iterable(batches))
        new = {draw for draw in order if draw.mosaic is not None or draw.index not in self.cache}
        sources = (self._sample(draw, make=True).image for draw in order if draw in new)
        with closing(read(sources, self.preprocess, batch_size=max(map(len, batches), default=1))) as pictures:
            ahead = chain.from_iterable(pictures)
            for draws in batches:
                yield self._batch(draws, [draw for draw in draws if draw in new], ahead)

    def _sample(self, draw: Draw, *, make: bool = False) -> Sample:
        if draw.mosaic is None:
            return self.samples[draw.index]
        if make:
            self._made[draw] = mosaic(self.samples, draw.index, draw.mosaic)
        return self._made[draw]

    def _batch(self, draws: Sequence[Draw], new: Sequence[Draw], ahead: Iterator[Picture]) -> Batch:
        seen = self._look(new, ahead) if new else None
        if seen is None:
            seen = self.cache.batch([draw.index for draw in draws])
        elif len(new) < len(draws):
            rows = {draw: seen.select(slice(row, row + 1)) for row, draw in enumerate(new)}
            seen = Features.cat([rows[draw] if draw in rows else self.cache.batch([draw.index]) for draw in draws])
        samples = [self._sample(draw) for draw in draws]
        batch = Batch(
            seen,
            [sample.class_name for sample in samples],
            torch.tensor([float(bool(sample.label)) for sample in samples]),
            torch.from_numpy(np.stack([self._mask(draw) for draw in draws])) if self.wants_masks else None,
            len(new),
        )
        for draw in draws:
            self._made.pop(draw, None)
        return batch

    def _look(self, new: Sequence[Draw], ahead: Iterator[Picture]) -> Features:
        """What is not kept goes through the tower, all of a batch at once."""
        pictures = [next(ahead) for _ in new]
        for picture in pictures:
            if picture.error is not None:
                raise ImageError(f"an image to learn from cannot be read: {picture.error}")
        with self.autocast():
            seen = self.learner.look(stack(pictures))
        for row, draw in enumerate(new):
            if draw.mosaic is None:
                self.cache.keep(draw.index, seen, row)
        return seen

    def _mask(self, draw: Draw) -> Mask:
        """``[H, W]`` at the detector's size; normal where there is none."""
        size = self.preprocess.size
        if draw.mosaic is None and draw.index in self._packed:
            return np.unpackbits(self._packed[draw.index], count=size[0] * size[1]).reshape(size).astype(np.bool_)
        small = mask_of(self._sample(draw), size)
        if draw.mosaic is None:
            self._packed[draw.index] = np.packbits(small)
        return small
