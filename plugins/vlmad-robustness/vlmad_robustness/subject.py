"""The detector under test: how it scores and decides, on pictures in memory and on tensors with a gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vlmad_core.contracts.data import Prediction, TextEmbeddings
from vlmad_core.contracts.images import ImageLike, to_pixels
from vlmad_core.errors import ConfigError
from vlmad_core.inspection.conformal import normals_needed
from vlmad_core.inspection.rule import DecisionRule
from vlmad_core.pipeline import Pipeline
from vlmad_robustness.attack import Objective

__all__ = ["Judged", "Subject", "make_subject", "rule_of"]

ALARMS = frozenset({"reject", "not this part"})


@dataclass(frozen=True, eq=False)
class Judged:
    """One image, judged.

    Args:
        score: Of the image.
        alarm: Whether the verdict is ``reject`` or ``not this part``.
        above: Whether the score by itself is above the threshold.
        prediction: With the map.
    """

    score: float
    alarm: bool
    above: bool
    prediction: Prediction


@dataclass(frozen=True, eq=False)
class Subject:
    """A detector that is ready, with its rule.

    Args:
        name: In the report.
        pipeline: Fitted and calibrated.
        rule: Its threshold.
        batch_size: Images through the backbone at a time.

    Raises:
        ConfigError: The detector reads images with a window or channels.
    """

    name: str
    pipeline: Pipeline
    rule: DecisionRule
    batch_size: int = 8

    def __post_init__(self) -> None:
        _refuse_window(self.pipeline)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width that the detector works at, in pixels."""
        return self.pipeline.preprocess.size

    def judge(self, images: Sequence[ImageLike] | Iterator[ImageLike]) -> Iterator[Judged]:
        """Score and decide, by the way that every user's image takes."""
        for prediction in self.pipeline.stream(images, batch_size=self.batch_size):
            distance = self.pipeline.distance_to_normals(prediction, self.rule)
            verdict = self.rule.verdict(prediction.score, distance)
            above = prediction.score > self.rule.threshold
            yield Judged(prediction.score, verdict.label in ALARMS, above, prediction)

    def pixels(self, images: Sequence[Image.Image]) -> Tensor:
        """``[B, 3, H, W]`` in [0, 1] at the detector's size, resized as the detector does it."""
        height, width = self.size
        preprocess = self.pipeline.preprocess
        mean, std = _moments(self.pipeline)
        batch = torch.stack([to_pixels(image, preprocess) for image in images])
        assert batch.shape[-2:] == (height, width)
        return (batch * std + mean).clamp(0, 1).mul(255).round().div(255)

    def objective(self) -> Objective:
        """The image score as a differentiable function of pixels in [0, 1]."""
        pipeline = self.pipeline
        mean, std = _moments(pipeline)
        with torch.no_grad():
            known = pipeline.text_embeddings([pipeline.class_name or "object"]) if _fixed_text(pipeline) else None

        def score(images: Tensor) -> Tensor:
            backbone = pipeline.backbone
            x = ((images - mean) / std).to(backbone.device, backbone.dtype)
            features = pipeline.extractor(backbone.vision, x)
            texts: TextEmbeddings | None
            if known is not None:
                texts = TextEmbeddings(known.vectors.expand(len(x), -1, -1), known.abnormal)
            else:
                texts = pipeline.text_embeddings([pipeline.class_name or "object"] * len(x), features)
            size = (int(images.shape[-2]), int(images.shape[-1]))
            return pipeline.score_features(features, texts, size).image.float().cpu()

        return score


def make_subject(
    name: str,
    pipeline: Pipeline,
    normals: Sequence[ImageLike],
    *,
    false_alarms: float | None,
    batch_size: int,
    groups: Callable[[ImageLike], str] | None = None,
) -> Subject:
    """Fit and calibrate a detector that was built from a recipe.

    Args:
        name: In the report.
        pipeline: As built; one with a memory is fitted on the normals and calibrated by leaving each out, one without
            is calibrated on them as held-out images.
        normals: Normal images that are not tested on.
        false_alarms: Rate for the threshold; None: the default of verdicts, or the lowest that the normals can carry.
        batch_size: Images through the backbone at a time.
        groups: Which normals are of one object.

    Raises:
        ConfigError: Too few normal images for any threshold, or the detector reads images in another way.
    """
    _refuse_window(pipeline)
    if pipeline.views is not None:
        raise ConfigError(
            "robustness is measured for images that are stretched to one size; leave image_size 'fit', scales and "
            "tiles out (--tiles off)."
        )
    if pipeline.memory_scorers:
        pipeline.fit(list(normals), calibrate=True, batch_size=batch_size, groups=groups)
    else:
        pipeline.check_ready()
        pipeline.calibrate(list(normals), batch_size=batch_size, groups=groups)
    return Subject(name, pipeline, rule_of(pipeline, false_alarms), batch_size)


def rule_of(pipeline: Pipeline, false_alarms: float | None) -> DecisionRule:
    """The detector's own rule; where no rate was asked for and the usual ones need more normals, the lowest possible.

    Raises:
        ConfigError: There is no calibration, or the rate cannot be carried.
    """
    calibration = pipeline.calibration
    if calibration is None:
        raise ConfigError(
            "the detector has no calibration, so it has no threshold at which false alarms and misses are counted. Run "
            "`vlmad calibrate DETECTOR 'images of good parts'` first, or test a recipe: --recipe NAME."
        )
    try:
        return pipeline.decision_rule(false_alarms)
    except ConfigError:
        most = max((basis.scores.size for basis in calibration.bases), default=0)
        if false_alarms is not None or most < 4:
            raise
        rate = 1 / (most + 1)
        while normals_needed(rate) > most:
            rate = float(np.nextafter(rate, 1))
        return pipeline.decision_rule(rate)


def _moments(pipeline: Pipeline) -> tuple[Tensor, Tensor]:
    preprocess = pipeline.preprocess
    return torch.tensor(preprocess.mean)[:, None, None], torch.tensor(preprocess.std)[:, None, None]


def _fixed_text(pipeline: Pipeline) -> bool:
    return pipeline.prompts is not None and not pipeline.prompts.per_image


def _refuse_window(pipeline: Pipeline) -> None:
    """A changed image is 8-bit RGB already, and a window or channels would be applied to it once more."""
    if isinstance(pipeline.bits, str):
        raise ConfigError(
            f"robustness is measured on images that are changed after they were read, and '{pipeline.bits}' would be "
            "applied to them twice; save the images as 8-bit RGB, and leave --window and --channels out."
        )
