"""AnomalyCLIP here against the cost of its own code, in one run: same random weights and pixels, taking turns.

    python plugins/vlmad-learned-prompts/benchmarks/inference.py [--small] [--image 518] [--batch 1] [--rounds 3]

The other side is written here from what the paper's code computes, not copied from it:

* blocks before the second path as torch's own attention, the others with two explicit tables of attention,
  softmax(q k') v and softmax(v v') v, each through the output projection;
* every token of the layer through the last norm and the projection, class token included;
* softmax at the patches, bilinear to pixels, (p_a + 1 - p_n) / 2, then scipy's Gaussian for each image;
* linear layers and norms are torch's, in float32; the text is encoded before the clock starts, on both sides.

Weights are random: speed and agreement do not depend on them, detection does.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn import functional as F

import vlmad_core
from vlmad_core.builtin.open_clip import OpenClip

VOCABULARY, CONTEXT, TEMPERATURE, SIGMA = 49408, 77, 0.07, 4


@dataclass(frozen=True)
class Size:
    """Of both towers; heads are 64 wide."""

    image: int = 518
    patch: int = 14
    stored: int = 24
    width: int = 1024
    layers: int = 24
    joint: int = 768
    text_width: int = 768
    text_layers: int = 12


Side = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Pixels to maps and scores, both on the CPU, so that a clock waits for them."""

SMALL = Size(width=256, joint=128, text_width=128)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="width 256 instead of 1024, the rest as it is")
    parser.add_argument("--image", type=int, default=518, help="side in pixels, a multiple of 14")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--report", type=Path, help="write the figures here too, as JSON")
    arguments = parser.parse_args()
    size = replace(SMALL if arguments.small else Size(), image=arguments.image)
    torch.manual_seed(0)
    state = random_state(size)
    pixels = torch.randn(arguments.batch, 3, size.image, size.image, device=arguments.device)
    backbone = OpenClip.from_state_dict(
        state, image_size=size.image, activation="quick-gelu", positions="bilinear", provenance={"weights": "random"}
    )
    detector = vlmad_core.build("anomalyclip", backbone=backbone).to(arguments.device)
    with torch.no_grad():
        text_embeddings = detector.text_embeddings(["object"])
        reference = Reference(size, {k: v.to(arguments.device) for k, v in state.items()}, text_embeddings.vectors[0])
        sides: dict[str, Side] = {"as its own code": reference, "vlmad": partial(judge, detector)}
        best, results = dict.fromkeys(sides, float("inf")), {}
        for turn in range(arguments.rounds + 1):  # the first turn warms up
            for name, side in sides.items():
                started = time.perf_counter()
                results[name] = side(pixels)
                if turn:
                    best[name] = min(best[name], (time.perf_counter() - started) / arguments.batch)
    report(arguments, size, best, results)


