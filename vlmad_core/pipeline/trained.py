"""What a detector learned from: the record that is saved with it, and whether it knew a data set. Free of torch."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vlmad_core.datasets.base import Sample

__all__ = ["describe_training", "fingerprint", "was_trained_on"]


def fingerprint(samples: Iterable[Sample]) -> str:
    """SHA-256 over the list of images, in any order and wherever the folder lies.

    A file counts by category, split, kind and name, a picture in memory by its pixels.
    """
    lines = sorted(_line(sample) for sample in samples)
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _line(sample: Sample) -> str:
    image = sample.image
    name = Path(image).name if isinstance(image, str | Path) else hashlib.sha256(image.tobytes()).hexdigest()
    return f"{sample.category}/{sample.split}/{sample.kind}/{name}"


def was_trained_on(trained: Mapping[str, Any], *, name: str = "", sha256: str = "") -> bool:
    """Whether a detector's record says that it learned from this data set.

    Args:
        trained: ``detector.trained``.
        name: Of the data set; capitals, blanks and dashes do not matter.
        sha256: :func:`fingerprint` of its samples, or of one category's.

    >>> was_trained_on({"data": {"name": "mvtec-ad"}}, name="MVTec AD")
    True
    >>> was_trained_on({}, name="mvtec-ad")
    False
    """
    data = trained.get("data", {})
    known = {data.get("sha256"), *data.get("category_sha256", {}).values()} - {None}
    if (name and _plain(name) == _plain(str(data.get("name", "")))) or sha256 in known:
        return True
    earlier = trained.get("before")  # what it was trained or imported as, before it learned more
    return was_trained_on(earlier, name=name, sha256=sha256) if earlier else False


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def describe_training(trained: Mapping[str, Any]) -> str:
    """One line for people.

    >>> describe_training({"how": "imported", "data": {"name": "visa"}, "epoch": 15, "file": "epoch_15.pth"})
    'on visa, epoch 15 (imported from epoch_15.pth)'
    """
    data = trained.get("data", {})
    parts = [f"on {data.get('name', 'an unnamed data set')}"]
    if data.get("categories"):
        parts[0] += f" ({len(data['categories'])} categories, {data.get('images', 0):,} images)"
    if trained.get("how") == "imported":
        epoch = [f"epoch {trained['epoch']}"] if trained.get("epoch") is not None else []
        return ", ".join([*parts, *epoch]) + f" (imported from {trained.get('file', 'a checkpoint')})"
    for key in ("epochs", "seed", "loss"):
        if trained.get(key) is not None:
            value = trained[key]
            parts.append(f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}")
    return ", ".join(parts)
