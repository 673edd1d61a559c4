"""Rotated copies of normal images, where a rotation leaves the object what it is.

A few normal images show a part in a few orientations; rotated copies show the others (AnomalyDINO, WACV 2025). Whether
a rotated image still is a normal one depends on the object. The class token tells: a rotation is used where it moves
the class token no further than two normal images are apart (after DuoAD, 2026, which compares augmented references).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from vlmad_core.contracts.images import Picture
from vlmad_core.contracts.ops import l2_normalize
from vlmad_core.contracts.towers import Backbone, forward_blocks
from vlmad_core.pipeline.spec import Rotations

__all__ = ["MAX_ROTATED", "choose_angles", "regions_before", "rotate"]

MAX_ROTATED = 64
"""Normal images that are rotated, at most: of more images, the others show the other orientations."""

_QUARTERS = (90.0, 180.0, 270.0)
_FACTOR, _ALONE = 2.0, 0.85
"""A rotation may move the class token this many times the mean distance of two normal images, as one minus the cosine;
where there is one normal image, the cosine must be at least the second number. Chosen with 'pocket', by either of its
class tokens, on generated products, solar cells and cookies: a rotation that an object does not have costs 1 point of
AUROC with one normal image and nothing with four, one that it has brings 2 to 7, so both are generous."""


@torch.no_grad()
def choose_angles(rotations: Rotations, backbone: Backbone, pictures: Sequence[Picture]) -> list[float]:
    """The angles, in degrees, by which normal images are rotated, without 0.

    Args:
        rotations: ``"off"``; a number of rotations at equal steps, whatever the object is; or ``"auto"``, those of the
            three quarter turns that are safe: that move the class token of an image, on average, at most twice as far
            as two different images are apart; or, of a single image, to a cosine of at least 0.85.
        backbone: With its tower.
        pictures: The first normal images, of any size.
    """
    if rotations == "off":
        return []
    if isinstance(rotations, int):
        return [360 * i / rotations for i in range(1, rotations)]
    tokens = torch.stack([_class_tokens(backbone, picture) for picture in pictures])  # [B, 4, W]
    own = tokens[:, 0]
    cosines = own @ own.T
    others = cosines[(cosines < 1 - 1e-4) & ~torch.eye(len(own), dtype=torch.bool, device=own.device)]  # no copies
    limit = 1 - _FACTOR * float(1 - others.mean()) if len(others) else _ALONE
    moved = (tokens[:, 1:] * tokens[:, :1]).sum(-1).mean(0)  # [3]
    return [angle for angle, cosine in zip(_QUARTERS, moved.tolist(), strict=True) if cosine >= limit]


def rotate(images: Tensor, angle: float, aspects: Sequence[float]) -> Tensor:
    """Rotate the content of images about their centres; what was beyond the border is mirrored.

    Args:
        images: ``[B, 3, H, W]``; each may have been squashed to that size.
        angle: In degrees, counter-clockwise.
        aspects: Of each: width over height, of the image before it was squashed. A circle stays a circle in that one.

    Returns:
        ``[B, 3, H, W]``. Quarter turns of square images move whole pixels; other angles are bicubic.
    """
    is_square = images.shape[-1] == images.shape[-2] and all(aspect == 1 for aspect in aspects)
    if angle == 180 or (angle % 90 == 0 and is_square):
        return images.rot90(int(angle // 90), (-2, -1))
    # Normalised coordinates go from -1 to 1 on both axes, so the aspect is that of the image as it was given.
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    matrices = [[[cos, -sin / aspect, 0.0], [sin * aspect, cos, 0.0]] for aspect in aspects]
    grid = F.affine_grid(torch.tensor(matrices, device=images.device), list(images.shape), align_corners=False)
    rotated = F.grid_sample(images.float(), grid, mode="bicubic", padding_mode="reflection", align_corners=False)
    return rotated.to(images.dtype)


def regions_before(angle: float, aspects: Sequence[float], grid: tuple[int, int]) -> Tensor:
    """Which cell of an image each cell of its rotated copy shows, ``[B, h * w]``.

    Args:
        angle: In degrees, counter-clockwise.
        aspects: Of each image, as for :func:`rotate`.
        grid: ``(h, w)``.
    """
    rows, columns = grid
    places = torch.stack(torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")).float()
    moved = rotate(places.expand(len(aspects), 2, rows, columns), angle, aspects).round()
    found = moved[:, 0].clamp(0, rows - 1) * columns + moved[:, 1].clamp(0, columns - 1)
    return found.flatten(1).to(torch.int32)


def _class_tokens(backbone: Backbone, picture: Picture) -> Tensor:
    """``[4, W]`` of unit length, at each quarter turn; where the tower has no class token, the mean of the patches."""
    vision, aspects = backbone.vision, [picture.views[0].aspect]
    image = picture.view_pixels(0)[None].to(backbone.device, backbone.dtype)
    x, _ = vision.embed(torch.cat([image, *(rotate(image, angle, aspects) for angle in _QUARTERS)]))
    x = vision.norm(forward_blocks(vision.blocks, x)[0]).float()
    return l2_normalize(x[:, 0] if vision.class_pool else x[:, vision.prefix :].mean(1))
