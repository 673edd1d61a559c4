"""The scores that a calibration is made of: of remembered normal images without themselves, and of held-out images."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from vlmad_core.contracts.data import Prediction
from vlmad_core.contracts.images import ImageLike, Picture
from vlmad_core.errors import ConfigError
from vlmad_core.inspection.calibration import Calibration, Fingerprint, ImageScore
from vlmad_core.inspection.risk_control import map_tail
from vlmad_core.pipeline.decisions import StoredCalibration, class_distance
from vlmad_core.pipeline.image_features import ImageFeatures, ScorersByScale, fit_images
from vlmad_core.pipeline.tile_kind import check_one_kind
from vlmad_core.version import __version__

__all__ = [
    "Groups",
    "Measured",
    "add_held_out",
    "described",
    "fold_of",
    "group_of",
    "measure",
    "of_references",
    "scores_without_own_fold",
    "start",
]

Groups = Sequence[str] | Callable[[ImageLike], str] | None
"""Which images belong together: a name for each, or a function of the image as it was given; "" is by itself."""

Scored = TypeVar("Scored")
"""What a function makes of one image."""

_FOLDS = 10
_LEAVE_ONE_OUT, _LEAVE_ONE_OUT_MONOTONE = 20, 100
"""Up to so many normals each is a fold of its own; where more normals can only lower a score, the promise of
leave-one-out is proved and a fold costs little, so up to more of them."""


@dataclass(frozen=True, eq=False)
class Measured:
    """One image as a calibration needs it.

    Args:
        image: Its score and the tail of its map.
        token: Its class token, ``[D]`` of unit length, or None.
    """

    image: ImageScore
    token: NDArray[np.float32] | None


def group_of(groups: Groups, source: ImageLike, number: int) -> str:
    """The group of the image that was given as this one, counted from 0.

    Raises:
        ConfigError: There are fewer names than images.
    """
    if groups is None:
        return ""
    if callable(groups):
        return groups(source)
    if number >= len(groups):
        raise ConfigError(f"{len(groups)} groups were given, and more images; give one group for each image.")
    return groups[number]


def described(picture: Picture, groups: Groups, number: int, *, has_tiles: bool = False) -> ImageScore:
    """An image before it has a score: hash, name and group.

    Args:
        picture: As it was read, with its hash.
        groups: Of all images.
        number: Of this one among them, from 0.
        has_tiles: The detector reads large images in tiles.
    """
    # Bytes of a name that the system could not decode cannot stand in JSON.
    name = (picture.path or f"image {number + 1}").encode("utf-8", "surrogateescape")
    text = name.decode("utf-8", "backslashreplace")
    group, is_tiled = group_of(groups, picture.source, number), bool(picture.tile_count) if has_tiles else None
    return ImageScore(picture.content.decode(), 0.0, name=text, group=group, is_tiled=is_tiled)


def measure(image: ImageScore, prediction: Prediction) -> Measured:
    """The image with what a calibration keeps of its prediction; regions are searched in ``raw_map``.

    Raises:
        ConfigError: A score or a map is not finite.
    """
    scored = replace(image, score=prediction.score, tail=map_tail(prediction.raw_map))
    return Measured(scored, prediction.class_token)


def fold_of(images: Sequence[ImageScore], *, is_monotone: bool) -> list[int]:
    """The fold of each normal image: images of one group, and copies of one image, are in the same fold.

    Returns:
        Numbers from 0. Up to 20 groups, or 100 where ``is_monotone``, each is a fold of its own; beyond, 10 folds.
    """
    first: dict[str, str] = {}
    keys = [first.setdefault(image.digest, f"group {image.group}" if image.group else image.digest) for image in images]
    order = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    limit = _LEAVE_ONE_OUT_MONOTONE if is_monotone else _LEAVE_ONE_OUT
    folds = len(order) if len(order) <= limit else _FOLDS
    return [order[key] % folds for key in keys]


def scores_without_own_fold(
    scorers: ScorersByScale,
    score: Callable[[ImageFeatures, ScorersByScale], Scored],
    features: Sequence[ImageFeatures],
    folds: Sequence[int],
    batch_size: int,
) -> list[Scored]:
    """Score each normal image by scorers that were fitted on all images outside its fold, and on no other.

    Args:
        scorers: What they were fitted on is replaced: give copies.
        score: The rest of the pipeline.
        features: Of one normal image each, and after it of its rotated copies, in the order in which they were fitted.
        folds: Of each image.
        batch_size: Images that are fitted at a time, as in the fit of all.
    """
    found: list[Scored | None] = [None] * len(features)
    for fold in dict.fromkeys(folds):
        others = [one for one, own in zip(features, folds, strict=True) if own != fold]
        for scorer in (scorer for of_scale in scorers for scorer in of_scale if scorer.needs_fit):
            scorer.forget()
        fit_images(scorers, others, batch_size)
        for i, own in enumerate(folds):
            if own == fold:
                found[i] = score(features[i], scorers)
    return [one for one in found if one is not None]


def start(detector: Fingerprint) -> Calibration:
    """An empty calibration, dated now."""
    return Calibration(detector, date=datetime.now(UTC).isoformat(timespec="seconds"), version=__version__)


def of_references(
    detector: Fingerprint, measured: Sequence[Measured], folds: Sequence[int], *, is_monotone: bool
) -> StoredCalibration | None:
    """The calibration of remembered normal images; None where there are fewer than two.

    A copy of an image counts once, with a warning.
    """
    unique = {each.image.digest: each for each in reversed(measured)}
    kept = [each for each in measured if unique[each.image.digest] is each]
    _warn_of_copies([each.image for each in measured if unique[each.image.digest] is not each])
    count = len(set(folds))
    if count < 2:
        return None
    images, tokens = _with_class_distances(kept)
    calibration = replace(start(detector), references=images, folds=count, is_monotone=is_monotone)
    return StoredCalibration(calibration, {} if tokens is None else {"references": tokens})


def add_held_out(
    stored: StoredCalibration, normals: Iterable[Measured], defects: Iterable[Measured]
) -> StoredCalibration:
    """Add held-out normals and known defects; images that are there already are passed over, with a warning.

    Raises:
        ConfigError: An image is given as normal and as a defect, a group is among the references too, or some images
            were read in tiles and others were not.
    """
    normals = list(normals)
    calibration, copies = stored.calibration.with_held_out([each.image for each in normals])
    calibration, more = calibration.with_defects([each.image for each in defects])
    check_one_kind((*calibration.references, *calibration.held_out, *calibration.defects))
    _warn_of_copies([*copies, *more])
    before = stored.calibration.held_out
    new = {each.image.digest: each.token for each in reversed(normals)}
    earlier = dict(zip([image.digest for image in before], stored.tokens.get("held_out", ()), strict=False))
    held_out, tokens = _with_class_distances(
        [Measured(image, earlier.get(image.digest, new.get(image.digest))) for image in calibration.held_out]
    )
    others = {name: value for name, value in stored.tokens.items() if name != "held_out"}
    calibration = replace(calibration, held_out=held_out, date=start(calibration.detector).date, version=__version__)
    return StoredCalibration(calibration, others if tokens is None else {**others, "held_out": tokens})


def _with_class_distances(
    measured: Sequence[Measured],
) -> tuple[tuple[ImageScore, ...], NDArray[np.float32] | None]:
    """The images with the distances of their class tokens to those of other groups, and the tokens ``[n, D]``."""
    tokens = [each.token for each in measured if each.token is not None]
    if not tokens or len(tokens) < len(measured):
        return tuple(each.image for each in measured), None
    table = np.stack(tokens)
    groups = [each.image.group or f"\0{i}" for i, each in enumerate(measured)]
    found = []
    for i, each in enumerate(measured):
        others = class_distance(table[i], table)[[group != groups[i] for group in groups]]
        near, far = (float(others.min()), float(others.max())) if others.size else (None, None)
        found.append(replace(each.image, class_nearest=near, class_farthest=far))
    return tuple(found), table


def _warn_of_copies(copies: Sequence[ImageScore]) -> None:
    if copies:
        several = f"{len(copies)} images are copies" if len(copies) > 1 else "1 image is a copy"
        text = f"{several} of images of the calibration and counted once, the first is '{copies[0].name}'."
        warnings.warn(text, UserWarning, stacklevel=5)
