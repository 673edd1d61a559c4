"""Second stage: the text tower puts each sentence where ``frame.py`` says it belongs. No picture is involved.

It starts from what the teacher taught it (``pretrain_text.py``) and goes on hearing the teacher, so that words which no
sentence here holds keep their meaning. Loss: cosine to the place, and the squared difference along the axis of states,
where a small error would turn a verdict around.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from pathlib import Path

import torch
from corpus import build
from frame import FIRST_KIND, FIRST_THING, Frame
from pretrain_text import SIZES, distil_loss, fresh_tower, hidden, to_ids
from teacher import DIM as TEACHER_DIM
from teacher import cached_vectors
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional
from vocabulary import HELD_OUT_ABNORMAL, HELD_OUT_NORMAL

from vlmad_pocket.text import SPECIAL, PocketText

BATCH = 256
MINUTES = {"smoke": 0.5, "cpu": 10.0, "gpu": 10.0}


def read(tower: PocketText, tokenizer: Tokenizer, sentences: list[str], device: str) -> Tensor:
    """Unit vectors ``[P, 256]``."""
    with torch.autocast(device, torch.bfloat16):
        h = hidden(tower, to_ids(tokenizer, sentences).to(device))
    return functional.normalize(tower.to_joint(h).float(), dim=-1)


@torch.no_grad()
def examine(tower: PocketText, tokenizer: Tokenizer, frame: Frame, device: str) -> dict[str, float]:
    """Sentences that were not trained on: how near they come, and what the held-out words say of a state."""
    held = frame.draw(1000, random.Random(-1))
    wanted = torch.stack([t.vector for t in held]).to(device)
    got = torch.cat(
        [read(tower, tokenizer, [t.sentence for t in held[i : i + 250]], device) for i in range(0, 1000, 250)]
    )
    clear = wanted[:, 0].abs() > 0.3
    report = {
        "cosine": (got * wanted).sum(1).mean(),
        "state of clear words": (got[:, 0] * wanted[:, 0].sign())[clear].mean(),
        "wrong side": (got[:, 0] * wanted[:, 0] < 0)[clear].float().mean(),
        "state where none is said": got[wanted[:, 0] == 0, 0].abs().mean(),
        "kind": functional.cosine_similarity(got[:, FIRST_KIND:FIRST_THING], wanted[:, FIRST_KIND:FIRST_THING])[
            wanted[:, FIRST_KIND:FIRST_THING].norm(dim=1) > 0
        ].mean(),
    }
    for name, forms in (("abnormal", HELD_OUT_ABNORMAL), ("normal", HELD_OUT_NORMAL)):
        said = [t.replace("{}", f.replace("{}", n)) for f in forms for n in ("object", "nut", "fabric")
                for t in ("a photo of a {}.", "{}")]  # fmt: skip
        report[f"held-out {name}"] = read(tower, tokenizer, said, device)[:, 0].mean()
    return {name: round(float(value), 4) for name, value in report.items()}


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--effort", choices=MINUTES, default="cpu")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, required=True, help="folder where pretrain_text.py left its files")
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    device, draw = options.device, random.Random(options.seed)
    minutes = options.minutes or MINUTES[options.effort]
    tokenizer = Tokenizer.from_file(str(options.out / "tokenizer.json"))
    saved = torch.load(options.out / "text.pt", map_location=device, weights_only=True)
    tower = fresh_tower(tokenizer.get_vocab_size() + SPECIAL, 0).to(device)
    tower.load_state_dict(saved["tower"])
    head = nn.Linear(tower.width, TEACHER_DIM).to(device)
    head.load_state_dict(saved["head"])
    frame = Frame(options.out / "wordnet", device=device)
    sentences = build(options.out / "wordnet", SIZES[options.effort][0])
    told = cached_vectors(sentences, options.out, device)
    optimizer = torch.optim.AdamW(
        [*tower.parameters(), *head.parameters()], lr=1e-3, betas=(0.9, 0.98), weight_decay=0.0
    )
    log = (options.out / "places.jsonl").open("a")
    began, step, done = time.perf_counter(), 0, 0.0
    while done < 1:
        done = min(1.0, (time.perf_counter() - began) / 60 / minutes)
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * min(1, (step + 1) / 30) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))
        targets = frame.draw(BATCH, draw)
        taught = [draw.randrange(len(sentences)) for _ in range(BATCH // 4)]
        ids = to_ids(tokenizer, [t.sentence for t in targets] + [sentences[i] for i in taught]).to(device)
        with torch.autocast(device, torch.bfloat16):
            h = hidden(tower, ids)
        got = functional.normalize(tower.to_joint(h[:BATCH]).float(), dim=-1)
        wanted = torch.stack([t.vector for t in targets]).to(device)
        place = 1 - (got * wanted).sum(1).mean()
        state = (got[:, 0] - wanted[:, 0]).square().mean()
        cosine, relation = distil_loss(h[BATCH:].float(), head, told[taught].to(device).float())
        optimizer.zero_grad(set_to_none=True)
        (place + 4 * state + 0.3 * (cosine + relation)).backward()
        nn.utils.clip_grad_norm_(tower.parameters(), 1.0)
        optimizer.step()
        step += 1
        if step % 20 == 0:
            row = {"step": step, "seconds": round(time.perf_counter() - began), "place": round(place.item(), 4),
                   "state": round(state.item(), 5), "teacher": round(cosine.item(), 4)}  # fmt: skip
            log.write(json.dumps(row) + "\n")
            log.flush()
    report = {"steps": step, "minutes": round(minutes, 1), **examine(tower.eval(), tokenizer, frame, device)}
    log.write(json.dumps(report) + "\n")
    print(json.dumps(report, indent=1))
    torch.save({"tower": tower.state_dict()}, options.out / "placed.pt")


if __name__ == "__main__":
    main()
