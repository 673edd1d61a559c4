"""What a memory says of the place around the highest value of the map: its nearest normals, and the score with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlmad_core.contracts.data import Features, Level, TextEmbeddings
from vlmad_core.inspection.evidence import NearestNormal
from vlmad_core.pipeline.explain import ScorerTerms, Terms
from vlmad_core.pipeline.fuse import Fuse
from vlmad_core.pipeline.place import cells_of, region_box, regions_over, scaled

__all__ = ["nearest_normal", "score_without"]


@dataclass(frozen=True, eq=False)
class _Replaced:
    """Regions of one level of a memory and the normal vectors that are nearest to them."""

    terms: ScorerTerms
    level: Level
    regions: Tensor
    rows: Tensor
    origins: Tensor


def replaceable(terms: Terms, b: int, area: NDArray[np.bool_]) -> list[_Replaced]:
    """For each level that a memory names rows of: the regions over an area, with their nearest normals.

    Args:
        terms: Of the batch.
        b: The image in it.
        area: ``[H, W]`` of the map.
    """
    found = []
    for one in terms.scorers:
        for name in one.values if one.is_split else ():
            level = next((level for level in terms.features.levels if level.spec.name == name), None)
            if level is None:
                continue
            numbers = regions_over(cells_of(area, level.grid), level.cover)
            regions = torch.from_numpy(numbers.astype(np.int64)).to(level.vectors.device)
            nearest = one.scorer.nearest_rows(level.vectors[b, regions], name)
            if nearest is not None:
                found.append(_Replaced(one, level, regions, *nearest))
    return found


def nearest_normal(
    terms: Terms,
    b: int,
    replaced: Sequence[_Replaced],
    size: tuple[int, int],
    images: Sequence[tuple[str, str]],
) -> NearestNormal | None:
    """The nearest normal of the region that adds most to the highest value of the map, or has the highest value.

    Args:
        terms: Of the batch.
        b: The image in it.
        replaced: From `replaceable`.
        size: ``(height, width)`` of the image as it was given.
        images: Path and hash of each normal image.
    """
    best: tuple[tuple[float, float], _Replaced, int] | None = None
    gradients = {id(one): gradient for one, gradient in zip(terms.scorers, terms.gradients[1], strict=True)}
    for one in replaced:
        values = one.terms.values[one.level.spec.name][b, one.regions].detach()
        carried = values * gradients[id(one.terms)][one.level.spec.name][b, one.regions]
        for i, key in enumerate(zip(carried.tolist(), values.tolist(), strict=True)):
            if best is None or key > best[0]:
                best = key, one, i
    if best is None:
        return None
    (_, value), one, i = best
    box = region_box(one.level, int(one.regions[i]))
    assert box is not None
    image, region = (int(number) for number in one.origins[i])
    path, digest = images[image] if 0 <= image < len(images) else ("", "")
    place = region_box(one.level, region) if path else None
    return NearestNormal(one.terms.label, one.level.spec.name, value, scaled(box, size), path, digest, place)


def score_without(
    terms: Terms, b: int, replaced: Sequence[_Replaced], texts: TextEmbeddings | None, fuse: Fuse
) -> float | None:
    """The image score with these regions replaced by their nearest normals; None where there are none.

    Levels that no memory names rows of, and the whole image, stay as they are.
    """
    if not replaced:
        return None
    one_image = terms.features.select(slice(b, b + 1))
    levels = {level.spec.name: level for level in one_image.levels}
    for one in replaced:
        name = one.level.spec.name
        vectors = levels[name].vectors.clone()
        vectors[0, one.regions] = one.rows.to(vectors)
        levels[name] = replace(levels[name], vectors=vectors)
    changed = Features(tuple(levels.values()), one_image.image)
    text = None if texts is None else TextEmbeddings(texts.vectors[b : b + 1], texts.abnormal)
    scores = []
    with torch.no_grad():
        for terms_of in terms.scorers:
            own = [one for one in replaced if one.terms is terms_of]
            if not terms_of.is_split:
                scores.append(terms_of.scorer(changed, text, terms.size))
                continue
            values = _values(terms_of, b, own, changed, text, terms.size)
            scores.append(terms_of.scorer.combine_regions(values, changed, terms.size))
        unsmoothed = replace(fuse, smooth=0.0)  # no image score depends on it
        return float(unsmoothed(scores, [one.label for one in terms.scorers]).image)


def _values(
    terms: ScorerTerms,
    b: int,
    own: Sequence[_Replaced],
    changed: Features,
    text: TextEmbeddings | None,
    size: tuple[int, int],
) -> Mapping[str, Tensor]:
    """Region values of the changed image; for a memory only those that changed are computed."""
    if len(own) < len(terms.values) or terms.scorer.needs_text:
        found = terms.scorer.region_values(changed, text, size)
        assert found is not None
        return found
    few = Features(tuple(Level(one.level.spec, one.rows[None], (1, len(one.rows))) for one in own))
    new = terms.scorer.region_values(few, text, size)
    assert new is not None
    values = {name: value[b : b + 1].detach().clone() for name, value in terms.values.items()}
    for one in own:
        values[one.level.spec.name][0, one.regions] = new[one.level.spec.name][0].to(values[one.level.spec.name])
    return values
