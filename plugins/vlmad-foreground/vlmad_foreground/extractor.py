"""Extractor: patch tokens of chosen blocks, in which the background takes the mean of the object.

The first principal component of an image's own patch tokens separates an object from its background (DINOv2, Oquab et
al., 2023; AnomalyDINO, Damm et al., WACV 2025). Where that is not clear, as on a sheet of paper, nothing is masked.
Regions keep their places and their space, so every scorer fits; nothing is learned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from vlmad_core.contracts import (
    Backbone,
    Extractor,
    Features,
    Level,
    LevelSpec,
    VisionTower,
    forward_blocks,
    l2_normalize,
    resolve_layer,
    resolve_layers,
)
from vlmad_core.errors import IncompatibleError

if TYPE_CHECKING:
    from vlmad_foreground.plugin import ForegroundConfig

__all__ = ["ForegroundExtractor", "foreground"]

BORDER, CENTRE = 0.2, 0.5
"""Of an object, at most this share of the border; at least this share of the centre."""
STEPS = 30
"""Of the power iteration. Where they do not suffice, the components are alike, and no two groups are clear."""


class ForegroundExtractor(Extractor):
    """Levels as those of 'patches', ``blockN`` joint and ``rawN`` visual, without the background.

    Raises:
        IncompatibleError: A block beyond the tower, or the joint space of a tower that has none.
    """

    def __init__(self, config: ForegroundConfig, backbone: Backbone) -> None:
        super().__init__()
        vision, depth = backbone.vision, len(backbone.vision.blocks)
        mask = max(1, 3 * depth // 4) if config.mask is None else config.mask
        self.mask = resolve_layer(mask, depth, option="mask")
        self.layers = resolve_layers(config.layers, depth)
        if config.space in ("joint", "both") and not vision.joint:
            raise IncompatibleError(
                f"space '{config.space}' needs a backbone whose image and text features share a space; use space 'raw'."
            )
        self.clear, self.margin = config.clear, config.margin
        self.joint = vision.joint and config.space != "raw"
        self.raw = config.space in ("raw", "both") or not vision.joint
        self.levels = (
            *(LevelSpec(f"block{layer}", vision.dim, True) for layer in self.layers if self.joint),
            *(LevelSpec(f"raw{layer}", vision.width, False) for layer in self.layers if self.raw),
        )

    def forward(self, vision: VisionTower, images: Tensor) -> Features:
        """``[B, 3, H, W]`` to one level a layer and space, each ``[B, h*w, dim]``."""
        x, grid = vision.embed(images)
        blocks = vision.blocks if self.joint else vision.blocks[: max(self.mask, *self.layers)]
        last, kept = forward_blocks(blocks, x, layers=(self.mask, *self.layers))
        normed = {block: vision.norm(tokens[:, vision.prefix :]) for block, tokens in kept.items()}
        keep = foreground(normed[self.mask], grid, clear=self.clear, margin=self.margin)
        vectors = [vision.project(normed[layer]) for layer in self.layers if self.joint]
        vectors += [normed[layer] for layer in self.layers if self.raw]
        levels = (Level(spec, fill(v, keep), grid) for spec, v in zip(self.levels, vectors, strict=True))
        return Features(tuple(levels), vision.pool(last) if self.joint else None)


def fill(vectors: Tensor, keep: Tensor) -> Tensor:
    """``[B, L, dim]`` with the mean of an image's kept vectors where ``keep``, ``[B, L]`` bool, is false."""
    weights = keep.to(vectors.dtype) / keep.sum(1, keepdim=True)
    mean = torch.einsum("bl,bld->bd", weights, vectors)
    return torch.where(keep[..., None], vectors, mean[:, None])


@torch.no_grad()
def foreground(tokens: Tensor, grid: tuple[int, int], *, clear: float = 0.85, margin: int = 1) -> Tensor:
    """Where an image shows its object: all of it, unless an object is plain to see.

    Cells are split in two by their first principal component (Otsu 1979). That is an object and its background only if
    the two groups are clear, the background has the border and the object the centre (:data:`BORDER`, :data:`CENTRE`).

    Args:
        tokens: ``[B, h*w, W]``.
        grid: ``(h, w)``.
        clear: Least share of the variance that the two groups explain; an even spread has 0.75, a bell 0.64.
        margin: Cells around the object that count as the object.

    Returns:
        ``[B, h*w]`` bool, at least one true in each row.
    """
    frame = torch.ones(grid, dtype=torch.bool, device=tokens.device)
    if min(grid) < 3:
        return frame.flatten().expand(len(tokens), -1)  # nothing has a middle
    border, centre = frame & ~_inner(frame, 8), _inner(frame, 4)
    x = tokens.float() - tokens.float().mean(1, keepdim=True)
    # From border to centre: the iteration keeps that side, so the component is high where the object is.
    axis = x[:, centre.flatten()].mean(1) - x[:, border.flatten()].mean(1)  # [B, W]
    spread = x.mT @ x  # [B, W, W]
    for _ in range(STEPS):
        axis = l2_normalize(torch.einsum("bvw,bw->bv", spread, axis))
    high, explained = split(torch.einsum("blw,bw->bl", x, axis))
    cells = high.unflatten(1, grid)
    plain = (explained >= clear) & (_share(cells, border) <= BORDER) & (_share(cells, centre) >= CENTRE)
    return grow(cells, margin).flatten(1) | ~plain[:, None]


def split(values: Tensor) -> tuple[Tensor, Tensor]:
    """Two groups of ``[B, L]`` by Otsu's threshold: who is in the high one, and the share of the variance ``[B]``."""
    values = values - values.mean(1, keepdim=True)
    ordered, size = values.sort(1).values, values.shape[1]
    low = torch.arange(1, size, device=values.device)  # in the low group, if the threshold is after each
    between = size * ordered.cumsum(1)[:, :-1] ** 2 / (low * (size - low))
    best, at = between.max(1)
    return values > ordered.gather(1, at[:, None]), best / (values**2).sum(1)


def grow(cells: Tensor, margin: int) -> Tensor:
    """``[B, h, w]`` bool with what lies between two of its cells in a row or column, and a margin around.

    A hole, a gap or a bite looks like background and is what one searches for: it belongs to the object.
    """
    across, down = (_reach(cells, axis) & _reach(cells.flip(axis), axis).flip(axis) for axis in (-1, -2))
    filled = (across | down).float()
    return F.max_pool2d(filled, 2 * margin + 1, stride=1, padding=margin) > 0


def _reach(cells: Tensor, axis: int) -> Tensor:
    return cells.cumsum(axis) > 0


def _inner(frame: Tensor, part: int) -> Tensor:
    """True but for a frame of one ``part``-th of the height and width on each side, at least a cell."""
    inner = torch.zeros_like(frame)
    top, left = (max(1, side // part) for side in frame.shape)
    inner[top : frame.shape[0] - top, left : frame.shape[1] - left] = True
    return inner


def _share(cells: Tensor, where: Tensor) -> Tensor:
    return cells[:, where].float().mean(1)
