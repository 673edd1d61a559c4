"""A new detector beside the one that it replaces, on images that were inspected lately: what would change?"""

from __future__ import annotations

from typing import Any

from vlmad_core.errors import ConfigError, VlmadError
from vlmad_serve.archive import Archive
from vlmad_serve.detectors import Version
from vlmad_serve.results import ResultFilter, list_results
from vlmad_serve.store import Store

__all__ = ["compare"]


def compare(store: Store, archive: Archive, new: Version, former: Version | None, *, limit: int) -> dict[str, Any]:
    """Score recent images with both.

    Args:
        store: With the recent results.
        archive: With their images.
        new: Not in use yet.
        former: In use; None: there is nothing to compare with.
        limit: Images at most.

    Returns:
        ``images`` (compared), ``changed`` (whose verdict differs), ``results`` (number, verdict before and after, of
        those), ``labelled`` and ``wrong_before``, ``wrong_after``: of those that a person labelled, how many verdicts
        contradict the label.

    Raises:
        ConfigError: The new detector gives values that are not finite numbers; it must not be used.
    """
    found: dict[str, Any] = {
        "images": 0, "changed": 0, "results": [], "labelled": 0, "wrong_before": 0, "wrong_after": 0
    }  # fmt: skip
    if former is None or not limit:
        return found
    recent = list_results(store, ResultFilter(detector=new.detector), limit=4 * limit)
    unique = list({row["file"]: row for row in recent if row["has_files"]}.values())[:limit]
    for row in unique:
        path = archive.image_path(row["file"])
        try:
            verdicts = [_verdict(version, str(path)) for version in (former, new)]
        except ConfigError:
            raise
        except VlmadError:  # the file was deleted meanwhile
            continue
        before, after = verdicts
        found["images"] += 1
        if before != after:
            found["changed"] += 1
            found["results"].append({"id": row["id"], "before": before, "after": after})
        if row["label"] is not None:
            found["labelled"] += 1
            found["wrong_before"] += _is_wrong(before, row["label"])
            found["wrong_after"] += _is_wrong(after, row["label"])
    return found


def _verdict(version: Version, path: str) -> str:
    prediction = version.pipeline.predict(path)
    if version.decision.rule is None:
        return "uncalibrated"
    rule = version.decision.rule
    return rule.verdict(prediction.score, version.pipeline.distance_to_normals(prediction, rule)).label


def _is_wrong(verdict: str, label: str) -> bool:
    return (verdict in ("reject", "not this part")) if label == "good" else verdict == "pass"
