"""A model card on the terminal. Free of torch."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from vlmad_core.cli.terminal import grid, table
from vlmad_core.registry.card import Card, File, Measured

__all__ = ["show_card"]


def show_card(card: Card, files: Sequence[File]) -> None:
    """What it is, where it comes from, how good it is and where it is bad, in as many lines as that needs."""
    rows = [("model", card.name), ("sees", card.vision), ("reads", card.text), ("trained on", card.trained_on)]
    rows += [("limits" if not i else "", limit) for i, limit in enumerate(card.limits)]
    rows += [("licence", card.licence)]
    grid([row for row in rows if row[1]])
    if files:
        sys.stdout.write("\n")
        lines = [(file.name, f"{file.bytes / 1e6:.1f} MB", file.sha256) for file in files]
        table(["file", "size", "sha256"], lines, right=["size"])
    if card.results:
        sys.stdout.write("\n")
        _show_results(card.results)


def _show_results(results: Sequence[Measured]) -> None:
    """One line a set, one column for each number of normal images."""
    shots = sorted({one.normals for one in results})
    heads = [_normals(count) for count in shots]
    found = {(one.set, one.normals): one for one in results}
    rows = [
        (name, *(_value(found.get((name, count))) for count in shots)) for name in dict.fromkeys(r.set for r in results)
    ]
    table(["image AUROC (95 %)", *heads], rows)


def _normals(count: int) -> str:
    return f"{count or 'no'} normal image{'' if count == 1 else 's'}"


def _value(one: Measured | None) -> str:
    if one is None:
        return ""
    interval = "" if one.low is None or one.high is None else f" ({one.low:.2f} to {one.high:.2f})"
    return f"{one.image_auroc:.3f}{interval}"
