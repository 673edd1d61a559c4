"""What vlmad-foreground offers. Free of torch, so that `vlmad list` stays fast."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from vlmad_core.contracts import Layers
from vlmad_core.registry import Component, Config, Recipe, hookimpl


class ForegroundConfig(Config):
    """Options of 'foreground'."""

    layers: Layers = Field(
        (-1,),
        description="Blocks whose output is taken: numbers from 1, with -1 for the last one; or quarters, the last of "
        "each quarter of the tower; or a range of relative depth such as 57.5%-72.5%.",
    )
    space: Literal["auto", "joint", "raw", "both"] = Field(
        "auto",
        description="joint: projected, comparable with text; raw: not projected; auto: joint if there is text.",
    )
    mask: int | None = Field(
        None,
        description="Block whose tokens separate object and background; empty: at three quarters of the depth.",
    )
    clear: float = Field(
        0.85,
        ge=0,
        le=1,
        description="How clearly object and background must differ for a mask, as the share of the variance between "
        "them; 1 masks nothing.",
    )
    margin: int = Field(1, ge=0, description="Cells of background around the object that are left as they are.")


@hookimpl
def vlmad_extractors() -> Iterable[Component]:
    """The extractor."""
    yield Component(
        name="foreground",
        target="vlmad_foreground.extractor:ForegroundExtractor",
        config=ForegroundConfig,
        summary="Patch tokens; those of the background are replaced by the mean of the object's.",
        paper="Damm et al., AnomalyDINO, WACV 2025",
    )


@hookimpl
def vlmad_recipes() -> Iterable[Recipe]:
    """'patch-memory' of the object alone."""
    yield Recipe(
        name="foreground-memory",
        spec={
            "backbone": {"use": "vlmad-pocket:pocket", "config": {"words": False}},
            "extractor": {"use": "vlmad-foreground:foreground", "config": {"layers": [-7, -4, -1], "space": "raw"}},
            "scorers": [{"use": "vlmad-core:memory", "config": {"top": 0.01}}],
        },
        summary="Patches of the object, without its background, against a memory of normal ones; no text.",
        paper="Damm et al., AnomalyDINO, WACV 2025",
        needs={"pocket": "vlmad-pocket"},
    )
