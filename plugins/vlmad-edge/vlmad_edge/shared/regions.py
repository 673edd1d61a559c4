# Copied from vlmad_core/inspection/regions.py by plugins/vlmad-edge/build/shared.py; edit that file.
"""Regions of an anomaly map above a threshold: outline, box, area and score of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from vlmad_edge.shared.errors import ConfigError
from vlmad_edge.labelling import label
from vlmad_edge.shared.outline import Ring, outline

__all__ = ["Region", "Regions", "find_regions", "region_record"]


@dataclass(frozen=True)
class Region:
    """Pixels above the threshold that touch at an edge or a corner.

    Attributes:
        rings: Outer outline first, then holes, along pixel edges: see `outline.outline`.
        box: Left, top, right, bottom in pixel edges, so the width is ``right - left``.
        area: In pixels.
        percent: Of the map.
        score: The highest value of the map in it.
        peak: Column and row of the pixel with that value.
    """

    rings: tuple[Ring, ...]
    box: tuple[int, int, int, int]
    area: int
    percent: float
    score: float
    peak: tuple[int, int]


@dataclass(frozen=True)
class Regions:
    """What is above a threshold.

    Attributes:
        regions: The highest score first.
        area: Of all pixels above the threshold, in pixels, also of regions that are not listed.
        percent: The same, of the map.
        n_small: Regions below the smallest area, not listed.
        n_more: Regions beyond the highest number of regions, not listed.
        threshold: Above it a pixel is flagged.
    """

    regions: tuple[Region, ...]
    area: int
    percent: float
    n_small: int
    n_more: int
    threshold: float


def find_regions(anomaly_map: ArrayLike, threshold: float, *, min_area: int = 1, max_regions: int = 100) -> Regions:
    """Find the connected regions above a threshold.

    Args:
        anomaly_map: ``[H, W]``, finite, in any floating dtype.
        threshold: In units of the map; a pixel at the threshold is not flagged.
        min_area: Smaller regions are counted and not listed, in pixels.
        max_regions: Of the listed ones, those with the highest scores.

    Raises:
        ConfigError: The map is not two-dimensional or has a value that is not finite, or a limit is below 1.
    """
    values = np.asarray(anomaly_map, dtype=np.float64)
    if values.ndim != 2 or not values.size or not np.isfinite(values).all():
        raise ConfigError(f"the anomaly map must be finite numbers of shape [H, W], not of shape {list(values.shape)}.")
    if min_area < 1 or max_regions < 1:
        raise ConfigError(f"min_area ({min_area}) and max_regions ({max_regions}) must be at least 1.")
    flagged = values > threshold
    labels, boxes = label(flagged)
    count = len(boxes)
    regions = labels[flagged] - 1
    areas = np.bincount(regions, minlength=count)
    scores = np.full(count, -np.inf)
    np.maximum.at(scores, regions, values[flagged])
    large = np.flatnonzero(areas >= min_area)
    listed = large[np.argsort(-scores[large], kind="stable")][:max_regions].tolist()
    found = []
    for i in listed:
        rows, columns = boxes[i]
        mask = labels[rows, columns] == i + 1
        top, left = rows.start, columns.start
        row, column = np.unravel_index(np.argmax(np.where(mask, values[rows, columns], -np.inf)), mask.shape)
        rings = tuple(tuple((x + left, y + top) for x, y in ring) for ring in outline(mask))
        found.append(
            Region(
                rings=rings,
                box=(left, top, columns.stop, rows.stop),
                area=int(areas[i]),
                percent=100 * float(areas[i]) / values.size,
                score=float(scores[i]),
                peak=(int(column) + left, int(row) + top),
            )
        )
    total = int(areas.sum())
    return Regions(
        regions=tuple(found),
        area=total,
        percent=100 * total / values.size,
        n_small=count - large.size,
        n_more=large.size - len(found),
        threshold=float(threshold),
    )


def region_record(region: Region, shape: tuple[int, ...], size: tuple[int, int]) -> dict[str, Any]:
    """A region of the detector's map as JSON, in pixels of the image as it was given.

    Args:
        region: In pixels of the map.
        shape: ``(h, w)`` of the map.
        size: ``(height, width)`` of the image.
    """
    down, right = size[0] / shape[0], size[1] / shape[1]
    left, top, end, bottom = region.box
    return {
        "box": [left * right, top * down, end * right, bottom * down],
        "polygon": [[[x * right, y * down] for x, y in ring] for ring in region.rings],
        "area_px": region.area * down * right,
        "area_share": region.area / (shape[0] * shape[1]),
        "score": region.score,
    }
