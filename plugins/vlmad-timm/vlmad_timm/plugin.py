"""What vlmad-timm offers. Free of torch and timm, so that listing stays fast."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from vlmad_core.registry import Component, Config, hookimpl

__all__ = ["TimmConfig", "vlmad_backbones"]

Pixels = Annotated[int, Field(gt=0)]


class TimmConfig(Config):
    """Options of backbone 'timm'."""

    model: str = Field(
        "vit_small_patch14_dinov2", min_length=1, description="Architecture, by timm's name, without a tag."
    )
    pretrained: str = Field(
        "",
        description="Weights: a local .safetensors, .pth, .pt or .bin file; or a tag that timm downloads, such as "
        "lvd142m, or default; or random, for tests. Nothing is downloaded that is not named here.",
    )
    image_size: Pixels | tuple[Pixels, Pixels] | None = Field(
        None, description="Side, or (height, width), in pixels; a multiple of the patch. Empty: the model's own."
    )
    dtype: Literal["float32", "bfloat16", "float16"] = Field("float32", description="Type of the weights.")
    device: str = Field("cpu", min_length=1, description="Where the model runs, such as cpu, cuda or cuda:1.")
    sha256: str = Field(
        "", pattern=r"^([0-9a-fA-F]{64})?$", description="What a local file must hash to; empty: anything."
    )


@hookimpl
def vlmad_backbones() -> Iterator[Component]:
    """The backbone 'timm'."""
    yield Component(
        name="timm",
        target="vlmad_timm.backbone:Timm",
        config=TimmConfig,
        summary="Plain vision transformers of timm: DINOv2, DINOv3, registers, CLIP and SigLIP towers.",
    )
