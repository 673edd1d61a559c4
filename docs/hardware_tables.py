"""Tables of lower precision, beside float32 in torch and in exported files, for `build_tables.py`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Row = dict[str, Any]
_FILES = {"onnx": "ONNX", "openvino": "OpenVINO"}


def drift(rows: list[Row]) -> Iterator[str]:
    """A row for each recipe and set; for each precision the score, the map, AUROC and changed verdicts."""
    lower = list(dict.fromkeys(row["precision"] for row in rows if row["precision"] != "fp32"))
    heads = ["recipe", "set: good + defective", "AUROC fp32"]
    for name in lower:
        heads += [f"{name}: AUROC", "score, map differ by at most", "verdicts changed"]
    yield from _head(heads)
    for recipe in dict.fromkeys(row["recipe"] for row in rows):
        for place in dict.fromkeys(row["set"] for row in rows if row["recipe"] == recipe):
            at = {row["precision"]: row for row in rows if (row["recipe"], row["set"]) == (recipe, place)}
            first = at["fp32"]
            count = first["good"] + first["bad"]
            cells = [f"`{recipe}`", f"{place}: {first['good']} + {first['bad']}", f"{first['auroc']:.3f}"]
            for name in lower:
                row = at[name]
                cells += [f"{row['auroc']:.3f}", f"{row['score_difference']:.1e}, {row['map_difference']:.1e}"]
                cells += [f"{row['changed']} of {count}"]
            yield _line(cells)


def exported(rows: list[Row]) -> Iterator[str]:
    """A row for each set, recipe and file."""
    heads = ["recipe", "set: good + defective", "file", "AUROC of torch", "of the file", "score, map differ by at most"]
    yield from _head([*heads, "decisions changed", "MB"])
    order = list(dict.fromkeys((row["recipe"], row["set"]) for row in rows))
    for row in sorted(rows, key=lambda row: order.index((row["recipe"], row["set"]))):
        name = f"{_FILES[row['to']]} {row['precision']}"
        if "refused" in row:
            yield _line([f"`{row['recipe']}`", row["set"], name, "", "refused", "", "", ""])
            continue
        count = row["normal"] + row["defect"]
        cells = [f"`{row['recipe']}`", f"{row['set']}: {row['normal']} + {row['defect']}", name]
        cells += [f"{row['auroc_torch']:.3f}", f"{row['auroc']:.3f}"]
        cells += [f"{row['score_difference']:.1e}, {row['map_difference']:.1e}", f"{row['changed']} of {count}"]
        yield _line([*cells, f"{row['megabytes']:.0f}"])


def _head(cells: list[str]) -> list[str]:
    return [_line(cells), "|" + "---|" * len(cells)]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
