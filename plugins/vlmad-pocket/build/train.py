"""Second stage: pictures and words into one space, on generated pictures alone.

Trained are the extra blocks, the projections and, ten times slower and held by the teacher, the text tower. The twelve
blocks below stay as they are. Started again with the same ``--out``, it goes on where it was killed. Checkpoints are
judged on generated validation pictures; no photograph is seen.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import random
import time
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import features
import torch
from anchors import allowed, kind_sentences, say
from corpus import build as build_corpus
from evaluate import Judged, evaluate
from joint import Reading, Seeing
from losses import contrast, dice, focal, logits, name_kinds, top_mean
from pictures.captions import KIND_WORDS
from pretrain_text import SIZES as TEXT_SIZES
from pretrain_text import distil_loss
from teacher import cached_vectors
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional
from wordfreq import top_n_list

if TYPE_CHECKING:
    from collections.abc import Iterator

KINDS = tuple(KIND_WORDS)
PHRASES = {kind: allowed(nouns.split("|")) or [kind] for kind, (_, nouns) in KIND_WORDS.items()}
WEIGHTS = {
    "map": 6.0,
    "dice": 0.5,
    "top": 0.5,
    "pooled": 0.3,
    "caption": 0.05,
    "kind": 0.6,
    "nonsense": 0.05,
    "teach": 2.0,
}


@dataclass(frozen=True)
class Effort:
    """How much is done."""

    shards: int
    minutes: float
    epochs: float
    extra: int
    batch: int


EFFORTS = {
    "smoke": Effort(shards=3, minutes=1.5, epochs=2, extra=2, batch=16),
    "cpu": Effort(shards=96, minutes=15, epochs=6, extra=2, batch=24),
    "gpu": Effort(shards=2000, minutes=25, epochs=6, extra=2, batch=96),
}


def batches(shards: list[dict[str, Any]], size: int, draw: random.Random) -> Iterator[dict[str, Any]]:
    """Pictures of one side at a time, each once, in random order."""
    groups: dict[int, list[tuple[int, int]]] = {}
    for s, shard in enumerate(shards):
        groups.setdefault(shard["size"], []).extend((s, i) for i in range(len(shard["words"])))
    plan = []
    for side, rows in groups.items():
        draw.shuffle(rows)
        count = max(8, size * (224 // 14) ** 2 // (side // 14) ** 2)  # alike in cells, so alike in memory
        plan += [rows[k : k + count] for k in range(0, len(rows) - count + 1, count)]
    draw.shuffle(plan)
    for rows in plan:
        yield {
            "tokens": torch.stack([shards[s]["tokens"][i] for s, i in rows]),
            "share": torch.stack([shards[s]["share"][i] for s, i in rows]).float(),
            "words": [shards[s]["words"][i] for s, i in rows],
        }


class Trainer:
    """The state of a run, and one step of it."""

    def __init__(self, options: argparse.Namespace, effort: Effort) -> None:
        self.out: Path = options.out
        self.device = options.device
        torch.manual_seed(options.seed)
        self.draw = random.Random(options.seed)
        tokenizer = Tokenizer.from_file(str(self.out / "tokenizer.json"))
        self.seeing = Seeing(effort.extra if options.extra is None else options.extra).to(self.device)
        self.reading = Reading(self.out, tokenizer, self.device)
        slow = [p for n, p in self.reading.tower.named_parameters() if "to_joint" not in n]
        plain = [p for p in self.seeing.parameters() if p.requires_grad and p.ndim > 1]
        small = [p for p in self.seeing.parameters() if p.requires_grad and p.ndim == 1]
        groups = [
            {"params": plain, "weight_decay": 0.05, "factor": 1.0},
            {"params": small, "weight_decay": 0.0, "factor": 1.0},
            {"params": list(self.reading.tower.to_joint.parameters()), "weight_decay": 0.01, "factor": 1.0},
            {"params": [*slow, *self.reading.head.parameters()], "weight_decay": 0.0, "factor": 0.1},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=options.rate, betas=(0.9, 0.98))
        self.rate = options.rate
        self.average = deepcopy(nn.ModuleDict({"seeing": self.seeing, "reading": self.reading.tower})).eval()
        self.common = allowed([w for w in top_n_list("en", 3000)[300:] if w.isalpha() and len(w) > 2])
        sentences = build_corpus(self.out / "wordnet", TEXT_SIZES[options.text_effort][0])
        self.taught = (sentences, cached_vectors(sentences, self.out, self.device))
        self.step = 0
        self.done = 0.0

    def losses(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Every loss of a batch."""
        words, share = batch["words"], batch["share"].to(self.device)
        said = say(words, self.draw, self.common)
        kinds = kind_sentences(KINDS, PHRASES, self.draw)
        captions = [word["caption"] for word in words]
        taught = [self.draw.randrange(len(self.taught[0])) for _ in range(32)]
        sentences = [*said.all(), *kinds, *captions, *(self.taught[0][i] for i in taught)]
        with torch.autocast(self.device, torch.bfloat16):
            seen = self.seeing(batch["tokens"].to(self.device, torch.float32))  # [B, 1 + M, 256]
            row, read, h = self.reading(sentences)

        def anchor(sides: list[list[str]]) -> Tensor:
            return functional.normalize(torch.stack([read[[row[s] for s in side]].mean(0) for side in sides]), dim=-1)

        normal, abnormal = anchor(said.normal), anchor(said.abnormal)
        is_abnormal = (share.amax(1) > 0).float()
        cells = logits(seen[:, 1:], normal, abnormal)
        target = (share > 0.1).float()
        weight = ((share == 0) | (share > 0.1)).float()  # a cell that is hardly touched is neither
        out = {
            "map": focal(cells, target, weight),
            "dice": dice(cells, share, is_abnormal),
            "top": functional.binary_cross_entropy_with_logits(top_mean(cells), is_abnormal),
            "pooled": functional.binary_cross_entropy_with_logits(logits(seen[:, 0], normal, abnormal), is_abnormal),
        }
        same = torch.tensor([[a == b for b in captions] for a in captions], device=self.device)
        out["caption"] = contrast(seen[:, 0], read[[row[s] for s in captions]], same)
        out["kind"] = self._kinds(seen[:, 1:], share, words, read[[row[s] for s in kinds]])
        odd = torch.stack([read[row[a]] - read[row[b]] for a, b in said.nonsense])
        out["nonsense"] = (torch.einsum("bmd,pd->bmp", seen[:, 1::4], odd) / 0.07).square().mean()
        cosine, relation = distil_loss(
            h[[row[self.taught[0][i]] for i in taught]],
            self.reading.head,
            self.taught[1][taught].to(self.device).float(),
        )
        out["teach"] = cosine + 4 * relation
        return out

    def _kinds(self, cells: Tensor, share: Tensor, words: list[dict[str, Any]], read: Tensor) -> Tensor:
        """Regions of defects, and as many of none, must be nearest to what they are called."""
        region = (cells * share[..., None]).sum(1)
        bad = [i for i, word in enumerate(words) if word["kind"] is not None and share[i].amax() > 0.1]
        index = [KINDS.index(words[i]["kind"]) for i in bad]
        spot = (torch.rand_like(share) * (share == 0)).argmax(1)  # some cell without a defect
        sound = cells[torch.arange(len(cells)), spot]
        vectors = functional.normalize(torch.cat([region[bad], sound]), dim=-1)
        target = torch.tensor(index + [len(KINDS)] * len(sound), device=cells.device)
        return name_kinds(vectors, read, target)

    def update(self, batch: dict[str, Any]) -> dict[str, float]:
        """One step; ``done`` in [0, 1] rules the rate."""
        self.seeing.train()
        self.reading.train()
        factor = min(1, (self.step + 1) / 40) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1, self.done))))
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * factor * group["factor"]
        losses = self.losses(batch)
        total = torch.stack([WEIGHTS[name] * loss for name, loss in losses.items()]).sum()
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_([p for g in self.optimizer.param_groups for p in g["params"]], 1.0)
        self.optimizer.step()
        self.step += 1
        decay = min(0.99, self.step / (self.step + 10))
        with torch.no_grad():
            for kept, now in zip(self.average["seeing"].parameters(), self.seeing.parameters(), strict=True):
                kept.lerp_(now, 1 - decay)
            for kept, now in zip(self.average["reading"].parameters(), self.reading.tower.parameters(), strict=True):
                kept.lerp_(now, 1 - decay)
        return {name: round(loss.item(), 4) for name, loss in losses.items()} | {"total": round(total.item(), 4)}

    def plain(self, is_plain: bool) -> None:
        """Without the extra blocks a step costs a tenth: heads and words find each other first."""
        self.seeing.is_plain = self.average["seeing"].is_plain = is_plain

    def judge(self, held: list[dict[str, Any]], *, full: bool = False) -> Judged:
        """The averaged weights on validation pictures."""
        reading = deepcopy(self.reading)
        reading.tower.load_state_dict(self.average["reading"].state_dict())
        return evaluate(self.average["seeing"], reading.eval(), held, device=self.device, full=full)

    def save(self, spent: float) -> None:
        """A checkpoint to go on from."""
        state = {"seeing": self.seeing.state_dict(), "reading": self.reading.state_dict(), "step": self.step,
                 "optimizer": self.optimizer.state_dict(), "average": self.average.state_dict(), "spent": spent,
                 "draw": self.draw.getstate()}  # fmt: skip
        torch.save(state, self.out / "checkpoint.part")
        (self.out / "checkpoint.part").rename(self.out / "checkpoint.pt")

    def resume(self) -> float:
        """Go on from a checkpoint, if there is one; the seconds spent before."""
        path = self.out / "checkpoint.pt"
        if not path.exists():
            return 0.0
        state = torch.load(path, map_location=self.device, weights_only=True)
        for name in ("seeing", "reading", "optimizer", "average"):
            getattr(self, name).load_state_dict(state[name])
        self.step = state["step"]
        self.draw.setstate(state["draw"])
        return float(state["spent"])


