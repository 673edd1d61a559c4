"""Rows of ``learned.py`` as Markdown: ``python table.py FILE.jsonl ...``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

Rows = list[dict[str, Any]]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description="Rows as Markdown.")
    parser.add_argument("files", nargs="+", type=Path)
    arguments = parser.parse_args()
    rows = [json.loads(line) for file in arguments.files for line in file.read_text().splitlines()]
    sys.stdout.writelines(f"{line}\n" for line in learned(rows))


def learned(rows: Rows) -> Iterable[str]:
    """A row for each method and what it was trained on; mean and spread over seeds of each set's metrics."""
    sets = list(dict.fromkeys(row["set"] for row in rows))
    for metric, title in (("pixel_auroc", "Pixel AUROC"), ("aupro", "AUPRO"), ("auroc", "Image AUROC")):
        there = [name for name in sets if any(metric in row for row in rows if row["set"] == name)]
        yield f"\n**{title}**\n"
        yield f"| method | trained on | seeds | {' | '.join(there)} |"
        yield "|---" * (len(there) + 3) + "|"
        for method, on in dict.fromkeys((row["method"], row["on"]) for row in rows):
            mine = [row for row in rows if (row["method"], row["on"]) == (method, on)]
            cells = [cell([row for row in mine if row["set"] == name], metric) for name in there]
            yield f"| {method} | {on} | {len({row['seed'] for row in mine})} | {' | '.join(cells)} |"


def cell(rows: Rows, metric: str) -> str:
    """Mean ± spread; in brackets where it was trained on that set."""
    values = [row[metric] for row in rows]
    text = f"{np.mean(values):.3f}" + (f" ± {np.std(values):.3f}" if len(values) > 1 else "")
    return f"({text})" if any(row["trained_on_it"] for row in rows) else text


if __name__ == "__main__":
    main()
