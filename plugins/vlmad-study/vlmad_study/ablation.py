"""What each state and each template of an ensemble contributes: the same images, scored without it.

Every image goes through the backbone once, and every sentence through the text encoder once. The prompts without a
state or template are built by their own plugin, so whatever way it averages is kept. Whether a part helps or hurts is
a paired bootstrap over images, at a level that holds for all parts together.
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

from vlmad_core.benchmark import Category
from vlmad_core.contracts import Ensemble, TextEmbeddings, TextTower, encode_text
from vlmad_core.contracts.images import read, stack
from vlmad_core.datasets import mask_of
from vlmad_core.errors import VlmadError
from vlmad_core.files import write_whole
from vlmad_core.metrics import auroc
from vlmad_core.pipeline import Fuse, Pipeline, assemble
from vlmad_core.registry import Registry
from vlmad_study.backbone import BackboneInfo

__all__ = ["Effect", "ablate_prompts", "effects", "embeddings_without", "parts_of", "read_effects"]

SIDE = 64
"""Side of the maps in pixels: enough for a difference, and small enough to keep all of them."""
_DRAWS = 1000
_BINS = 512

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Effect:
    """What a part of the ensemble contributes: the metric with it, less the metric without it.

    Args:
        kind: "normal state", "abnormal state" or "template".
        text: The part.
        metric: "image_auroc" or "pixel_auroc".
        value: Above 0: it helps.
        low: Lower end of an interval that holds for all parts together.
        high: Its upper end.
    """

    kind: str
    text: str
    metric: str
    value: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """``"helps"``, ``"hurts"``, or empty where the interval includes 0."""
        return "helps" if self.low > 0 else "hurts" if self.high < 0 else ""


@dataclass(frozen=True)
class _Part:
    """One state or template, and the ensemble without it."""

    kind: str
    text: str
    without: Ensemble


def ablate_prompts(
    info: BackboneInfo,
    categories: Sequence[Category],
    path: Path,
    registry: Registry,
    progress: Callable[[int, int], None] | None = None,
) -> list[Effect]:
    """Score every image with every variant, write the effect of each part, and return it.

    Args:
        info: A backbone whose prompts are an ensemble.
        categories: What is tested on.
        path: JSON file; returned as it is where it was made of the same images and prompts.
        registry: Where to look for parts.
        progress: Called with images done and images in all.
    """
    assert info.zero_shot is not None
    key = json.dumps(
        [[c.name, c.class_name, c.images_sha256] for c in categories]
        + [info.zero_shot.model_dump(mode="json")]
        + ([] if info.model.preprocess.bits is None else [info.model.preprocess.bits])
    )
    kept = read_effects(path, key)
    if kept is not None:
        return kept
    pipeline = assemble(info.zero_shot, backbone=info.model, registry=registry)
    parts = parts_of(info)
    total, done, tested = sum(len(c.test_samples) for c in categories), 0, []
    embeddings: dict[str, Tensor] = {}
    for category in categories:
        if category.class_name not in embeddings:
            embeddings[category.class_name] = embeddings_without(info, parts, category.class_name, registry)
        all_scores, all_maps, labels, masks = [], [], [], []
        for scores, maps, good in _scored(pipeline, category, embeddings[category.class_name]):
            all_scores.append(scores)
            all_maps.append(maps)
            labels += [bool(category.test_samples[i].label) for i in good]
            masks += [_mask(category, i) for i in good]
            done += maps.shape[1]
            if progress is not None:
                progress(done, total)
        if len(set(labels)) == 2:
            known = None if any(mask is None for mask in masks) else np.stack([m for m in masks if m is not None])
            tested.append((np.concatenate(all_scores, 1), np.concatenate(all_maps, 1), np.array(labels), known))
    found = effects([(part.kind, part.text) for part in parts], tested) if tested else []
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps({"key": key, "effects": [asdict(effect) for effect in found]}, indent=1).encode())
    return found


def read_effects(path: Path, key: str | None = None) -> list[Effect] | None:
    """What was written, where it is there and was made of the same."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return None if key is not None and record["key"] != key else [Effect(**effect) for effect in record["effects"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def parts_of(info: BackboneInfo) -> list[_Part]:
    """Every state of a list with several, then every template, each with the ensemble that lacks it."""
    assert info.ensemble is not None
    states, templates = info.ensemble.states, info.ensemble.templates
    parts = []
    for i, side in enumerate(states):
        for state in side if len(side) > 1 else ():
            rest = tuple(text for text in side if text != state)
            lists = (*states[:i], rest, *states[i + 1 :])
            parts.append(_Part(f"{'abnormal' if i else 'normal'} state", state, Ensemble(lists, templates)))
    for template in templates if len(templates) > 1 else ():
        rest = tuple(text for text in templates if text != template)
        parts.append(_Part("template", template, Ensemble(states, rest)))
    return parts


