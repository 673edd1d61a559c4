# Copied from vlmad_core/inspection/outline.py by plugins/vlmad-edge/build/shared.py; edit that file.
"""The outline of a region along the edges of its pixels, so that the polygon covers these pixels and no others.

Contours at a level (contourpy, scikit-image) cut the corners of pixels: one pixel becomes a diamond of half its area. A
person who measures a defect needs the pixels themselves.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ["Ring", "outline", "ring_area"]

Ring = tuple[tuple[int, int], ...]
"""Corners (x, y) of a closed line, in pixel edges: the first pixel is from 0 to 1. The last joins the first."""


def outline(mask: NDArray[np.bool_]) -> tuple[Ring, ...]:
    """The closed lines around the pixels of a mask, pixels that touch at a corner on one line.

    Args:
        mask: ``[H, W]``, one region connected by edges or corners.

    Returns:
        The outer ring first, clockwise on the screen, then the holes, counter-clockwise; empty for an empty mask. The
        signed areas of all rings add up to the number of pixels.

    >>> outline(np.array([[True]]))
    (((0, 0), (1, 0), (1, 1), (0, 1)),)
    """
    width = mask.shape[1] + 1
    edges = _edges(mask, width)
    rings = []
    while edges:
        vertices = list(_follow(edges, next(iter(edges)), width))
        rings.append(_corners(vertices, width))
    return tuple(rings)


def ring_area(ring: Ring) -> float:
    """Signed area in pixels by the shoelace formula, positive where the ring is clockwise on the screen."""
    x, y = np.asarray(ring, dtype=np.int64).T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum()) / 2


def _edges(mask: NDArray[np.bool_], width: int) -> dict[int, list[int]]:
    """Edges between inside and outside, the inside on the right-hand side: the ends of those that start at a vertex."""
    padded = np.pad(mask, 1)
    inside = padded[1:-1, 1:-1]
    starts, ends = [], []
    for neighbour, first, second in (
        (padded[:-2, 1:-1], 0, 1),  # above: to the right
        (padded[1:-1, 2:], 1, width + 1),  # to the right: down
        (padded[2:, 1:-1], width + 1, width),  # below: to the left
        (padded[1:-1, :-2], width, 0),  # to the left: up
    ):
        y, x = np.nonzero(inside & ~neighbour)
        starts.append(y * width + x + first)
        ends.append(y * width + x + second)
    start, end = np.concatenate(starts), np.concatenate(ends)
    order = np.argsort(start, kind="stable")  # the topmost vertex first, which is on the outer ring
    edges: dict[int, list[int]] = {}
    for a, b in zip(start[order].tolist(), end[order].tolist(), strict=True):
        edges.setdefault(a, []).append(b)
    return edges


def _follow(edges: dict[int, list[int]], vertex: int, width: int) -> Iterator[int]:
    """Vertices of one ring; its edges are taken out."""
    step = 0
    while vertex in edges:
        yield vertex
        ends = edges[vertex]
        # Where two pixels touch at a corner, the left turn keeps them on one line.
        left = {1: -width, width: 1, -1: width, -width: -1}.get(step, 0)
        end = vertex + left if len(ends) > 1 and vertex + left in ends else ends[0]
        ends.remove(end)
        if not ends:
            del edges[vertex]
        step, vertex = end - vertex, end


def _corners(vertices: list[int], width: int) -> Ring:
    steps = np.diff(vertices, append=vertices[:1])
    return tuple(
        (v % width, v // width) for v, turns in zip(vertices, steps != np.roll(steps, 1), strict=True) if turns
    )
