"""Third stage: the projection of pictures to where the words are, on generated pictures alone.

The published blocks stay as they are, and so does the text tower, which ``place_text.py`` finished; what is trained is
the projection behind block 9, against sentences that were read once (``joint.Bank``). Several heads are trained apart,
from other seeds and on other draws, and their vectors averaged: one head's result depends much on its seed. Started
again with the same ``--out``, it goes on with the first head that is missing.

``--held-out`` leaves out the materials and the kinds of ``HELD_MATERIALS`` and ``HELD_KINDS``, and measures on them
alone (``choose.py``): that is how settings are chosen. No photograph is seen.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from collections import defaultdict
from copy import deepcopy
from pathlib import Path
from typing import Any

import features
import torch
from joint import KINDS, Bank, Head, Reading, merged, state
from losses import contrast, dice, focal, logits, name_kinds, top_mean
from refit import refit
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional

WEIGHTS = {"map": 6.0, "dice": 0.5, "top": 0.5, "pooled": 1.0, "caption": 0.05, "kind": 0.4, "nonsense": 0.05}
NOISE = 0.03  # of a token's spread: the grain of a camera that the generator does not know
CELLS = 24 * 16 * 16
"""In a batch: 24 pictures of 224 px, fewer of larger ones."""
EFFORTS = {"smoke": (2, 60), "cpu": (6, 500), "gpu": (6, 1600)}
"""Heads, steps of each."""

HELD_MATERIALS = frozenset(
    {
        "brushed metal",
        "leather",
        "concrete",
        "moulded plastic",
        "scanned stone",
        "knitted fabric",
        "crust",
        "even wafer",
    }
)
HELD_KINDS = frozenset({"crack", "stain", "dent", "missing part", "deformation", "thread", "burn", "cell crack"})


def is_held_out(words: dict[str, Any]) -> bool:
    """Whether a pair has a material or a kind that is kept for choosing."""
    return words["material"] in HELD_MATERIALS or bool({words["kind"], words["second"]} & HELD_KINDS)


class Pairs:
    """Pairs of all shards, in batches of one size.

    Args:
        shards: As ``features.load`` gives them.
        reading: Reads their captions, and what each thing is without a defect.
        held_out: Leave out what settings are chosen on.
    """

    def __init__(self, shards: list[dict[str, Any]], reading: Reading, *, held_out: bool) -> None:
        self.shards = shards
        self.rows: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
        for s, shard in enumerate(shards):
            shown = features.targets(shard["share"], shard["moved"][:, 1:])[0].any(1)
            shard["said"] = reading([word["caption"] for word in shard["words"]])
            shard["said clean"] = reading([f"a photo of a normal {word['thing']}" for word in shard["words"]])
            mine = [i for i, w in enumerate(shard["words"]) if shown[i] and not (held_out and is_held_out(w))]
            self.rows[tuple(shard["grid"])] += [(s, i) for i in mine]

    def __len__(self) -> int:
        return sum(map(len, self.rows.values()))

    def batch(self, draw: random.Random, *, twins: float) -> dict[str, Any]:
        """Clean and damaged pictures of one size; ``twins`` of the batches hold both of each pair."""
        grids = list(self.rows)
        grid = draw.choices(grids, [len(self.rows[g]) for g in grids])[0]
        count = max(6, CELLS // (grid[0] * grid[1]))
        if draw.random() < twins:
            some = draw.sample(self.rows[grid], min(count // 2, len(self.rows[grid])))
            rows = [(row, side) for row in some for side in (0, 1)]
        else:
            rows = [(row, draw.randrange(2)) for row in draw.sample(self.rows[grid], min(count, len(self.rows[grid])))]
        out: dict[str, list[Any]] = defaultdict(list)
        for (s, i), damaged in rows:
            shard = self.shards[s]
            share = shard["share"][i].float() * damaged
            target, weight = features.targets(share, shard["moved"][i, 1:].float() * damaged)
            out["tokens"].append(shard["damaged" if damaged else "clean"][i])
            out["share"].append(share)
            out["target"].append(target)
            out["weight"].append(weight)
            out["said"].append(shard["said" if damaged else "said clean"][i])
            out["kind"].append(shard["words"][i]["kind"] if damaged else None)
        return {name: torch.stack(rows) if name != "kind" else rows for name, rows in out.items()}


class Trainer:
    """One head, and one step of it."""

    def __init__(self, pairs: Pairs, bank: Bank, seed: int, options: argparse.Namespace) -> None:
        torch.manual_seed(seed)
        self.pairs, self.bank, self.device, self.rate = pairs, bank, options.device, options.rate
        self.twins, self.steps = options.twins, options.steps
        self.draw = random.Random(seed)
        self.head = Head().to(self.device)
        learned = [p for p in self.head.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in learned if p.ndim > 1], "weight_decay": 0.05},
            {"params": [p for p in learned if p.ndim == 1], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=options.rate, betas=(0.9, 0.98))
        self.average = deepcopy(self.head).eval()
        self.step = 0

    def losses(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Every loss of a batch."""
        share, target = batch["share"].to(self.device), batch["target"].to(self.device)
        x = batch["tokens"].to(self.device, torch.float32)
        spread = x.flatten(1).norm(dim=1)[:, None, None] / x[0].numel() ** 0.5
        x = x + NOISE * spread * torch.randn_like(x)
        with torch.autocast(self.device, torch.bfloat16):
            seen = self.head(x)  # [B, 1 + M, 256]
        normal, abnormal = (side.to(self.device) for side in self.bank.anchors(len(x), self.draw))
        is_abnormal = (target.amax(1) > 0).float()
        cells = logits(seen[:, 1:], normal, abnormal)
        said = batch["said"].to(self.device)
        same = (said @ said.T) > 0.999
        odd = self.bank.odd(8, self.draw).to(self.device)
        return {
            "map": focal(cells, target, batch["weight"].to(self.device)),
            "dice": dice(cells, target, is_abnormal),
            "top": functional.binary_cross_entropy_with_logits(top_mean(cells), is_abnormal),
            "pooled": functional.binary_cross_entropy_with_logits(logits(seen[:, 0], normal, abnormal), is_abnormal),
            "caption": contrast(seen[:, 0], said, same),
            "kind": self._kinds(seen[:, 1:], share * target, batch["kind"]),
            "nonsense": (torch.einsum("bmd,pd->bmp", seen[:, 1::4], odd) / 0.07).square().mean(),
        }

    def _kinds(self, cells: Tensor, share: Tensor, kinds: list[str | None]) -> Tensor:
        """Regions of defects, and as many of none, must be nearest to what they are called."""
        region = (cells * share[..., None]).sum(1)
        bad = [i for i, kind in enumerate(kinds) if kind is not None and share[i].amax() > 0]
        index = [KINDS.index(str(kinds[i])) for i in bad]
        spot = (torch.rand_like(share) * (share == 0)).argmax(1)  # some cell without a defect
        sound = cells[torch.arange(len(cells)), spot]
        vectors = functional.normalize(torch.cat([region[bad], sound]), dim=-1)
        target = torch.tensor(index + [len(KINDS)] * len(sound), device=cells.device)
        return name_kinds(vectors, self.bank.called(self.draw).to(cells.device), target)

    def update(self) -> dict[str, float]:
        """One step."""
        self.head.train()
        done = self.step / self.steps
        factor = min(1, (self.step + 1) / 40) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * factor
        losses = self.losses(self.pairs.batch(self.draw, twins=self.twins))
        total = torch.stack([WEIGHTS[name] * loss for name, loss in losses.items()]).sum()
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(self.head.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        decay = min(0.99, self.step / (self.step + 10))
        with torch.no_grad():
            for kept, now in zip(self.average.parameters(), self.head.parameters(), strict=True):
                kept.lerp_(now, 1 - decay)
        return {name: round(loss.item(), 4) for name, loss in losses.items()} | {"total": round(total.item(), 4)}

    @torch.no_grad()
    def finished(self) -> Head:
        """The averaged weights, with vectors of length one on average, so that heads that are averaged weigh alike."""
        tokens = self.pairs.batch(self.draw, twins=1)["tokens"].to(self.device, torch.float32)
        length = self.average.vectors(tokens).norm(dim=-1).mean()
        self.average.down.weight.div_(length)
        self.average.down.bias.div_(length)
        return self.average


def train_head(pairs: Pairs, bank: Bank, seed: int, options: argparse.Namespace) -> Head:
    """A trained head; read from its file, if it was trained before."""
    path = options.out / f"head-{seed}.pt"
    trainer = Trainer(pairs, bank, seed, options)
    if path.exists():
        trainer.average.load_state_dict(torch.load(path, map_location=options.device, weights_only=True))
        return trainer.average
    with (options.out / "joint.jsonl").open("a") as log:
        for _ in range(options.steps):
            losses = trainer.update()
            if trainer.step % 20 == 0:
                log.write(json.dumps({"head": seed, "step": trainer.step, **losses}) + "\n")
                log.flush()
    head = trainer.finished()
    torch.save(head.state_dict(), path.with_suffix(".part"))
    path.with_suffix(".part").rename(path)
    return head


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--effort", choices=EFFORTS, default="cpu")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, required=True, help="folder of the heads, the logs and the result")
    parser.add_argument("--text", type=Path, help="folder of the text tower; default: the same")
    parser.add_argument("--pictures", type=Path, help="folder of the shards of features.py; default: the same")
    parser.add_argument("--seed", type=int, default=0, help="of the first head")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--shards", type=int, help="at most so many")
    parser.add_argument("--heads", type=int)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--twins", type=float, default=0.5, help="share of batches with both pictures of a pair")
    parser.add_argument("--held-out", action="store_true", help="leave out what settings are chosen on")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    options.pictures, options.text = options.pictures or options.out, options.text or options.out
    heads, steps = EFFORTS[options.effort]
    options.heads, options.steps = options.heads or heads, options.steps or steps
    reading = Reading(options.text, Tokenizer.from_file(str(options.text / "tokenizer.json")), options.device)
    shards = list(features.load(options.pictures, "train", options.shards))
    pairs = Pairs(shards, reading, held_out=options.held_out)
    bank = Bank(reading)
    print(f"{len(pairs)} pairs, {options.heads} heads of {options.steps} steps", flush=True)
    head = merged([train_head(pairs, bank, options.seed + k, options) for k in range(options.heads)])
    refit(head, shards, reading)
    torch.save(state(head, reading) | {
        "steps": options.steps, "heads": options.heads, "pictures": 2 * len(pairs), "seed": options.seed,
    }, options.out / "trained.pt")  # fmt: skip


if __name__ == "__main__":
    main()
