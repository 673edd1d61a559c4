"""What vlmad-compositional offers. Torch-free."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import Field, field_validator

from vlmad_compositional.lists import States, read_states, read_templates
from vlmad_core.registry import Component, Config, hookimpl


class CompositionalConfig(Config):
    """Options of 'compositional'."""

    states: str | States = Field(
        "winclip",
        description="winclip, april-gan, a field (industrial-surface, textile, food, electronics, medical-imaging), a "
        "YAML or JSON file, or {normal: [...], abnormal: [...]} with {} for the class name; abnormal may name kinds of "
        "defect: {scratch: [...], hole: [...]}.",
    )
    templates: str | tuple[str, ...] = Field(
        "winclip-22",
        description="winclip-22, winclip-21, april-gan-35, a YAML or JSON file, or a list of sentences with {} for the "
        "object in its state.",
    )
    average: Literal["unit", "raw"] = Field(
        "unit", description="unit: mean of the unit vectors of the sentences; raw: mean of the vectors as they come."
    )
    underscores: Literal["spaces", "keep"] = Field(
        "spaces", description="What becomes of _ in a class name such as metal_nut."
    )
    needs_name: bool = Field(
        True, description="Refuse to run without a class name; false: 'object' then stands in its place."
    )

    @field_validator("states", mode="before")
    @classmethod
    def _states(cls, given: object) -> object:
        read_states(given)  # a wrong list is refused here; the given lists stay in the spec as they are
        return given

    @field_validator("templates", mode="before")
    @classmethod
    def _templates(cls, given: object) -> object:
        read_templates(given)
        return given


@hookimpl
def vlmad_prompts() -> Iterable[Component]:
    """The ensemble."""
    yield Component(
        name="compositional",
        target="vlmad_compositional.compositional:Compositional",
        config=CompositionalConfig,
        summary="Ensembles of states times templates: 'a photo of a' x 'damaged {}'.",
        paper="Jeong et al., WinCLIP, CVPR 2023",
    )
