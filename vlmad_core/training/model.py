"""A pipeline as something to train: what it learns, its frozen features, and its scores without memory banks."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from vlmad_core.contracts.data import Features, Scores, TextEmbeddings
from vlmad_core.contracts.parts import Extractor, Scorer
from vlmad_core.errors import IncompatibleError
from vlmad_core.pipeline.pipeline import Pipeline

__all__ = ["TrainableModel"]


class TrainableModel:
    """The trainable half of a pipeline; memory banks stay out, as they are filled after the training.

    Args:
        pipeline: Any; its parameters are changed in place.

    Attributes:
        parameters: By name: those of extractor, prompts and scorers that require a gradient.
        cacheable: Whether :meth:`encode` gives the same in every epoch.

    Raises:
        IncompatibleError: Nothing here learns, or all scorers are memory banks.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        scorers = [
            (scorer, label)
            for scorer, label in zip(pipeline.scorers, pipeline.labels, strict=True)
            if isinstance(scorer, Scorer) and not scorer.needs_fit
        ]
        if not scorers:
            raise IncompatibleError(
                "only a memory scores here, and a memory is fitted, not trained: `vlmad fit`. To train, add a scorer "
                "that compares with text, such as 'text-match'."
            )
        self.scorers, self.labels = [scorer for scorer, _ in scorers], [label for _, label in scorers]
        trainable = {id(p) for part in (pipeline.extractor, pipeline.prompts, *self.scorers) for p in _trainable(part)}
        self.parameters = {name: p for name, p in pipeline.named_parameters() if id(p) in trainable}
        if not self.parameters:
            raise IncompatibleError(
                f"there is nothing to learn: none of the parts ({_parts(pipeline)}) has parameters. Take a recipe "
                "whose parts learn, such as 'anomalyclip' (learned prompts) or 'april-gan' (projections)."
            )
        extractor = pipeline.extractor
        self.cacheable = type(extractor).extract_frozen is not Extractor.extract_frozen or not _trainable(extractor)
        prompts = pipeline.prompts
        self._text_changes = bool(_trainable(prompts)) or (prompts is not None and prompts.per_image)
        self._text: dict[str, TextEmbeddings] = {}

    def encode(self, images: Tensor) -> Features:
        """``[B, 3, H, W]`` to what :meth:`score` wants; without gradients where it can be cached."""
        backbone = self.pipeline.backbone
        images = images.to(backbone.device, backbone.dtype)
        if self.cacheable:
            with torch.no_grad():
                return self.pipeline.extractor.extract_frozen(backbone.vision, images)
        features: Features = self.pipeline.extractor(backbone.vision, images)
        return features

    def score(self, encoded: Features, class_names: list[str], *, smooth: bool = False) -> Scores:
        """From :meth:`encode` to scores, differentiable in :attr:`parameters`.

        Args:
            encoded: Of ``B`` images.
            class_names: What each image shows.
            smooth: Smooth the map as a prediction does; no loss reads the smoothed map.
        """
        features = self._features(encoded)
        return self._score(features, self._text_embeddings(class_names, features), smooth=smooth)

    def score_with_losses(
        self, encoded: Features, class_names: list[str], labels: Tensor, *, smooth: bool = False
    ) -> tuple[Scores, dict[str, Tensor]]:
        """As :meth:`score`, with the losses that the parts bring themselves, by name.

        Args:
            encoded: Of ``B`` images.
            class_names: What each image shows.
            labels: ``[B]``, 1 where abnormal.
            smooth: As for :meth:`score`.
        """
        features = self._features(encoded)
        prompts, text = self.pipeline.prompts, self.pipeline.backbone.text
        losses: dict[str, Tensor] = {}
        texts: TextEmbeddings | None
        if prompts is not None and text is not None and self._text_changes:
            texts, found = prompts.forward_with_losses(text, class_names, features)
            losses |= {f"prompts/{name}": loss for name, loss in found.items()}
        else:
            texts = self._text_embeddings(class_names, features)
        for scorer, label in zip(self.scorers, self.labels, strict=True):
            own = scorer.losses(features, texts, labels)
            losses |= {f"{label}/{name}": loss for name, loss in own.items()}
        return self._score(features, texts, smooth=smooth), losses

    def _features(self, encoded: Features) -> Features:
        return self.pipeline.extractor.apply_learned(encoded) if self.cacheable else encoded

    def _score(self, features: Features, texts: TextEmbeddings | None, *, smooth: bool) -> Scores:
        size = self.pipeline.backbone.preprocess.size
        fuse = self.pipeline.fuse if smooth else replace(self.pipeline.fuse, smooth=0.0)
        return fuse([scorer(features, texts, size) for scorer in self.scorers], self.labels)

    def _text_embeddings(self, class_names: list[str], features: Features) -> TextEmbeddings | None:
        if self._text_changes or self.pipeline.prompts is None:
            return self.pipeline.text_embeddings(class_names, features)
        for name in dict.fromkeys(class_names):  # text that does not change is encoded once a name
            if name not in self._text:
                with torch.no_grad():
                    made = self.pipeline.text_embeddings([name])
                assert made is not None  # there are prompts, and a pipeline with prompts has a text tower
                self._text[name] = made
        rows = [self._text[name] for name in class_names]
        return TextEmbeddings(torch.cat([row.vectors for row in rows]), rows[0].abnormal)


def _trainable(part: nn.Module | None) -> list[nn.Parameter]:
    return [] if part is None else [p for p in part.parameters() if p.requires_grad]


def _parts(pipeline: Pipeline) -> str:
    parts = [pipeline.extractor, *([pipeline.prompts] if pipeline.prompts is not None else []), *pipeline.scorers]
    if pipeline.spec is not None:
        spec = pipeline.spec
        return ", ".join([spec.extractor.name, *([spec.prompts.name] if spec.prompts else []), *pipeline.labels])
    return ", ".join(type(part).__name__ for part in parts)