def run(options: argparse.Namespace) -> None:
    """Train until the epochs or the minutes are over."""
    effort = EFFORTS[options.effort]
    minutes = options.minutes or effort.minutes
    epochs = options.epochs or effort.epochs
    held = list(features.load(options.out, "val"))
    shards = list(features.load(options.out, "train", options.shards or effort.shards))
    trainer = Trainer(options, effort)
    before = trainer.resume()
    began, saved = time.perf_counter() - before, time.perf_counter()
    steps = epochs * sum(len(shard["words"]) for shard in shards) / effort.batch
    log = (options.out / "joint.jsonl").open("a")
    print(f"{len(shards)} shards, about {steps:.0f} steps, from step {trainer.step}", flush=True)

    def tell(row: dict[str, Any]) -> None:
        log.write(json.dumps(row) + "\n")
        log.flush()

    while trainer.done < 1:
        head = time.perf_counter() - began < 60 * options.head_minutes
        trainer.plain(head)
        for batch in batches(shards, effort.batch * (3 if head else 1), trainer.draw):
            spent = time.perf_counter() - began
            if head and spent > 60 * options.head_minutes:
                tell({"step": trainer.step, "seconds": round(spent), "heads alone": trainer.judge(held).short()})
                break
            trainer.done = max(trainer.step / steps, spent / 60 / minutes)
            if trainer.done >= 1:
                break
            losses = trainer.update(batch)
            if trainer.step % 10 == 0:
                tell({"step": trainer.step, "seconds": round(spent), "done": round(trainer.done, 4), **losses})
            if time.perf_counter() - saved > 60 * options.every:
                trainer.save(spent)
                tell({"step": trainer.step, "seconds": round(spent), "val": trainer.judge(held).short()})
                saved = time.perf_counter()
        # More pictures may have been made meanwhile.
        shards = list(features.load(options.out, "train", options.shards or effort.shards)) if options.grow else shards
    trainer.save(time.perf_counter() - began)
    judged = trainer.judge(held, full=True)
    tell({"step": trainer.step, "seconds": round(time.perf_counter() - began), "val": judged.short()})
    (options.out / "results.json").write_text(json.dumps(judged.table, indent=1) + "\n", encoding="utf-8")
    state = {"seeing": trainer.average["seeing"].state_dict(), "text": trainer.average["reading"].state_dict()}
    pictures = sum(len(shard["words"]) for shard in shards)
    torch.save(state | {"steps": trainer.step, "pictures": pictures, "seconds": time.perf_counter() - began,
                        "options": vars(options) | {"out": ""}}, options.out / "trained.pt")  # fmt: skip
    print(json.dumps(judged.short(), indent=1))


def write_table(out: Path) -> None:
    """The log as CSV."""
    rows = [json.loads(line) for line in (out / "joint.jsonl").read_text(encoding="utf-8").splitlines()]
    rows = [row for row in rows if "total" in row]
    with (out / "joint.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, fieldnames=list(rows[0]))
        table.writeheader()
        table.writerows(rows)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--effort", choices=EFFORTS, default="cpu")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, required=True, help="folder of the features, the text tower and the logs")
    parser.add_argument("--text-effort", choices=TEXT_SIZES, default="cpu", help="as the text tower was trained")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--extra", type=int, help="blocks on top of the frozen ones")
    parser.add_argument("--shards", type=int, help="at most so many")
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--epochs", type=float)
    parser.add_argument("--head-minutes", type=float, default=5, help="so long without the extra blocks, at first")
    parser.add_argument("--every", type=float, default=4, help="minutes between checkpoints")
    parser.add_argument("--grow", action="store_true", help="look for new shards after each epoch")
    options = parser.parse_args()
    run(options)
    write_table(options.out)


if __name__ == "__main__":
    main()
