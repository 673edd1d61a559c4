from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from vlmad_core.inspection.calibration import Calibration, Fingerprint, ImageScore
from vlmad_core.inspection.rule import make_rule
from vlmad_core.inspection.verdict import labels

UNIT = 1 / 65535


def _calibration_record(scores: list[float], **options: Any) -> dict[str, Any]:
    """``run.json``'s calibration, from the rule that the core makes of held-out normals."""
    images = tuple(ImageScore(f"hash {i}", score) for i, score in enumerate(scores))
    calibration = Calibration(Fingerprint("recipe", (8, 8), "float32"), held_out=images)
    rule = make_rule(calibration, **options)
    return {
        "normals": rule.normals.tolist(),
        "source": rule.source,
        "folds": calibration.folds,
        "is_monotone": calibration.is_monotone,
        "false_alarms": rule.false_alarms,
        "threshold": rule.threshold,
        "review": rule.review,
        "review_threshold": rule.review_threshold,
        "confidence": rule.confidence,
        "bound": rule.bound,
        "promise": rule.promise,
        "scale": rule.scale,
    }


def _write_run(folder: Path, rows: list[dict[str, Any]], **record: Any) -> Path:
    """A results folder; the scale of its colours is 0 to 1."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {"vlmad": "0.1.0", "class_name": "nut", "plugins": {"vlmad-core": "0.1.0"}}
    scale = {"low": 0.0, "high": 1.0, "normal": 0.5}
    (folder / "run.json").write_text(json.dumps({"format": 1, "settings": settings, "scale": scale, **record}))
    return folder


def _write_image(path: Path, value: int = 128, size: tuple[int, int] = (64, 48)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size[1], size[0], 3), value, np.uint8)).save(path)
    return path


def _write_map(path: Path) -> Path:
    """Zero but for a square of the value 1."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.zeros((48, 64), np.uint16)
    values[10:20, 30:44] = 65535
    note = PngImagePlugin.PngInfo()
    note.add_text("vlmad-unit", repr(UNIT))
    Image.fromarray(values).save(path, pnginfo=note)
    return path


@pytest.fixture
def calibration_record() -> Callable[..., dict[str, Any]]:
    return _calibration_record


@pytest.fixture
def write_run() -> Callable[..., Path]:
    return _write_run


@pytest.fixture
def write_image() -> Callable[..., Path]:
    return _write_image


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """A folder of results with images and maps: scores 0, 1/n, 2/n ... in two folders, 99 normals in [0, 0.5]."""

    def make(n: int = 12, *, calibrated: bool = True, **extra: Any) -> Path:
        record = _calibration_record(np.linspace(0, 0.5, 99).tolist()) if calibrated else None
        rows: list[dict[str, Any]] = []
        for i in range(n):
            path = _write_image(tmp_path / "parts" / ("a" if i % 2 else "b") / f"{i:03}.png", 40 + i)
            _write_map(tmp_path / "run" / "maps" / f"{i}.png")
            row: dict[str, Any] = {"path": str(path), "score": i / n, "height": 48, "width": 64}
            row["anomaly_map"] = f"maps/{i}.png"
            if record is not None:
                row["verdict"] = str(labels(row["score"], record["threshold"], record["review_threshold"]))
                row["threshold"] = record["threshold"]
            rows.append({**row, **extra})
        given = {"calibration": record} if record is not None else {}
        return _write_run(tmp_path / "run", rows, **given)

    return make
