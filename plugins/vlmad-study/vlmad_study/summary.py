"""``study.json``: what the report says, for programs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from vlmad_core.version import __version__
from vlmad_study.advice import is_better
from vlmad_study.material import Material
from vlmad_study.probe import Eyes
from vlmad_study.settings import StudySettings
from vlmad_study.standing import Standing, standings

__all__ = ["summary"]


def summary(
    study: Material, asked: StudySettings, eyes: Eyes, record: Mapping[str, Any], reason: str
) -> dict[str, Any]:
    """The recommendation, the standings of each section, effects, speeds, and what was left out."""
    advice = study.advice
    told: dict[str, Any] = {
        "vlmad": __version__,
        "asked": asked.model_dump(mode="json"),
        "scope": study.scope.model_dump(mode="json"),
        "backbone": {"label": eyes.label, "depth": eyes.depth, "reads": eyes.reads, **eyes.provenance},
        "seconds": record.get("seconds", 0.0),
        "recommended": None,
        "sections": {
            name: {
                dataset: [_standing(one) for one in standings(rows, dataset=dataset)]
                for dataset in dict.fromkeys(str(row["dataset"]) for row in rows)
            }
            for name, rows in study.rows.items()
            if rows
        },
        "effects": [{**asdict(effect), "verdict": effect.verdict} for effect in study.effects],
        "speed": [asdict(speed) for speed in study.speeds],
        "left_out": study.left_out,
    }
    if advice is not None:
        pair = advice.comparison.paired if advice.comparison is not None else None
        told["recommended"] = {
            **_standing(advice.best),
            "reason": reason,
            "shown_better_than_the_next": is_better(advice),
            "next": None if advice.runner_up is None else _standing(advice.runner_up),
            "difference": None if pair is None else _finite(asdict(pair)),
            "not_shown_to_be_worse": [_standing(one) for one in advice.equals],
        }
    return told


def _standing(one: Standing) -> dict[str, Any]:
    low, high = one.image.interval or (None, None)
    return {
        "method": one.method,
        "shots": one.shots,
        "image_auroc": one.image.value,
        "image_auroc_low": low,
        "image_auroc_high": high,
        "pixel_auroc": one.pixel.value,
        "aupro": one.aupro.value,
        "learned_from_this": one.rows.trained_here,
    }


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}
