"""APRIL-GAN here against a loop with the cost structure of its authors' program, both sides in one run.

    python plugins/vlmad-april-gan/benchmarks/inference.py [--depth 24] [--size 518] [--images 8] [--rounds 3] [--words]

Both sides have the same random weights of a ViT-L/14 (fewer blocks with ``--depth``, for a quick run) and the same
pictures; rounds alternate and the best one counts. The loop was written from the method's specification, not from the
program, and assumes of it: float32 without autocast, one image at a time, text features of a class computed once from
all 420 prompts of 77 tokens, attention maps written out in full because its blocks return them (``loop, fused`` spares
it that), the four maps made one after the other. Random weights say nothing about detection; they change neither speed
nor agreement.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

import vlmad_core
from vlmad_core.builtin.open_clip import OpenClip

WIDTH, DIM, TEXT, TEXT_BLOCKS, PATCH, HOME, HEAD = 1024, 768, 768, 12, 14, 24, 64
NAME = "metal_nut"


def main() -> None:
    """Prepare, measure, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depth", type=int, default=24, help="blocks of the image tower")
    parser.add_argument("--size", type=int, default=518, help="pixels, a multiple of 14")
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--words", action="store_true", help="time a new class name too; minutes on a CPU")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--report", type=Path, help="write the figures here too, as JSON")
    given = parser.parse_args()
    state = weights(given.depth)
    pixels = torch.randn(given.images, 3, given.size, given.size, generator=torch.Generator().manual_seed(1))
    backbone = OpenClip.from_state_dict(state, image_size=given.size, activation="gelu")
    detector = vlmad_core.build("april-gan", backbone=backbone)
    prompts = detector.prompts
    ids = [backbone.text.tokenize(prompts.sentences(NAME, states)) for states in prompts.states]
    detector.to(given.device)
    pixels = pixels.to(given.device)
    maps = {name: value.detach() for name, value in detector.extractor.state_dict().items()}
    state = {name: value.to(given.device) for name, value in state.items()}
    loops = {fused: Loop(state, maps, detector.extractor.layers, backbone, fused=fused) for fused in (False, True)}

    def ours(batch: int) -> Tensor:
        return torch.cat([detector(part, [NAME] * len(part)).anomaly_map for part in pixels.split(batch)])

    def say() -> Tensor:
        detector._cache.clear()
        return detector.text_embeddings([NAME]).vectors[0]

    with torch.no_grad():
        text_embeddings = say()
        for loop in loops.values():
            loop.text_embeddings = text_embeddings  # text is kept from here on, on both sides
        sides: dict[str, dict[str, Callable[[], Tensor]]] = {
            "images": {
                "loop": lambda: loops[False](pixels),
                "loop, fused": lambda: loops[True](pixels),
                "vlmad, batch 1": lambda: ours(1),
                "vlmad, batch 8": lambda: ours(8),
            }
        }
        if given.words:
            sides["words"] = {
                "loop": lambda: loops[False].words([part.to(given.device) for part in ids]),
                "loop, fused": lambda: loops[True].words([part.to(given.device) for part in ids]),
                "vlmad": say,
            }
        figures = {what: measure(what, calls, given.rounds) for what, calls in sides.items()}
    where = f"{given.device}, {torch.get_num_threads()} threads"
    print(f"\nViT-L/14 with {given.depth} blocks at {given.size} pixels, {where}")
    for what, rows in figures.items():
        count, message = (given.images, "image") if what == "images" else (1, "class name")
        base, expected = rows["loop"]
        for name, (seconds, result) in rows.items():
            gap = float((result - expected).abs().max())
            print(
                f"{name:16}{seconds / count:10.3f} s a {message:12}{base / seconds:6.2f} x loop   differs by {gap:.1e}"
            )
    if given.report:
        seconds = {what: {name: value[0] for name, value in rows.items()} for what, rows in figures.items()}
        given.report.write_text(json.dumps({**vars(given), "report": None, "seconds": seconds}, indent=2) + "\n")


def measure(what: str, calls: Mapping[str, Callable[[], Tensor]], rounds: int) -> dict[str, tuple[float, Tensor]]:
    """Best seconds and the result of each side, taking turns."""
    best: dict[str, tuple[float, Tensor]] = {}
    for turn in range(rounds):
        for name, call in calls.items():
            started = time.perf_counter()
            result = call().cpu()  # waits for a GPU
            seconds = time.perf_counter() - started
            if name not in best or seconds < best[name][0]:
                best[name] = (seconds, result)
            print(f"round {turn + 1}: {what}: {name}: {seconds:.2f} s", flush=True)
    return best


