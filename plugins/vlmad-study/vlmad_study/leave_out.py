"""What each state and each template of an ensemble is worth: the same images, judged without it.

Every image goes through the backbone once, every sentence through the text tower once; a variant is a mean of vectors.
Whether one helps or hurts is a paired bootstrap over images, at a level that holds for all variants together.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlmad_core.benchmark.cells import Category
from vlmad_core.contracts.data import TextEmbeddings
from vlmad_core.contracts.images import read, stack
from vlmad_core.contracts.ops import l2_normalize
from vlmad_core.contracts.towers import encode_text
from vlmad_core.datasets.masks import mask_of
from vlmad_core.errors import VlmadError
from vlmad_core.files import write_whole
from vlmad_core.metrics.image import auroc
from vlmad_core.pipeline.build import assemble, make_backbone
from vlmad_core.pipeline.fuse import Fuse
from vlmad_core.pipeline.pipeline import Pipeline
from vlmad_core.registry.registry import Registry
from vlmad_study.probe import Eyes

__all__ = ["Effect", "anchors_without", "effects", "leave_one_out", "read_effects"]

SIDE = 64
"""Of the maps, which are enough for a difference and small enough to keep all of them."""
_DRAWS = 1000
_BINS = 512

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Effect:
    """What a part of the ensemble brings: the metric with it, less the metric without it.

    Args:
        what: "normal state", "abnormal state" or "template".
        words: Which.
        metric: "image_auroc" or "pixel_auroc".
        value: Above 0: it helps.
        low: Lower end of an interval that holds for all parts together.
        high: Its upper end.
    """

    what: str
    words: str
    metric: str
    value: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """``"helps"``, ``"hurts"``, or empty where the interval has room for nothing."""
        return "helps" if self.low > 0 else "hurts" if self.high < 0 else ""


def leave_one_out(
    eyes: Eyes,
    categories: Sequence[Category],
    path: Path,
    registry: Registry,
    progress: Callable[[int, int], None] | None = None,
) -> list[Effect]:
    """Judge every image with every variant, write what each part is worth, and give it.

    Args:
        eyes: A backbone whose words are states times templates.
        categories: What is judged.
        path: JSON file; what it holds is given back where it was made of the same.
        registry: Where to look for parts.
        progress: Called with images done, and with all.
    """
    assert eyes.words is not None
    key = json.dumps(
        [[c.name, c.class_name, c.images_sha256] for c in categories] + [eyes.words.model_dump(mode="json")]
    )
    kept = read_effects(path, key)
    if kept is not None:
        return kept
    backbone = make_backbone(eyes.words.backbone, registry=registry)
    pipeline = assemble(eyes.words, backbone=backbone, registry=registry)
    names = [("", ""), *_variants(eyes)]
    total, done, judged = sum(len(c.test_samples) for c in categories), 0, []
    for category in categories:
        text_embeddings = anchors_without(eyes, backbone.text, category.class_name)
        kept_scores, kept_maps, labels, masks = [], [], [], []
        for scores, maps, good in _judged(pipeline, category, text_embeddings):
            kept_scores.append(scores)
            kept_maps.append(maps)
            labels += [bool(category.test_samples[i].label) for i in good]
            masks += [_mask(category, i) for i in good]
            done += maps.shape[1]
            if progress is not None:
                progress(done, total)
        if len(set(labels)) == 2:
            known = None if any(mask is None for mask in masks) else np.stack([m for m in masks if m is not None])
            judged.append((np.concatenate(kept_scores, 1), np.concatenate(kept_maps, 1), np.array(labels), known))
    found = effects(names[1:], judged) if judged else []
    write_whole(path, json.dumps({"key": key, "effects": [asdict(effect) for effect in found]}, indent=1).encode())
    return found


def read_effects(path: Path, key: str | None = None) -> list[Effect] | None:
    """What was written, where it is there and made of the same."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return None if key is not None and told["key"] != key else [Effect(**effect) for effect in told["effects"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def anchors_without(eyes: Eyes, text: Any, name: str) -> Tensor:
    """``[1 + variants, 2, D]``: the whole ensemble, then without each state and each template."""
    sides = []
    with torch.no_grad():
        for states in eyes.states:
            told = [t.replace("{}", s.replace("{}", name)) for s in states for t in eyes.templates]
            sides.append(
                l2_normalize(encode_text(text, told)).unflatten(0, (len(states), len(eyes.templates)))
            )  # [S, T, D]
    whole = [l2_normalize(side.mean((0, 1))) for side in sides]
    rows = [torch.stack(whole)]
    for number, side in enumerate(sides):
        if len(side) < 2:
            continue
        for left in range(len(side)):
            rest = torch.cat([side[:left], side[left + 1 :]])
            rows.append(torch.stack([l2_normalize(rest.mean((0, 1))) if number == i else whole[i] for i in (0, 1)]))
    for left in range(len(eyes.templates) if len(eyes.templates) > 1 else 0):
        others = [torch.cat([side[:, :left], side[:, left + 1 :]], 1) for side in sides]
        rows.append(torch.stack([l2_normalize(side.mean((0, 1))) for side in others]))
    return torch.stack(rows)


