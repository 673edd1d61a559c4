"""How good a checkpoint is, on generated validation pictures only: finding, placing, and understanding words.

Anchors are made as at test time, by the states of WinCLIP in a few templates. Areas under curves are counted over
scores cut into 4096 steps, so that millions of pixels cost nothing.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import features
import numpy as np
import torch
from anchors import neutral_sentence
from features import targets
from joint import Head, Reading
from pictures.captions import KIND_WORDS
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional
from vocabulary import HELD_OUT_ABNORMAL, HELD_OUT_NORMAL

from vlmad_core.contracts.ops import gaussian_blur, resize

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    See = Callable[[Tensor], Tensor]

STATES = (
    ["{}", "flawless {}", "perfect {}", "unblemished {}", "{} without flaw", "{} without defect", "{} without damage"],
    ["damaged {}", "{} with flaw", "{} with defect", "{} with damage"],
)
TEMPLATES = ("a photo of a {}.", "a close-up photo of the {}.", "a cropped photo of a {}.")


def areas(score: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Area under the ROC curve and average precision."""
    low, high = float(score.min()), float(score.max())
    steps = ((score - low) / max(high - low, 1e-9) * 4095).astype(np.int64)
    good = np.bincount(steps[~truth], minlength=4096)[::-1].astype(float)
    bad = np.bincount(steps[truth], minlength=4096)[::-1].astype(float)
    if good.sum() == 0 or bad.sum() == 0:
        return float("nan"), float("nan")
    hit, false = bad.cumsum() / bad.sum(), good.cumsum() / good.sum()
    roc = float(np.sum(np.diff(np.r_[0, false]) * (hit + np.r_[0, hit[:-1]]) / 2))
    found = bad.cumsum() + good.cumsum()
    precision = bad.cumsum() / np.maximum(found, 1)
    return roc, float(np.sum(np.diff(np.r_[0, hit]) * precision))


@torch.no_grad()
def pair(reading: Reading, states: Sequence[Sequence[str]], name: str, templates: Sequence[str] = TEMPLATES) -> Tensor:
    """Anchors ``[2, D]`` for normal and abnormal."""
    sides = [[t.replace("{}", s.replace("{}", name)) for s in side for t in templates] for side in states]
    return torch.stack([reading.ensemble(side) for side in sides])


def image_scores(cells: Tensor, pooled: Tensor) -> dict[str, np.ndarray]:
    """Ways to make one number of probabilities ``[B, M]`` and ``[B]``."""
    count = cells.shape[1]
    counts = {"max": 1, "three": 3, "top 1 %": round(0.01 * count), "top 3 %": round(0.03 * count)}
    top = {name: cells.topk(max(1, most), dim=1).values.mean(1) for name, most in counts.items()}
    ways = {"class": pooled, **top, "both": (pooled + top["max"]) / 2, "both 1 %": (pooled + top["top 1 %"]) / 2}
    return {name: value.numpy() for name, value in ways.items()}


def expanded(pairs: dict[str, Any]) -> dict[str, Any]:
    """A shard of ``features.py`` as pictures: the clean ones, then the damaged ones that the encoder tells apart."""
    shown = targets(pairs["share"], pairs["moved"][:, 1:])[0].any(1)
    count, rows = len(shown), shown.nonzero()[:, 0].tolist()
    clean = [word | {"kind": None, "second": None} for word in pairs["words"]]
    empty = np.zeros_like(pairs["bits"].numpy())
    return {
        "tokens": torch.cat([pairs["clean"], pairs["damaged"][shown]]),
        "share": torch.cat([torch.zeros(count, pairs["share"].shape[1]), pairs["share"][shown].float()]),
        "bits": np.concatenate([empty, pairs["bits"].numpy()[shown.numpy()]]),
        "grid": tuple(pairs["grid"]),
        "words": clean + [pairs["words"][i] for i in rows],
    }


