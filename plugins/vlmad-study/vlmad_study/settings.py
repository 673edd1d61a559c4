"""What a study compares, and how long it may take. A description; nothing here runs it."""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import Field, field_validator

from vlmad_core.benchmark.plan import BackboneChoice, Bits, Source
from vlmad_core.registry import Config

__all__ = ["REFERENCE", "SECTIONS", "Scope", "Section", "StudySettings"]

Section = Literal["features", "alignment", "prompts", "shots", "efficiency", "cross-domain"]
SECTIONS: tuple[Section, ...] = get_args(Section)

REFERENCE = 4
"""Normal images in every comparison outside of section `shots`, where there are so many."""


class StudySettings(Config):
    """Everything that decides what a study finds, except for what the time limit cuts: see :class:`Scope`."""

    data: Source = Field(description="The data set that the methods are tested on.")
    other: Source | None = Field(None, description="A second data set, to train on one and test on the other.")
    train: Source | None = Field(None, description="Images with masks to train on; they belong to neither data set.")
    backbone: BackboneChoice = Field(
        default_factory=lambda: BackboneChoice(use="pocket"), description="Backbone of all methods."
    )
    sections: tuple[Section, ...] = Field(SECTIONS, min_length=1, description="Sections of the report.")
    categories: tuple[str, ...] = Field((), description="Only these; all where empty.")
    class_names: dict[str, str] = Field(
        default_factory=dict, description="Category to its class name; '*' stands for all that are not named."
    )
    synonyms: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="Category to other class names; '*' stands for all that are not named."
    )
    shots: tuple[int, ...] = Field((0, 1, 2, 4, 8), min_length=1, description="Numbers of normal images.")
    seeds: int = Field(3, gt=0, description="Draws of normal images, at most.")
    train_share: float = Field(
        0.0, ge=0, lt=1, description="Share of the normal test images to draw from, where a category has none for it."
    )
    max_images: int | None = Field(None, gt=0, description="Test images of each label and category, at most.")
    bits: Bits | None = Field(
        None,
        description="Of the values in 16-bit grey files, or a text such as window=0:4000;channels=3,2,1; none: what "
        "the file says, or 16.",
    )
    batch_size: int = Field(8, gt=0, description="Images through the backbone at a time.")
    workers: int = Field(2, gt=0, description="Threads that decode images.")
    device: str = Field("auto", description="Such as cpu, cuda:1 or mps; auto: the first of cuda, mps and cpu.")
    minutes: float = Field(30.0, gt=0, description="Time limit of one call.")
    epochs: int = Field(6, gt=0, description="Epochs of what is trained.")
    train_images: int = Field(120, gt=0, description="Images to train on, at most.")

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
    """How much of the study the time limit allows; kept in the folder, so that a later call uses the same images."""

    shots: tuple[int, ...] = Field(description="Numbers of normal images that the data set has enough of.")
    max_images: dict[str, int | None] = Field(
        default_factory=dict, description="Section to test images of each label and category; null: all."
    )
    seeds: int = Field(gt=0, description="Draws of normal images.")
    dropped: tuple[str, ...] = Field((), description="Methods of section `shots` that take too long.")
    train_images: int = Field(gt=0, description="Images that each training uses, at most.")
    cuts: dict[str, str] = Field(default_factory=dict, description="Step to what was cut of it, as a sentence.")

    @property
    def reference(self) -> int:
        """Normal images outside of section `shots`; 0 where there are none."""
        enough = [shots for shots in self.shots if 0 < shots <= REFERENCE]
        return max(enough, default=min((shots for shots in self.shots if shots), default=0))
