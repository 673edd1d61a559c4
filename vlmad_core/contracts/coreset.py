"""Which vectors of a large memory bank to keep: those that are far from each other."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["coreset"]

_PROJECTED = 64
_STEP, _CANDIDATES = 64, 512


@torch.no_grad()
def coreset(rows: Tensor, count: int, *, seed: int = 0) -> Tensor:
    """Greedy k-center: each next row is the one farthest from those chosen (Gonzalez, 1985; PatchCore, CVPR 2022).

    As in PatchCore, distances are those of a random projection. Up to 64 rows are chosen at a time among the 512
    farthest ones, as long as no other row can be farther: the same choice as one by one, in seconds for 50,000 rows.

    Args:
        rows: ``[N, dim]``.
        count: Rows to keep; all if there are no more.
        seed: Of the projection, so that the same rows give the same choice.

    Returns:
        ``[min(count, N)]``, indices in ascending order.

    >>> coreset(torch.tensor([[0.0, 0], [0.1, 0], [9, 0], [9, 0.1], [0, 9]]), 3)
    tensor([0, 3, 4])
    """
    if len(rows) <= count:
        return torch.arange(len(rows), device=rows.device)
    points = rows.float()
    if points.shape[1] > _PROJECTED:
        draws = torch.Generator().manual_seed(seed)
        points = points @ torch.randn(points.shape[1], _PROJECTED, generator=draws).to(points.device)
    lengths = points.square().sum(1)
    nearest = torch.full_like(lengths, torch.inf)  # [N] squared distance to the nearest chosen row
    chosen = [torch.zeros(1, dtype=torch.int64, device=rows.device)]
    left = count - 1
    while True:
        centres = points[chosen[-1]]
        squared = lengths[:, None] - 2 * points @ centres.T + centres.square().sum(1)
        nearest = torch.minimum(nearest, squared.amin(1).clamp_min(0))
        nearest[chosen[-1]] = -1  # never again, not even where all rows are alike
        if left == 0:
            return torch.cat(chosen).sort().values
        picked = _greedy(points, nearest, min(_STEP, left))
        chosen.append(picked)
        left -= len(picked)


def _greedy(points: Tensor, nearest: Tensor, count: int) -> Tensor:
    """``[1 to count]``: the greedy choice among the candidates that are farthest now."""
    found = nearest.topk(min(_CANDIDATES, len(nearest)))
    candidates = points[found.indices]
    between = torch.cdist(candidates, candidates).square()
    distance = found.values.clone()
    picked: list[int] = []
    beyond = float(found.values[-1])  # no other row is farther than this
    for _ in range(count):
        best = int(distance.argmax())
        if picked and float(distance[best]) < beyond:
            break
        picked.append(best)
        distance = torch.minimum(distance, between[best])
        distance[picked] = -2
    return found.indices[picked]
