"""What every data set is, whatever its layout: samples, in categories and splits; and who reads it. Free of torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    from vlmad_core.contracts.images import ImageLike
    from vlmad_core.registry.component import Config

__all__ = ["Dataset", "DatasetInfo", "DatasetReader", "LayoutMatch", "Sample", "Split"]

Split = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class Sample:
    """One image and what is known of it.

    Args:
        image: A path, or a picture in memory.
        label: True: defective; False: normal; None: nobody knows.
        category: What it shows, as the data set calls it, such as ``"metal_nut"``.
        split: Where the data set puts it.
        kind: Kind of defect as the data set calls it; ``"good"`` for a normal image.
        masks: Where it is defective: files or ``[H, W]`` arrays whose pixels above 0 are; several are joined.
        group: Images of one object share it; "" for an image by itself.
    """

    image: ImageLike
    label: bool | None
    category: str
    split: Split
    kind: str = ""
    masks: tuple[ImageLike, ...] = ()
    group: str = ""

    @property
    def class_name(self) -> str:
        """The category as text for prompts: ``"metal nut"``; bytes of a name that is not UTF-8 are left out."""
        text = self.category.encode("utf-8", "ignore").decode()
        return text.replace("_", " ").replace("-", " ") or "object"

    @property
    def cell(self) -> str:
        """Where it is counted: ``"test/defective"``, ``"train/good"``, ``"test/unknown"``."""
        return f"{self.split}/{ {True: 'defective', False: 'good', None: 'unknown'}[self.label] }"


@dataclass(frozen=True)
class DatasetInfo:
    """What is published of a data set.

    Args:
        title: As its authors write it.
        home: Where to get it; vlmad downloads nothing.
        licence: In a few words.
        counts: Images by category and cell, as in ``{"bottle": {"train/good": 209, ...}}``. A category without counts
            is known by name alone.
        has_masks: Whether defective images have masks.
    """

    title: str
    home: str
    licence: str
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    has_masks: bool = True


@dataclass(frozen=True)
class Dataset:
    """Samples with a name.

    Args:
        name: Such as ``"mvtec-ad"``.
        samples: In a fixed order.
        root: Folder they were read from, if there is one.
        facts: What is published of it, for the checker.
        problems: What its reader found odd: one sentence each, beginning with the file or folder.
    """

    name: str
    samples: tuple[Sample, ...]
    root: Path | None = None
    facts: DatasetInfo | None = None
    problems: tuple[str, ...] = ()

    @property
    def categories(self) -> tuple[str, ...]:
        """Each once, in the order of the samples."""
        return tuple(dict.fromkeys(sample.category for sample in self.samples))

    def select(self, *, split: Split | None = None, category: str | None = None, label: bool | None = None) -> Dataset:
        """The samples that agree with all that is given; without the facts, which are about the whole."""

        def fits(sample: Sample) -> bool:
            return (
                (split is None or sample.split == split)
                and (category is None or sample.category == category)
                and (label is None or sample.label is label)
            )

        return Dataset(self.name, tuple(filter(fits, self.samples)), self.root)

    def count(self) -> dict[str, dict[str, int]]:
        """Images by category and cell, as in ``{"bottle": {"train/good": 209, ...}}``."""
        cells = Counter((sample.category, sample.cell) for sample in self.samples)
        return {c: {cell: n for (owner, cell), n in cells.items() if owner == c} for c in self.categories}

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)

    @classmethod
    def of(cls, name: str, samples: Iterable[Sample], root: Path | None = None) -> Dataset:
        """From any iterable."""
        return cls(name, tuple(samples), root)


class LayoutMatch(IntEnum):
    """How well a folder fits a layout; the best one is taken where nobody says which."""

    NO = 0
    FORM = 1
    """Folders and files lie so, and many data sets lie so."""
    KNOWN = 2
    """And their names are those of this very data set."""


class DatasetReader(ABC):
    """Reads one layout. What ``vlmad_datasets`` offers has such a class as its target: ``target(config) -> Reader``.

    A reader lists files and opens none that it need not open, imports no torch, changes nothing on the disk and never
    uses the network. What cannot be read at all is refused; what is merely odd becomes a sentence in
    :attr:`Dataset.problems`.
    """

    facts: ClassVar[DatasetInfo | None] = None
    """What is published, where it is one data set and not a form that many have."""
    tree: ClassVar[str] = ""
    """The layout in one line, such as ``CATEGORY/{train,test}/KIND/IMAGE``: told when nothing fits."""

    complete: ClassVar[bool] = False
    """Whether each image below the root should be in a sample: what is in none is then a problem."""

    def __init__(self, config: Config) -> None:
        self.config = config

    @abstractmethod
    def fits(self, root: Path) -> LayoutMatch:
        """Whether a folder, or a file, looks so; cheap, at most a few folders are listed."""

    @abstractmethod
    def read(self, root: Path) -> Dataset:
        """All samples.

        Raises:
            ConfigError: Nothing can be read so; the text says what was looked for, and where.
        """
