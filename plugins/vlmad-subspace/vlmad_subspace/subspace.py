"""Scorer: how far a region lies outside the subspace that normal regions span.

Principal components of normal vectors, and the length of what they leave over: the novelty measure of control charts
(Jackson and Mudholkar, 1979) on the tokens of a vision transformer (SubspaceAD, CVPR 2026). What is stored is a
mean and a matrix of products, of one size for any number of images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor

from vlmad_core.contracts import (
    Features,
    Level,
    LevelSpec,
    Scorer,
    Scores,
    TextEmbeddings,
    check_finite,
    combine,
    l2_normalize,
    resize,
    select_levels,
    topk_mean,
)
from vlmad_core.errors import IncompatibleError, NotFittedError

if TYPE_CHECKING:
    from vlmad_subspace.plugin import SubspaceConfig

__all__ = ["Subspace"]


class Subspace(Scorer):
    """Principal components of the normal vectors of each level, or of the mean of the levels.

    The value of a region is a quarter of the squared residual over the mean squared length of the normal vectors. For
    unit vectors that is in [0, 1], on the scale of scorer ``memory``, whose half of one minus the cosine is a quarter
    of the squared distance to the nearest vector; for others it is the paper's score times a constant.

    Raises:
        IncompatibleError: A pattern that matches no level, or ``average`` of levels that differ in dimension.
    """

    needs_fit: ClassVar[bool] = True

    def __init__(self, config: SubspaceConfig, levels: Sequence[LevelSpec], dim: int | None) -> None:
        super().__init__()
        self.config = config
        chosen = select_levels(levels, config.levels)
        if config.average and len({level.dim for level in chosen}) > 1:
            there = ", ".join(map(str, chosen))
            raise IncompatibleError(
                f"averages levels, and these differ in dimension: {there}. Choose some with 'levels', or average false."
            )
        names = tuple(level.name for level in chosen)
        # A subspace has the name of its level; that of an average has the name of the last one.
        self.groups = {names[-1]: names} if config.average else {name: (name,) for name in names}
        self.maximum = 1.0 if config.unit else None
        for level in chosen:
            if level.name in self.groups:
                self.register_buffer(f"count_{level.name}", torch.zeros((), dtype=torch.int64))
                self.register_buffer(f"mean_{level.name}", torch.zeros(level.dim))
                self.register_buffer(f"scatter_{level.name}", torch.zeros(level.dim, level.dim))
        # Computed when first needed and kept, so that no image makes a GPU stop; dropped when a buffer changes.
        self._fitted: bool | None = False
        self._components: dict[str, Tensor] = {}

    @property
    def is_fitted(self) -> bool:
        """Whether every subspace has received a normal image."""
        if self._fitted is None:
            self._fitted = all(bool(self._statistics(name)[0] > 0) for name in self.groups)
        return self._fitted

    def fit(self, features: Features) -> None:
        """Add every region of a batch of normal images (Chan et al., 1979); in parts it is as at once.

        Raises:
            VlmadError: A value that is not finite.
        """
        for name in self.groups:
            rows = self._level(features, name).vectors.detach().flatten(0, 1)  # [B*M, dim]
            check_finite(rows, name)
            count, mean, scatter = self._statistics(name)
            total = count + len(rows)
            own = rows.mean(0)
            rest, shift = rows - own, own - mean
            self._store(
                name,
                total,
                mean + shift * (len(rows) / total),
                scatter + rest.T @ rest + shift.outer(shift) * (count * len(rows) / total),
            )

    def forget(self) -> None:
        """Drop all statistics."""
        for name in self.groups:
            self._store(name, *(torch.zeros_like(value) for value in self._statistics(name)))

    def forward(self, features: Features, text_embeddings: TextEmbeddings | None, size: tuple[int, int]) -> Scores:
        """The mean map of the levels; the image score is the mean of its highest pixels (tail value at risk)."""
        if not self.is_fitted:
            raise NotFittedError("has received no normal image. Call detector.fit('folder of normal images') first.")
        return self.combine_regions(self.region_values(features, text_embeddings, size), features, size)

    def region_values(
        self, features: Features, text_embeddings: TextEmbeddings | None, size: tuple[int, int]
    ) -> dict[str, Tensor]:
        """``[B, M]`` of each subspace: the residuals."""
        return {name: self.residual(self._level(features, name).vectors, name) for name in self.groups}

    def combine_regions(self, values: Mapping[str, Tensor], features: Features, size: tuple[int, int]) -> Scores:
        """Residuals to pixels, and the mean over the subspaces."""
        maps = {name: resize(features[name].to_map(values[name]), size) for name in self.groups}
        fused = combine(list(maps.values()), "mean")
        return Scores(topk_mean(fused, self.config.top), fused, maps)

    def residual(self, vectors: Tensor, name: str) -> Tensor:
        """``[..., dim]`` to ``[...]``: the quarter of the squared residual, over the mean squared normal length."""
        count, mean, scatter = self._statistics(name)
        components = self.components(name)
        rest = vectors - mean
        rest = rest - (rest @ components) @ components.T
        length = mean.square().sum() + scatter.trace() / count
        return rest.square().sum(-1) / (4 * length).clamp_min(torch.finfo(length.dtype).tiny)

    def components(self, name: str) -> Tensor:
        """``[dim, K]``, orthonormal: the fewest that hold more than the share of the variance, as scikit-learn does."""
        if name not in self._components:
            with torch.inference_mode(False), torch.no_grad():  # kept for later calls, which may want gradients
                device = self._statistics(name)[1].device
                count, mean, scatter = (value.double().cpu() for value in self._statistics(name))
                values, vectors = torch.linalg.eigh(scatter / count)
                values, vectors = values.flip(0), vectors.flip(1)
                rounding = torch.finfo(torch.float32).eps * len(values)
                rank = int((values > rounding * values[0].clamp_min(rounding * mean.square().sum())).sum())
                shares = values[:rank].cumsum(0) / values[:rank].sum()
                kept = min(rank, int((shares <= self.config.variance).sum()) + 1, self.config.components or rank)
                self._components[name] = vectors[:, :kept].float().to(device)
        return self._components[name]

    def _level(self, features: Features, name: str) -> Level:
        """The input of one subspace, in float32: a level, or the mean of several."""
        levels = [features[part] for part in self.groups[name]]
        if len({level.vectors.shape[1] for level in levels}) > 1:
            counts = ", ".join(f"{level.spec.name} {level.vectors.shape[1]}" for level in levels)
            raise IncompatibleError(f"averages levels, and these differ in regions: {counts}. Use average false.")
        vectors = torch.stack([level.vectors.float() for level in levels]).mean(0)
        last = levels[-1]
        return Level(last.spec, l2_normalize(vectors) if self.config.unit else vectors, last.grid, last.cover)

    def _statistics(self, name: str) -> tuple[Tensor, Tensor, Tensor]:
        """Number of vectors, their mean ``[dim]``, and the sum of outer products about it ``[dim, dim]``."""
        count, mean, scatter = (self.get_buffer(f"{what}_{name}") for what in ("count", "mean", "scatter"))
        return count, mean.float(), scatter.float()

    def _store(self, name: str, count: Tensor, mean: Tensor, scatter: Tensor) -> None:
        for what, value in (("count", count), ("mean", mean), ("scatter", scatter)):
            setattr(self, f"{what}_{name}", value)
        self._drop_computed()

    def _drop_computed(self) -> None:
        self._fitted = None
        self._components.clear()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        self._drop_computed()
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call, no-any-return]

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], *args: Any) -> None:
        super()._load_from_state_dict(state_dict, *args)
        self._drop_computed()
