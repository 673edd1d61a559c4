"""What a detector learned from: the record that is saved with it, and whether it knew a data set. Free of torch."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from vlmad_core.datasets.content import fingerprint

__all__ = ["describe_training", "fingerprint", "is_named", "was_trained_on"]


def was_trained_on(
    trained: Mapping[str, Any], *, name: str = "", sha256: str = "", contents: Collection[str] = ()
) -> bool | None:
    """Whether a detector's record says that it learned from a data set.

    Images decide where both sides have their hashes: a copy under another name is recognised, and other images under
    the same name are not. A name decides only where nothing but a name is asked for.

    Args:
        trained: ``detector.trained``.
        name: Of the data set; capitals, blanks and dashes do not matter.
        sha256: :func:`fingerprint` of its samples, or of one category's.
        contents: From :func:`~vlmad_core.datasets.content.contents_of`, of all of its images.

    Returns:
        None where it cannot be known: images are asked for, and the record has no hashes, as that of an imported
        checkpoint.

    >>> was_trained_on({"data": {"name": "mvtec-ad"}}, name="MVTec AD")
    True
    >>> was_trained_on({}, name="mvtec-ad")
    False
    >>> was_trained_on({"data": {"name": "parts", "contents": ["aa"]}}, name="parts", contents=["bb"])
    False
    >>> was_trained_on({"data": {"name": "parts"}}, name="parts", contents=["bb"]) is None
    True
    """
    if not trained:
        return False
    data = trained.get("data", {})
    known = {data.get("sha256"), *data.get("category_sha256", {}).values()} - {None}
    here = set(data.get("contents") or ())
    found: bool | None = None
    if sha256 in known:
        return True
    if not contents and not sha256:
        found = is_named(trained, name)
    elif here and contents:
        found = not here.isdisjoint(contents)
    elif known and sha256:
        found = False
    # What it was trained or imported as, before it learned more.
    earlier = was_trained_on(trained.get("before", {}), name=name, sha256=sha256, contents=contents)
    return found or earlier if found or earlier else None if None in (found, earlier) else False


def is_named(trained: Mapping[str, Any], name: str) -> bool:
    """Whether the record names a data set so, which says little of its images."""
    return bool(name) and _plain(name) == _plain(str(trained.get("data", {}).get("name", "")))


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
