"""What training needs of a pipeline: what it learns, what it saw, and how that is judged, without memories."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from vlmad_core.contracts.data import Features, Scores, TextEmbeddings
from vlmad_core.contracts.parts import Extractor, Scorer
from vlmad_core.errors import IncompatibleError
from vlmad_core.pipeline.pipeline import Pipeline

__all__ = ["Learner"]


class Learner:
    """A pipeline, seen as something that learns.

    Memories stay out: what they compare with is shown to a detector after it was trained.

    Args:
        pipeline: Any; what it learns is changed in place.

    Raises:
        IncompatibleError: Nothing here learns, or nothing but memories judges.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        judges = [
            (scorer, label) for scorer, label in zip(pipeline.scorers, pipeline.labels, strict=True) if _judges(scorer)
        ]
        if not judges:
            raise IncompatibleError(
                "only a memory judges here, and a memory is fitted, not trained: `vlmad fit`. To train, add a scorer "
                "that compares with words, such as 'text-match'."
            )
        self.scorers, self.labels = [scorer for scorer, _ in judges], [label for _, label in judges]
        learning = {id(p) for part in (pipeline.extractor, pipeline.prompts, *self.scorers) for p in _learned(part)}
        self.parameters = {name: p for name, p in pipeline.named_parameters() if id(p) in learning}
        if not self.parameters:
            raise IncompatibleError(
                f"there is nothing to learn: none of the parts ({_parts(pipeline)}) has parameters. Take a recipe "
                "whose parts learn, such as 'anomalyclip' (learned prompts) or 'april-gan' (projections)."
            )
        extractor = pipeline.extractor
        splits = type(extractor).extract_frozen is not Extractor.extract_frozen
        self.keeps = splits or not _learned(extractor)
        """Whether what :meth:`look` gives is the same in every epoch."""
        self._speaks = bool(_learned(pipeline.prompts)) or (pipeline.prompts is not None and pipeline.prompts.per_image)
        self._said: dict[str, TextEmbeddings] = {}

    def look(self, pixels: Tensor) -> Features:
        """``[B, 3, H, W]`` to what :meth:`judge` wants; without gradients where it can be kept."""
        backbone = self.pipeline.backbone
        pixels = pixels.to(backbone.device, backbone.dtype)
        if self.keeps:
            with torch.no_grad():
                return self.pipeline.extractor.extract_frozen(backbone.vision, pixels)
        features: Features = self.pipeline.extractor(backbone.vision, pixels)
        return features

    def judge(self, seen: Features, names: list[str], *, smooth: bool = False) -> Scores:
        """From what was seen to scores, differentiable in :attr:`parameters`; no loss reads the smoothed map."""
        pipeline = self.pipeline
        features = pipeline.extractor.apply_learned(seen) if self.keeps else seen
        size = pipeline.backbone.preprocess.size
        text_embeddings = self._text_embeddings(names, features)
        fuse = pipeline.fuse if smooth else replace(pipeline.fuse, smooth=0.0)
        return fuse([scorer(features, text_embeddings, size) for scorer in self.scorers], self.labels)

    def _text_embeddings(self, names: list[str], features: Features) -> TextEmbeddings | None:
        if self._speaks or self.pipeline.prompts is None:
            return self.pipeline.text_embeddings(names, features)
        for name in dict.fromkeys(names):  # words that learn nothing go through the tower once a name
            if name not in self._said:
                with torch.no_grad():
                    made = self.pipeline.text_embeddings([name])
                assert made is not None  # there are prompts, and a pipeline with prompts has a text tower
                self._said[name] = made
        rows = [self._said[name] for name in names]
        return TextEmbeddings(torch.cat([row.vectors for row in rows]), rows[0].abnormal)


def _judges(scorer: nn.Module) -> bool:
    return isinstance(scorer, Scorer) and not scorer.needs_fit


def _learned(part: nn.Module | None) -> list[nn.Parameter]:
    return [] if part is None else [p for p in part.parameters() if p.requires_grad]


def _parts(pipeline: Pipeline) -> str:
    parts = [pipeline.extractor, *([pipeline.prompts] if pipeline.prompts is not None else []), *pipeline.scorers]
    if pipeline.spec is not None:
        spec = pipeline.spec
        return ", ".join([spec.extractor.name, *([spec.prompts.name] if spec.prompts else []), *pipeline.labels])
    return ", ".join(type(part).__name__ for part in parts)
