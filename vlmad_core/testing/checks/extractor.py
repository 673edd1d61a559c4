"""Rules of an extractor: levels as declared, regions that cover the image, a frozen part apart from the learned one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch

from vlmad_core.contracts.data import Features, LevelSpec
from vlmad_core.contracts.parts import Extractor
from vlmad_core.testing.cases import tensors
from vlmad_core.testing.rules import check, close, require

if TYPE_CHECKING:
    from vlmad_core.testing.cases import ExtractorCase

_NAME = re.compile(r"[A-Za-z][\w-]*")


@check("extractor")
def declares_levels(case: ExtractorCase) -> None:
    """The constructor sets ``levels``: a tuple of LevelSpec, each with a name of its own without dots."""
    levels = getattr(case.part, "levels", ())
    whole = isinstance(levels, tuple) and levels and all(isinstance(level, LevelSpec) for level in levels)
    require(whole, f"levels is {levels!r}; set self.levels = (LevelSpec(name, dim, joint), ...) in the constructor.")
    names = [level.name for level in levels]
    require(len(set(names)) == len(names), f"two levels have one name: {', '.join(names)}; give each its own.")
    for name in names:
        require(_NAME.fullmatch(name), f"'{name}' is no name of a level; take letters, digits, - and _ alone.")


@check("extractor")
def levels_as_declared(case: ExtractorCase) -> None:
    """``forward`` gives the declared levels in their order, vectors ``[B, M, dim]`` on the grid of the tower."""
    features = _features(case)
    declared, found = [f"{s}" for s in case.part.levels], [f"{level.spec}" for level in features.levels]
    require(
        declared == found,
        f"forward gives {', '.join(found) or 'nothing'}, and declared were {', '.join(declared)}; make self.levels and "
        "forward say the same.",
    )
    for level in features.levels:
        shape = tuple(level.vectors.shape)
        fits = len(shape) == 3 and shape[0] == 3 and shape[2] == level.spec.dim
        require(fits, f"{level.spec.name} has vectors {shape}; they must be [B, M, dim] = [3, M, {level.spec.dim}].")
        require(
            tuple(level.grid) == case.backbone.grid,
            f"{level.spec.name} has the grid {tuple(level.grid)}; it must be (rows, columns) = {case.backbone.grid}.",
        )


@check("extractor")
def regions_cover_the_image(case: ExtractorCase) -> None:
    """Without ``cover`` there is a region a cell; with it ``[M, h*w]`` bool, no empty region and no uncovered cell."""
    for level in _features(case).levels:
        name, regions = level.spec.name, level.vectors.shape[1]
        cells = level.grid[0] * level.grid[1]
        if level.cover is None:
            require(regions == cells, f"{name} has {regions} regions on {cells} cells; give `cover`, or one a cell.")
            continue
        fits = level.cover.dtype == torch.bool and tuple(level.cover.shape) == (regions, cells)
        shape = f"{level.cover.dtype} {tuple(level.cover.shape)}"
        require(fits, f"cover of {name} is {shape}; it must be torch.bool [M, h*w] = [{regions}, {cells}].")
        require(level.cover.any(1).all(), f"{name} has a region over no cell; leave it out of vectors and cover.")
        require(level.cover.any(0).all(), f"{name} leaves cells uncovered; add regions up to the border.")


@check("extractor")
def joint_levels_have_the_dim_of_the_text(case: ExtractorCase) -> None:
    """Levels that say they are comparable with text, and ``image``, have as many dimensions as the text."""
    text, features = case.backbone.text, _features(case)
    for level in features.levels:
        if level.spec.joint:
            require(
                text is not None and level.spec.dim == text.dim,
                f"{level.spec} is called joint, but the words have {text.dim if text else 'no'} dimensions; project "
                "it with vision.project, or declare joint=False.",
            )
    if features.image is not None:
        wanted = (3, case.backbone.vision.dim)
        shape = tuple(features.image.shape)
        require(shape == wanted, f"image is {shape}; it must be [B, D] = {wanted}, or None.")


@check("extractor")
def learned_part_is_separate(case: ExtractorCase) -> None:
    """``forward`` equals ``apply_learned(extract_frozen(...))``, and no parameter influences ``extract_frozen``."""
    part, vision, images = case.part, case.backbone.vision, case.images()
    with torch.enable_grad():
        frozen: Features = part.extract_frozen(vision, images)
        depends = any(value.requires_grad for value in tensors(frozen).values())
        splits = type(part).apply_learned is not Extractor.apply_learned
        require(
            not (depends and splits and case.tags),
            "extract_frozen depends on parameters; move that to apply_learned, so that the rest can be kept.",
        )
        again, whole = tensors(part.apply_learned(frozen)), tensors(part(vision, images))
    same = again.keys() == whole.keys() and all(close(again[name], whole[name]) for name in whole)
    require(
        same,
        "apply_learned(extract_frozen(...)) is not forward(...); write forward as "
        "self.apply_learned(self.extract_frozen(vision, images)).",
    )


def _features(case: ExtractorCase) -> Features:
    with torch.no_grad():
        features = case.features(case.part)
    require(isinstance(features, Features), f"forward gives {type(features).__name__}; it must give Features.")
    return features
