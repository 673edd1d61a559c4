"""Evidence of a stored result: asked of the core, where this version of it has evidence."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np

from vlmad_core.contracts.data import Prediction
from vlmad_core.pipeline.pipeline import Pipeline
from vlmad_serve.refusal import Refusal

__all__ = ["evidence_of", "has_evidence"]


def has_evidence() -> bool:
    """Whether the installed core says why a score is what it is."""
    return hasattr(Prediction, "evidence")


def evidence_of(pipeline: Pipeline, path: Path) -> dict[str, Any]:
    """What ``Prediction.evidence()`` says of an image, as plain data.

    Raises:
        Refusal: 501; the installed vlmad-core has no evidence.
    """
    if not has_evidence():
        raise Refusal(501, "the installed vlmad-core gives no evidence for a score; a later version does.")
    ask: Any = pipeline.predict(path)
    found = ask.evidence()
    for name in ("to_dict", "record"):
        if hasattr(found, name):
            return _as_mapping(_plain(getattr(found, name)()))
    return _as_mapping(_plain(found))


def _as_mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {"evidence": value}


def _plain(value: Any) -> Any:
    """Data for JSON; arrays of many values, such as maps, are left out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, np.ndarray):
        return value.tolist() if value.size <= 100 else None
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool | None) else str(value)
