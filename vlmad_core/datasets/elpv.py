"""ELPV: solar cells in electroluminescence, mono- and polycrystalline, labelled by experts from 0 to 1, without masks.

``images/cell0001.png`` and ``labels.csv`` with lines ``images/cell0001.png  1.0  mono``, in the root or in its folder
``data``. The root may also be the name ``elpv_dataset``, which stands for the installed package of that name.
"""

from __future__ import annotations

from importlib import util
from pathlib import Path
from typing import ClassVar

from vlmad_core.datasets import published
from vlmad_core.datasets.base import Dataset, DatasetReader, LayoutMatch, Sample, Split
from vlmad_core.datasets.plugin import ElpvConfig
from vlmad_core.datasets.text import read_text
from vlmad_core.datasets.tree import aside
from vlmad_core.errors import ConfigError

__all__ = ["Elpv"]

_PLACES = ("", "data", "src/elpv_dataset/data")  # the data itself, the package, the repository


class Elpv(DatasetReader):
    """ELPV: 2624 cells of 300 x 300 pixels."""

    facts = published.ELPV
    tree: ClassVar[str] = "{images/cell0001.png, labels.csv}"

    def __init__(self, config: ElpvConfig) -> None:
        super().__init__(config)
        self.options = config

    def fits(self, root: Path) -> LayoutMatch:
        """By ``labels.csv`` beside ``images/cell0001.png``."""
        place = _place(root)
        return LayoutMatch.KNOWN if place and any((place / "images").glob("cell*.png")) else LayoutMatch.NO

    def read(self, root: Path) -> Dataset:
        """In the order of ``labels.csv``."""
        place = _place(root)
        if place is None:
            hint = "give the folder of labels.csv and images, or install the package: pip install elpv-dataset"
            raise ConfigError(f"{root}: no labels.csv in it; {hint}.")
        lines = read_text(place / "labels.csv").splitlines()
        found = [self._sample(place, i, line) for i, line in enumerate(lines, start=1) if line.strip()]
        samples = tuple(sample for sample in found if sample is not None)
        facts = None if self.options.skip_uncertain else self.facts
        return Dataset("elpv", samples, place, facts)

    def _sample(self, place: Path, number: int, line: str) -> Sample | None:
        words = line.split()
        try:
            name, chance, category = words[0], float(words[1]), words[2]
        except (IndexError, ValueError) as error:
            raise ConfigError(
                f"{place / 'labels.csv'}, line {number}: must read 'images/cell0001.png 1.0 mono', got {line!r}."
            ) from error
        if self.options.skip_uncertain and 0 < chance < 1:
            return None
        label = chance >= self.options.threshold
        split: Split = "train" if not label and aside(name, self.options.train) else "test"
        return Sample(place / name, label, category, split, f"probability {chance:.2g}" if label else "good")


def _place(root: Path) -> Path | None:
    if root.name == "elpv_dataset" and not root.exists():
        found = util.find_spec("elpv_dataset")
        root = Path(found.origin).parent if found and found.origin else root
    return next((root / place for place in _PLACES if (root / place / "labels.csv").is_file()), None)
