"""The conditions of reports as lines of docs/results/robustness.jsonl.

python benchmarks/rows.py REPORT... > docs/results/robustness.jsonl
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def rows(folder: Path) -> list[dict[str, Any]]:
    """One for each condition that was measured."""
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    about = {"detector": report["detector"], "set": report["category"]}
    found = []
    for condition in report["conditions"].values():
        low, high = condition["auroc_interval"] or (None, None)
        alarms, misses = condition["false_alarms"], condition["misses"]
        found.append(
            {
                **about,
                **{name: condition[name] for name in ("kind", "name", "level", "direction", "images")},
                **{name: _short(condition[name]) for name in ("auroc", "pixel_auroc", "aupro")},
                "auroc_low": _short(low),
                "auroc_high": _short(high),
                "false_alarms": [alarms["count"], alarms["total"]],
                "misses": [misses["count"], misses["total"]],
            }
        )
    return found


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


if __name__ == "__main__":
    for line in (json.dumps(row) for name in sys.argv[1:] for row in rows(Path(name))):
        print(line)
