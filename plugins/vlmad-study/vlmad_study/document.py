"""A report as data: headings, sentences, tables, pictures; how it looks as HTML or Markdown is decided elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from vlmad_core.report.render import Table

__all__ = ["Block", "Bullets", "Code", "Fold", "Heading", "Photo", "Photos", "Picture", "Shown", "Text"]


@dataclass(frozen=True)
class Heading:
    """A title. ``level`` 1 is the page, 2 a section."""

    text: str
    level: int = 2

    @property
    def anchor(self) -> str:
        """For links."""
        return "-".join("".join(c if c.isalnum() else " " for c in self.text.lower()).split())


@dataclass(frozen=True)
class Text:
    """A paragraph. Words between backticks are code, between double stars strong.

    Args:
        text: Words.
        kind: "", "lead" for what a reader in a hurry reads, "note" for small print.
    """

    text: str
    kind: str = ""


@dataclass(frozen=True)
class Bullets:
    """A list of sentences, marked up as :class:`Text`."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Code:
    """To be typed as it is."""

    text: str


@dataclass(frozen=True)
class Shown:
    """A table."""

    table: Table


@dataclass(frozen=True)
class Picture:
    """A plot; ``path`` is beside the report, ``alt`` says what it shows to who cannot see it."""

    path: Path
    alt: str


@dataclass(frozen=True)
class Photo:
    """One picture of several, with a caption."""

    path: Path
    caption: str


@dataclass(frozen=True)
class Photos:
    """Pictures side by side."""

    title: str
    photos: tuple[Photo, ...]


@dataclass(frozen=True)
class Fold:
    """What is shown when it is asked for, and always on paper."""

    title: str
    blocks: tuple[Block, ...] = field(default_factory=tuple)


Block = Heading | Text | Bullets | Code | Shown | Picture | Photos | Fold
