"""What vlmad-winclip offers. Torch-free."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

from pydantic import Field, model_validator

from vlmad_core.registry import Component, Config, Recipe, hookimpl

PAPER = "Jeong et al., WinCLIP: Zero-/Few-Shot Anomaly Classification and Segmentation, CVPR 2023"


class WindowsConfig(Config):
    """Options of 'windows'."""

    scales: tuple[int, ...] = Field((2, 3), min_length=1, description="Window sides, in patches, each once.")
    stride: int = Field(1, gt=0, description="Step between windows, in patches; at most the smallest scale.")
    chunk: int = Field(64, gt=0, description="Windows through the tower at a time, over all images of a batch.")
    patch_norm: bool = Field(False, description="Put the raw patch tokens through the tower's last norm.")

    @model_validator(mode="after")
    def _covers_everything(self) -> Self:
        if min(self.scales) < 1 or len(set(self.scales)) < len(self.scales):
            raise ValueError("scales must be whole numbers from 1, each once")
        if self.stride > min(self.scales):
            raise ValueError("stride larger than the smallest scale would leave patches that no window covers")
        return self


@hookimpl
def vlmad_extractors() -> Iterable[Component]:
    """The windows."""
    yield Component(
        name="windows",
        target="vlmad_winclip.windows:Windows",
        config=WindowsConfig,
        summary="Multi-scale windows of tokens, each through the tower by itself.",
        paper=PAPER,
    )


def _spec(
    *,
    few_shot: bool,
    templates: str = "winclip-22",
    average: str = "unit",
    underscores: str = "spaces",
    temperature: float = 0.07,
    patch_norm: bool = False,
    map_fuse: str = "mean",
) -> dict[str, Any]:
    """WinCLIP and WinCLIP+, with what their implementations differ in."""
    prompts = {"templates": templates, "average": average, "underscores": underscores}
    words = {"temperature": temperature, "levels": ["image", "window*"], "regions": "harmonic", "combine": "harmonic"}
    memory = {"levels": ["window*", "patch"], "regions": "harmonic", "combine": "mean"}
    scorers: list[dict[str, Any]] = [{"use": "vlmad-core:text-match", "config": words}]
    if few_shot:
        scorers[0]["optional"] = True  # without text, what is left is the paper's vision half
        scorers.append({"use": "vlmad-core:memory", "config": memory})
    return {
        "backbone": {"use": "vlmad-core:open-clip", "config": {"model": "ViT-B-16-plus-240"}},
        "extractor": {"use": "vlmad-winclip:windows", "config": {"scales": [2, 3], "patch_norm": patch_norm}},
        "prompts": {"use": "vlmad-compositional:compositional", "config": prompts},
        "scorers": scorers,
        "fuse": {"image": "mean", "map": map_fuse},
    }


_REFERENCE = {"templates": "winclip-21", "average": "raw", "underscores": "keep"}
_VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "": ("as the paper has it", {}),
    "-anomalib": ("equal to anomalib 2.7", {**_REFERENCE, "patch_norm": True}),
    "-zq": ("equal to Accurate-WinCLIP-pytorch", {**_REFERENCE, "map_fuse": "sum"}),
    "-mala": ("image scores equal to mala-lab's", {"temperature": 0.01}),
}


@hookimpl
def vlmad_recipes() -> Iterable[Recipe]:
    """Zero-shot and few-shot, as the paper and as three implementations have them."""
    for suffix, (what, options) in _VARIANTS.items():
        for shots, few_shot in (("", False), ("-few-shot", True)):
            yield Recipe(
                name=f"winclip{suffix}{shots}",
                spec=_spec(few_shot=few_shot, **options),
                summary=f"WinCLIP{'+ with 1 or more normal images' if few_shot else ', zero-shot'}, {what}.",
                paper=PAPER,
                few_shot="" if few_shot else f"winclip{suffix}-few-shot",
                needs={"compositional": "vlmad-compositional", "pocket": "vlmad-pocket"},
            )
