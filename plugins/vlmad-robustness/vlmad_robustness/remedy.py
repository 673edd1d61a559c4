"""One remedy, measured with its price: references under other light and colours, or the mean of mild views."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlmad_core.contracts.images import ImageLike, open_image
from vlmad_core.pipeline import Pipeline
from vlmad_robustness.corruptions import exposure, hue, saturation
from vlmad_robustness.subject import ALARMS, Judged, Subject, make_subject

__all__ = ["VIEWS", "Averaged", "robust_references"]

VIEWS: tuple[tuple[str, Any, float], ...] = (
    ("darker by 0.5 stops", exposure, -0.5),
    ("brighter by 0.5 stops", exposure, 0.5),
    ("hue +15 degrees", hue, 15),
    ("hue -15 degrees", hue, -15),
    ("saturation x 0.6", saturation, 0.6),
)


def views_of(picture: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """The picture, then each mild view of it."""
    pixels, rng = picture.astype(np.float32) / 255, np.random.default_rng(0)
    return [
        picture,
        *((change(pixels, value, rng) * 255).round().astype(np.uint8) for _, change, value in VIEWS),
    ]


def robust_references(
    name: str, pipeline: Pipeline, normals: Sequence[ImageLike], *, false_alarms: float | None, batch_size: int
) -> Subject:
    """The detector fitted on each normal image and its mild views; an image and its views are one group.

    The threshold rests on the highest view of each normal image, so its promise holds for images under such light.

    Args:
        name: Of the subject.
        pipeline: Built anew, with a memory.
        normals: As of :func:`vlmad_robustness.subject.make_subject`.
        false_alarms: Likewise.
        batch_size: Likewise.
    """
    group: dict[int, str] = {}
    pictures: list[ImageLike] = []
    for i, source in enumerate(normals):
        image = open_image(source, bits=pipeline.bits)
        image.thumbnail((2 * max(pipeline.preprocess.size),) * 2)
        for view in views_of(np.asarray(image)):
            group[id(view)] = str(i)
            pictures.append(view)
    return make_subject(
        name,
        pipeline,
        pictures,
        false_alarms=false_alarms,
        batch_size=batch_size,
        groups=lambda source: group[id(source)],
    )


class Averaged(Subject):
    """A detector whose score is the mean over an image and its mild views, decided at the same threshold."""

    @classmethod
    def of(cls, subject: Subject) -> Averaged:
        """From a subject."""
        return cls(
            f"{subject.name}, mean of {len(VIEWS) + 1} views", subject.pipeline, subject.rule, subject.batch_size
        )

    def judge(self, images: Sequence[ImageLike] | Iterator[ImageLike]) -> Iterator[Judged]:
        """As of the subject, with means of scores and maps."""
        for source in images:
            picture = np.asarray(open_image(source, bits=self.pipeline.bits))
            judged = list(super().judge(views_of(picture)))
            score = float(np.mean([one.score for one in judged]))
            first = judged[0].prediction
            raw = np.stack([one.prediction.raw_map for one in judged]).mean(0, dtype=np.float32)
            distance = self.pipeline.distance_to_normals(first, self.rule)
            verdict = self.rule.verdict(score, distance)
            above = score > self.rule.threshold
            yield Judged(score, verdict.label in ALARMS, above, replace(first, score=score, raw_map=raw))
