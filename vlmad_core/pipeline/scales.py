"""Several inputs of one image, such as two sizes and tiles, and how their scores and maps become one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from vlmad_core.contracts.image_size import ImageSize
from vlmad_core.contracts.ops import resize
from vlmad_core.contracts.tiles import Tiles, blend_axis, map_shape
from vlmad_core.contracts.towers import Backbone, check_size
from vlmad_core.contracts.views import View, Views
from vlmad_core.errors import IncompatibleError

if TYPE_CHECKING:
    from vlmad_core.pipeline.spec import PipelineSpec

__all__ = ["ScaleRule", "ViewScores", "describe_views", "make_views", "ranges_of"]

ScaleRule: TypeAlias = Literal["mean", "normalized", "max"]
Map: TypeAlias = NDArray[np.float32]
Ranges: TypeAlias = NDArray[np.float32]


def make_views(spec: PipelineSpec, backbone: Backbone) -> Views | None:
    """The inputs that a pipeline asks for; None: one, at the backbone's own size.

    Raises:
        IncompatibleError: The backbone cannot take one of the sizes.
    """
    if spec.is_plain:
        return None
    asked, patch = spec.image_size, backbone.vision.patch
    own = asked.size or backbone.preprocess.size
    sides: list[tuple[int, int]] = [(one, one) for one in spec.scales]
    sides = sides or [(own, own) if isinstance(own, int) else own]
    for size in sides:
        check_size(size, patch, spec.backbone.name)
    if asked.policy == "fit":
        tokens = [asked.tokens or (height // patch[0]) * (width // patch[1]) for height, width in sides]
        sizes = tuple(ImageSize(size, count, patch) for size, count in zip(sides, tokens, strict=True))
    else:
        sizes = tuple(ImageSize(size) for size in sides)
    tiles = None
    if spec.tiles.when != "off":
        tiles = Tiles(spec.tiles.count, spec.tiles.side, spec.tiles.overlap)
    _check_sizes(sizes, backbone)
    return Views(sizes, tiles)


def describe_views(views: Views, rule: str) -> str:
    """In one line: sizes, tiles, and how they are fused.

    >>> describe_views(Views((ImageSize((224, 224)), ImageSize((448, 448))), Tiles()), "mean")
    '224 x 224, 448 x 448, large images in tiles too; fused by mean'
    """
    parts = [
        f"{one.size[0]} x {one.size[1]}" if one.tokens is None else f"aspect ratio kept, at most {one.tokens} patches"
        for one in views.sizes
    ]
    tiles = views.tiles
    if tiles is not None:
        kind = f"{tiles.count} tiles along the longer side" if tiles.count else f"tiles of {tiles.side} pixels"
        parts.append("large images in tiles too" if tiles.count is None and tiles.side is None else kind)
    return ", ".join(parts) + (f"; fused by {rule}" if len(parts) > 1 else "")


def _check_sizes(sizes: Sequence[ImageSize], backbone: Backbone) -> None:
    """Refuse sizes that the encoder does not take, as one with rotary positions that was built for another size."""
    shapes = {one.of(given) for one in sizes for given in ((1, 1), (1, 2), (2, 1))} - {backbone.preprocess.size}
    for height, width in sorted(shapes):
        try:
            with torch.no_grad():
                backbone.vision.embed(torch.zeros(1, 3, height, width, dtype=backbone.dtype, device=backbone.device))
        except IncompatibleError as error:
            raise IncompatibleError(f"image_size, scales and tiles: {error}") from error


class ViewScores:
    """Scores and maps of the views of one image, and what they are together.

    A view of the whole image is one scale. All tiles together are another one: its score is the highest of a tile, its
    map the blend of theirs. Scales are then fused by the rule. One view alone comes out as it is.

    Args:
        views: All of the image.
        given: ``(height, width)`` of the image.
        rule: ``mean`` or ``max`` over scales, for scores and for maps; ``normalized``: the mean, after the range of
            each scale's own normal images was moved onto that of the first scale.
    """

    def __init__(self, views: Sequence[View], given: tuple[int, int], rule: ScaleRule = "mean") -> None:
        self._rule, self._count = rule, len(views)
        self._scores: dict[int, float] = {}
        self._maps: dict[int, Map] = {}
        self.token: NDArray[np.float32] | None = None
        tiles = [view for view in views if view.is_tile]
        if tiles:
            self._prepare_blend(tiles, given)

    def _prepare_blend(self, tiles: Sequence[View], given: tuple[int, int]) -> None:
        """One matrix for each row and each column of tiles."""
        rows = {(view.box[0], view.box[2]): view.size[0] for view in tiles}
        columns = {(view.box[1], view.box[3]): view.size[1] for view in tiles}
        shape = map_shape(given, tiles[0].reduction)
        self._maps[tiles[0].scale] = np.zeros(shape, np.float32)
        down = blend_axis(given[0], shape[0], list(rows), list(rows.values()))
        across = blend_axis(given[1], shape[1], list(columns), list(columns.values()))
        self._rows, self._columns = dict(zip(rows, down, strict=True)), dict(zip(columns, across, strict=True))

    def add(self, view: View, score: float, anomaly_map: Map, token: NDArray[np.float32] | None = None) -> None:
        """Add one view.

        Args:
            view: Which.
            score: Of this view.
            anomaly_map: ``[h, w]`` of this view.
            token: ``[D]``, class token of unit length; kept of the first view.
        """
        if view.is_tile:
            (rows, down), (columns, across) = self._rows[view.box[::2]], self._columns[view.box[1::2]]
            self._maps[view.scale][rows, columns] += down @ anomaly_map @ across.T
            self._scores[view.scale] = max(score, self._scores.get(view.scale, score))
        else:
            self._scores[view.scale], self._maps[view.scale] = score, anomaly_map
        if view.scale == 0:
            self.token = token

    @property
    def scales(self) -> dict[int, tuple[float, Map]]:
        """Score and map of each scale, as they were added."""
        return {scale: (self._scores[scale], self._maps[scale]) for scale in sorted(self._scores)}

    def result(self, ranges: Ranges | None = None) -> tuple[float, Map]:
        """The score, and the map at the resolution of the finest scale.

        Args:
            ranges: ``[scales, 2]``, median and usual maximum of normal cells of each scale; NaN where not known.
        """
        if self._count == 1:
            ((score, map_),) = self.scales.values()
            return score, map_
        found = [(score, map_, *self._to_first(scale, ranges)) for scale, (score, map_) in self.scales.items()]
        scores = np.array([score * gain + offset for score, _, gain, offset in found])
        shape = max((map_.shape for _, map_, _, _ in found), key=lambda shape: shape[0] * shape[1])
        fused: Map | None = None
        for _, map_, gain, offset in found:  # one at a time: the map of a large image takes 16 MB
            moved = _at(map_, (shape[0], shape[1])) * np.float32(gain) + np.float32(offset)
            fused = moved if fused is None else np.maximum(fused, moved) if self._rule == "max" else fused + moved
        assert fused is not None
        if self._rule == "max":
            return float(scores.max()), fused
        return float(scores.mean()), fused / np.float32(len(found))

    def _to_first(self, scale: int, ranges: Ranges | None) -> tuple[float, float]:
        """Gain and offset that move the normal range of a scale onto that of the first one."""
        if self._rule != "normalized" or ranges is None or scale == 0:
            return 1.0, 0.0
        (low, high), (own_low, own_high) = ranges[0].tolist(), ranges[scale].tolist()
        if not (high > low and own_high > own_low):  # false for NaN too
            return 1.0, 0.0
        gain = (high - low) / (own_high - own_low)
        return gain, low - own_low * gain


def ranges_of(values: Sequence[Map], usual: float) -> NDArray[np.float32]:
    """Median and the value that a share ``usual`` of all cells does not exceed, ``[2]``; NaN for none."""
    if not values:
        return np.full(2, np.nan, np.float32)
    found: NDArray[np.float32] = np.quantile(np.concatenate([one.ravel() for one in values]), [0.5, usual])
    return found.astype(np.float32)


def _at(map_: Map, shape: tuple[int, int]) -> Map:
    if map_.shape == shape:
        return map_
    found: Map = resize(torch.from_numpy(np.ascontiguousarray(map_)), shape).numpy()
    return found
