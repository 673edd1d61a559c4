"""A detector as one torch module with one tensor as input, for a tracer; and what cannot be such a module."""

from __future__ import annotations

from dataclasses import fields
from typing import cast

import torch
from torch import Tensor, nn

from vlmad_core.contracts import Features, Scorer, TextEmbeddings, l2_normalize
from vlmad_core.contracts.images import Preprocess
from vlmad_core.errors import IncompatibleError
from vlmad_core.pipeline import Pipeline
from vlmad_core.pipeline.spec import PipelineSpec

__all__ = ["DetectorGraph", "check_exportable"]

_PREPROCESS = {"size", "mean", "std", "interpolation", "bits"}
_SPEC = {"backbone", "extractor", "prompts", "scorers", "fuse", "references", "output", "image_size", "scales", "tiles"}


def check_exportable(pipeline: Pipeline) -> None:
    """Refuse a detector that is no fixed function of one image, before anything is computed or written.

    Raises:
        IncompatibleError: A part compares images of a batch, prompts depend on the image, images are read in several
            sizes or tiles, or the weights are not float32. The text names the part.
        NotFittedError: As `Pipeline.check_ready`.
        ConfigError: The prompts need a class name.
    """
    parts: list[tuple[str, nn.Module | None]] = [("extractor", pipeline.extractor), ("prompts", pipeline.prompts)]
    parts += [(f"scorer '{name}'", part) for name, part in zip(pipeline.labels, pipeline.scorers, strict=True)]
    for name, part in parts:
        reason = getattr(part, "no_export", "")
        if reason:
            raise IncompatibleError(f"{name} cannot be exported: {reason}")
    if pipeline.prompts is not None and pipeline.prompts.per_image:
        raise IncompatibleError(
            "prompts cannot be exported: they are computed anew from the features of each image, so the text encoder "
            "would have to be in the file. Take prompts that depend on the class name alone, such as 'compositional'."
        )
    for name in _more_than_plain(pipeline.preprocess):
        raise IncompatibleError(
            f"'{name}' cannot be exported: an exported detector takes one image of one fixed size. Build it without "
            "tiles, several scales and a size that follows the image."
        )
    for name in _more_than_known(pipeline.spec):
        raise IncompatibleError(
            f"'{name}' of the pipeline cannot be exported: this version of vlmad-export does not know it. Build the "
            "detector without it."
        )
    if pipeline.backbone.dtype != torch.float32:
        kind = str(pipeline.backbone.dtype).removeprefix("torch.")
        raise IncompatibleError(
            f"the weights are {kind}, and an export begins with float32: build the detector with backbone.config.dtype="
            "float32 and give --precision fp16 or int8."
        )
    pipeline.check_ready()


def _more_than_plain(preprocess: Preprocess) -> list[str]:
    """Options of the pre-processing that are set and go beyond one resize to one size."""
    if preprocess.views is not None:
        sizes = preprocess.views.sizes
        found = ["tiles"] if preprocess.views.tiles is not None else []
        found += ["scales"] if len(sizes) > 1 else []
        found += ["image_size: fit"] if any(size.tokens is not None for size in sizes) else []
        return found or ["views"]
    names = [field.name for field in fields(preprocess) if field.name not in {*_PREPROCESS, "views"}]
    return [name for name in names if getattr(preprocess, name) not in (None, False, "squash", 0, ())]


def _more_than_known(spec: PipelineSpec | None) -> list[str]:
    if spec is None:
        return []
    own = {name for name in type(spec).model_fields if name not in _SPEC}
    nested = [f"output.{name}" for name in type(spec.output).model_fields if name != "smooth"]
    changed = [
        name
        for name in own
        if getattr(spec, name) != type(spec).model_fields[name].get_default(call_default_factory=True)
    ]
    for name in nested:
        key = name.partition(".")[2]
        default = type(spec.output).model_fields[key].get_default(call_default_factory=True)
        if getattr(spec.output, key) != default:
            changed.append(name)
    return sorted(changed)


class DetectorGraph(nn.Module):
    """From pixels to score, map and class token, with text embeddings and memories as constants.

    Args:
        pipeline: After :func:`check_exportable`. Its class name decides the text embeddings.

    Attributes:
        names: Of the outputs: ``score``, ``anomaly_map``, perhaps ``class_token``; then the features between extractor
            and scorers, ``level0`` and so on and ``image``, which are cut off before the file is written.
        results: The first of them, that stay.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        super().__init__()
        self.vision = cast("nn.Module", pipeline.backbone.vision)
        self.extractor = pipeline.extractor
        self.scorers = pipeline.scorers
        self.fuse, self.labels, self.size = pipeline.fuse, pipeline.labels, pipeline.preprocess.size
        pipeline.state_dict()  # memory banks are joined, which a tracer could not follow
        with torch.no_grad():
            embeddings = pipeline.text_embeddings([pipeline.class_name or "object"])
            found, scores = pipeline.extract_and_score(torch.zeros(1, 3, *self.size))
        del scores  # also fills what parts compute once: resized positions, principal components
        if embeddings is not None:
            self.register_buffer("text", embeddings.vectors, persistent=False)
            self.register_buffer("abnormal", embeddings.abnormal, persistent=False)
        self.has_text = embeddings is not None
        self.results = ("score", "anomaly_map", *(("class_token",) if found.image is not None else ()))
        self.names = (*self.results, *found.tensors())
        self.eval()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """``[B, 3, H, W]`` to the outputs called :attr:`names`."""
        features: Features = self.extractor(self.vision, images)
        text = None
        if self.has_text:
            vectors, abnormal = self.get_buffer("text"), self.get_buffer("abnormal")
            text = TextEmbeddings(vectors.expand(images.shape[0], -1, -1), abnormal)
        scores = [cast("Scorer", scorer)(features, text, self.size) for scorer in self.scorers]
        fused = self.fuse(scores, self.labels)
        token = () if features.image is None else (l2_normalize(features.image),)
        return (fused.image, fused.anomaly_map, *token, *features.tensors().values())