def effects(
    parts: Sequence[tuple[str, str]], judged: Sequence[tuple[Numbers, Numbers, NDArray[np.bool_], Any]]
) -> list[Effect]:
    """The whole against each variant, in the mean over categories, with intervals for all parts together.

    Args:
        parts: What each variant lacks.
        judged: A category each: scores ``[1 + parts, N]``, maps ``[1 + parts, N, h, w]``, labels ``[N]``, and masks
            ``[N, h, w]`` or None.
    """
    # 95 % for all of them at once (Bonferroni); the normal approximation, since so far out no draw lies.
    wide = NormalDist().inv_cdf(1 - 0.025 / max(1, len(parts)))
    tables: dict[str, list[tuple[Numbers, Numbers]]] = {"image_auroc": [], "pixel_auroc": []}
    for number, (scores, maps, labels, masks) in enumerate(judged):
        drawn = _draws(labels, number)
        tables["image_auroc"].append(_image(scores, labels, drawn))
        if masks is not None and masks.any() and not masks.all():
            tables["pixel_auroc"].append(_pixels(maps, masks, drawn))
    found = []
    for metric, table in tables.items():
        if not table:
            continue
        value = np.mean([values for values, _ in table], 0)  # [1 + parts]
        draws = np.mean([some for _, some in table], 0)  # [draws, 1 + parts]
        spread = (draws[:, :1] - draws[:, 1:]).std(0, ddof=1)
        for i, (what, words) in enumerate(parts):
            gain = float(value[0] - value[i + 1])
            half = wide * float(spread[i])
            found.append(Effect(what, words, metric, gain, gain - half, gain + half))
    return found


def _variants(eyes: Eyes) -> list[tuple[str, str]]:
    kinds = zip(("normal state", "abnormal state"), eyes.states, strict=True)
    parts = [(what, state) for what, states in kinds if len(states) > 1 for state in states]
    return parts + [("template", text) for text in eyes.templates if len(eyes.templates) > 1]


def _judged(
    pipeline: Pipeline, category: Category, text_embeddings: Tensor
) -> Iterator[tuple[Numbers, Numbers, list[int]]]:
    """For each batch: scores ``[V, B]``, maps ``[V, B, SIDE, SIDE]``, and which images could be read."""
    backbone, batch = pipeline.backbone, 8
    fuse = Fuse(pipeline.fuse.image, pipeline.fuse.map)  # without smoothing, which is meant for more pixels
    abnormal = torch.tensor([False, True], device=backbone.device)
    images = [sample.image for sample in category.test_samples]
    with torch.no_grad(), closing(read(images, backbone.preprocess, batch_size=batch)) as batches:
        for number, pictures in enumerate(batches):
            good = [i for i, picture in enumerate(pictures) if not picture.error]
            if not good:
                continue
            pixels = stack([pictures[i] for i in good]).to(backbone.device, backbone.dtype)
            features = pipeline.extractor(backbone.vision, pixels)
            scores, maps = [], []
            for one in text_embeddings:
                words = TextEmbeddings(one.expand(len(good), -1, -1), abnormal)
                judged = fuse([scorer(features, words, (SIDE, SIDE)) for scorer in pipeline.scorers], pipeline.labels)
                scores.append(judged.image.float().cpu().numpy())
                maps.append(judged.anomaly_map.float().cpu().numpy())
            yield np.stack(scores), np.stack(maps), [number * batch + i for i in good]


def _mask(category: Category, place: int) -> NDArray[np.bool_] | None:
    sample = category.test_samples[place]
    if not sample.label:
        return np.zeros((SIDE, SIDE), bool)
    try:
        return mask_of(sample, (SIDE, SIDE)) if sample.masks else None
    except VlmadError:
        return None


def _draws(labels: NDArray[np.bool_], seed: int) -> NDArray[np.int64]:
    """``[draws, N]``: how often each image is drawn, as many of each label as there are."""
    rng, counts = np.random.default_rng(seed), np.zeros((_DRAWS, len(labels)), np.int64)
    for label in (False, True):
        places = np.flatnonzero(labels == label)
        counts[:, places] = rng.multinomial(len(places), np.full(len(places), 1 / len(places)), _DRAWS)
    return counts


def _image(scores: Numbers, labels: NDArray[np.bool_], drawn: NDArray[np.int64]) -> tuple[Numbers, Numbers]:
    """AUROC of each variant ``[V]``, and of each draw ``[draws, V]``, as the share of pairs in the right order."""
    values = np.array([auroc(one, labels) for one in scores])
    found = np.empty((len(drawn), len(scores)))
    good, bad = drawn[:, ~labels].astype(float), drawn[:, labels].astype(float)
    for i, one in enumerate(scores):
        low, high = one[~labels][:, None], one[labels][None]
        right = (high > low) + 0.5 * (high == low)
        found[:, i] = np.einsum("dg,gb,db->d", good, right, bad, optimize=True)
    return values, found / (good.sum(1) * bad.sum(1))[:, None]


def _pixels(maps: Numbers, masks: NDArray[np.bool_], drawn: NDArray[np.int64]) -> tuple[Numbers, Numbers]:
    """Likewise for pixels, from one histogram an image, binned at the quantiles of the variant."""
    count = len(masks)
    values, found = np.empty(len(maps)), np.empty((len(drawn), len(maps)))
    for i, map_ in enumerate(maps):
        edges = np.quantile(map_, np.linspace(0, 1, _BINS + 1)[1:-1])
        bins = np.searchsorted(edges, map_.reshape(count, -1))
        place = bins + _BINS * np.arange(count)[:, None]
        flat = masks.reshape(count, -1)
        sides = [np.bincount(place[side], minlength=count * _BINS).reshape(count, _BINS) for side in (~flat, flat)]
        whole = np.vstack([np.ones((1, count)), drawn])
        good, bad = (whole @ side.astype(float) for side in sides)  # [1 + draws, BINS]
        below = np.cumsum(good, 1) - 0.5 * good
        area = (bad * below).sum(1) / (bad.sum(1) * good.sum(1))
        values[i], found[:, i] = area[0], area[1:]
    return values, found
