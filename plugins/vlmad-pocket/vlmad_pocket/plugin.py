"""What vlmad-pocket offers. Free of torch, so that listing stays fast."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from vlmad_core import Component, Config, hookimpl

__all__ = ["PocketConfig", "vlmad_backbones"]

Pixels = Annotated[int, Field(gt=0)]


class PocketConfig(Config):
    """Options of backbone 'pocket'."""

    image_size: Pixels | tuple[Pixels, Pixels] = Field(
        224,
        description="Side of the picture in pixels, or (height, width); multiples of 14. "
        "518 shows finer defects and takes about eight times as long as 224.",
    )
    dtype: Literal["float32", "bfloat16"] = Field(
        "float32", description="Type of the weights; bfloat16 needs half the memory and hardware that knows it."
    )
    device: str = Field("cpu", min_length=1, description="Where the model runs, such as 'cpu', 'cuda' or 'mps'.")


@hookimpl
def vlmad_backbones() -> Iterator[Component]:
    """The backbone 'pocket'."""
    yield Component(
        name="pocket",
        target="vlmad_pocket.vision:Pocket",
        config=PocketConfig,
        summary="DINOv2 ViT-S/14 inside the wheel: no download, seconds on a CPU.",
        paper="Oquab et al., DINOv2: Learning Robust Visual Features without Supervision, 2023 (arXiv 2304.07193)",
    )
