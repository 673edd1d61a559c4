"""How good heads are on materials and kinds of defect that they were not trained on: what settings are chosen by.

``python choose.py --out DIR``, where DIR holds heads of ``train.py --held-out``. One row for each size of picture and
way to make one number of an image; means over sizes at the end. No photograph is involved.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import features
import numpy as np
import torch
from evaluate import STATES, areas, image_scores, pair
from joint import Head, Reading, merged
from tokenizers import Tokenizer
from torch import Tensor
from train import is_held_out

MOST = 256
"""Pictures of each size, half of them clean."""


def held_out(shards: list[dict[str, Any]], visible: float) -> dict[tuple[int, int], dict[str, Tensor]]:
    """By cells of the picture: tokens of clean and damaged ones ``[N, 1 + M, 384]``, targets and weights ``[N, M]``."""
    found: dict[tuple[int, int], dict[str, list[Tensor]]] = defaultdict(lambda: defaultdict(list))
    for shard in shards:
        mine = found[tuple(shard["grid"])]
        target, weight = features.targets(shard["share"].float(), shard["moved"][:, 1:].float())
        for i, words in enumerate(shard["words"]):
            shown = (shard["moved"][i, 1:] * target[i]).max() > visible
            if is_held_out(words) and shown and len(mine["target"]) < MOST:
                mine["tokens"] += [shard["clean"][i], shard["damaged"][i]]
                mine["target"] += [torch.zeros_like(target[i]), target[i]]
                mine["weight"] += [torch.ones_like(weight[i]), weight[i]]
    return {grid: {name: torch.stack(rows) for name, rows in mine.items()} for grid, mine in found.items()}


def load(path: Path) -> Head:
    """A head of ``train.py``."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    head = Head(len(state["up.bias"])).eval()
    head.load_state_dict(state)
    return head


@torch.no_grad()
def probabilities(head: Head, tokens: Tensor, anchors: Tensor) -> Tensor:
    """Of "abnormal", ``[N, 1 + M]``."""
    seen = torch.cat([head(part.float()) for part in tokens.split(16)])
    return (seen @ anchors.T / 0.07).softmax(-1)[..., 1]


def measure(head: Head, held: dict[tuple[int, int], dict[str, Tensor]], anchors: Tensor) -> dict[str, float]:
    """Area under the ROC curve of images in several ways and of cells, by size and as a mean over sizes."""
    table: dict[str, list[float]] = defaultdict(list)
    for mine in held.values():
        found = probabilities(head, mine["tokens"], anchors)
        truth = mine["target"].any(1).numpy()
        for name, score in image_scores(found[:, 1:], found[:, 0]).items():
            table[name].append(areas(score, truth)[0])
        counted = mine["weight"] > 0
        table["cells"].append(areas(found[:, 1:][counted].numpy(), mine["target"][counted].bool().numpy())[0])
    out = {f"{name} {g[0]}x{g[1]}": v for name, values in table.items() for g, v in zip(held, values, strict=True)}
    return {k: round(v, 4) for k, v in out.items()} | {k: round(float(np.mean(v)), 4) for k, v in table.items()}


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, nargs="+", required=True, help="folders of heads")
    parser.add_argument("--text", type=Path, required=True, help="folder of the text tower")
    parser.add_argument("--pictures", type=Path, required=True, help="folder of the shards")
    parser.add_argument("--shards", type=int)
    parser.add_argument("--each", action="store_true", help="each head by itself too")
    parser.add_argument("--visible", type=float, default=features.MOVED, help="how far a defect moves some token")
    options = parser.parse_args()
    reading = Reading(options.text, Tokenizer.from_file(str(options.text / "tokenizer.json")), "cpu")
    anchors = pair(reading, STATES, "object")
    held = held_out(list(features.load(options.pictures, "train", options.shards)), options.visible)
    for folder in options.out:
        heads = [load(path) for path in sorted(folder.glob("head-*.pt"))]
        rows = {f"head {k}": head for k, head in enumerate(heads)} if options.each else {}
        for name, head in {**rows, "all": merged(heads)}.items():
            row = {"folder": folder.name, "heads": len(heads), "head": name, **measure(head, held, anchors)}
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