def weights(depth: int) -> dict[str, Tensor]:
    """Random ones in OpenAI's naming."""
    draws = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draws) * 0.02

    def blocks(prefix: str, width: int, count: int) -> dict[str, Tensor]:
        made = {}
        for i in range(count):
            at = f"{prefix}transformer.resblocks.{i}."
            for norm in ("ln_1", "ln_2"):
                made |= {f"{at}{norm}.weight": torch.ones(width), f"{at}{norm}.bias": draw(width)}
            made |= {f"{at}attn.in_proj_weight": draw(3 * width, width), f"{at}attn.in_proj_bias": draw(3 * width)}
            made |= {f"{at}attn.out_proj.weight": draw(width, width), f"{at}attn.out_proj.bias": draw(width)}
            made |= {f"{at}mlp.c_fc.weight": draw(4 * width, width), f"{at}mlp.c_fc.bias": draw(4 * width)}
            made |= {f"{at}mlp.c_proj.weight": draw(width, 4 * width), f"{at}mlp.c_proj.bias": draw(width)}
        return made

    def norm(name: str, width: int) -> dict[str, Tensor]:
        return {f"{name}.weight": torch.ones(width), f"{name}.bias": draw(width)}

    return {
        "visual.conv1.weight": draw(WIDTH, 3, PATCH, PATCH),
        "visual.class_embedding": draw(WIDTH),
        "visual.positional_embedding": draw(1 + HOME * HOME, WIDTH),
        **norm("visual.ln_pre", WIDTH),
        **blocks("visual.", WIDTH, depth),
        **norm("visual.ln_post", WIDTH),
        "visual.proj": draw(WIDTH, DIM),
        "token_embedding.weight": draw(49408, TEXT),
        "positional_embedding": draw(77, TEXT),
        **blocks("", TEXT, TEXT_BLOCKS),
        **norm("ln_final", TEXT),
        "text_projection": draw(TEXT, DIM),
        "logit_scale": torch.tensor(4.6),
    }


class Loop:
    """The other side: plain torch, one image at a time."""

    def __init__(
        self,
        state: Mapping[str, Tensor],
        maps: Mapping[str, Tensor],
        layers: tuple[int, ...],
        backbone: OpenClip,
        *,
        fused: bool,
    ) -> None:
        self.state, self.maps, self.layers, self.fused = state, maps, layers, fused
        self.positions = backbone.vision.positions(backbone.grid)  # resized once, when the model is loaded
        self.grid = backbone.grid
        self.text_embeddings = torch.empty(0)

    def words(self, ids: list[Tensor]) -> Tensor:
        """``[2, D]`` from all prompts of both sides."""
        means = []
        for side in ids:
            x = self.state["token_embedding.weight"][side] + self.state["positional_embedding"]
            mask = torch.full((77, 77), -torch.inf, device=x.device).triu(1)
            for i in range(TEXT_BLOCKS):
                x = self.block(f"transformer.resblocks.{i}.", x, mask)
            x = self.norm("ln_final", x)[torch.arange(len(x)), side.argmax(1)] @ self.state["text_projection"]
            means.append(F.normalize(F.normalize(x, dim=-1).mean(0), dim=0))
        return torch.stack(means)

    def __call__(self, images: Tensor) -> Tensor:
        """``[B, H, W]``."""
        return torch.cat([self.judge(images[i : i + 1]) for i in range(len(images))])

    def judge(self, image: Tensor) -> Tensor:
        """``[1, H, W]``, the sum of the four maps."""
        x = F.conv2d(image, self.state["visual.conv1.weight"], stride=PATCH).flatten(2).transpose(1, 2)
        x = torch.cat([self.state["visual.class_embedding"].expand(1, 1, -1), x], dim=1) + self.positions
        x = self.norm("visual.ln_pre", x)
        kept = []
        for i in range(sum(name.startswith("visual.") and name.endswith("ln_1.bias") for name in self.state)):
            x = self.block(f"visual.transformer.resblocks.{i}.", x, None)
            if i + 1 in self.layers:
                kept.append(x)
        whole = F.normalize(self.norm("visual.ln_post", x[:, 0]) @ self.state["visual.proj"], dim=-1)
        _ = (100 * whole @ self.text_embeddings.T).softmax(-1)[:, 1]  # the image score
        total = torch.zeros(1, *image.shape[-2:], device=image.device)
        for i, tokens in enumerate(kept):
            z = F.normalize(F.linear(tokens[:, 1:], self.maps[f"fc.{i}.weight"], self.maps[f"fc.{i}.bias"]), dim=-1)
            logits = (100 * z @ self.text_embeddings.T).permute(0, 2, 1).reshape(1, 2, *self.grid)
            pixels = F.interpolate(logits, size=image.shape[-2:], mode="bilinear", align_corners=True)
            total += pixels.softmax(1)[:, 1]
        return total

    def block(self, at: str, x: Tensor, mask: Tensor | None) -> Tensor:
        """Pre-norm, exact GELU."""
        state = self.state
        packed = F.linear(self.norm(f"{at}ln_1", x), state[f"{at}attn.in_proj_weight"], state[f"{at}attn.in_proj_bias"])
        q, k, v = packed.unflatten(-1, (3, -1, HEAD)).permute(2, 0, 3, 1, 4)
        if self.fused:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        else:
            attention = q @ k.transpose(-1, -2) / HEAD**0.5
            y = (attention if mask is None else attention + mask).softmax(-1) @ v
        y = y.transpose(1, 2).flatten(2)
        x = x + F.linear(y, state[f"{at}attn.out_proj.weight"], state[f"{at}attn.out_proj.bias"])
        y = F.gelu(F.linear(self.norm(f"{at}ln_2", x), state[f"{at}mlp.c_fc.weight"], state[f"{at}mlp.c_fc.bias"]))
        return x + F.linear(y, state[f"{at}mlp.c_proj.weight"], state[f"{at}mlp.c_proj.bias"])

    def norm(self, name: str, x: Tensor) -> Tensor:
        """LayerNorm."""
        return F.layer_norm(x, x.shape[-1:], self.state[f"{name}.weight"], self.state[f"{name}.bias"])


if __name__ == "__main__":
    main()
