"""From rows and pictures to one HTML file; every text of others passes through Jinja2's escaping or as JSON data."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib.resources import files
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from vlmad_core.run.colour import colours
from vlmad_core.run.overlay import Scale
from vlmad_report.calibration import CalibrationRecord, choices, promises
from vlmad_report.images import Pictures
from vlmad_report.source import Row

__all__ = ["DETAILS_PER_BLOCK", "SCRIPTS", "detail_of", "render", "row_of"]

SCRIPTS = (
    "rule.js",
    "elements.js",
    "data.js",
    "state.js",
    "histogram.js",
    "promise.js",
    "browse.js",
    "feedback.js",
    "detail.js",
    "main.js",
)
"""In this order they are one script."""
DETAILS_PER_BLOCK = 100
"""Details of so many images are parsed at a time, when one of them is opened."""


def row_of(row: Row, pictures: Pictures, folder: str) -> list[Any]:
    """What the grid needs of an image, as a short array; ``data.js`` gives the names."""
    kinds = [name.partition("/")[0] for name in pictures.files]
    return [
        row.path,
        folder,
        row.score,
        row.verdict,
        100 * max((region.area_share for region in row.regions), default=0.0) if row.regions else 0,
        len(row.regions),
        row.p_value,
        pictures.name,
        kinds,
    ]


def detail_of(row: Row, pictures: Pictures) -> dict[str, Any]:
    """What only the detail view needs of an image."""
    return {
        "width": row.width,
        "height": row.height,
        "milliseconds": row.milliseconds,
        "error": row.error,
        "threshold": row.threshold,
        "share_below": row.share_below,
        "confidence": row.confidence,
        "sha256": pictures.sha256,
        "regions": [
            {
                "box": region.box,
                "rings": [[[round(x, 1), round(y, 1)] for x, y in ring] for ring in region.polygon],
                "area_px": region.area_px,
                "percent": 100 * region.area_share,
                "score": region.score,
            }
            for region in row.regions
        ],
        "reasons": [[reason.label, reason.value] for reason in row.reasons],
        "nearest": None if row.nearest_normal is None else row.nearest_normal.path,
        "without": row.score_without_region,
        "problems": pictures.problems,
    }


def render(
    *,
    title: str,
    about: Mapping[str, Any],
    rows: Sequence[list[Any]],
    details: Sequence[dict[str, Any]],
    calibration: CalibrationRecord | None,
    scale: Scale,
    settings: Sequence[tuple[str, str]],
    notes: Sequence[str],
    folder: str,
    embedded: Iterable[tuple[str, bytes]] = (),
) -> bytes:
    """The page, as UTF-8; what is not UTF-8 in a shown text becomes a question mark.

    Args:
        title: Shown on top.
        about: Of the report: ``id``, ``created`` and what else feedback should carry.
        rows: From `row_of`.
        details: From `detail_of`, in the same order.
        calibration: Or None.
        scale: Of the heat.
        settings: Names and values, shown as a table.
        notes: Sentences shown on top, about what is missing or odd.
        folder: Of the pictures, relative to the page.
        embedded: Pictures that are in the page itself, by name; then ``folder`` is not used.
    """
    resources = files("vlmad_report") / "page"
    parts = "".join(resources.joinpath(name).read_text("utf-8") for name in SCRIPTS)
    script = Markup(f'(() => {{\n"use strict";\n{parts}}})();\n')
    style = Markup(resources.joinpath("style.css").read_text("utf-8"))
    data = {
        "about": about,
        "folder": folder,
        "rows": rows,
        "details_per_block": DETAILS_PER_BLOCK,
        "n_details": len(details),
        "calibration": _calibration(calibration),
        "scale": asdict(scale),
        "ramp": [_hex(colour) for colour in colours(np.linspace(0, 1, 13))],
    }
    blocks = [details[i : i + DETAILS_PER_BLOCK] for i in range(0, len(details), DETAILS_PER_BLOCK)]
    environment = Environment(
        loader=PackageLoader("vlmad_report", "page"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    pieces = environment.get_template("page.html.j2").generate(
        title=title,
        n_images=len(rows),
        style=style,
        style_hash=_hash(style),
        script=script,
        script_hash=_hash(script),
        data=_json(data),
        details=[_json(block) for block in blocks],
        settings=settings,
        notes=notes,
        about=about,
        embedded=((name, base64.b64encode(content).decode()) for name, content in embedded),
    )
    return b"".join(piece.encode("utf-8", "replace") for piece in pieces)


def _calibration(record: CalibrationRecord | None) -> dict[str, Any] | None:
    if record is None:
        return None
    return {
        **record.model_dump(),
        "choices": [asdict(choice) for choice in choices(record)],
        "promises": promises(record),
    }


def _hex(colour: np.ndarray) -> str:
    return f"#{np.rint(colour).astype(np.uint8).tobytes().hex()}"


def _json(value: Any) -> Markup:
    # ASCII, so that a name that is not UTF-8 keeps its bytes; `<`, `>`, `&` and `'` become escapes of JSON.
    return htmlsafe_json_dumps(value, dumps=json.dumps, allow_nan=False, separators=(",", ":"))


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def folders_of(paths: Sequence[str]) -> list[str]:
    """The folder of each path, as short as it can be while different folders stay different.

    >>> folders_of(["parts/good/1.png", "parts/bad/cut/2.png"])
    ['good', 'bad/cut']
    """
    parents = [os.path.dirname(path) for path in paths]  # noqa: PTH120 - keeps names that are not UTF-8
    try:
        common = os.path.commonpath(parents)
    except ValueError:  # absolute and relative paths, or two drives
        return parents
    return [os.path.relpath(parent, common or ".") if parent != common else "." for parent in parents]