def embeddings_without(info: BackboneInfo, parts: Sequence[_Part], class_name: str, registry: Registry) -> Tensor:
    """``[1 + parts, S, D]``: text embeddings of the whole ensemble, then without each part."""
    assert info.zero_shot is not None
    assert info.model.text is not None
    text = _CachedSentences(info.model.text)
    rows = []
    with torch.no_grad():
        for ensemble in (None, *(part.without for part in parts)):
            spec = info.zero_shot
            if ensemble is not None:
                normal, *kinds = ensemble.states
                abnormal = kinds[0] if len(kinds) == 1 else {f"kind {i}": kind for i, kind in enumerate(kinds, 1)}
                lists = {"states": {"normal": normal, "abnormal": abnormal}, "templates": ensemble.templates}
                prompts = info.prompts.model_copy(update={"config": {**info.prompts.config, **lists}})
                spec = spec.model_copy(update={"prompts": prompts})
            made = assemble(spec, backbone=info.model, registry=registry).prompts
            assert made is not None
            rows.append(made(text, [class_name]).vectors[0])
    return torch.stack(rows)


class _CachedSentences(TextTower):
    """A text encoder that encodes each sentence once: its tokens are numbers of sentences, and it has no blocks."""

    def __init__(self, text: TextTower) -> None:
        self.text, self.blocks, self.mask = text, (), None
        self.width = self.dim = text.dim
        self._number: dict[str, int] = {}
        self._vectors = torch.empty(0)

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """``[P, 1]`` numbers; sentences that are new are encoded."""
        new = [sentence for sentence in dict.fromkeys(texts) if sentence not in self._number]
        if new:
            vectors = encode_text(self.text, new)
            self._vectors = torch.cat([self._vectors, vectors]) if self._number else vectors
            self._number |= {sentence: len(self._number) + i for i, sentence in enumerate(new)}
        numbers = [[self._number[sentence]] for sentence in texts]
        return torch.tensor(numbers, device=self._vectors.device)

    def trim(self, ids: Tensor) -> Tensor:
        """As they are."""
        return ids

    def embed(self, ids: Tensor) -> Tensor:
        """``[P, 1, D]`` encoded sentences."""
        return self._vectors[ids]

    def add_positions(self, x: Tensor) -> Tensor:
        """As it is."""
        return x

    def pool(self, x: Tensor, ids: Tensor) -> Tensor:
        """``[P, D]``."""
        return x[:, 0]


def effects(
    parts: Sequence[tuple[str, str]], tested: Sequence[tuple[Numbers, Numbers, NDArray[np.bool_], Any]]
) -> list[Effect]:
    """The whole ensemble against each variant, in the mean over categories.

    Args:
        parts: Kind and text of what each variant lacks.
        tested: A category each: scores ``[1 + parts, N]``, maps ``[1 + parts, N, h, w]``, labels ``[N]``, and masks
            ``[N, h, w]`` or None.
    """
    # 95 % for all of them at once (Bonferroni); the normal approximation, since so far out no draw lies.
    wide = NormalDist().inv_cdf(1 - 0.025 / max(1, len(parts)))
    tables: dict[str, list[tuple[Numbers, Numbers]]] = {"image_auroc": [], "pixel_auroc": []}
    for number, (scores, maps, labels, masks) in enumerate(tested):
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
        for i, (kind, text) in enumerate(parts):
            gain = float(value[0] - value[i + 1])
            half = wide * float(spread[i])
            found.append(Effect(kind, text, metric, gain, gain - half, gain + half))
    return found


def _scored(
    pipeline: Pipeline, category: Category, text_embeddings: Tensor
) -> Iterator[tuple[Numbers, Numbers, list[int]]]:
    """For each batch: scores ``[V, B]``, maps ``[V, B, SIDE, SIDE]``, and the numbers of the images in them."""
    backbone, batch = pipeline.backbone, 8
    fuse = Fuse(pipeline.fuse.image, pipeline.fuse.map)  # without smoothing, which is meant for more pixels
    states = text_embeddings.shape[1]
    abnormal = torch.tensor([False] + [True] * (states - 1), device=backbone.device)
    sources = [sample.image for sample in category.test_samples]
    with torch.no_grad(), closing(read(sources, pipeline.preprocess, batch_size=batch)) as batches:
        for number, images in enumerate(batches):
            good = [i for i, image in enumerate(images) if not image.error]
            if not good:
                continue
            pixels = stack([images[i] for i in good]).to(backbone.device, backbone.dtype)
            features = pipeline.extractor(backbone.vision, pixels)
            scores, maps = [], []
            for one in text_embeddings:
                embeddings = TextEmbeddings(one.expand(len(good), -1, -1), abnormal)
                fused = fuse(
                    [scorer(features, embeddings, (SIDE, SIDE)) for scorer in pipeline.scorers], pipeline.labels
                )
                scores.append(fused.image.float().cpu().numpy())
                maps.append(fused.anomaly_map.float().cpu().numpy())
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
