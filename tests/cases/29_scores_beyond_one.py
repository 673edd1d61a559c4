"""AUROC of scores that are no probabilities."""

import numpy as np
from common import end, expect

from vlmad_core.metrics import auroc

rng = np.random.default_rng(0)
scores, labels = np.r_[rng.normal(0, 1, 50), rng.normal(1, 1, 50)], np.r_[np.zeros(50), np.ones(50)]
wanted = np.mean([(a > b) + (a == b) / 2 for a in scores[50:] for b in scores[:50]])
for name, change in (
    ("as they are", lambda s: s),
    ("in thousands", lambda s: 1e3 * s + 1e4),
    ("tiny", lambda s: 1e-9 * s),
    ("below zero", lambda s: s - 100),
):
    expect(
        abs(auroc(change(scores), labels) - wanted) < 1e-9,
        f"{name}: {auroc(change(scores), labels):.4f}, wanted {wanted:.4f}",
    )

end()
