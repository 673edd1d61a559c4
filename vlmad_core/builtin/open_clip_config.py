"""Options of the backbone 'open-clip'; free of torch, so that they can be listed without it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from vlmad_core.registry.component import Config

__all__ = ["OpenClipConfig"]

_Pixels = Annotated[int, Field(ge=1)]
_Channels = tuple[float, float, float]


class OpenClipConfig(Config):
    """Options of 'open-clip'."""

    model: str = Field(
        "ViT-B-16-plus-240",
        min_length=1,
        description="Architecture, by open_clip's name; or local-dir:PATH, a folder with open_clip_config.json and "
        "weights; or hf-hub:OWNER/NAME, which is downloaded.",
    )
    pretrained: str = Field(
        "",
        description="Weights: a tag that open_clip downloads, such as laion400m_e31; or a local .safetensors, .pt, "
        ".pth, .bin or .npz file; or random, for tests. Empty for a folder or a repository: those in it.",
    )
    tag: str = Field(
        "",
        description="Which published weights a local file holds, by open_clip's tag, such as openai: activation, mean, "
        "std and interpolation are theirs. Needed where the file is not known by its hash and they differ.",
    )
    image_size: _Pixels | tuple[_Pixels, _Pixels] | None = Field(
        None, description="Side, or (height, width), in pixels; a multiple of the patch. Empty: the model's own."
    )
    positions: Literal["bicubic", "bilinear"] = Field(
        "bicubic",
        description="How positions are resized to another size: bicubic with antialiasing (open_clip, APRIL-GAN), or "
        "bilinear without (AnomalyCLIP).",
    )
    activation: Literal["weights", "gelu", "quick-gelu"] = Field(
        "weights",
        description="weights: the one they were trained with; of a local file it must be known by its hash, by tag or "
        "by a configuration beside it, where published weights differ. The others override it.",
    )
    dtype: Literal["float32", "bfloat16", "float16"] = Field("float32", description="Type of the weights.")
    device: str = Field("cpu", min_length=1, description="Where the model runs, such as cpu, cuda or cuda:1.")
    sha256: str = Field(
        "", pattern=r"^([0-9a-fA-F]{64})?$", description="What a local file must hash to; empty: anything."
    )
    mean: _Channels | None = Field(None, description="Of red, green, blue; empty: what the weights were trained with.")
    std: _Channels | None = Field(None, description="Of red, green, blue; empty: what the weights were trained with.")
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] | None = Field(
        None, description="Filter of the image resize; empty: what the weights were trained with."
    )
