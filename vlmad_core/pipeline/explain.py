"""The scores of a batch once more as sums: of region values, of cosines to text, of sentences.

A score follows from the values of regions by means, sums, maxima, harmonic means, resizing and smoothing. Each of
these is twice as high for values twice as high, so by Euler's theorem each value times the derivative of the score with
respect to it adds up to the score. A contribution is thus what the score gains, for a small relative rise of that
value, per relative rise. The derivatives come from autograd, from the regions on: nothing goes through the tower again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vlmad_core.contracts.data import Features, Scores, TextEmbeddings
from vlmad_core.contracts.ops import l2_normalize
from vlmad_core.contracts.parts import WHOLE_IMAGE, Scorer, Sentence, TextParts, TextWeights
from vlmad_core.inspection.evidence import Box, Contribution, SentenceShare, Split
from vlmad_core.pipeline.fuse import Fuse
from vlmad_core.pipeline.place import main_box, scaled

__all__ = ["ScorerTerms", "Terms", "make_terms"]

_IMAGE, _MAP = "image", "map"


@dataclass(frozen=True, eq=False)
class ScorerTerms:
    """What one scorer adds to the scores of a batch.

    Args:
        label: Its name.
        scorer: Itself.
        values: By the name of the level, ``[B, M]``; where it offers none, its image score and its map.
        levels: Maps of its levels, ``[B, H, W]``.
        is_split: Whether ``values`` are of regions.
    """

    label: str
    scorer: Scorer
    values: Mapping[str, Tensor]
    levels: Mapping[str, Tensor]
    is_split: bool


@dataclass(frozen=True, eq=False)
class Terms:
    """A batch that was scored so that its scores can be taken apart.

    Args:
        features: Of the batch.
        texts: Of the batch, or None.
        size: Of the maps.
        scorers: One for each scorer.
        scores: As without reasons, bit for bit.
        peaks: ``[B]``, the highest pixel of each map, row by row.
        gradients: Of the image scores, and of the values at the peaks: for each scorer by the name of the level.
    """

    features: Features
    texts: TextEmbeddings | None
    size: tuple[int, int]
    scorers: Sequence[ScorerTerms]
    scores: Scores
    peaks: Tensor
    gradients: tuple[Sequence[Mapping[str, Tensor]], Sequence[Mapping[str, Tensor]]]

    def splits(
        self, parts: Sequence[TextParts | None], sizes: Sequence[tuple[int, int]]
    ) -> Iterator[tuple[Split, Split]]:
        """The image score and the highest value of the map of each image.

        Args:
            parts: The sentences of the class name of each image.
            sizes: ``(height, width)`` of each image as it was given.
        """
        weights = [
            [self._text_weights(*each) for each in zip(self.scorers, one, strict=True)] for one in self.gradients
        ]
        highest = self.scores.anomaly_map.flatten(1).gather(1, self.peaks[:, None])[:, 0]
        totals = self.scores.image.detach().tolist(), highest.detach().tolist()
        for b, (part, size) in enumerate(zip(parts, sizes, strict=True)):
            found = [
                self._split(b, totals[i][b], self.gradients[i], weights[i], part, size, is_map=bool(i)) for i in (0, 1)
            ]
            yield found[0], found[1]

    def _text_weights(self, terms: ScorerTerms, gradients: Mapping[str, Tensor]) -> TextWeights | None:
        used = {name: one for name, one in gradients.items() if bool(one.any())}
        if not terms.is_split or not used or self.texts is None:
            return None
        return terms.scorer.text_weights(self.features, self.texts, self.size, used)

    def _split(
        self,
        b: int,
        total: float,
        gradients: Sequence[Mapping[str, Tensor]],
        weights: Sequence[TextWeights | None],
        parts: TextParts | None,
        size: tuple[int, int],
        *,
        is_map: bool,
    ) -> Split:
        contributions: list[Contribution] = []
        sentences: list[SentenceShare] = []
        for terms, gradient, weight in zip(self.scorers, gradients, weights, strict=True):
            if not terms.is_split:
                contributions += self._whole_scorer(b, terms, gradient[_MAP if is_map else _IMAGE])
                continue
            for level, one in gradient.items():
                carried = (terms.values[level][b] * one[b]).detach()
                if not bool(carried.any()):
                    continue
                box = self._box(level, carried, size)
                if weight is None:
                    value = float(carried.double().sum())
                    cause = "text" if terms.scorer.needs_text else "normals"
                    contributions.append(Contribution(terms.label, level, cause, value, box=box))  # type: ignore[arg-type]
                    continue
                base = float(weight.base[level][b])
                contributions.append(Contribution(terms.label, level, "even odds", base, box=box))
                shares = list(self._sentences(b, terms.label, level, weight.cosines[level][b], parts))
                sentences += shares
                phrases: dict[tuple[str, bool], float] = {}
                for share in shares:
                    key = share.phrase, share.is_abnormal
                    phrases[key] = phrases.get(key, 0.0) + share.value
                contributions += [
                    Contribution(terms.label, level, "text", value, phrase, is_abnormal, box)
                    for (phrase, is_abnormal), value in phrases.items()
                ]
        contributions.sort(key=lambda one: -abs(one.value))
        return Split(total, tuple(contributions), tuple(sentences))

    def _sentences(
        self, b: int, label: str, level: str, weights: Tensor, parts: TextParts | None
    ) -> Iterator[SentenceShare]:
        """Shares of the sentences; with their agreement counted from the mean over the states of each region.

        The factors of the states add up to 0, so what all states have in common adds nothing to the sum.
        """
        assert self.texts is not None
        states = self.texts.vectors[b].double()
        abnormal = self.texts.abnormal.tolist()
        if parts is None:
            parts = TextParts(tuple(Sentence("", i, f"state {i + 1}") for i in range(len(states))), states)
        whole = self.features.image
        vectors = whole[b][None] if level == WHOLE_IMAGE and whole is not None else self.features[level].vectors[b]
        units, factors = l2_normalize(vectors.float()).double(), weights.double()  # [M, D], [M, S]
        common = factors.T @ (units @ states.mean(0))  # [S]
        queries = factors.T @ units  # [S, D]
        of = torch.tensor([sentence.state for sentence in parts.sentences], device=queries.device)
        counts = torch.bincount(of, minlength=len(states)).clamp_min(1)
        values = (queries[of] * parts.vectors.double()).sum(-1) - (common / counts)[of]
        for sentence, value in zip(parts.sentences, values.tolist(), strict=True):
            yield SentenceShare(
                label,
                level,
                sentence.text,
                sentence.phrase,
                sentence.template,
                bool(abnormal[sentence.state]),
                value,
            )

    def _box(self, level: str, carried: Tensor, size: tuple[int, int]) -> Box | None:
        everything = (0.0, 0.0, float(size[1]), float(size[0]))
        if level == WHOLE_IMAGE:
            return everything
        found = self.features[level]
        grid, values = found.grid, carried.float()
        if found.cover is not None and len(values) == len(found.cover):
            cover = found.cover.to(values)
            values = values @ (cover / cover.sum(1, keepdim=True))
        elif len(values) != grid[0] * grid[1]:
            grid = self.size
        box = main_box(values.cpu().numpy().astype(np.float32), grid)
        return None if box is None else scaled(box, size)

    def _whole_scorer(self, b: int, terms: ScorerTerms, gradient: Tensor) -> Iterator[Contribution]:
        """A scorer without region values: its own part is exact, the split over levels goes by their maps."""
        of = terms.values[_IMAGE] if gradient.ndim == 2 else terms.values[_MAP]
        total = float((of[b] * gradient[b]).detach().double().sum())
        peak = int(self.peaks[b])
        at = {name: float(map_[b].detach().flatten()[peak]) for name, map_ in terms.levels.items()}
        summed = sum(at.values())
        if len(at) < 2 or not summed > 0 or min(at.values()) < 0:
            if total:
                yield Contribution(terms.label, next(iter(at), "") if len(at) == 1 else "", "scorer", total)
            return
        for name, value in at.items():
            yield Contribution(terms.label, name, "scorer", total * value / summed, is_exact=False)


def make_terms(
    scorers: Sequence[Scorer],
    labels: Sequence[str],
    fuse: Fuse,
    features: Features,
    texts: TextEmbeddings | None,
    size: tuple[int, int],
) -> Terms:
    """Score a batch so that its scores can be taken apart.

    Args:
        scorers: Of the pipeline.
        labels: Their names.
        fuse: How they become one.
        features: Of the batch, without a graph.
        texts: Of the batch, or None.
        size: Of the maps.
    """
    terms, scores = [], []
    for scorer, label in zip(scorers, labels, strict=True):
        with torch.no_grad():
            if not scorer.is_fitted or (scorer.needs_text and texts is None):
                scorer(features, texts, size)  # refuses in its own words
            values = scorer.region_values(features, texts, size)
            whole = scorer(features, texts, size) if values is None else None
        with torch.enable_grad():
            if values is not None:
                leaves = {name: value.detach().requires_grad_() for name, value in values.items()}
                scored = scorer.combine_regions(leaves, features, size)
            else:
                assert whole is not None
                leaves = {
                    _IMAGE: whole.image[:, None].detach().requires_grad_(),
                    _MAP: whole.anomaly_map.detach().requires_grad_(),
                }
                scored = Scores(leaves[_IMAGE][:, 0], leaves[_MAP], whole.levels)
        terms.append(ScorerTerms(label, scorer, leaves, scored.levels, values is not None))
        scores.append(scored)
    with torch.enable_grad():
        fused = fuse(scores, labels)
        peaks = fused.anomaly_map.detach().flatten(1).argmax(1)
        highest = fused.anomaly_map.flatten(1).gather(1, peaks[:, None])
    flat = [leaf for one in terms for leaf in one.values.values()]
    gradients = []
    for i, target in enumerate((fused.image, highest)):
        found = iter(
            torch.autograd.grad(target.sum(), flat, retain_graph=i == 0, allow_unused=True, materialize_grads=True)
        )
        gradients.append([{name: next(found) for name in one.values} for one in terms])
    plain = Scores(fused.image.detach(), fused.anomaly_map.detach(), {k: v.detach() for k, v in fused.levels.items()})
    return Terms(features, texts, size, terms, plain, peaks, (gradients[0], gradients[1]))
