"""What a study is to compare, and how long it may take; a description, of which nothing here is run."""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import Field, field_validator

from vlmad_core.benchmark.plan import BackboneChoice, Source
from vlmad_core.registry.component import Config

__all__ = ["REFERENCE", "SECTIONS", "Scope", "Section", "StudySettings"]

Section = Literal["features", "alignment", "prompts", "shots", "efficiency", "cross-domain"]
SECTIONS: tuple[Section, ...] = get_args(Section)

REFERENCE = 4
"""Normal images that sections other than `shots` compare with, where there are so many."""


class StudySettings(Config):
    """Everything that decides what a study finds, but for what the clock allows: see :class:`Scope`."""

    data: Source = Field(description="The data set that is judged.")
    other: Source | None = Field(None, description="A second one, for training on one and judging the other.")
    train: Source | None = Field(None, description="Pictures with masks to train on that belong to neither.")
    backbone: BackboneChoice = Field(
        default_factory=lambda: BackboneChoice(use="pocket"), description="What sees, and perhaps reads."
    )
    sections: tuple[Section, ...] = Field(SECTIONS, min_length=1, description="Which parts of the study.")
    categories: tuple[str, ...] = Field((), description="Only these; all where empty.")
    class_names: dict[str, str] = Field(
        default_factory=dict, description="Category to the words for it; '*' stands for all that are not named."
    )
    synonyms: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="Category to other words for it; '*' stands for all that are not named."
    )
    shots: tuple[int, ...] = Field((0, 1, 2, 4, 8), min_length=1, description="Numbers of normal images.")
    seeds: int = Field(3, gt=0, description="Draws of them, at most.")
    max_images: int | None = Field(None, gt=0, description="Judged images of each label and category, at most.")
    minutes: float = Field(30.0, gt=0, description="What all may take; fewer images are judged where it is too little.")
    epochs: int = Field(6, gt=0, description="Of what is trained.")
    learned_from: int = Field(120, gt=0, description="Pictures that are trained on, at most.")

    @field_validator("data", "other", "train", mode="before")
    @classmethod
    def _source(cls, value: Any) -> Any:
        return value if value is None or isinstance(value, dict | Source) else {"path": value}

    @field_validator("backbone", mode="before")
    @classmethod
    def _backbone(cls, value: Any) -> Any:
        return {"use": value} if isinstance(value, str) else value

    @field_validator("sections", "categories", mode="before")
    @classmethod
    def _one(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("shots")
    @classmethod
    def _shots(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if min(value) < 0:
            raise ValueError("numbers of normal images are 0 or more")
        return tuple(sorted(set(value)))


class Scope(Config):
    """How much of it the clock and the data allow; chosen once, and kept when a study goes on after a stop."""

    max_images: int | None = Field(description="Judged images of each label and category; None: all.")
    seeds: int = Field(gt=0, description="Draws of normal images.")
    shots: tuple[int, ...] = Field(description="Numbers of normal images that there are enough of.")
    pictures: int = Field(120, gt=0, description="Pictures that each training learns from, at most.")
    seconds: dict[str, float] = Field(default_factory=dict, description="Step to how long it was thought to take.")
    reduced: str = Field("", description="What was left out to be in time, as a sentence.")

    @property
    def reference(self) -> int:
        """Normal images outside of the section `shots`; 0 where there are none."""
        there = [shots for shots in self.shots if 0 < shots <= REFERENCE]
        return max(there, default=min((shots for shots in self.shots if shots), default=0))
