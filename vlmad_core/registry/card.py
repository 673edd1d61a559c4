"""Model cards: what weights in a plugin are, as JSON beside them. Read and shown without torch."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import TYPE_CHECKING

from pydantic import Field, ValidationError

from vlmad_core.errors import ConfigError
from vlmad_core.registry.component import Config

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

__all__ = ["Card", "File", "Measured", "read_card"]


class Measured(Config):
    """One number that can be quoted: a set, how many normal images were seen, the area under the ROC curve."""

    set: str = Field(min_length=1, description="Which pictures.")
    normals: int = Field(0, ge=0, description="Normal images it was shown; 0: none, by words alone.")
    image_auroc: float = Field(ge=0, le=1, description="Image AUROC.")
    low: float | None = Field(None, ge=0, le=1, description="Lower end of its 95 % interval.")
    high: float | None = Field(None, ge=0, le=1, description="Upper end.")


class Card(Config):
    """What people want to know before they rely on weights, in short."""

    name: str = Field(min_length=1, description="What it is called.")
    vision: str = Field(min_length=1, description="The tower that sees: architecture, size, origin.")
    text: str = Field("", description="The tower that reads, likewise; empty: there is none.")
    trained_on: str = Field(min_length=1, description="The data, and how much of it.")
    results: tuple[Measured, ...] = Field((), description="Headline results, on pictures it was not trained on.")
    limits: tuple[str, ...] = Field(min_length=1, description="What it is bad at, a sentence each.")
    licence: str = Field(min_length=1, description="Of the weights.")
    files: tuple[str, ...] = Field((), description="Files beside the card, whose sizes and hashes are shown.")


class File(Config):
    """A file as it lies on the disk now."""

    name: str
    bytes: int
    sha256: str


def read_card(resource: str) -> tuple[Card, tuple[File, ...]]:
    """The card that a component names, and the files it speaks of, hashed as they are.

    Args:
        resource: ``"package:file.json"``.

    Raises:
        ConfigError: The card or a file is not there, or the card is not of this form.
    """
    package, _, name = resource.partition(":")
    try:
        folder = files(package)
        card = Card.model_validate_json((folder / name).read_text(encoding="utf-8"))
        return card, tuple(_seen(folder / file) for file in card.files)
    except (OSError, ImportError, ValidationError) as error:
        raise ConfigError(f"the model card {resource} cannot be read: {' '.join(str(error).split())}.") from error


def _seen(file: Traversable) -> File:
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()  # type: ignore[arg-type]
        return File(name=file.name, bytes=opened.tell(), sha256=digest)
