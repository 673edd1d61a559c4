"""Normal images of a product, and known defects: kept, since memory and calibration are made from them again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vlmad_serve.archive import Archive
from vlmad_serve.decoding import StoredImage
from vlmad_serve.store import Store

__all__ = ["Kind", "NormalImage", "keep_normals", "list_normals", "unique"]

Kind = Literal["reference", "held-out", "defect"]
"""``reference``: remembered; ``held-out``: for the calibration alone; ``defect``: counted, sets no threshold."""


@dataclass(frozen=True)
class NormalImage:
    """An image that a detector was made from.

    Attributes:
        file: In the archive.
        name: What the client called it.
        group: Images of one object share it; "" for an image by itself.
        kind: What it is used for.
    """

    file: str
    name: str
    group: str
    kind: Kind

    def path(self, archive: Archive) -> Path:
        """Where it lies."""
        return archive.image_path(self.file)


def unique(images: Sequence[StoredImage], groups: Sequence[str], kind: Kind) -> tuple[list[NormalImage], int]:
    """The images without copies, and how many copies there were.

    Args:
        images: Stored.
        groups: One for each image, or none at all.
        kind: Of all of them.
    """
    found: dict[str, NormalImage] = {}
    for i, image in enumerate(images):
        found.setdefault(image.file, NormalImage(image.file, image.name, groups[i] if groups else "", kind))
    return list(found.values()), len(images) - len(found)


def keep_normals(store: Store, detector: str, images: Sequence[NormalImage], *, replace: bool) -> None:
    """Write down what a detector was made from.

    Args:
        store: Where.
        detector: Its name.
        images: Of any kind.
        replace: What was written down before is forgotten.
    """
    with store.writing() as connection:
        if replace:
            connection.execute("DELETE FROM normals WHERE detector = ?", [detector])
        connection.executemany(
            "INSERT OR REPLACE INTO normals (detector, sha256, file, name, grouping, kind) VALUES (?, ?, ?, ?, ?, ?)",
            [(detector, each.file[:64], each.file, each.name, each.group, each.kind) for each in images],
        )


def list_normals(store: Store, detector: str) -> list[NormalImage]:
    """In the order in which they were given."""
    rows = store.rows("SELECT * FROM normals WHERE detector = ? ORDER BY rowid", [detector])
    return [NormalImage(row["file"], row["name"], row["grouping"], row["kind"]) for row in rows]
