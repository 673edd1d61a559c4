"""How several scorers become one, by a rule with a name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vlmad_core.contracts.data import Scores
from vlmad_core.contracts.ops import Combine, combine, gaussian_blur
from vlmad_core.pipeline.scales import ScaleRule

__all__ = ["Fuse"]


@dataclass(frozen=True)
class Fuse:
    """How several scorers become one, and what happens to the map afterwards.

    Args:
        image: Over the scorers' image scores.
        map: Over the scorers' maps.
        smooth: Sigma of a Gaussian over the fused map, in pixels.
        scales: Over the sizes of an image and its tiles; see :class:`~vlmad_core.pipeline.scales.ViewScores`.
    """

    image: Combine = "mean"
    map: Combine = "mean"
    smooth: float = 0.0
    scales: ScaleRule = "mean"

    def __call__(self, scores: Sequence[Scores], names: Sequence[str]) -> Scores:
        """One :class:`Scores` from several; levels are named ``scorer/level``."""
        levels = {f"{name}/{key}": m for name, s in zip(names, scores, strict=True) for key, m in s.levels.items()}
        fused = combine([s.anomaly_map for s in scores], self.map)
        return Scores(combine([s.image for s in scores], self.image), gaussian_blur(fused, self.smooth), levels)
