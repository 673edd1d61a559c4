"""Third stage: the projection of pictures to where the words are, on generated pictures alone.

The published blocks stay as they are, and so does the text tower, which ``place_text.py`` finished; what is trained is
the projection behind block 9, against sentences that were read once (``joint.Bank``). Started again with the same
``--out``, it goes on where it was killed. Checkpoints are judged on generated validation pictures; no photograph is
seen.
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
from evaluate import Judged, evaluate
from joint import KINDS, Bank, Reading, Seeing, state
from losses import contrast, dice, focal, logits, name_kinds, top_mean
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Iterator

WEIGHTS = {"map": 6.0, "dice": 0.5, "top": 0.5, "pooled": 0.2, "caption": 0.05, "kind": 0.4, "nonsense": 0.05}
NOISE = 0.03  # of a token's spread: the grain of a camera that the generator does not know


@dataclass(frozen=True)
class Effort:
    """How much is done."""

    shards: int
    minutes: float
    epochs: float
    batch: int


EFFORTS = {
    "smoke": Effort(shards=3, minutes=1, epochs=2, batch=32),
    "cpu": Effort(shards=200, minutes=12, epochs=12, batch=32),
    "gpu": Effort(shards=2000, minutes=25, epochs=6, batch=128),
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
            "said": torch.stack([shards[s]["said"][i] for s, i in rows]),
            "words": [shards[s]["words"][i] for s, i in rows],
        }


class Trainer:
    """The state of a run, and one step of it."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.out: Path = options.out
        self.device = options.device
        torch.manual_seed(options.seed)
        self.draw = random.Random(options.seed)
        self.seeing = Seeing().to(self.device)
        self.reading = Reading(self.out, Tokenizer.from_file(str(self.out / "tokenizer.json")), self.device)
        self.bank = Bank(self.reading, seed=options.seed)
        learned = [p for p in self.seeing.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in learned if p.ndim > 1], "weight_decay": 0.05},
            {"params": [p for p in learned if p.ndim == 1], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=options.rate, betas=(0.9, 0.98))
        self.rate = options.rate
        self.average = deepcopy(self.seeing).eval()
        self.step = 0
        self.done = 0.0

    def losses(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Every loss of a batch."""
        words, share = batch["words"], batch["share"].to(self.device)
        x = batch["tokens"].to(self.device, torch.float32)
        x = x + NOISE * x.std((1, 2), keepdim=True) * torch.randn_like(x)
        with torch.autocast(self.device, torch.bfloat16):
            seen = self.seeing(x)  # [B, 1 + M, 256]
        normal, abnormal = (side.to(self.device) for side in self.bank.anchors(len(words), self.draw))
        is_abnormal = (share.amax(1) > 0).float()
        cells = logits(seen[:, 1:], normal, abnormal)
        target = (share > 0.1).float()
        weight = ((share == 0) | (share > 0.1)).float()  # a cell that is hardly touched is neither
        said = batch["said"].to(self.device)
        same = (said @ said.T) > 0.999
        odd = self.bank.odd(8, self.draw).to(self.device)
        return {
            "map": focal(cells, target, weight),
            "dice": dice(cells, share, is_abnormal),
            "top": functional.binary_cross_entropy_with_logits(top_mean(cells), is_abnormal),
            "pooled": functional.binary_cross_entropy_with_logits(logits(seen[:, 0], normal, abnormal), is_abnormal),
            "caption": contrast(seen[:, 0], said, same),
            "kind": self._kinds(seen[:, 1:], share, words),
            "nonsense": (torch.einsum("bmd,pd->bmp", seen[:, 1::4], odd) / 0.07).square().mean(),
        }

    def _kinds(self, cells: Tensor, share: Tensor, words: list[dict[str, Any]]) -> Tensor:
        """Regions of defects, and as many of none, must be nearest to what they are called."""
        region = (cells * share[..., None]).sum(1)
        bad = [i for i, word in enumerate(words) if word["kind"] is not None and share[i].amax() > 0.1]
        index = [KINDS.index(words[i]["kind"]) for i in bad]
        spot = (torch.rand_like(share) * (share == 0)).argmax(1)  # some cell without a defect
        sound = cells[torch.arange(len(cells)), spot]
        vectors = functional.normalize(torch.cat([region[bad], sound]), dim=-1)
        target = torch.tensor(index + [len(KINDS)] * len(sound), device=cells.device)
        return name_kinds(vectors, self.bank.called(self.draw).to(cells.device), target)

    def update(self, batch: dict[str, Any]) -> dict[str, float]:
        """One step; ``done`` in [0, 1] rules the rate."""
        self.seeing.train()
        factor = min(1, (self.step + 1) / 40) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1, self.done))))
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * factor
        losses = self.losses(batch)
        total = torch.stack([WEIGHTS[name] * loss for name, loss in losses.items()]).sum()
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(self.seeing.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        decay = min(0.99, self.step / (self.step + 10))
        with torch.no_grad():
            for kept, now in zip(self.average.parameters(), self.seeing.parameters(), strict=True):
                kept.lerp_(now, 1 - decay)
        return {name: round(loss.item(), 4) for name, loss in losses.items()} | {"total": round(total.item(), 4)}

    def judge(self, held: list[dict[str, Any]], *, full: bool = False) -> Judged:
        """The averaged weights on validation pictures."""
        return evaluate(self.average, self.reading, held, device=self.device, full=full)

    def say(self, shards: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Shards with their captions read."""
        return [shard | {"said": self.reading([word["caption"] for word in shard["words"]])} for shard in shards]

    def save(self, spent: float) -> None:
        """A checkpoint to go on from."""
        kept = {"seeing": self.seeing.state_dict(), "step": self.step, "optimizer": self.optimizer.state_dict(),
                "average": self.average.state_dict(), "spent": spent, "draw": self.draw.getstate()}  # fmt: skip
        torch.save(kept, self.out / "checkpoint.part")
        (self.out / "checkpoint.part").rename(self.out / "checkpoint.pt")

    def resume(self) -> float:
        """Go on from a checkpoint, if there is one; the seconds spent before."""
        path = self.out / "checkpoint.pt"
        if not path.exists():
            return 0.0
        kept = torch.load(path, map_location=self.device, weights_only=True)
        for name in ("seeing", "optimizer", "average"):
            getattr(self, name).load_state_dict(kept[name])
        self.step = kept["step"]
        self.draw.setstate(kept["draw"])
        return float(kept["spent"])


def run(options: argparse.Namespace) -> None:
    """Train until the epochs or the minutes are over."""
    effort = EFFORTS[options.effort]
    minutes, epochs = options.minutes or effort.minutes, options.epochs or effort.epochs
    held = list(features.load(options.pictures, "val"))
    trainer = Trainer(options)
    shards = trainer.say(list(features.load(options.pictures, "train", options.shards or effort.shards)))
    pictures = sum(len(shard["words"]) for shard in shards)
    began, saved = time.perf_counter() - trainer.resume(), time.perf_counter()
    steps = epochs * pictures / effort.batch
    log = (options.out / "joint.jsonl").open("a")
    print(f"{pictures} pictures, about {steps:.0f} steps, from step {trainer.step}", flush=True)

    def tell(row: dict[str, Any]) -> None:
        log.write(json.dumps(row) + "\n")
        log.flush()

    while trainer.done < 1:
        for batch in batches(shards, effort.batch, trainer.draw):
            spent = time.perf_counter() - began
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
    trainer.save(time.perf_counter() - began)
    judged = trainer.judge(held, full=True)
    tell({"step": trainer.step, "seconds": round(time.perf_counter() - began), "all of val": judged.short()})
    (options.out / "results.json").write_text(json.dumps(judged.table, indent=1) + "\n", encoding="utf-8")
    torch.save(state(trainer.average, trainer.reading) | {
        "steps": trainer.step, "pictures": pictures, "seconds": time.perf_counter() - began, "seed": options.seed,
    }, options.out / "trained.pt")  # fmt: skip
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
    parser.add_argument("--out", type=Path, required=True, help="folder of the text tower, the logs and the result")
    parser.add_argument("--pictures", type=Path, help="folder of the shards of features.py; default: the same")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--shards", type=int, help="at most so many")
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--epochs", type=float)
    parser.add_argument("--every", type=float, default=4, help="minutes between checkpoints")
    options = parser.parse_args()
    options.pictures = options.pictures or options.out
    run(options)
    write_table(options.out)


if __name__ == "__main__":
    main()
