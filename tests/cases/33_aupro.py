"""AUPRO is the area up to the limit, divided by the limit, also where the curve has jumps."""

import numpy as np
from common import end, expect

from vlmad_core.metrics import aupro


def regions(mask):
    left, found = {tuple(p) for p in np.argwhere(mask)}, []
    while left:
        todo, mine = [left.pop()], []
        while todo:
            r, c = todo.pop()
            mine.append((r, c))
            for p in [(r + i, c + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]:
                if p in left:
                    left.remove(p)
                    todo.append(p)
        found.append(tuple(np.array(mine).T))
    return found


def by_definition(maps, masks, limit):
    parts = [m[r] for m, k in zip(maps, masks, strict=False) for r in regions(k)]
    normal = np.concatenate([m[~k] for m, k in zip(maps, masks, strict=False)])
    x, y = [0.0], [0.0]
    for t in np.unique(np.concatenate([normal, *parts]))[::-1]:
        x.append((normal >= t).mean())
        y.append(np.mean([(p >= t).mean() for p in parts]))
    x, y = np.array(x), np.array(y)
    i = np.searchsorted(x, limit, side="right")
    return np.trapezoid(np.r_[y[:i], np.interp(limit, x, y)], np.r_[x[:i], limit]) / limit


rng = np.random.default_rng(1)
masks = [np.zeros((30, 40), bool) for _ in range(4)]
for k in masks[:3]:
    k[3:8, 4:9] = True
    k[15:25, 20:33] = True
maps = [rng.random((30, 40)).astype(np.float32) + 0.5 * k.astype(np.float32) for k in masks]
for name, change in (
    ("fine", lambda m: m),
    ("three values", lambda m: np.round(m * 2) / 2),
    ("one value", lambda m: np.zeros_like(m)),
    ("a jump past the limit", lambda m: (m > 0.4).astype(np.float32)),
):
    changed = [change(m).astype(np.float32) for m in maps]
    for limit in (0.3, 0.05):
        mine, wanted = aupro(changed, masks, limit=limit), by_definition(changed, masks, limit)
        expect(abs(mine - wanted) < 1e-6 and 0 <= mine <= 1, f"{name}, up to {limit}: {mine:.4f}, wanted {wanted:.4f}")

end()
