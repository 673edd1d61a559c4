from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

METRICS = ("image_auroc", "image_ap", "image_f1max", "pixel_auroc", "pixel_ap", "pixel_f1max", "aupro", "aupro_05")


def _row(
    method: str = "winclip", category: str = "bolt", *, value: float | None = 0.8, **changes: Any
) -> dict[str, Any]:
    interval = {} if value is None else {"image_auroc_low": value - 0.06, "image_auroc_high": value + 0.02}
    row = {
        "status": "done",
        "error": "",
        "dataset": "parts",
        "category": category,
        "class_name": category,
        "method": method,
        "recipe": "winclip",
        "backbone": "pocket",
        "weights": "w",
        "image_size": [224, 224],
        "extractor": "windows",
        "prompts": "compositional",
        "scorers": ["text-match"],
        "shots": 0,
        "seed": 0,
        "references": [],
        "good": 24,
        "defective": 48,
        "unreadable": [],
        **dict.fromkeys(METRICS, value),
        **interval,
        "aupro_200": None,
        "au_spro": None,
        "pixel_exact": True,
        "pixel_bound": 0.0,
        "resolution": [256, 256],
        "image_rule": "recipe's own",
        "mask_rule": "nearest",
        "seconds": 1.0,
        "images_per_second": 10.0,
        "trained_on": [],
        "trained_on_this": False,
        "vlmad": "0.1.0",
        "spec": {},
        **changes,
    }
    row["cell"] = "-".join(str(row[name]) for name in ("method", "dataset", "category", "shots", "seed"))
    return row


@pytest.fixture
def row() -> Callable[..., dict[str, Any]]:
    """A row as a benchmark writes it, made up; every metric is ``value``."""
    return _row
