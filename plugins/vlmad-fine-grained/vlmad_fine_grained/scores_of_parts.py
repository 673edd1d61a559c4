"""Which part, in words, with its own score: the patches of an image by the level that they were compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch

from vlmad_core.contracts import Level
from vlmad_core.contracts.images import read, stack
from vlmad_core.errors import ConfigError
from vlmad_core.pipeline import Pipeline
from vlmad_fine_grained.caption_match import CaptionMatch
from vlmad_fine_grained.caption_prompts import CaptionPrompts
from vlmad_fine_grained.findings import place_name

__all__ = ["PartScore", "score_parts"]


@dataclass(frozen=True)
class PartScore:
    """What the sentences say of one part or of the background of an image.

    Args:
        kind: ``part`` or ``background``; ``image`` where the captions have neither.
        name: As in the captions.
        score: Highest probability of "abnormal" of its patches, in [0, 1]; not calibrated.
        place: Of that patch, such as ``"top left"``.
        share: Of the patches that were compared with this part, in [0, 1].
    """

    kind: Literal["image", "part", "background"]
    name: str
    score: float
    place: str
    share: float

    def __str__(self) -> str:
        """As a sentence.

        >>> print(PartScore("part", "cookie", 0.81, "top left", 0.25))
        The cookie fits its abnormal sentences best at the top left: 0.81.
        """
        at = "in the centre" if self.place == "centre" else f"at the {self.place}"
        return f"The {self.name} fits its abnormal sentences best {at}: {self.score:.2f}."


def score_parts(pipeline: Pipeline, image: Any) -> list[PartScore]:
    """The parts of an image that have patches, the highest score first.

    By text alone: a memory of normal images that is fused with it changes none of these scores. Through
    `Prediction.evidence` each sentence has its share of the fused score.

    Args:
        pipeline: With prompts and scorer 'captions'.
        image: A path, a PIL image or an array.

    Raises:
        ConfigError: Other prompts or scorers, or the image cannot be read.
        NotFittedError: Its prompts are to be learned and have learned nothing yet.
    """
    prompts = pipeline.prompts
    scorer = next((one for one in pipeline.scorers if isinstance(one, CaptionMatch)), None)
    if scorer is None or not isinstance(prompts, CaptionPrompts):
        raise ConfigError("the detector has no prompts and scorer 'captions'; take the recipe 'fine-grained'.")
    pipeline.check_trained()
    ((picture,),) = read([image], pipeline.preprocess, batch_size=1, workers=1)
    if picture.error is not None:
        raise ConfigError(picture.error)
    with torch.no_grad():
        features, texts = pipeline.extract(stack([picture]))
        assert texts is not None
        level = features[scorer.level]
        values = scorer.region_values(features, texts, pipeline.preprocess.size)[scorer.level][0]
        chosen = scorer.assign(features, texts)[0]
    found = []
    for number, (kind, name) in enumerate(prompts.levels):
        own = (chosen == number).nonzero()[:, 0]
        if len(own):
            highest = int(own[values[own].argmax()])
            place = place_name(_cell(level, highest), level.grid)
            found.append(PartScore(kind, name, float(values[highest]), place, len(own) / len(chosen)))
    return sorted(found, key=lambda one: -one.score)


def _cell(level: Level, region: int) -> tuple[float, float]:
    """Row and column of the middle of a region."""
    cells = torch.tensor([region]) if level.cover is None else level.cover[region].nonzero()[:, 0].cpu()
    return float((cells // level.grid[1]).float().mean()), float((cells % level.grid[1]).float().mean())
