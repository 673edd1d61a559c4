"""What each phrase and template of a pipeline's prompts does to the scores of images, one left out at a time.

The text embedding of a state is the direction of the mean of its sentences, so without some of them it is the direction
of the sum of the others: no text is encoded again, and no image goes through the backbone twice.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlmad_core.contracts.data import Features, TextEmbeddings
from vlmad_core.contracts.images import ImageLike, read, stack
from vlmad_core.contracts.ops import l2_normalize
from vlmad_core.contracts.parts import Scorer, TextParts
from vlmad_core.contracts.text_encoding import encode_text
from vlmad_core.errors import ConfigError, ImageError, IncompatibleError
from vlmad_core.pipeline.pipeline import Pipeline

__all__ = ["Item", "Kind", "Variant", "items_of", "nonsense_variants", "score_variants", "variants_of"]

Kind = Literal["state", "template", "sentence"]

NONSENSE = ("blick", "dax", "fep", "glorp", "kiv", "mib", "snerg", "tove", "wug", "zup")
"""Words without a meaning, as experiments on word learning use them."""

_KEPT = frozenset({"a", "an", "the", "of", "with", "without", "in", "on", "and", "or", "for", "no"})
_CHUNK = 32


@dataclass(frozen=True)
class Item:
    """Sentences that are left out together.

    Args:
        kind: A state is a phrase in all templates, a template is all phrases in it.
        text: The phrase, the template, or the sentence.
        is_abnormal: Of the state; None for a template.
        rows: Numbers of the sentences.
    """

    kind: Kind
    text: str
    is_abnormal: bool | None
    rows: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Variant:
    """Text embeddings to score with.

    Args:
        name: For a person.
        vectors: ``[S, D]`` of unit length.
    """

    name: str
    vectors: Tensor


def items_of(parts: TextParts, abnormal: Sequence[bool], *, sentences: bool = False) -> list[Item]:
    """Everything that can be left out so that each state keeps a sentence.

    Args:
        parts: Of the prompts, for one class name.
        abnormal: Of each state.
        sentences: Also each sentence by itself.
    """
    groups: dict[tuple[Kind, str, int | None], list[int]] = {}
    for row, one in enumerate(parts.sentences):
        keys: list[tuple[Kind, str, int | None]] = [("state", one.phrase, one.state)]
        keys += [("template", one.template, None)] if one.template != "{}" else []
        keys += [("sentence", one.text, one.state)] if sentences else []
        for key in keys:
            groups.setdefault(key, []).append(row)
    sizes = np.bincount([one.state for one in parts.sentences], minlength=len(abnormal))
    found = []
    for (kind, text, state), rows in groups.items():
        used = np.bincount([parts.sentences[row].state for row in rows], minlength=len(abnormal))
        if bool((used < sizes).all()):
            found.append(Item(kind, text, None if state is None else bool(abnormal[state]), tuple(rows)))
    return found


def variants_of(parts: TextParts, items: Iterable[Item], states: int) -> list[Variant]:
    """The text embeddings as they are, and without each item."""
    of = torch.tensor([one.state for one in parts.sentences])
    vectors = parts.vectors.float().cpu()
    whole = torch.zeros(states, vectors.shape[1]).index_add(0, of, vectors)
    found = [Variant("", l2_normalize(whole))]
    for item in items:
        rows = torch.tensor(item.rows)
        rest = whole - torch.zeros_like(whole).index_add(0, of[rows], vectors[rows])
        found.append(Variant(item.text, l2_normalize(rest)))
    return found


def nonsense_variants(
    pipeline: Pipeline, parts: TextParts, class_name: str, texts: TextEmbeddings, *, draws: int = 10, seed: int = 0
) -> list[Variant]:
    """The control: words without a meaning in place of those that describe the object, in the same sentences.

    The class name, articles and prepositions stay. Empty where the embeddings are not the mean of plain sentences, as
    for learned vectors.

    Args:
        pipeline: Whose text encoder is used.
        parts: Of its prompts.
        class_name: Kept in the sentences.
        texts: Of this class name, to see whether its sentences are plain text.
        draws: Variants.
        seed: Of the choice of words.
    """
    text = pipeline.backbone.text
    assert text is not None
    states = [one.state for one in parts.sentences]

    def embed(sentences: Sequence[str]) -> Tensor:
        unit = l2_normalize(encode_text(text, sentences)).float().cpu()
        summed = torch.zeros(len(texts.abnormal), unit.shape[1]).index_add(0, torch.tensor(states), unit)
        return l2_normalize(summed)

    with torch.no_grad():
        same = embed([one.text for one in parts.sentences])
        if float((same * texts.vectors[0].float().cpu()).sum(-1).min()) < 0.98:
            return []
        words = random.Random(seed)
        found = []
        for i in range(draws):
            phrases = {one.phrase: _nonsense(one.phrase, class_name, words) for one in parts.sentences}
            sentences = [one.text.replace(one.phrase, phrases[one.phrase]) for one in parts.sentences]
            found.append(Variant(f"nonsense {i + 1}", embed(sentences)))
        return found


def _nonsense(phrase: str, class_name: str, words: random.Random) -> str:
    kept = _KEPT | set(re.findall(r"\w+", class_name.replace("_", " ").lower()))

    def change(found: re.Match[str]) -> str:
        return found[0] if found[0].lower() in kept else words.choice(NONSENSE)

    return re.sub(r"[^\W_]+", change, phrase)


def score_variants(
    pipeline: Pipeline,
    images: Iterable[ImageLike],
    variants: Sequence[Variant],
    abnormal: Tensor,
    *,
    batch_size: int = 8,
    workers: int = 2,
    progress: Callable[[int], None] | None = None,
) -> NDArray[np.float64]:
    """Image scores of the scorers that compare with text, by themselves.

    Args:
        pipeline: Trained where it must be; memories need not be fitted.
        images: Paths, PIL images and arrays.
        variants: V of them.
        abnormal: ``[S]`` bool.
        batch_size: Images through the backbone at a time.
        workers: Threads that decode.
        progress: Called with the number of images done.

    Returns:
        ``[V, N]``.

    Raises:
        ImageError: An image cannot be read, or there are none.
        IncompatibleError: No scorer compares with text.
    """
    scorers = text_scorers(pipeline)
    size, preprocess = (
        pipeline.backbone.preprocess.size,
        replace(pipeline.preprocess, views=None),
    )  # texts need no tiles
    columns: list[NDArray[np.float64]] = []
    with torch.no_grad(), closing(read(images, preprocess, batch_size=batch_size, workers=workers)) as batches:
        for pictures in batches:
            for picture in pictures:
                if picture.error:
                    raise ImageError(picture.error)
            pixels = stack(pictures).to(pipeline.backbone.device, pipeline.backbone.dtype)
            features = pipeline.extractor(pipeline.backbone.vision, pixels)
            for b in range(len(pictures)):
                one = features.select(slice(b, b + 1))
                columns += [_score_one(pipeline, scorers, one, variants, abnormal, size)]
            if progress is not None:
                progress(len(columns))
    if not columns:
        raise ImageError("no images were given.")
    scores = np.stack(columns, 1)
    if not np.isfinite(scores).all():
        raise ConfigError("the detector gave scores that are not finite numbers; its weights are broken.")
    return scores


def text_scorers(pipeline: Pipeline) -> list[Scorer]:
    """Those that compare with text and not with normal images.

    Raises:
        IncompatibleError: There is none.
    """
    found = [scorer for scorer in pipeline.scorers if isinstance(scorer, Scorer)]
    found = [scorer for scorer in found if scorer.needs_text and not scorer.needs_fit]
    if not found:
        raise IncompatibleError("no scorer compares with text alone, so the prompts decide nothing here.")
    return found


def _score_one(
    pipeline: Pipeline,
    scorers: Sequence[Scorer],
    features: Features,
    variants: Sequence[Variant],
    abnormal: Tensor,
    size: tuple[int, int],
) -> NDArray[np.float64]:
    """``[V]``: the variants take the place of images in a batch."""
    fuse = replace(pipeline.fuse, smooth=0.0)  # the image score does not depend on it
    found = []
    for start in range(0, len(variants), _CHUNK):
        part = variants[start : start + _CHUNK]
        vectors = torch.stack([one.vectors for one in part]).to(pipeline.backbone.device)
        levels = tuple(replace(level, vectors=level.vectors.expand(len(part), -1, -1)) for level in features.levels)
        image = None if features.image is None else features.image.expand(len(part), -1)
        copies, texts = Features(levels, image), TextEmbeddings(vectors, abnormal)
        scores = [scorer(copies, texts, size) for scorer in scorers]
        found.append(fuse(scores, [str(i) for i in range(len(scores))]).image.double().cpu().numpy())
    return np.concatenate(found)