@torch.no_grad()
def evaluate(see: See, reading: Reading, pairs: list[dict[str, Any]]) -> dict[str, Any]:
    """Images, maps at pixels, kinds, materials and words.

    Args:
        see: Tokens of block 9 ``[B, 1 + M, 384]`` to unit vectors ``[B, 1 + M, 256]``.
        reading: The half that reads.
        pairs: Shards of validation pictures.
    """
    shards = [expanded(shard) for shard in pairs]
    seen = [torch.cat([see(part.float()) for part in shard["tokens"].split(16)]) for shard in shards]
    words = [word for shard in shards for word in shard["words"]]
    truth = np.array([bool((row > 0).any()) for shard in shards for row in shard["share"]])

    def judge(anchors: Tensor | dict[str, Tensor]) -> tuple[list[Tensor], dict[str, np.ndarray]]:
        maps, images = [], defaultdict(list)
        for shard, vectors in zip(shards, seen, strict=True):
            both = torch.stack([anchors[w["thing"]] if isinstance(anchors, dict) else anchors for w in shard["words"]])
            cosine = torch.einsum("bmd,bsd->bms", vectors, both.cpu())
            probability = (cosine / 0.07).softmax(-1)[..., 1]
            maps.append(probability[:, 1:])
            for name, value in image_scores(probability[:, 1:], probability[:, 0]).items():
                images[name].append(value)
        return maps, {name: np.concatenate(v) for name, v in images.items()}

    base = pair(reading, STATES, "object")
    maps, images = judge(base)
    table: dict[str, Any] = {f"image {name}": round(areas(v, truth)[0], 4) for name, v in images.items()}
    flat = torch.cat([m.flatten() for m in maps]).numpy()
    cells = torch.cat([(shard["share"] > 0.1).flatten() for shard in shards]).numpy()
    table["cell AUROC"], table["cell AP"] = (round(v, 4) for v in areas(flat, cells))
    names = {w["thing"]: pair(reading, STATES, w["thing"], TEMPLATES[:2]) for w in words}
    named_maps, named = judge(names)
    table |= {f"named image {name}": round(areas(v, truth)[0], 4) for name, v in named.items()}
    table |= _pixels(shards, named_maps)
    score = named["max"]
    kinds, stuff = np.array([str(w["kind"]) for w in words]), np.array([w["material"] for w in words])
    table["kinds"], table["materials"] = {}, {}
    for kind in sorted(set(kinds) - {"None"}):
        mine = (kinds == kind) | ~truth
        table["kinds"][kind] = [round(areas(score[mine], truth[mine])[0], 3), int((kinds == kind).sum())]
    for one in sorted(set(stuff)):
        mine = stuff == one
        if 2 <= truth[mine].sum() < mine.sum() - 1:
            table["materials"][one] = [round(areas(score[mine], truth[mine])[0], 3), int(mine.sum())]
    table |= _words(reading, judge, truth, seen, shards, table["image max"])
    return table


def _pixels(shards: list[dict[str, Any]], maps: list[Tensor]) -> dict[str, float]:
    scores: dict[tuple[int, int], list[np.ndarray]] = defaultdict(list)
    truths: dict[tuple[int, int], list[np.ndarray]] = defaultdict(list)
    for shard, cells in zip(shards, maps, strict=True):
        tall, wide = shard["grid"]
        size = (14 * tall, 14 * wide)
        grown = gaussian_blur(resize(cells.reshape(-1, tall, wide), size), 4 * min(size) / 224)
        scores[size].append(grown.half().numpy().ravel())
        truths[size].append(np.unpackbits(shard["bits"], axis=1, count=size[0] * size[1]).astype(bool).ravel())
    out = {}
    for size in scores:
        roc, ap = areas(np.concatenate(scores[size]).astype(np.float32), np.concatenate(truths[size]))
        out |= {f"pixel AUROC {size[0]}x{size[1]}": round(roc, 4), f"pixel AP {size[0]}x{size[1]}": round(ap, 4)}
    return out


