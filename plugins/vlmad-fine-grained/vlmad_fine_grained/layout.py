"""From patch tokens of normal images to a layout: what is part and what is background, how many parts, and where.

Pure functions of arrays. Letters: N images, M patches in a grid ``(h, w)``, D dimensions, S places. Places and sizes
are in cells of the grid.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.distance import cdist

from vlmad_fine_grained.groups import fit_groups

__all__ = ["Layout", "Statistics", "learn_layout", "statistics_of"]

Array = NDArray[np.float64]
_FINE = 4
"""Points a cell and axis at which parts are outlined."""
_TOKENS = 6000
_SHARP, _GONE = 0.125, 0.75
_LEAST_SPREADS = np.array([0.08, 0.1, 0.03, 0.1])
"""Standard deviations at least, so that a few normal images that are alike do not make every other one abnormal."""


@dataclass(frozen=True, eq=False)
class Layout:
    """What normal images have in common.

    Args:
        centres: ``[K, D]``, of the groups of tokens.
        is_part: ``[K]`` bool; the others are background.
        sharpness: Difference of distances at which a cell is 73 % part.
        count: Parts in a normal image.
        smallest: Area of a part that counts, in cells.
        places: ``[S, 2]`` row and column of the parts; S of 0 where they have no fixed places.
        radius: Half the smallest distance between two places, in cells.
        masses: ``[S]``, mean area of the part at each place; of all parts together, ``[1]``, without places.
        extents: ``[S]``, mean square distance of the part's area from its place.
        means: ``[4]``, of the statistics ``missing, extra, moved, spread`` in normal images.
        spreads: ``[4]``, their standard deviations.
        limit: What the normal images themselves reach at most, in standard deviations.
        is_clear: A group of tokens keeps away from the border, and most normal images have parts that can be counted.
    """

    centres: Array
    is_part: NDArray[np.bool_]
    sharpness: float
    count: int
    smallest: float
    places: Array
    radius: float
    masses: Array
    extents: Array
    means: Array
    spreads: Array
    limit: float
    is_clear: bool


@dataclass(frozen=True, eq=False)
class Statistics:
    """How an image differs from a layout; each cell of the grid belongs to the place that is nearest.

    Args:
        share: ``[h, w]`` in [0, 1], how much of each cell is part.
        count: Parts that were counted.
        missing: ``[S]`` in [0, 1], share of each part that is not there; ``[1]``, of all, without places.
        extra: As ``missing``, area beyond that of a normal part, in areas of it.
        moved: ``[S]``, how far the centre of the area is from its place, in radii; 0 where most of the part is missing.
        spread: ``[S]``, mean square distance of the area from its place, over that of normal images; likewise 0.
    """

    share: Array
    count: int
    missing: Array
    extra: Array
    moved: Array
    spread: Array

    @property
    def table(self) -> Array:
        """``[S, 4]``: the statistics of each place."""
        empty = np.zeros(len(self.missing))
        rest = [column if len(column) else empty for column in (self.moved, self.spread)]
        return np.stack([self.missing, self.extra, *rest], 1)

    def deviations(self, layout: Layout) -> Array:
        """``[S, 4]``: the statistics in standard deviations of the largest ones of normal images."""
        return (self.table - layout.means) / layout.spreads


def learn_layout(
    tokens: Array, grid: tuple[int, int], *, groups: int, smallest: float, use_places: bool, seed: int = 0
) -> Layout:
    """Learn from normal images.

    Args:
        tokens: ``[N, M, D]``, unit length.
        grid: ``(h, w)`` with ``h * w == M``.
        groups: Of tokens.
        smallest: Share of the median part below which nothing is counted.
        use_places: Look for fixed places; there are none where the parts do not lie alike in the normal images.
        seed: Of the sample of tokens and of k-means.
    """
    n, m, dim = tokens.shape
    rng = np.random.default_rng(seed)
    flat = tokens.reshape(-1, dim)
    sample = flat[rng.choice(len(flat), min(_TOKENS, len(flat)), replace=False)]
    fitted = fit_groups(sample, groups, seed=seed)
    centres = np.asarray(fitted.cluster_centers_, np.float64)
    border = np.ones(grid, bool)
    border[1:-1, 1:-1] = False
    nearest = fitted.predict(flat).reshape(n, m)
    cells = [np.nonzero(nearest == k)[1] for k in range(groups)]
    at_border = np.array([border.ravel()[own].mean() if len(own) else 1.0 for own in cells])
    is_part = at_border < 0.5 * border.mean()
    is_clear = bool(is_part.any() and not is_part.all())
    if not is_clear:  # everything, or nothing, keeps away from the border: what does so most is taken for the parts
        is_part = np.arange(groups) == int(at_border.argmin())
    gaps = np.abs(_gap(flat, centres, is_part))
    sharpness = max(_SHARP * float(np.median(gaps)), 1e-6)
    shares = [part_share(one, grid, centres, is_part, sharpness) for one in tokens]
    sizes = [size for share in shares for size in _sizes(share)]
    least = smallest * float(np.median(sizes)) if sizes else 1.0
    found = [_centroids(share, least) for share in shares]
    count = int(np.bincount([len(one) for one in found]).argmax())
    is_clear, use_places = is_clear and count > 0, use_places and count > 0
    count = max(1, count)
    places = _places([one for one in found if len(one) == count], count) if use_places else np.zeros((0, 2))
    ones = np.ones(max(1, len(places)))
    draft = Layout(
        centres=centres,
        is_part=is_part,
        sharpness=sharpness,
        count=count,
        smallest=least,
        places=places,
        radius=_radius(places, grid),
        masses=ones,
        extents=ones,
        means=np.zeros(4),
        spreads=np.ones(4),
        limit=0.0,
        is_clear=is_clear,
    )
    moments = [_moments(share, places) for share in shares]
    masses = np.maximum(np.mean([mass for mass, _, _ in moments], axis=0), 1e-6)
    extents = np.maximum(np.mean([extent for _, _, extent in moments], axis=0), 1e-6)
    draft = replace(draft, masses=masses, extents=extents)
    worst = np.stack([_compare(share, draft).table.max(0) for share in shares])
    spreads = np.maximum(worst.std(0, ddof=1) if n > 1 else np.zeros(4), _LEAST_SPREADS)
    means = worst.mean(0)
    return replace(draft, means=means, spreads=spreads, limit=float(((worst - means) / spreads).max()))


def statistics_of(tokens: Array, grid: tuple[int, int], layout: Layout) -> Statistics:
    """Compare an image with a layout.

    Args:
        tokens: ``[M, D]``, unit length.
        grid: As of the normal images.
        layout: From :func:`learn_layout`.
    """
    return _compare(part_share(tokens, grid, layout.centres, layout.is_part, layout.sharpness), layout)


def part_share(
    tokens: Array, grid: tuple[int, int], centres: Array, is_part: NDArray[np.bool_], sharpness: float
) -> Array:
    """``[h, w]`` in [0, 1]: how much nearer each token is to a part than to the background."""
    gap = np.clip(_gap(tokens, centres, is_part) / sharpness, -50, 50)
    share: Array = (1 / (1 + np.exp(-gap))).reshape(grid)
    return share


def _gap(tokens: Array, centres: Array, is_part: NDArray[np.bool_]) -> Array:
    distances = cdist(tokens, centres)
    gap: Array = distances[:, ~is_part].min(1) - distances[:, is_part].min(1)
    return gap


def _labelled(share: Array) -> tuple[NDArray[np.int_], int]:
    labels, number = ndimage.label(ndimage.zoom(share, _FINE, order=1, grid_mode=True, mode="nearest") > 0.5)
    return labels, int(number)


def _sizes(share: Array) -> Array:
    labels, number = _labelled(share)
    sizes: Array = np.bincount(labels.ravel(), minlength=number + 1)[1:] / _FINE**2
    return sizes


def _centroids(share: Array, least: float) -> Array:
    """``[n, 2]`` row and column of the parts, in cells; small ones are left out."""
    labels, number = _labelled(share)
    sizes = np.bincount(labels.ravel(), minlength=number + 1)[1:] / _FINE**2
    kept = 1 + np.flatnonzero(sizes >= least)
    if not len(kept):
        return np.zeros((0, 2))
    centres = np.array(ndimage.center_of_mass(labels > 0, labels, kept))
    return (centres + 0.5) / _FINE - 0.5


def _places(found: list[Array], count: int) -> Array:
    """Mean place of each part, matched over the images; none where parts lie farther off than half way to the next."""
    from scipy.optimize import linear_sum_assignment

    places = found[0].copy()
    for _ in range(5):
        matched = np.stack([one[linear_sum_assignment(cdist(places, one))[1]] for one in found])
        places = matched.mean(0)
    if count == 1:
        return places
    apart = cdist(places, places) + np.diag(np.full(count, np.inf))
    spread = np.sqrt(((matched - places) ** 2).sum(-1).mean(0))
    return places if bool((spread < 0.25 * apart.min(1)).all()) else np.zeros((0, 2))


def _radius(places: Array, grid: tuple[int, int]) -> float:
    if len(places) < 2:
        return 0.5 * min(grid)
    return float(0.5 * (cdist(places, places) + np.diag(np.full(len(places), np.inf))).min())


def _moments(share: Array, places: Array) -> tuple[Array, Array, Array]:
    """Of the cells nearest to each place: area ``[S]``, its centre ``[S, 2]``, mean square distance ``[S]``."""
    if not len(places):
        return np.array([share.sum()]), np.zeros((1, 2)), np.zeros(1)
    rows, columns = np.mgrid[: share.shape[0], : share.shape[1]]
    cells = np.stack([rows.ravel(), columns.ravel()], 1).astype(np.float64)
    distance = cdist(cells, places)
    own = (distance == distance.min(1, keepdims=True)) * share.reshape(-1, 1)
    masses = own.sum(0)
    safe = np.maximum(masses, 1e-9)
    return masses, (own.T @ cells) / safe[:, None], (own * distance**2).sum(0) / safe


def _compare(share: Array, layout: Layout) -> Statistics:
    masses, centres, extents = _moments(share, layout.places)
    missing = np.clip(1 - masses / layout.masses, 0, 1)
    extra = np.maximum(masses / layout.masses - 1, 0)
    if not len(layout.places):  # all parts together: in areas of one part
        missing, extra = missing * layout.count, extra * layout.count
        return Statistics(share, len(_centroids(share, layout.smallest)), missing, extra, np.zeros(0), np.zeros(0))
    there = missing < _GONE
    moved = np.where(there, np.linalg.norm(centres - layout.places, axis=1) / layout.radius, 0)
    spread = np.where(there, extents / layout.extents, 0)
    return Statistics(share, len(_centroids(share, layout.smallest)), missing, extra, moved, spread)
