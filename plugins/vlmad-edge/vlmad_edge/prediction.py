"""The result for one image: the fields of the core's prediction, and the verdict with its regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vlmad_edge.interpolation import bilinear
from vlmad_edge.shared.errors import ImageError
from vlmad_edge.shared.verdict import Verdict

if TYPE_CHECKING:
    from PIL import Image

    from vlmad_edge.shared.decode import ImageLike
    from vlmad_edge.shared.overlay import Scale

__all__ = ["Prediction"]


@dataclass(frozen=True, repr=False)
class Prediction:
    """The result for one image.

    Args:
        score: Higher is more anomalous.
        raw_map: ``[h, w]`` float32 at the size that the detector works at.
        size: ``(height, width)`` of the image as it was given.
        verdict: ``pass``, ``review``, ``reject``, ``not this part`` or ``uncalibrated``, with its numbers.
        path: The file, where there was one.
        normal_range: Median of the maps of normal images, and what 99.5 % of their cells do not exceed; or None.
        class_token: ``[D]`` float32 of unit length, the image as a whole; or None.
        regions: Boxes, outlines, areas and scores in pixels of the image, the highest score first; None where the
            detector has no threshold for pixels.
        notes: What to know of the file, such as that only the first of several pages was read.
        scale: Colours of :meth:`overlay`; None: from the map alone.
    """

    score: float
    raw_map: np.ndarray
    size: tuple[int, int]
    verdict: Verdict
    path: str | None = None
    normal_range: tuple[float, float] | None = None
    class_token: np.ndarray | None = None
    regions: Sequence[Mapping[str, Any]] | None = None
    notes: tuple[str, ...] = ()
    scale: Scale | None = None

    def __repr__(self) -> str:
        """In one line, without the map."""
        place = "" if self.path is None else f", path={self.path!r}"
        return f"Prediction({self.verdict.label}, score={self.score:.4f}, size={self.size}{place})"

    @cached_property
    def anomaly_map(self) -> np.ndarray:
        """``[height, width]`` float32 of the image as it was given, same scale as :attr:`raw_map`."""
        return self.map_at(self.size)

    def map_at(self, size: tuple[int, int]) -> np.ndarray:
        """The map at ``(height, width)``, bilinear."""
        return bilinear(self.raw_map, size)

    @property
    def is_finite(self) -> bool:
        """Whether the score and all values of the map are finite numbers."""
        return bool(np.isfinite(self.score) and np.isfinite(self.raw_map).all())

    @property
    def peak(self) -> tuple[int, int]:
        """``(row, column)`` in the image of the highest value of the map."""
        row, column = np.unravel_index(int(self.raw_map.argmax()), self.raw_map.shape)
        height, width = self.raw_map.shape
        return int((row + 0.5) * self.size[0] / height), int((column + 0.5) * self.size[1] / width)

    def overlay(self, image: ImageLike | None = None) -> Image.Image:
        """The image with its map as heat, the outline of what is unusual, the score, and a legend.

        Args:
            image: The image that was given to the detector; needed where that was no file.

        Raises:
            ImageError: No image was given and there is no file, or it cannot be read.
        """
        from vlmad_edge.shared.decode import decode
        from vlmad_edge.shared.overlay import draw

        source = self.path if image is None else image
        if source is None:
            raise ImageError("this prediction is of an image in memory; give it: result.overlay(image).")
        picture = decode(source, smallest=(self.raw_map.shape[0], self.raw_map.shape[1])).image
        return draw(picture, self, self.scale, Path(self.path or "").name)

    def to_dict(self) -> dict[str, Any]:
        """Numbers and text for JSON, with the names that ``results.jsonl`` of the core has."""
        return {
            "path": self.path,
            "score": self.score,
            "height": self.size[0],
            "width": self.size[1],
            "verdict": self.verdict.label,
            "threshold": self.verdict.threshold,
            "p_value": self.verdict.p_value,
            "share_below": self.verdict.share_of_normals_below,
            "confidence": self.verdict.confidence,
            "regions": self.regions,
            "note": " ".join(self.notes) or None,
            "error": None,
        }