def _words(
    reading: Reading, judge: Any, truth: np.ndarray, seen: list[Tensor], shards: list[dict[str, Any]], base: float
) -> dict[str, Any]:
    """Are words understood?"""
    out: dict[str, Any] = {}
    _, unseen = judge(pair(reading, (HELD_OUT_NORMAL, HELD_OUT_ABNORMAL), "object"))
    out["words held out"] = round(areas(unseen["max"], truth)[0], 4)
    out["words held out loses"] = round(base - out["words held out"], 4)
    singles = {}
    for state in HELD_OUT_ABNORMAL:
        singles[state] = round(areas(judge(pair(reading, (["flawless {}"], [state]), "object"))[1]["max"], truth)[0], 3)
    for state in HELD_OUT_NORMAL:
        singles[state] = round(areas(judge(pair(reading, ([state], ["damaged {}"]), "object"))[1]["max"], truth)[0], 3)
    out["words one by one"] = singles
    maps, swapped = judge(pair(reading, STATES[::-1], "object"))
    cells = torch.cat([(shard["share"] > 0.1).flatten() for shard in shards]).numpy()
    out["words swapped, cells"] = round(areas(torch.cat([m.flatten() for m in maps]).numpy(), cells)[0], 4)
    out["words swapped, class token"] = round(areas(swapped["class"], truth)[0], 4)
    out["words swapped, highest cells"] = round(areas(swapped["max"], truth)[0], 4)
    draw, chance, places, spread = random.Random(1), [], [], []
    for _ in range(32):
        odd = torch.stack([reading.ensemble([neutral_sentence("object", draw) for _ in range(4)]) for _ in range(2)])
        maps, images = judge(odd)
        places.append(areas(torch.cat([m.flatten() for m in maps]).numpy(), cells)[0])
        chance.append(areas(images["max"], truth)[0])
        spread.append(float(np.abs(images["max"] - 0.5).mean()))
    out["nonsense AUROC mean"] = round(float(np.mean(chance)), 4)
    out["nonsense AUROC spread"] = round(float(np.std(chance)), 4)
    out["nonsense cell AUROC mean"] = round(float(np.mean(places)), 4)
    out["nonsense cell AUROC spread"] = round(float(np.std(places)), 4)
    out["nonsense distance from 0.5"] = round(float(np.mean(spread)), 4)
    return out | _naming(reading, seen, shards)


def _naming(reading: Reading, seen: list[Tensor], shards: list[dict[str, Any]]) -> dict[str, Any]:
    """Does the name of a kind raise the map on that kind more than on others?"""
    kinds = list(KIND_WORDS)
    read = torch.stack([reading.ensemble([f"a photo of an object with {n}" for n in KIND_WORDS[k][1].split("|")[:3]])
                        for k in kinds]).cpu()  # fmt: skip
    regions, labels = [], []
    for shard, vectors in zip(shards, seen, strict=True):
        for word, row, share in zip(shard["words"], vectors[:, 1:], shard["share"].float(), strict=True):
            if word["kind"] is not None and share.amax() > 0.1:
                regions.append(functional.normalize((row * share[:, None]).sum(0), dim=0))
                labels.append(kinds.index(word["kind"]))
    similarity = torch.stack(regions) @ read.T  # [R, K]
    label = torch.tensor(labels)
    order = similarity.argsort(1, descending=True)
    similarity = similarity - similarity.mean(1, keepdim=True)  # what this name raises more than others do
    own = {}
    for k, kind in enumerate(kinds):
        if (label == k).sum() >= 2:
            own[kind] = round(areas(similarity[:, k].numpy(), (label == k).numpy())[0], 3)
    return {
        "naming top 1": round((order[:, 0] == label).float().mean().item(), 4),
        "naming top 5": round((order[:, :5] == label[:, None]).any(1).float().mean().item(), 4),
        "naming AUROC mean": round(float(np.mean(list(own.values()))), 4),
        "naming AUROC": own,
    }


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True, help="the --out of train.py")
    parser.add_argument("--text", type=Path, help="folder of the text tower; default: the same")
    parser.add_argument("--pictures", type=Path, help="folder of the shards of features.py; default: the same")
    parser.add_argument("--shards", type=int, help="at most so many")
    options = parser.parse_args()
    text = options.text or options.out
    reading = Reading(text, Tokenizer.from_file(str(text / "tokenizer.json")), "cpu")
    state = torch.load(options.out / "trained.pt", map_location="cpu", weights_only=True)["seeing"]
    head = Head(len(state["up.bias"])).eval()
    head.load_state_dict(state)
    pairs = list(features.load(options.pictures or options.out, "val", options.shards))
    judged = evaluate(head, reading, pairs)
    (options.out / "results.json").write_text(json.dumps(judged, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({name: value for name, value in judged.items() if isinstance(value, float)}, indent=1))


if __name__ == "__main__":
    main()
