"""What vlmad-pocket offers. Free of torch, so that listing stays fast."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field

from vlmad_core.registry import Component, Config, Recipe, hookimpl

__all__ = ["PocketConfig", "vlmad_backbones", "vlmad_recipes"]

Pixels = Annotated[int, Field(gt=0)]


class PocketConfig(Config):
    """Options of backbone 'pocket'."""

    image_size: Pixels | tuple[Pixels, Pixels] = Field(
        224,
        description="Side of the picture in pixels, or (height, width); multiples of 14. "
        "518 shows finer defects and takes about eight times as long as 224.",
    )
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="Type of the weights; the other two need half the memory and hardware that knows them."
    )
    words: bool = Field(
        True,
        description="Also encode text: nine published blocks, a joint space, a text encoder; false: all twelve blocks.",
    )
    device: str = Field("cpu", min_length=1, description="Where the model runs, such as 'cpu', 'cuda' or 'mps'.")


@hookimpl
def vlmad_backbones() -> Iterator[Component]:
    """The backbone 'pocket'."""
    yield Component(
        name="pocket",
        target="vlmad_pocket.vision:Pocket",
        config=PocketConfig,
        summary="DINOv2 ViT-S/14 that also reads, inside the wheel: no download, seconds on a CPU.",
        card="vlmad_pocket:card.json",
        paper="Oquab et al., DINOv2: Learning Robust Visual Features without Supervision, 2023 (arXiv 2304.07193)",
    )


_NEEDS = {"compositional": "vlmad-compositional"}
_QUALITY: dict[str, dict[str, Any]] = {
    "fast": {},
    "balanced": {"backbone.config.image_size": 448},
    "best": {"scales": [224, 448]},
}
"""The sizes at which the methods page has measured both recipes."""


def _spec(*, few_shot: bool) -> dict[str, Any]:
    """Patches of the last block against words; few-shot: also those of two middle blocks against a memory."""
    words = {"use": "vlmad-core:text-match", "config": {"levels": ["block*"], "image": "both", "top": 0.01}}
    memory = {"use": "vlmad-core:memory", "config": {"levels": ["raw*"], "top": 0.01, "max_rows": 16_384}}
    # Of the nine blocks that lead to the words: blocks 7 and 8, as deep in the published twelve as SubspaceAD looks.
    layers = {"layers": [-1], "space": "both", "raw_layers": "75%-90%"} if few_shot else {"layers": [-1]}
    return {
        "backbone": "vlmad-pocket:pocket",
        "extractor": {"use": "vlmad-core:patches", "config": layers},
        "prompts": {
            "use": "vlmad-compositional:compositional",
            "config": {"states": "winclip", "templates": "winclip-22", "needs_name": False},
        },
        "scorers": [words, memory] if few_shot else [words],
        # Probabilities and distances have different scales; the harmonic mean asks that both are high.
        "fuse": {"image": "harmonic", "map": "harmonic"} if few_shot else {},
        "references": {"rotations": "auto"} if few_shot else {},
        "output": {"smooth": 4.0},
    }


@hookimpl
def vlmad_recipes() -> Iterator[Recipe]:
    """Zero-shot and few-shot, with nothing to download."""
    yield Recipe(
        name="pocket",
        spec=_spec(few_shot=False),
        summary="Patches of pocket against words for normal and damaged; zero-shot, no download.",
        few_shot="pocket-few-shot",
        needs=_NEEDS,
        quality=_QUALITY,
    )
    yield Recipe(
        name="pocket-few-shot",
        spec=_spec(few_shot=True),
        summary="The words of 'pocket' and a memory of 1 or more normal images, fused; no download.",
        needs=_NEEDS,
        quality=_QUALITY,
    )
