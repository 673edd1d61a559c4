"""A detector that gives reasons: the evidence for a score, computed when it is asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from vlmad_core.contracts.data import Prediction
from vlmad_core.contracts.images import ImageLike, Picture, read, view_batches
from vlmad_core.contracts.parts import TextParts
from vlmad_core.errors import ConfigError, ImageError
from vlmad_core.inspection.evidence import Evidence
from vlmad_core.pipeline.calibrating import Calibrating, predictions_of
from vlmad_core.pipeline.counterfactual import nearest_normal, replaceable, score_without
from vlmad_core.pipeline.explain import make_terms
from vlmad_core.pipeline.place import peak_area, place_of

__all__ = ["Explaining"]

_SAME = 1e-3
"""Relative difference of two scores of one image that rounding can make; more is another image or detector."""


class Explaining(Calibrating):
    """What `Pipeline` adds to predictions: why they are what they are."""

    def predict_batch(self, pictures: Sequence[Picture], class_names: Sequence[str] | None = None) -> list[Prediction]:
        """Score one batch of images that were read already; nothing is checked."""
        names = [None] * len(pictures) if class_names is None else class_names
        return [
            replace(one, explainer=partial(self._explain_again, class_name=name))
            for one, name in zip(super().predict_batch(pictures, class_names), names, strict=True)
        ]

    def explain_batch(
        self, pictures: Sequence[Picture], class_names: Sequence[str] | None = None
    ) -> list[tuple[Prediction, Evidence]]:
        """As `predict_batch`, with the evidence, for which the backbone does not run again.

        Raises:
            ConfigError: The detector works at several sizes.
            ImageError: An image is read in tiles, or in none where all normal images were.
        """
        if self.views is not None and len(self.views.sizes) > 1:
            raise ConfigError("reasons are given for one input an image, and this detector has several scales.")
        for picture in pictures:
            if picture.tile_count:
                raise ImageError(
                    f"{picture.path or 'an image'}: is {picture.tile_note[:-1]}, and reasons are given for one input "
                    "an image; leave reasons out (--explain), or set tiles to off (--tiles off)."
                )
            self.check_tiles(picture)
        found: dict[int, tuple[Prediction, Evidence]] = {}
        for rows, views, pixels in view_batches(pictures):
            some = None if class_names is None else [class_names[row] for row in rows]
            explained = self._explain_views([pictures[row] for row in rows], pixels, views[0].size, some)
            found |= dict(zip(rows, explained, strict=True))
        return [found[row] for row in range(len(pictures))]

    def _explain_views(
        self, pictures: Sequence[Picture], pixels: Tensor, size: tuple[int, int], class_names: Sequence[str] | None
    ) -> list[tuple[Prediction, Evidence]]:
        """Of pictures with one view each, all of one size."""
        with torch.no_grad():
            features, texts = self.extract(pixels, class_names)
        terms = make_terms(self._scorer_list(), self.labels, self.fuse, features, texts, size)
        predictions = self._with_range(predictions_of(pictures, features, terms.scores))
        names = self._class_names(class_names, len(pictures))
        parts = [self.text_parts(name) for name in names]
        has_one_grid = self.views is None or self.views.sizes[0].tokens is None
        found = []
        for b, (prediction, (score, peak)) in enumerate(
            zip(predictions, terms.splits(parts, [one.size for one in predictions]), strict=True)
        ):
            area = peak_area(prediction.raw_map)
            with torch.no_grad():
                replaced = replaceable(terms, b, area)
                nearest = nearest_normal(terms, b, replaced, prediction.size, self.normal_images)
                if nearest is not None and not has_one_grid:  # its grid may have been another one
                    nearest = replace(nearest, normal_box=None)
                evidence = Evidence(
                    score=score,
                    peak=peak,
                    place=place_of(area, prediction.size),
                    nearest=nearest,
                    score_without_place=score_without(terms, b, replaced, texts, self.fuse),
                    path=prediction.path,
                )
            found.append((replace(prediction, explainer=lambda *_, evidence=evidence: evidence), evidence))
        return found

    def text_parts(self, class_name: str) -> TextParts | None:
        """The sentences behind the text embeddings of a class name; None where the prompts offer none."""
        prompts, text = self.prompts, self.backbone.text
        if prompts is None or text is None or prompts.per_image:
            return None
        own = [(id(tensor), tensor._version) for tensor in (*prompts.parameters(), *prompts.buffers())]
        key = (self.backbone.device, self.backbone.dtype, own)
        found = self._sentences.get(class_name)
        if found is None or found[0] != key:
            with torch.no_grad():
                found = self._sentences[class_name] = key, prompts.text_parts(text, class_name)
        return found[1]

    def _explain_again(
        self, prediction: Prediction, image: ImageLike | None, class_name: str | None = None
    ) -> Evidence:
        """Score the image again, this time with reasons."""
        source = prediction.path if image is None else image
        if source is None:
            raise ImageError("this prediction is of an image in memory; give it: result.evidence(image).")
        with closing(read([source], self.preprocess, batch_size=1, workers=1)) as batches:
            ((picture,),) = batches
        if picture.error:
            raise ImageError(picture.error)
        ((again, evidence),) = self.explain_batch([picture], None if class_name is None else [class_name])
        if not math.isclose(again.score, prediction.score, rel_tol=_SAME, abs_tol=1e-6):
            raise ConfigError(
                f"{prediction.path or 'the image'}: has score {again.score:.6g} now and had {prediction.score:.6g}; "
                "the image or the detector changed since. Predict again, then ask for the evidence."
            )
        return evidence
