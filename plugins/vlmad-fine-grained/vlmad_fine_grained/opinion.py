"""A second opinion that says which part is missing, extra or moved; it is computed here and nothing is sent."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from vlmad_core.contracts.images import read, stack
from vlmad_core.errors import ConfigError
from vlmad_core.pipeline import Pipeline
from vlmad_core.pipeline.build import load
from vlmad_core.run.opinion import Case, Opinion, SecondOpinion
from vlmad_fine_grained.captions import Captions, read_captions
from vlmad_fine_grained.findings import Finding, findings_of, sentence_of
from vlmad_fine_grained.plugin import PartsOpinionConfig
from vlmad_fine_grained.scorer import Parts

__all__ = ["PartsOpinion", "find_parts"]


class PartsOpinion(SecondOpinion):
    """Votes ``defect`` where a part is missing, extra or moved.

    Args:
        config: Detector and captions.

    Raises:
        ConfigError: The detector has no scorer 'parts' or no clear parts, or the captions have another number of them.
    """

    def __init__(self, config: PartsOpinionConfig) -> None:
        self.config = config
        self.asks_all = config.asks_all
        self.captions = read_captions(config.captions)
        self.pipeline = load(config.detector)
        layout = _scorer(self.pipeline).layout
        count = layout.count
        if not layout.is_clear:
            raise ConfigError(
                f"{config.detector}: no parts stand out from the background of its normal images. It is for products "
                "that lie on a plain background and do not fill the image; try more groups: scorers.0.config.groups=8."
            )
        if self.captions.parts and self.captions.number != count:
            raise ConfigError(
                f"{config.captions}: counts {self.captions.number} parts, and the normal images of {config.detector} "
                f"have {count}. Correct the numbers, or fit with other options (scorers.0.config.smallest, .groups)."
            )

    @property
    def notice(self) -> str:
        """Nothing leaves this machine."""
        return f"second opinion: number and places of parts, by {self.config.detector}; nothing leaves this machine."

    def settings(self) -> Mapping[str, Any]:
        """Detector and captions by content."""
        return {
            "use": "parts",
            "detector": self.pipeline.fingerprint().weights,
            "captions": self.captions.model_dump(mode="json"),
            "asks_all": self.asks_all,
        }

    def ask(self, cases: Sequence[Case]) -> list[Opinion]:
        """A vote and a sentence on each case."""
        return [self._one(case) for case in cases]

    def _one(self, case: Case) -> Opinion:
        started = time.perf_counter()
        findings = find_parts(self.pipeline, case.result.path, self.captions)
        first = findings[0] if findings else None
        return Opinion(
            "no defect" if first is None else "defect",
            sentence=sentence_of(findings),
            where="" if first is None else first.place,
            kind="" if first is None else f"{first.kind} {first.part}",
            milliseconds=round(1000 * (time.perf_counter() - started), 1),
        )


def find_parts(pipeline: Pipeline, image: Any, captions: Captions | None = None) -> list[Finding]:
    """What is missing, extra or moved in an image, the largest deviation first.

    Args:
        pipeline: Fitted, with a scorer 'parts'.
        image: A path, a PIL image or an array.
        captions: Names of the parts.

    Raises:
        ConfigError: The pipeline has no scorer 'parts', or the image cannot be read.
    """
    scorer = _scorer(pipeline)
    ((picture,),) = read([image], pipeline.preprocess, batch_size=1, workers=1)
    if picture.error is not None:
        raise ConfigError(picture.error)
    backbone = pipeline.backbone
    with torch.no_grad():
        pixels = stack([picture]).to(backbone.device, backbone.dtype)
        (statistics,) = scorer.statistics(pipeline.extractor(backbone.vision, pixels))
    return findings_of(statistics, scorer.layout, captions or Captions())


def _scorer(pipeline: Pipeline) -> Parts:
    for scorer in pipeline.scorers:
        if isinstance(scorer, Parts):
            return scorer
    raise ConfigError("the detector has no scorer 'parts'; make one with `vlmad fit IMAGES --recipe parts`.")