def judge(detector: vlmad_core.Pipeline, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """This side."""
    scores = detector(pixels)
    return scores.anomaly_map.cpu(), scores.image.cpu()


def report(
    arguments: argparse.Namespace, size: Size, best: dict[str, float], results: dict[str, tuple[Tensor, Tensor]]
) -> None:
    """Print the table, and write it where asked."""
    (theirs, ours), (slow, fast) = results.values(), best.values()
    row = {
        "image": size.image,
        "width": size.width,
        "batch": arguments.batch,
        "device": arguments.device,
        "threads": torch.get_num_threads(),
        **{f"seconds an image, {name}": seconds for name, seconds in best.items()},
        "ratio": slow / fast,
        "largest map difference": float((theirs[0] - ours[0]).abs().max()),
        "largest score difference": float((theirs[1] - ours[1]).abs().max()),
    }
    for name, value in row.items():
        print(f"{name:36}{value:.4g}" if isinstance(value, float) else f"{name:36}{value}")
    if arguments.report:
        arguments.report.write_text(json.dumps(row, indent=2) + "\n")


class Reference:
    """What the paper's code computes for a batch, in its order.

    Args:
        size: Of the towers.
        state: Parameters in OpenAI's flat naming.
        text_embeddings: ``[2, D]``, normal and abnormal, unit length.
    """

    def __init__(self, size: Size, state: dict[str, Tensor], text_embeddings: Tensor) -> None:
        self.size, self.state, self.text_embeddings = size, state, text_embeddings
        self.heads, self.grid = size.width // 64, size.image // size.patch
        table = state["visual.positional_embedding"]
        cells = table[1:].T.reshape(1, size.width, size.stored, size.stored)
        cells = F.interpolate(cells, size=(self.grid, self.grid), mode="bilinear")
        self.positions = torch.cat([table[:1], cells.flatten(2)[0].T])

    def __call__(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """``[B, 3, H, W]`` to smoothed maps ``[B, H, W]`` and scores ``[B]``."""
        state, start = self.state, self.size.layers // 4
        x = F.conv2d(pixels, state["visual.conv1.weight"], stride=self.size.patch).flatten(2).transpose(1, 2)
        x = torch.cat([state["visual.class_embedding"].expand(len(x), 1, -1), x], dim=1) + self.positions
        local = x = self.norm(x, "visual.ln_pre")
        for i in range(1, self.size.layers + 1):
            name = f"visual.transformer.resblocks.{i - 1}"
            q, k, v = self.project(x, name)
            if i < start:
                x = x + self.out(F.scaled_dot_product_attention(q, k, v), name)
                local = x = x + self.mlp(x, name)
                continue
            plain, valued = self.attend(q, k, v), self.attend(v, v, v)
            local = local + self.out(valued, name)
            x = x + self.out(plain, name)
            x = x + self.mlp(x, name)
        projection = state["visual.proj"]
        tokens = F.normalize(self.norm(local, "visual.ln_post") @ projection, dim=-1)
        image = F.normalize(x[:, 0] @ projection, dim=-1)
        score = (image @ self.text_embeddings.T / TEMPERATURE).softmax(-1)[:, 1]
        cells = (tokens @ self.text_embeddings.T / TEMPERATURE).softmax(-1)[:, 1:]
        cells = cells.transpose(1, 2).unflatten(2, (self.grid, self.grid))
        maps = F.interpolate(cells, size=pixels.shape[-2:], mode="bilinear")
        maps = ((maps[:, 1] + 1 - maps[:, 0]) / 2).cpu()
        smoothed = [torch.from_numpy(gaussian_filter(one.numpy(), sigma=SIGMA)) for one in maps]
        return torch.stack(smoothed), score.cpu()

    def norm(self, x: Tensor, name: str) -> Tensor:
        """Layer norm."""
        return F.layer_norm(x, x.shape[-1:], self.state[f"{name}.weight"], self.state[f"{name}.bias"])

    def project(self, x: Tensor, name: str) -> tuple[Tensor, ...]:
        """Query, key, value, ``[B, heads, L, 64]`` each."""
        packed = F.linear(
            self.norm(x, f"{name}.ln_1"),
            self.state[f"{name}.attn.in_proj_weight"],
            self.state[f"{name}.attn.in_proj_bias"],
        )
        return packed.unflatten(-1, (3, self.heads, 64)).permute(2, 0, 3, 1, 4).unbind(0)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """With the whole table of attention in memory."""
        return (q @ k.transpose(-1, -2) * 64**-0.5).softmax(-1) @ v

    def out(self, x: Tensor, name: str) -> Tensor:
        """Heads joined, through the output projection."""
        weight, bias = self.state[f"{name}.attn.out_proj.weight"], self.state[f"{name}.attn.out_proj.bias"]
        return F.linear(x.transpose(1, 2).flatten(2), weight, bias)

    def mlp(self, x: Tensor, name: str) -> Tensor:
        """With the quick GELU."""
        up = [self.state[f"{name}.mlp.c_fc.{kind}"] for kind in ("weight", "bias")]
        down = [self.state[f"{name}.mlp.c_proj.{kind}"] for kind in ("weight", "bias")]
        hidden = F.linear(self.norm(x, f"{name}.ln_2"), *up)
        return F.linear(hidden * torch.sigmoid(1.702 * hidden), *down)


def random_state(size: Size) -> dict[str, Tensor]:
    """Parameters of both towers."""
    state = {
        "visual.conv1.weight": torch.randn(size.width, 3, size.patch, size.patch) * 0.02,
        "visual.class_embedding": torch.randn(size.width) * 0.1,
        "visual.positional_embedding": torch.randn(1 + size.stored**2, size.width) * 0.1,
        "visual.proj": torch.randn(size.width, size.joint) * size.width**-0.5,
        "positional_embedding": torch.randn(CONTEXT, size.text_width) * 0.01,
        "token_embedding.weight": torch.randn(VOCABULARY, size.text_width) * 0.02,
        "text_projection": torch.randn(size.text_width, size.joint) * size.text_width**-0.5,
        "logit_scale": torch.tensor(4.6),
    }
    for name in ("visual.ln_pre", "visual.ln_post"):
        state |= norm_state(name, size.width)
    state |= norm_state("ln_final", size.text_width)
    for prefix, width, layers in (("visual.", size.width, size.layers), ("", size.text_width, size.text_layers)):
        for i in range(layers):
            name = f"{prefix}transformer.resblocks.{i}"
            state |= norm_state(f"{name}.ln_1", width) | norm_state(f"{name}.ln_2", width)
            for part, out, inside in (
                ("attn.in_proj_", 3 * width, width),
                ("attn.out_proj.", width, width),
                ("mlp.c_fc.", 4 * width, width),
                ("mlp.c_proj.", width, 4 * width),
            ):
                state[f"{name}.{part}weight"] = torch.randn(out, inside) * inside**-0.5
                state[f"{name}.{part}bias"] = torch.randn(out) * 0.02
    return state


def norm_state(name: str, width: int) -> dict[str, Tensor]:
    """Weight and bias of one norm."""
    return {f"{name}.weight": 1 + 0.1 * torch.randn(width), f"{name}.bias": 0.02 * torch.randn(width)}


if __name__ == "__main__":
    main()
