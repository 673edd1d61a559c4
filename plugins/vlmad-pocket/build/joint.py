"""What is trained on top of the frozen encoder: two more blocks, a projection, and the text tower.

Parameters are named as in ``joint.safetensors``: ``vision.*`` go into ``PocketVision``, ``text.*`` into ``PocketText``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from pretrain_text import fresh_tower, hidden, to_ids
from torch import Tensor, nn
from torch.nn import functional

from vlmad_core import walk
from vlmad_pocket.block import PocketBlock
from vlmad_pocket.plugin import PocketConfig
from vlmad_pocket.text import DIM, SPECIAL
from vlmad_pocket.vision import HEADS, WIDTH, Pocket

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tokenizers import Tokenizer

MIDDLE = 512


class Seeing(nn.Module):
    """Block 12's output to the joint space."""

    def __init__(self, extra: int, drop: float = 0.1) -> None:
        super().__init__()
        self.extra = nn.ModuleList(PocketBlock(WIDTH, HEADS) for _ in range(extra))
        self.up = nn.Linear(WIDTH, MIDDLE)
        self.down = nn.Linear(MIDDLE, DIM)
        self.drop = drop
        self.is_plain = False  # True: leave the extra blocks out
        for block in self.extra:
            for name, parameter in block.named_parameters():
                with torch.no_grad():
                    if "scale" in name:
                        parameter.fill_(0.05)  # they start near the identity
                    elif parameter.ndim > 1:
                        parameter.normal_(0, parameter.shape[1] ** -0.5)
                    elif name.endswith("bias"):
                        parameter.zero_()
        final = Pocket(PocketConfig()).vision.final  # type: ignore[union-attr]
        self.final = nn.LayerNorm(WIDTH, eps=1e-6)
        self.final.load_state_dict(final.state_dict())
        self.final.requires_grad_(False)  # memories of raw tokens read through it

    def forward(self, x: Tensor) -> Tensor:
        """``[B, 1 + h*w, 384]`` to unit vectors ``[B, 1 + h*w, 256]``."""
        if self.training:
            # A shift that all tokens of a picture share, and a little noise on each: the light and grain of a camera
            # that the generator does not know.
            spread = x.std((1, 2), keepdim=True)
            x = x + spread * (0.06 * torch.randn_like(x[:, :1]) + 0.03 * torch.randn_like(x))
        if not self.is_plain:
            x, _ = walk(self.extra, x)
        hidden_ = functional.gelu(self.up(functional.dropout(self.final(x), self.drop, self.training)))
        return functional.normalize(self.down(hidden_).float(), dim=-1)


class Reading(nn.Module):
    """Sentences to unit vectors in the joint space; remembers how they are cut into pieces."""

    def __init__(self, folder: Path, tokenizer: Tokenizer, device: str) -> None:
        super().__init__()
        self.tower = fresh_tower(tokenizer.get_vocab_size() + SPECIAL, 0)
        saved = torch.load(folder / "text.pt", map_location=device, weights_only=True)
        self.tower.load_state_dict(saved["tower"])
        self.head = nn.Linear(self.tower.width, 384)
        self.head.load_state_dict(saved["head"])
        with torch.no_grad():
            nn.init.orthogonal_(self.tower.to_joint.weight)
        self.tokenizer = tokenizer
        self.to(device)

    def forward(self, sentences: Sequence[str]) -> tuple[dict[str, int], Tensor, Tensor]:
        """Row of each distinct sentence, unit vectors ``[P, 256]``, and what the head would compare ``[P, 256]``."""
        distinct = list(dict.fromkeys(sentences))
        ids = to_ids(self.tokenizer, distinct).to(self.tower.words.device)
        h = hidden(self.tower, ids)
        row = {sentence: i for i, sentence in enumerate(distinct)}
        return row, functional.normalize(self.tower.to_joint(h).float(), dim=-1), h

    @torch.no_grad()
    def ensemble(self, sentences: Sequence[str]) -> Tensor:
        """The unit mean of unit vectors, ``[256]``, as the prompts of vlmad make an anchor."""
        row, vectors, _ = self(sentences)
        return functional.normalize(vectors[[row[s] for s in sentences]].mean(0), dim=-1)
