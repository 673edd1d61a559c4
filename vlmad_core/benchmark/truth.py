"""What is known of the judged images, read once a category; and how maps are held against it, one by one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from vlmad_core.datasets.base import Sample
from vlmad_core.datasets.loco import saturation_areas
from vlmad_core.datasets.masks import mask_of
from vlmad_core.errors import ConfigError, ImageError, VlmadError
from vlmad_core.metrics.aupro_200 import stepped_aupro
from vlmad_core.metrics.saturated import Area, au_spro, resized
from vlmad_core.metrics.sketch import PixelSketch

__all__ = ["PixelCount", "Truth", "plain"]


class Truth:
    """Labels and masks.

    Args:
        samples: The judged images, numbered from 0.
        unreadable: Number of an image to why it cannot be read.
        sizes: Number of an image to its ``(height, width)``.
        resolution: Of the masks, by nearest neighbour; None: each as it is.
        saturated: Whether the defects have saturation areas, as those of MVTec LOCO.

    Attributes:
        places: Numbers of the images that count, those with an unreadable mask left out too.
        unreadable: With those.
        masked: Whether there is any mask, so that there are pixel metrics.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        unreadable: dict[int, str],
        sizes: dict[int, tuple[int, int]],
        resolution: tuple[int, int] | None,
        *,
        saturated: bool = False,
    ) -> None:
        self.samples = samples
        self.unreadable = {place: error for place, error in unreadable.items() if place < len(samples)}
        self.masked = any(sample.masks for sample in samples)
        self.sizes: dict[int, tuple[int, int]] = {}
        self.masks: dict[int, np.ndarray | None] = {}
        self.areas: dict[int, list[Area]] | None = {} if saturated else None
        for place, sample in enumerate(samples):
            if place not in self.unreadable:
                try:
                    self._read(place, sample, sizes[place], resolution)
                except (ImageError, ConfigError) as error:
                    self.unreadable[place] = str(error)
        self.places = [place for place in range(len(samples)) if place not in self.unreadable]

    def _read(self, place: int, sample: Sample, given: tuple[int, int], resolution: tuple[int, int] | None) -> None:
        mask = mask_of(sample) if sample.masks else None
        if mask is not None and not _alike(mask.shape, given):
            seen, shown = (f"{width} x {height}" for height, width in (mask.shape, given))
            raise ImageError(
                f"{sample.masks[0]}: is {seen} pixels, and the image {shown}: not of the same proportions."
            )
        size = resolution or (given if mask is None else (mask.shape[0], mask.shape[1]))
        if self.areas is not None:
            self.areas[place] = [resized(area, size) for area in saturation_areas(sample)]
        self.sizes[place], self.masks[place] = size, None if mask is None else _nearest(mask, size)

    @property
    def labels(self) -> np.ndarray:
        """``[N]`` bool, in the order of :attr:`places`."""
        return np.array([bool(self.samples[place].label) for place in self.places])

    def is_known(self, place: int) -> bool:
        """Whether each pixel of an image is known: it is normal, or has a mask."""
        return place in self.sizes and (not self.samples[place].label or bool(self.samples[place].masks))


class PixelCount:
    """Takes maps as they come and gives pixel metrics; holds no map where no metric needs all of them.

    Args:
        truth: What is known.
        stepped: Also the 200-step AUPRO of published tables.
        memory: Bytes of scores up to which the metrics are exact; beyond, they are binned, with a proven bound.
    """

    def __init__(self, truth: Truth, *, stepped: bool = False, memory: int = 1 << 30) -> None:
        self._truth, self._stepped = truth, stepped
        self._sketch = PixelSketch(memory=memory)
        self._held: dict[int, np.ndarray] = {}

    def add(self, places: Sequence[int], maps: torch.Tensor) -> None:
        """Maps ``[B, h, w]`` of some images, at the size of the detector.

        Raises:
            VlmadError: One that is not finite.
        """
        if not bool(maps.isfinite().all()):
            raise VlmadError("the detector gave a map that is not a number everywhere.")
        kept = [(row, place) for row, place in enumerate(places) if self._truth.is_known(place)]
        for size in dict.fromkeys(self._truth.sizes[place] for _, place in kept):
            mine = [(row, place) for row, place in kept if self._truth.sizes[place] == size]
            for (_, place), map_ in zip(mine, at_size(maps[[row for row, _ in mine]], size), strict=True):
                self._sketch.update(map_, self._truth.masks[place])
                if self._stepped or self._truth.areas is not None:
                    self._held[place] = map_

    def numbers(self) -> dict[str, Any]:
        """Fields of a row."""
        found = self._sketch.result((0.3, 0.05))
        numbers: dict[str, Any] = plain(
            pixel_auroc=found.auroc,
            pixel_ap=found.ap,
            pixel_f1max=found.f1max,
            aupro=found.aupro[0.3],
            aupro_05=found.aupro[0.05],
            pixel_bound=found.bound,
        )
        numbers["pixel_exact"] = found.exact
        maps = list(self._held.values())
        if self._stepped:
            masks = [self._truth.masks[place] for place in self._held]
            numbers |= plain(aupro_200=stepped_aupro(maps, masks).value)
        if self._truth.areas is not None:
            numbers |= plain(au_spro=au_spro(maps, [self._truth.areas[place] for place in self._held]))
        return numbers


def plain(**numbers: float) -> dict[str, float | None]:
    """As JSON has them: null for what is not defined."""
    return {name: float(value) if math.isfinite(value) else None for name, value in numbers.items()}


def at_size(maps: torch.Tensor, size: tuple[int, int]) -> np.ndarray:
    """``[B, *size]``, bilinear as :meth:`vlmad_core.Prediction.map_at`."""
    if size != tuple(maps.shape[-2:]):
        maps = F.interpolate(maps[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
    array: np.ndarray = maps.numpy()
    return array


def _alike(mask: tuple[int, ...], image: tuple[int, int]) -> bool:
    """Whether one is the other resized, each side to whole pixels."""
    return abs(mask[0] * image[1] - mask[1] * image[0]) <= (image[0] + image[1]) / 2


def _nearest(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if mask.shape == size:
        return mask
    small = Image.fromarray(mask.astype(np.uint8)).resize((size[1], size[0]), Image.Resampling.NEAREST)
    return np.asarray(small) > 0
