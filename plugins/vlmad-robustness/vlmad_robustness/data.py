"""The images that are tested: chosen evenly, at the size that the detector works at, with masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlmad_core.contracts.images import open_image
from vlmad_core.datasets import Dataset, Sample, mask_of, read_dataset
from vlmad_core.errors import ConfigError

__all__ = ["Images", "Source", "balanced", "find_source", "load"]


@dataclass(frozen=True, eq=False)
class Images:
    """Test images in memory.

    Args:
        pictures: ``[H, W, 3]`` uint8 each, the shorter side as asked for.
        labels: ``[N]`` bool, True for defective.
        masks: ``[H, W]`` bool each; None for a normal image, and for a defective one without a mask.
        paths: Of the files.
    """

    pictures: tuple[NDArray[np.uint8], ...]
    labels: NDArray[np.bool_]
    masks: tuple[NDArray[np.bool_] | None, ...]
    paths: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.pictures)

    def select(self, indices: Sequence[int]) -> Images:
        """Some of them, in this order."""
        return Images(
            tuple(self.pictures[i] for i in indices),
            self.labels[list(indices)],
            tuple(self.masks[i] for i in indices),
            tuple(self.paths[i] for i in indices),
        )

    @property
    def has_masks(self) -> bool:
        """Whether every defective image has a mask, and there is one."""
        marked = [mask is not None for mask, label in zip(self.masks, self.labels, strict=True) if label]
        return bool(marked) and all(marked)


@dataclass(frozen=True)
class Source:
    """Where test and training images come from.

    Args:
        category: That is tested.
        normals: Its normal training images.
        tests: Its labelled test images.
        others: Defective and normal test images of other categories, to learn a universal perturbation on.
        class_name: The category as text.
    """

    category: str
    normals: tuple[Sample, ...]
    tests: tuple[Sample, ...]
    others: tuple[Sample, ...]
    class_name: str


def find_source(root: str | Path, layout: str = "auto", category: str | None = None) -> Source:
    """The category to test.

    Raises:
        ConfigError: There are several categories and none was named, or it has no normal or no defective test image.
    """
    dataset: Dataset = read_dataset(root, layout)
    names = dataset.categories
    if category is None:
        if len(names) > 1:
            raise ConfigError(
                f"{root}: has {len(names)} categories, and one is tested at a time. Name it with --category: "
                f"{', '.join(names[:8])}{' …' if len(names) > 8 else ''}."
            )
        category = names[0]
    elif category not in names:
        raise ConfigError(f"{root}: has no category '{category}'; there are: {', '.join(names[:8])}.")
    own = dataset.select(category=category)
    tests = tuple(sample for sample in own.select(split="test") if sample.label is not None)
    for label, word in ((False, "normal"), (True, "defective")):
        if not any(sample.label is label for sample in tests):
            raise ConfigError(
                f"{root}: category '{category}' has no {word} test image; false alarms need normal ones and "
                "misses defective ones. Choose another category, or add such images."
            )
    others = tuple(
        sample for sample in dataset.select(split="test") if sample.category != category and sample.label is not None
    )
    normals = own.select(split="train", label=False).samples
    return Source(category, normals, tests, others, tests[0].class_name)


def balanced(labels: Sequence[bool], count: int) -> list[int]:
    """Indices of at most ``count`` items, half of each label where there are enough, evenly spread, in order.

    >>> balanced([False, False, False, True, True], 4)
    [0, 1, 3, 4]
    """
    groups = [[i for i, label in enumerate(labels) if bool(label) is kind] for kind in (False, True)]
    first = min(len(groups[0]), max(count // 2, count - len(groups[1])))
    wanted = (first, min(len(groups[1]), count - first))
    chosen = [group[i * len(group) // n] for group, n in zip(groups, wanted, strict=True) for i in range(n)]
    return sorted(chosen)


def load(samples: Sequence[Sample], side: int, *, bits: int | str | None = None) -> Images:
    """Read images and shrink or enlarge them to a shorter side, so that severities mean the same for every camera.

    Args:
        samples: Labelled.
        side: Pixels of the shorter side.
        bits: Of the values in 16-bit grey files.
    """
    pictures, masks = [], []
    for sample in samples:
        image = open_image(sample.image, bits=bits)
        scale = side / min(image.size)
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        resized = image.resize(size, Image.Resampling.BICUBIC) if size != image.size else image
        pictures.append(np.asarray(resized, np.uint8))
        masks.append(mask_of(sample, (size[1], size[0])) if sample.masks else None)
    labels = np.array([bool(sample.label) for sample in samples])
    paths = tuple(str(s.image) if isinstance(s.image, str | Path) else f"image {i}" for i, s in enumerate(samples))
    return Images(tuple(pictures), labels, tuple(masks), paths)
