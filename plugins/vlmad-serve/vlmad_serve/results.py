"""Results in the database: one row an inspected image, with what people said of it."""

from __future__ import annotations

import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from vlmad_serve.refusal import Refusal
from vlmad_serve.store import Store

__all__ = ["Label", "ResultFilter", "ResultIds", "get_result", "insert_results", "list_results", "set_label"]

Label = Literal["good", "defect", "other part"]
"""What a part really is, as a person said: ``good`` after a false alarm, ``defect`` after a miss, or another part."""

_COLUMNS = (
    *("id", "detector", "version", "received", "name", "sha256", "file", "width", "height", "score", "verdict"),
    *("threshold", "review_threshold", "p_value", "share_below", "confidence", "false_alarms", "class_distance"),
    *("class_p_value", "reason", "regions", "nearest", "milliseconds", "note", "bytes", "has_files", "drift"),
)


class ResultIds:
    """Numbers of results: 24 hexadecimal digits that sort in the order of their making and cannot be guessed."""

    def __init__(self) -> None:
        self._last = 0
        self._lock = threading.Lock()

    def next(self) -> str:
        """Another one."""
        with self._lock:
            self._last = max(self._last + 1, time.time_ns() // 1000)
            return f"{self._last:016x}{secrets.token_hex(4)}"


@dataclass(frozen=True)
class ResultFilter:
    """Which results are asked for; None and "" ask for all.

    Attributes:
        detector: Name.
        version: Of the detector.
        verdict: One of the labels of a verdict.
        label: ``good``, ``defect``, ``other part``, ``none`` (nobody said anything) or ``any``.
        since: Seconds since 1970.
        until: Likewise.
        min_score: Lowest score.
        max_score: Highest score.
        name: Part of the name of the image.
        before: Number of a result: only older ones.
    """

    detector: str = ""
    version: int | None = None
    verdict: str = ""
    label: str = ""
    since: float | None = None
    until: float | None = None
    min_score: float | None = None
    max_score: float | None = None
    name: str = ""
    before: str = ""

    def sql(self) -> tuple[str, list[Any]]:
        """The condition and its values."""
        found: list[tuple[str, Any]] = []
        plain = {
            "detector = ?": self.detector or None,
            "version = ?": self.version,
            "verdict = ?": self.verdict or None,
            "received >= ?": self.since,
            "received <= ?": self.until,
            "score >= ?": self.min_score,
            "score <= ?": self.max_score,
            "id < ?": self.before or None,
        }
        found = [(condition, value) for condition, value in plain.items() if value is not None]
        if self.name:
            escaped = self.name.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
            found.append(("name LIKE ? ESCAPE '\\'", f"%{escaped}%"))
        conditions = [condition for condition, _ in found]
        if self.label in ("good", "defect", "other part"):
            found.append(("label = ?", self.label))
            conditions.append("label = ?")
        elif self.label:
            conditions.append("label IS NULL" if self.label == "none" else "label IS NOT NULL")
        return (f"WHERE {' AND '.join(conditions)}" if conditions else ""), [value for _, value in found]


def insert_results(connection: sqlite3.Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Add rows with all columns; inside a transaction of the caller."""
    marks = ", ".join(f":{name}" for name in _COLUMNS)
    connection.executemany(f"INSERT INTO results ({', '.join(_COLUMNS)}) VALUES ({marks})", rows)


def get_result(store: Store, result: str) -> dict[str, Any]:
    """One result.

    Raises:
        Refusal: 404; there is none of that number.
    """
    row = store.row("SELECT * FROM results WHERE id = ?", [result])
    if row is None:
        raise Refusal(404, "there is no result of that number.")
    return _plain(row)


def list_results(store: Store, chosen: ResultFilter, *, limit: int) -> list[dict[str, Any]]:
    """The newest results that a filter lets pass, the newest first."""
    where, values = chosen.sql()
    return [
        _plain(row) for row in store.rows(f"SELECT * FROM results {where} ORDER BY id DESC LIMIT ?", [*values, limit])
    ]


def set_label(store: Store, result: str, label: Label | None, comment: str, by: str) -> dict[str, Any]:
    """Keep what a person said of an image; None takes it back. Every word is kept in the log of feedback.

    Returns:
        The result after it.
    """
    get_result(store, result)
    with store.writing() as connection:
        connection.execute(
            "INSERT INTO feedback (at, result, label, comment, by) VALUES (?, ?, ?, ?, ?)",
            (time.time(), result, label, comment, by),
        )
        connection.execute(
            "UPDATE results SET applied = CASE WHEN label IS ? THEN applied ELSE NULL END, label = ?, comment = ? "
            "WHERE id = ?",
            (label, label, comment, result),
        )
    return get_result(store, result)


def _plain(row: sqlite3.Row) -> dict[str, Any]:
    return {**dict(row), "regions": json.loads(row["regions"]), "nearest": json.loads(row["nearest"])}
