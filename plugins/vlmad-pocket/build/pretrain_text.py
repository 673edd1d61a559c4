"""First stage: a tokenizer, and a text tower that says what the teacher says. No picture is involved.

Sentences of ``corpus.py``; loss: cosine to the teacher through a linear head that is thrown away, and the difference of
the two matrices of similarities within a batch, so that what is near for the teacher is near in the tower itself.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import torch
from corpus import build
from teacher import DIM as TEACHER_DIM
from teacher import Teacher, cached_vectors
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor, nn
from torch.nn import functional
from wordfreq import top_n_list, word_frequency

from vlmad_core.contracts import forward_blocks
from vlmad_pocket.text import CONTEXT, END, PAD, SPECIAL, START, PocketText

SIZES = {"smoke": (4000, 2), "cpu": (170000, 4), "gpu": (600000, 12)}
"""Sentences, epochs."""


def train_tokenizer(sentences: list[str], pieces: int = 14000) -> Tokenizer:
    """Byte-level BPE in lower case over sentences and the 100,000 most frequent English words."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=pieces, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), min_frequency=2
    )

    def lines() -> list[str]:
        words = top_n_list("en", 100000)
        # The square root lets rare words have pieces too.
        return sentences + [" ".join([w] * math.ceil(3000 * word_frequency(w, "en") ** 0.5)) for w in words]

    tokenizer.train_from_iterator(lines(), trainer)
    return tokenizer


def to_ids(tokenizer: Tokenizer, sentences: list[str]) -> Tensor:
    """``[P, 32]`` int32, as ``PocketText.tokenize`` makes them."""
    ids = torch.full((len(sentences), CONTEXT), PAD, dtype=torch.int32)
    for row, encoding in zip(ids, tokenizer.encode_batch([" ".join(s.split()) for s in sentences]), strict=True):
        pieces = [number + SPECIAL for number in encoding.ids[: CONTEXT - 2]]
        row[: len(pieces) + 2] = torch.tensor([START, *pieces, END], dtype=torch.int32)
    return ids


def fresh_tower(words: int, seed: int) -> PocketText:
    """A text tower with random weights."""
    torch.manual_seed(seed)
    tower = PocketText(words, "")
    for name, parameter in tower.named_parameters():
        with torch.no_grad():
            if "scale" in name:
                parameter.fill_(1)
            elif parameter.ndim > 1 and "blocks" in name:
                parameter.normal_(0, 0.5 * parameter.shape[1] ** -0.5)
            elif name == "positions":
                parameter.normal_(0, 0.02)
            elif name == "to_joint.weight":
                parameter.normal_(0, parameter.shape[1] ** -0.5)
            elif name.endswith("bias"):
                parameter.zero_()
    return tower


@torch.no_grad()
def start_words(tower: PocketText, tokenizer: Tokenizer, teacher: Teacher) -> None:
    """Each piece begins where the teacher puts its letters, in the 256 directions that matter most."""
    pieces = [tokenizer.decode([i]).strip() or "space" for i in range(tokenizer.get_vocab_size())]
    vectors = teacher(pieces).float()
    vectors -= vectors.mean(0)
    _, _, directions = torch.linalg.svd(vectors[:4000], full_matrices=False)
    flat = vectors @ directions[: tower.width].T
    tower.words[SPECIAL:] = flat / flat.std() * 0.5
    tower.words[:SPECIAL] = torch.randn(SPECIAL, tower.width) * 0.2


def hidden(tower: PocketText, ids: Tensor) -> Tensor:
    """``[P, 32]`` ids to the normed end of each sentence, ``[P, 256]``, with gradients."""
    ids = tower.trim(ids.long())
    length = ids.shape[1]
    x = tower.add_positions(tower.embed(ids))
    mask = tower.mask[:length, :length] if tower.mask is not None else None
    if torch.is_autocast_enabled(x.device.type) and mask is not None:
        mask = mask.to(torch.get_autocast_dtype(x.device.type))
    return tower.read(forward_blocks(tower.blocks, x, mask=mask)[0].float(), ids)


