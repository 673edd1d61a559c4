"""The nearest vector of a memory bank among those at about the same place: for a camera and parts that do not move."""

from __future__ import annotations

import torch
from torch import Tensor

from vlmad_core.contracts.kernels import linear
from vlmad_core.contracts.ops import l2_normalize
from vlmad_core.errors import IncompatibleError

__all__ = ["nearest_in_reach"]

_PAIRS = 2**24
"""Pairs of cells compared at a time: 64 MiB of cosines."""


def nearest_in_reach(vectors: Tensor, bank: Tensor, grid: tuple[int, int], reach: int) -> Tensor:
    """As :func:`~vlmad_core.contracts.ops.nearest_distance`, among the cells at most ``reach`` rows and columns away.

    Args:
        vectors: ``[B, M, dim]``, any length; M = h * w.
        bank: ``[n * M, dim]`` of unit length: the cells of n images of the same grid, one image after the other.
        grid: ``(h, w)``.
        reach: In cells; 0: the same cell alone.

    Returns:
        ``[B, M]``, in [0, 1].

    Raises:
        IncompatibleError: The bank is of another grid.
    """
    cells = grid[0] * grid[1]
    if vectors.shape[1] != cells or len(bank) % cells:
        raise IncompatibleError(
            f"'reach' compares cells at the same place, so images must have the grid of the normal ones; these have "
            f"{grid[0]} x {grid[1]} cells, and {len(bank)} are in the memory bank. Fit and predict images of one size."
        )
    number = torch.arange(cells, device=vectors.device)
    place = torch.stack([number // grid[1], number % grid[1]], 1)  # [M, 2]
    is_far = (place[:, None] - place).abs().amax(-1) > reach  # [M, M]
    queries = l2_normalize(vectors)
    best: Tensor | None = None
    images = max(1, _PAIRS // (len(vectors) * cells * cells))
    for rows in bank.split(images * cells):
        cosine = linear(queries, rows.to(queries.dtype)).unflatten(-1, (-1, cells))  # [B, M, n, M]
        nearest: Tensor = cosine.masked_fill(is_far[:, None], -1).amax((-2, -1))
        best = nearest if best is None else torch.maximum(best, nearest)
    assert best is not None  # a scorer refuses before it is fitted
    return ((1 - best) / 2).clamp_min(0)
