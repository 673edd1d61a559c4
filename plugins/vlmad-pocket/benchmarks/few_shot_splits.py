"""Scores of a few-shot detector in many random splits: one pass of the backbone, one table of nearest distances.

The distance of a cell to a memory of several images is the smallest of its distances to each of them, so the table of
cells, images and single references gives every split and every leave-one-out score exactly. The first split is also
fitted in the usual way, and the scores must be the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sets import RealSet
from torch import Tensor

import vlmad_core
from vlmad_core.builtin.memory import Memory
from vlmad_core.contracts.data import Features
from vlmad_core.contracts.images import read, stack
from vlmad_core.contracts.level_maps import combine_levels
from vlmad_core.contracts.ops import combine, topk_mean

__all__ = ["FewShotScores", "Split", "few_shot_scores"]

_TOLERANCE = 1e-4
"""Between scores of the table and of a detector that is fitted: float32 in another order of summation."""


@dataclass(frozen=True)
class Split:
    """One random split.

    Args:
        references: ``[n]``, each scored by a memory of the others.
        good: ``[m]`` of good images that are not remembered.
        bad: ``[b]`` of defects.
    """

    references: np.ndarray
    good: np.ndarray
    bad: np.ndarray


@dataclass(frozen=True)
class FewShotScores:
    """Everything that the scores of any split follow from.

    Args:
        detector: Recipe with one memory, whose scores it fuses with those of texts.
        text: ``[N]`` image scores of the texts; the good images come first.
        cells: By level ``[R, N, h, w]``: distances of the cells of each image to one good image alone.
    """

    detector: vlmad_core.Pipeline
    text: Tensor
    cells: dict[str, Tensor]

    def split(self, order: np.ndarray, n: int) -> Split:
        """The first ``n`` good images of ``order`` are remembered, the others and the defects are scored."""
        total = len(order)
        references, others = order[:n].tolist(), order[n:].tolist()
        loo = [self._scores([other for other in references if other != i], [i])[0] for i in references]
        rest = self._scores(references, [*others, *range(total, len(self.text))])
        return Split(np.array(loo), rest[: len(others)], rest[len(others) :])

    def _scores(self, memory: list[int], images: list[int]) -> np.ndarray:
        scorer = _memory(self.detector)
        nearest = {name: table[memory][:, images].amin(0) for name, table in self.cells.items()}
        fused = combine_levels(nearest, self.detector.preprocess.size, scorer.config.combine).fused
        both = [self.text[images], topk_mean(fused, scorer.config.top)]
        return combine(both, self.detector.fuse.image).double().numpy()


def few_shot_scores(
    detector: vlmad_core.Pipeline, real: RealSet, good: list[Path], bad: list[Path], cache: Path, n: int
) -> FewShotScores:
    """From the cache where it is there.

    Args:
        detector: ``pocket-few-shot``, not fitted.
        real: For the class name.
        good: Images that may be remembered.
        bad: Defects.
        cache: File, ``.pt``.
        n: References in the split that is compared with a fitted detector.

    Raises:
        RuntimeError: The table gives other scores than a fitted detector.
    """
    if cache.exists():
        saved = torch.load(cache, weights_only=True)
        return FewShotScores(detector, saved.pop("text"), saved)
    detector.class_name = real.thing
    found = FewShotScores(detector, *_table(detector, [*good, *bad], len(good)))
    _check(detector, found, good, n)
    torch.save({"text": found.text, **found.cells}, cache)
    return found


@torch.no_grad()
def _table(detector: vlmad_core.Pipeline, paths: list[Path], n_good: int) -> tuple[Tensor, dict[str, Tensor]]:
    features: list[Features] = []
    for pictures in read(paths, detector.preprocess):
        batch = detector.extractor(detector.backbone.vision, stack(pictures))
        features += [batch.select(slice(i, i + 1)) for i in range(len(pictures))]
    size, scorer = detector.preprocess.size, _memory(detector)
    texts = [detector.text_embeddings([detector.class_name or "object"], one) for one in features]
    (text_scorer,) = (one for one in detector.scorers if one is not scorer)
    text = torch.cat([text_scorer(one, t, size).image for one, t in zip(features, texts, strict=True)])
    every, cells = Features.cat(features), {name: [] for name in scorer.chosen}
    for reference in features[:n_good]:
        scorer.forget()
        scorer.fit(reference)
        for name in scorer.chosen:
            cells[name].append(scorer.cells(every, name))
    scorer.forget()
    return text, {name: torch.stack(tables) for name, tables in cells.items()}


def _memory(detector: vlmad_core.Pipeline) -> Memory:
    (scorer,) = detector.memory_scorers
    assert isinstance(scorer, Memory)
    return scorer


def _check(detector: vlmad_core.Pipeline, found: FewShotScores, good: list[Path], n: int) -> None:
    split = found.split(np.arange(len(good)), n)
    detector.fit(good[:n], calibrate=True)
    expected = {image.digest: image.score for image in detector.calibration.references}
    fitted = np.array([image.score for image in detector.calibration.references])
    if len(expected) == n and np.abs(fitted - split.references).max() > _TOLERANCE:
        raise RuntimeError("leave-one-out scores of the table are not those of a fitted detector.")
    others = np.array([detector.predict(path).score for path in good[n : n + 4]])
    if np.abs(others - split.good[: len(others)]).max() > _TOLERANCE:
        raise RuntimeError("scores of the table are not those of a fitted detector.")
    _memory(detector).forget()
