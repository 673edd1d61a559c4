"""Results for others: CSV, JSON lines, and the page of ``vlmad report``."""

from __future__ import annotations

import csv
import io
import json
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from vlmad_core.errors import UnknownComponentError
from vlmad_core.registry.registry import default_registry
from vlmad_serve.archive import Archive
from vlmad_serve.detectors import Version
from vlmad_serve.refusal import Refusal
from vlmad_serve.results import ResultFilter, list_results
from vlmad_serve.schemas import utc
from vlmad_serve.store import Store

__all__ = ["as_csv", "as_jsonl", "make_report"]

_PAGE = 1000
_MOST_REPORTED = 500
_COLUMNS = (
    *("id", "received", "detector", "version", "name", "verdict", "score", "threshold", "review_threshold", "p_value"),
    *("confidence", "false_alarms", "label", "comment", "width", "height", "milliseconds", "sha256", "reason", "note"),
)


def _rows(store: Store, chosen: ResultFilter) -> Iterator[dict[str, Any]]:
    while True:
        rows = list_results(store, chosen, limit=_PAGE)
        for row in rows:
            yield {**row, "received": utc(row["received"])}
        if len(rows) < _PAGE:
            return
        chosen = replace(chosen, before=rows[-1]["id"])


def as_csv(store: Store, chosen: ResultFilter) -> Iterator[str]:
    """A header and one line a result, the newest first; a text that a spreadsheet would run is made harmless."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow([*_COLUMNS, "regions"])
    for row in _rows(store, chosen):
        writer.writerow([*(_cell(row[name]) for name in _COLUMNS), len(row["regions"])])
        if buffer.tell() > 100_000:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def as_jsonl(store: Store, chosen: ResultFilter) -> Iterator[str]:
    """One JSON object a result, with its regions, the newest first."""
    for row in _rows(store, chosen):
        yield json.dumps({**{name: row[name] for name in _COLUMNS}, "regions": row["regions"]}, allow_nan=False) + "\n"


def make_report(store: Store, archive: Archive, data: Path, version: Version, chosen: ResultFilter) -> bytes:
    """The page of ``vlmad report`` of the newest results of one detector, as one file.

    Raises:
        Refusal: 501; vlmad-report is not installed. 409; there is no result whose files are still there.
    """
    try:
        command = default_registry().get("command", "report").load()
    except UnknownComponentError as error:
        raise Refusal(501, "the page is made by the plugin vlmad-report: pip install vlmad-report.") from error
    rows = list_results(store, replace(chosen, detector=version.detector), limit=4 * _MOST_REPORTED)
    rows = [row for row in rows if row["has_files"] and archive.image_path(row["file"]).is_file()][:_MOST_REPORTED]
    if not rows:
        raise Refusal(409, "no result with its image is left that these filters let pass.")
    folder = data / "exports" / secrets.token_hex(8)
    folder.mkdir(parents=True)
    try:
        lines = (json.dumps(_line(row, archive), allow_nan=False) + "\n" for row in rows)
        (folder / "results.jsonl").write_text("".join(lines), "utf-8")
        (folder / "run.json").write_text(json.dumps(_record(version)), "utf-8")
        page = folder / "report.html"
        title = f"{version.pipeline.class_name or version.detector}: inspected images"
        command(folder, out=page, embed=True, images=None, max_side=768, title=title, as_json=False, quiet=True)
        return page.read_bytes()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _line(row: dict[str, Any], archive: Archive) -> dict[str, Any]:
    same = ("score", "height", "width", "milliseconds", "verdict", "threshold", "p_value", "share_below", "confidence")
    map_path = archive.map_path(row["id"])
    return {
        "path": str(archive.image_path(row["file"])),
        **{name: row[name] for name in (*same, "regions")},
        **({"anomaly_map": str(map_path)} if map_path.is_file() else {}),
        "reasons": [text for text in (row["name"], row["reason"], row["note"]) if text],
    }


def _record(version: Version) -> dict[str, Any]:
    scale = version.scale
    settings = {"class_name": version.pipeline.class_name, "plugins": dict(version.pipeline.plugins)}
    return {
        "format": 1,
        "settings": settings,
        "calibration": version.decision.record(),
        "scale": None if scale is None else {"low": scale.low, "high": scale.high, "normal": scale.normal},
    }