def distil_loss(h: Tensor, head: nn.Linear, told: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine, and difference of similarities; ``told`` is ``[P, 384]`` of unit length."""
    cosine = 1 - functional.cosine_similarity(head(h), told, dim=-1).mean()
    own = functional.normalize(h - h.mean(0), dim=-1)
    their = functional.normalize(told - told.mean(0), dim=-1)
    return cosine, functional.mse_loss(own @ own.T, their @ their.T)


def train(
    tower: PocketText, ids: Tensor, told: Tensor, *, epochs: int, device: str, log: Path, minutes: float, seed: int
) -> nn.Linear:
    """Distil in place; returns the head to the teacher's space."""
    tower.to(device).train()
    head = nn.Linear(tower.width, TEACHER_DIM).to(device)
    groups = [
        {"params": [p for n, p in tower.named_parameters() if p.ndim > 1 and n != "words"], "weight_decay": 0.02},
        {"params": [p for n, p in tower.named_parameters() if p.ndim == 1 or n == "words"], "weight_decay": 0.0},
        {"params": list(head.parameters()), "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.98))
    lengths = (ids != PAD).sum(1)
    batch, shuffle = 384, torch.Generator().manual_seed(seed)
    held = torch.randperm(len(ids), generator=shuffle)[:2000]
    mine = torch.ones(len(ids), dtype=torch.bool)
    mine[held] = False
    rows = mine.nonzero()[:, 0]
    steps, step, began = epochs * (len(rows) // batch), 0, time.perf_counter()
    with log.open("a") as file:
        for _ in range(epochs):
            # Sorted by length within large groups: little padding, and still mixed.
            mixed = rows[torch.randperm(len(rows), generator=shuffle)]
            chunks = [c[lengths[c].argsort()] for c in mixed.split(batch * 40)]
            batches = [b for c in chunks for b in c.split(batch) if len(b) == batch]
            for i in torch.randperm(len(batches), generator=shuffle).tolist():
                spent = (time.perf_counter() - began) / 60 / minutes
                done = max(step / steps, spent)  # a slow machine trains less, and still ends with a small step
                if done >= 1:
                    break
                rate = 1.2e-3 * min(1, (step + 1) / 100) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))
                for group in optimizer.param_groups:
                    group["lr"] = rate
                with torch.autocast(device, torch.bfloat16):
                    h = hidden(tower, ids[batches[i]].to(device))
                cosine, relation = distil_loss(h, head, told[batches[i]].to(device).float())
                optimizer.zero_grad(set_to_none=True)
                (cosine + 4 * relation).backward()
                nn.utils.clip_grad_norm_(tower.parameters(), 1.0)
                optimizer.step()
                if step % 20 == 0:
                    row = {"stage": "text", "step": step, "of": steps, "seconds": round(time.perf_counter() - began, 1)}
                    row |= {"cosine": round(1 - cosine.item(), 4), "relation": round(relation.item(), 5)}
                    file.write(json.dumps(row) + "\n")
                    file.flush()
                step += 1
        tower.eval()
        with torch.no_grad():
            h = torch.cat([hidden(tower, ids[part].to(device)) for part in held.split(250)])
            cosine, relation = distil_loss(h, head, told[held].to(device).float())
        row = {"stage": "text held-out", "cosine": round(1 - cosine.item(), 4), "relation": round(relation.item(), 5)}
        row |= {"steps": step, "seconds": round(time.perf_counter() - began, 1)}
        file.write(json.dumps(row) + "\n")
        print(row)
    return head


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--effort", choices=SIZES, default="cpu")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, required=True, help="folder for caches, logs and weights")
    parser.add_argument("--minutes", type=float, default=10, help="at most this long in the training loop")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    size, epochs = SIZES[options.effort]
    options.out.mkdir(parents=True, exist_ok=True)
    sentences = build(options.out / "wordnet", size)
    told = cached_vectors(sentences, options.out, options.device)
    tokenizer = train_tokenizer(sentences)
    tokenizer.save(str(options.out / "tokenizer.json"), pretty=False)
    tower = fresh_tower(tokenizer.get_vocab_size() + SPECIAL, options.seed)
    start_words(tower, tokenizer, Teacher(options.device))
    ids = to_ids(tokenizer, sentences)
    print(f"{len(sentences)} sentences, {(ids != PAD).sum(1).float().mean():.1f} tokens on average", flush=True)
    log = options.out / "text.jsonl"
    head = train(tower, ids, told, epochs=epochs, device=options.device, log=log, minutes=options.minutes,
                 seed=options.seed)  # fmt: skip
    torch.save({"tower": tower.state_dict(), "head": head.state_dict()}, options.out / "text.pt")


if __name__ == "__main__":
    main()
