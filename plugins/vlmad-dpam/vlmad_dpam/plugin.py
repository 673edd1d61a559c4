"""What vlmad-dpam offers. Torch-free."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from vlmad_core.contracts import Layers
from vlmad_core.registry import Component, Config, hookimpl

Attention = Literal["vv", "qq", "kk", "qq+kk", "value"]


class DpamConfig(Config):
    """Options of 'dpam'."""

    start: int | None = Field(
        None,
        description="First block with the second path, from 1; -1 is the last one. Empty: a quarter of the depth, "
        "which is AnomalyCLIP's 6 of 24.",
    )
    layers: Layers = Field(
        (-1,),
        description="Blocks after which the second path is read: numbers from 1, with -1 for the last one; or "
        "quarters, or a range of relative depth such as 50%-100%.",
    )
    attention: Attention = Field(
        "vv",
        description="What attends to what in the second path: vv values (CLIP Surgery, AnomalyCLIP), qq queries "
        "(ClearCLIP), kk keys (NACLIP), qq+kk the mean of both (after SCLIP), value each token to itself (MaskCLIP).",
    )
    residual: bool = Field(
        True,
        description="The second path begins with what the stream holds; false: with nothing (MaskCLIP, ClearCLIP, "
        "NACLIP).",
    )
    pool_norm: bool = Field(
        True,
        description="Whole-image feature as the backbone pools it; false: its class token projected without the last "
        "norm, as AnomalyCLIP's code does.",
    )


@hookimpl
def vlmad_extractors() -> Iterable[Component]:
    """The dual path."""
    yield Component(
        name="dpam",
        target="vlmad_dpam.dpam:Dpam",
        config=DpamConfig,
        summary="Patch tokens of a second path that attends value to value (or Q-Q, K-K, value alone), without MLPs.",
        paper="Zhou et al., AnomalyCLIP, ICLR 2024; Li et al., CLIP Surgery, 2023 (arXiv 2304.05653)",
    )
