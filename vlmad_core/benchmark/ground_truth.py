"""Labels and masks of the test images, read once a category; and pixel metrics of maps against them, image by image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from vlmad_core.datasets.base import Sample
from vlmad_core.datasets.loco import saturation_areas
from vlmad_core.datasets.masks import mask_of, mask_values
from vlmad_core.errors import ConfigError, ImageError, VlmadError
from vlmad_core.metrics.aupro_200 import stepped_aupro
from vlmad_core.metrics.saturated import Area, au_spro, resized
from vlmad_core.metrics.sketch import PixelSketch

__all__ = ["GroundTruth", "PixelScores", "finite_or_none"]

_GREY = 16
"""Distinct values above 0 from which a mask holds shades of grey; kinds of defect are fewer."""


class GroundTruth:
    """Labels and masks of the test images.

    Args:
        samples: The test images, numbered from 0.
        unreadable: Number of an image to why it cannot be read.
        sizes: Number of an image to its ``(height, width)``.
        resolution: Of the masks, by nearest neighbour; None: each as it is.
        saturated: Whether the defects have saturation areas, as those of MVTec LOCO.

    Attributes:
        indices: Numbers of the images that count, those with an unreadable mask left out too.
        unreadable: With those.
        masked: Whether there is any mask, so that there are pixel metrics.
        problems: What is odd about masks that are used, as sentences.
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
        self.unreadable = {index: error for index, error in unreadable.items() if index < len(samples)}
        self.masked = any(sample.masks for sample in samples)
        self.sizes: dict[int, tuple[int, int]] = {}
        self.masks: dict[int, np.ndarray | None] = {}
        self.areas: dict[int, list[Area]] | None = {} if saturated else None
        self._grey: list[str] = []
        self._resized: list[str] = []
        for index, sample in enumerate(samples):
            if index not in self.unreadable:
                try:
                    self._read(index, sample, sizes[index], resolution)
                except (ImageError, ConfigError) as error:
                    self.unreadable[index] = str(error)
        self.indices = [index for index in range(len(samples)) if index not in self.unreadable]

    def _read(self, index: int, sample: Sample, given: tuple[int, int], resolution: tuple[int, int] | None) -> None:
        mask = mask_of(sample) if sample.masks else None
        if mask is not None:
            mask_size, image_size = (f"{width} x {height}" for height, width in (mask.shape, given))
            if not _same_proportions(mask.shape, given):
                raise ImageError(
                    f"{sample.masks[0]}: is {mask_size} pixels, and the image {image_size}: "
                    "not of the same proportions."
                )
            if mask.shape != given:
                self._resized.append(f"{_name(sample)} is {mask_size} pixels, the image {image_size}")
            self._grey += [_name(sample)] * any(map(_is_grey, sample.masks))
        size = resolution or (given if mask is None else (mask.shape[0], mask.shape[1]))
        if self.areas is not None:
            self.areas[index] = [resized(area, size) for area in saturation_areas(sample)]
        self.sizes[index], self.masks[index] = size, None if mask is None else _nearest(mask, size)

    @property
    def problems(self) -> list[str]:
        """Sentences."""
        found = []
        if self._grey:
            found.append(
                f"{_count(self._grey)} with shades of grey, as after JPEG or with soft edges, so where a defect ends "
                f"is not clear: {self._grey[0]}. Save masks as PNG with two values."
            )
        if self._resized:
            found.append(f"{_count(self._resized)} of another size than the image: {self._resized[0]}.")
        return found

    @property
    def labels(self) -> np.ndarray:
        """``[N]`` bool, in the order of :attr:`indices`."""
        return np.array([bool(self.samples[index].label) for index in self.indices])

    def is_known(self, index: int) -> bool:
        """Whether each pixel of an image is known: it is normal, or has a mask."""
        return index in self.sizes and (not self.samples[index].label or bool(self.samples[index].masks))


class PixelScores:
    """Takes maps as they come and gives pixel metrics; holds no map where no metric needs all of them.

    Args:
        truth: The masks.
        stepped: Also the 200-step AUPRO of published tables.
        memory: Bytes of scores up to which the metrics are exact; beyond, they are binned, with a proven bound.
    """

    def __init__(self, truth: GroundTruth, *, stepped: bool = False, memory: int = 1 << 30) -> None:
        self._truth, self._stepped = truth, stepped
        self._sketch = PixelSketch(memory=memory)
        self._held: dict[int, np.ndarray] = {}

    def add(self, indices: Sequence[int], maps: torch.Tensor) -> None:
        """Maps ``[B, h, w]`` of some images, at the size of the detector.

        Raises:
            VlmadError: One that is not finite.
        """
        if not bool(maps.isfinite().all()):
            raise VlmadError("the detector gave a map that is not a number everywhere.")
        known = [(row, index) for row, index in enumerate(indices) if self._truth.is_known(index)]
        for size in dict.fromkeys(self._truth.sizes[index] for _, index in known):
            alike = [(row, index) for row, index in known if self._truth.sizes[index] == size]
            for (_, index), map_ in zip(alike, at_size(maps[[row for row, _ in alike]], size), strict=True):
                self._sketch.update(map_, self._truth.masks[index])
                if self._stepped or self._truth.areas is not None:
                    self._held[index] = map_

    def numbers(self) -> dict[str, Any]:
        """Fields of a row."""
        found = self._sketch.result((0.3, 0.05))
        numbers: dict[str, Any] = finite_or_none(
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
            masks = [self._truth.masks[index] for index in self._held]
            numbers |= finite_or_none(aupro_200=stepped_aupro(maps, masks).value)
        if self._truth.areas is not None:
            numbers |= finite_or_none(au_spro=au_spro(maps, [self._truth.areas[index] for index in self._held]))
        return numbers


def finite_or_none(**numbers: float) -> dict[str, float | None]:
    """As JSON has them: null for what is not defined."""
    return {name: float(value) if math.isfinite(value) else None for name, value in numbers.items()}


def at_size(maps: torch.Tensor, size: tuple[int, int]) -> np.ndarray:
    """``[B, *size]``, bilinear as :meth:`vlmad_core.Prediction.map_at`."""
    if size != tuple(maps.shape[-2:]):
        maps = F.interpolate(maps[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
    array: np.ndarray = maps.numpy()
    return array


def _same_proportions(mask: tuple[int, ...], image: tuple[int, int]) -> bool:
    """Whether one is the other resized, each side to whole pixels."""
    return abs(mask[0] * image[1] - mask[1] * image[0]) <= (image[0] + image[1]) / 2


def _nearest(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if mask.shape == size:
        return mask
    small = Image.fromarray(mask.astype(np.uint8)).resize((size[1], size[0]), Image.Resampling.NEAREST)
    return np.asarray(small) > 0


def _is_grey(mask: Any) -> bool:
    values = mask_values(mask)
    return bool(np.unique(values[values > 0]).size > _GREY)


def _name(sample: Sample) -> str:
    mask = sample.masks[0]
    return str(mask) if isinstance(mask, str | Path) else "a mask in memory"


def _count(names: Sequence[str]) -> str:
    return f"{len(names)} mask{'s' * (len(names) > 1)}"
