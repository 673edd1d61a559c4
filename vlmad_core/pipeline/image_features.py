"""Features of all views of an image: to fit the scorers of each scale on, and to score."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor

from vlmad_core.contracts.data import Features, Scores
from vlmad_core.contracts.images import Picture
from vlmad_core.contracts.parts import Scorer
from vlmad_core.contracts.views import View
from vlmad_core.pipeline.scales import ViewScores

__all__ = [
    "ImageFeatures",
    "ScoreViews",
    "ScorersByScale",
    "add_scores",
    "fit_images",
    "fit_rotated_views",
    "fit_views",
    "of_pictures",
]

ScorersByScale: TypeAlias = Sequence[Sequence[Scorer]]
"""The scorers of each scale; those that are fitted on nothing may be the same objects."""

ScoreViews: TypeAlias = Callable[[Features, Sequence[Scorer], tuple[int, int]], Scores]
"""Features of views of one size, the scorers of their scale, and that size, to fused scores."""


@dataclass(frozen=True, eq=False)
class ImageFeatures:
    """Features of one image.

    Args:
        size: ``(height, width)`` of the image as it was given.
        views: What it was read as.
        features: Of each view: itself, and after it its rotated copies where there are any.
    """

    size: tuple[int, int]
    views: tuple[View, ...]
    features: tuple[Features, ...]


def of_pictures(
    pictures: Sequence[Picture], found: Iterable[tuple[Sequence[int], Sequence[View], Sequence[Features]]]
) -> list[ImageFeatures]:
    """Features of batches of views, by picture.

    Args:
        pictures: That could be read.
        found: As :func:`~vlmad_core.contracts.images.view_batches` gives them, with features in place of pixels, and
            after them those of rotated copies.
    """
    parts: list[dict[View, Features]] = [{} for _ in pictures]
    for rows, views, copies in found:
        for i, (row, view) in enumerate(zip(rows, views, strict=True)):
            parts[row][view] = Features.cat([features.select(slice(i, i + 1)) for features in copies])
    return [
        ImageFeatures(picture.size or (0, 0), picture.views, tuple(own[view] for view in picture.views))
        for picture, own in zip(pictures, parts, strict=True)
    ]


def fit_views(scorers: ScorersByScale, views: Sequence[View], features: Features) -> None:
    """Fit the scorers of the scale of these views, which are all of one."""
    for scorer in scorers[views[0].scale]:
        if scorer.needs_fit:
            scorer.fit(features)


def fit_rotated_views(
    scorers: ScorersByScale,
    views: Sequence[View],
    features: Features,
    regions_before: Callable[[tuple[int, int]], Tensor],
) -> None:
    """Add rotated copies of the views that :func:`fit_views` was given last; see :meth:`Scorer.fit_rotated`."""
    for scorer in scorers[views[0].scale]:
        if scorer.needs_fit:
            scorer.fit_rotated(features, regions_before)


def fit_images(scorers: ScorersByScale, images: Sequence[ImageFeatures], batch_size: int) -> None:
    """Fit the scorers of each scale on all views of it, those of ``batch_size`` whole images at a time."""
    for start in range(0, len(images), batch_size):
        for views, features in _batches(images[start : start + batch_size]):
            fit_views(scorers, views, features)


def _batches(images: Sequence[ImageFeatures]) -> Iterator[tuple[list[View], Features]]:
    groups: dict[tuple[object, ...], list[tuple[View, Features]]] = {}
    for image in images:
        for view, features in zip(image.views, image.features, strict=True):
            key = (view,) if view.is_tile else (view.scale, view.size)  # copies of many tiles would take much memory
            groups.setdefault(key, []).append((view, features))
    for group in groups.values():
        yield [view for view, _ in group], Features.cat([features for _, features in group])


def add_scores(into: ViewScores, image: ImageFeatures, scorers: ScorersByScale, score: ScoreViews) -> ViewScores:
    """Score all views of an image, none of their rotated copies."""
    for view, features in zip(image.views, image.features, strict=True):
        scores = score(features.select(slice(0, 1)), scorers[view.scale], view.size)
        into.add(view, float(scores.image[0]), scores.anomaly_map[0].float().cpu().numpy())
    return into
