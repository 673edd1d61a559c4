"""What a detector learned from: the record that is saved with it, and whether it knew a data set. Free of torch."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from vlmad_core.datasets.content import fingerprint

__all__ = ["describe_training", "fingerprint", "was_trained_on"]


def was_trained_on(
    trained: Mapping[str, Any], *, name: str = "", sha256: str = "", contents: Collection[str] = ()
) -> bool:
    """Whether a detector's record says that it learned from a data set.

    Images decide where both sides have their hashes: a copy under another name is recognised, and other images under
    the same name are not. Only where the record has none, as of an imported checkpoint, the name decides.

    Args:
        trained: ``detector.trained``.
        name: Of the data set; capitals, blanks and dashes do not matter.
        sha256: :func:`fingerprint` of its samples, or of one category's.
        contents: From :func:`~vlmad_core.datasets.content.contents_of`, of all of its images.

    >>> was_trained_on({"data": {"name": "mvtec-ad"}}, name="MVTec AD")
    True
    >>> was_trained_on({}, name="mvtec-ad")
    False
    >>> was_trained_on({"data": {"name": "parts", "contents": ["aa"]}}, name="parts", contents=["bb"])
    False
    """
    data = trained.get("data", {})
    known = {data.get("sha256"), *data.get("category_sha256", {}).values()} - {None}
    here = set(data.get("contents") or ())
    same_name = bool(name) and _plain(name) == _plain(str(data.get("name", "")))
    if sha256 in known or (not here.isdisjoint(contents) if here and contents else same_name):
        return True
    earlier = trained.get("before")  # what it was trained or imported as, before it learned more
    return was_trained_on(earlier, name=name, sha256=sha256, contents=contents) if earlier else False


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
