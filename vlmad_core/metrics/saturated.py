"""sPRO, the metric of MVTec LOCO: a defect counts as found once as much of it is found as it is large.

A missing part could lie anywhere in its mask, so each defect has a saturation area, and finding that many of its pixels
gives full marks. With the saturation at the whole defect, sPRO is the per-region overlap with defects as regions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from vlmad_core.metrics.pixel import as_images
from vlmad_core.metrics.ranks import Array, exact_curve

__all__ = ["Area", "au_spro", "resized"]


@dataclass(frozen=True)
class Area:
    """One defect of a MVTec LOCO image.

    Args:
        name: Of the defect, as ``defects_config.json`` has it.
        mask: ``[height, width]`` bool.
        saturation: Pixels of it that must be found for full marks: where something is missing, it could lie anywhere
            in the mask, and finding as much as it is large is enough.
    """

    name: str
    mask: np.ndarray
    saturation: int


def au_spro(maps: Sequence[ArrayLike] | Array, defects: Sequence[Sequence[Area]], *, limit: float = 0.05) -> float:
    """Area under the saturated per-region-overlap curve up to a false-positive rate, divided by it.

    A defect with saturation area s adds ``min(pixels found, s) / s`` and all defects weigh the same, whatever their
    size and however many pieces they have; they may overlap. False positives are counted among the pixels that no
    defect covers, of all images. Exact, as ``aupro``; the definition is of Bergmann et al., IJCV 2022, section 4.2.

    Args:
        maps: ``[N, H, W]``, or N maps of any sizes; higher is more anomalous.
        defects: For each map its defects, empty for a normal image, as ``datasets.saturation_areas`` reads them; masks
            of the map's size, see ``resized``.
        limit: False-positive rate at which the curve is cut, above 0 and at most 1; MVTec LOCO's is 0.05.

    Returns:
        0 to 1; NaN without a defect or without a normal pixel.

    Raises:
        ValueError: Shapes that differ, NaN or infinite values in a map, a limit or a saturation area out of range.
    """
    unions = [np.any([area.mask for area in areas], axis=0) if areas else None for areas in defects]
    images = as_images(maps, unions)
    scores: list[Array] = []
    shares = [np.empty(0)]
    for (values, _), areas in zip(images, defects, strict=True):
        for area in areas:
            found = np.sort(values[area.mask])[::-1]
            if not 1 <= area.saturation <= found.size:
                raise ValueError(
                    f"Defect {area.name!r} has {found.size} pixels and a saturation area of {area.saturation}; "
                    "it must be 1 pixel at least and the defect at most."
                )
            # The first s pixels from the highest down share the marks, so above any threshold lie min(pixels, s) / s.
            scores.append(found[: area.saturation])
            shares.append(np.full(area.saturation, 1 / area.saturation))
    together = np.concatenate(scores) if scores else np.empty(0, np.float32)
    return exact_curve(together, np.concatenate(shares), len(scores), images, limit=limit).aupro(limit)[0]


def resized(area: Area, size: tuple[int, int]) -> Area:
    """A defect at the size of a map, its saturation area in proportion.

    Args:
        area: As the data set has it.
        size: ``(height, width)``; nearest pixels are taken, or where that leaves nothing of a small defect, every pixel
            that it touches.
    """
    before = area.mask.shape
    if before == size:
        return area
    rows, columns = ((np.arange(new) + 0.5) * old // new for new, old in zip(size, before, strict=True))
    mask = area.mask[np.ix_(rows.astype(int), columns.astype(int))]
    if not mask.any():
        mask = np.zeros(size, dtype=bool)
        y, x = np.nonzero(area.mask)
        mask[y * size[0] // before[0], x * size[1] // before[1]] = True
    pixels = int(mask.sum())
    return Area(area.name, mask, min(max(1, round(area.saturation * pixels / int(area.mask.sum()))), pixels))
