"""The log of everything that changes what a detector decides: who, when, from what to what."""

from __future__ import annotations

import json
import time
from typing import Any

from vlmad_serve.store import Store

__all__ = ["read_audit", "write_audit"]


def write_audit(store: Store, detector: str, action: str, by: str, **details: Any) -> None:
    """Add an entry; part of the transaction that is open in this thread, if there is one.

    Args:
        store: Where.
        detector: Its name.
        action: ``enrol``, ``load``, ``calibrate``, ``feedback``, ``threshold``, ``activate`` or ``drift``.
        by: Who asked for it, as the client said.
        details: Plain data: the thresholds before and after, the promise, the number of images.
    """
    with store.writing() as connection:
        connection.execute(
            "INSERT INTO audit (at, detector, action, by, details) VALUES (?, ?, ?, ?, ?)",
            (time.time(), detector, action, by, json.dumps(details, allow_nan=False)),
        )


def read_audit(store: Store, detector: str | None = None, *, limit: int = 200) -> list[dict[str, Any]]:
    """The latest entries, the newest first."""
    where, values = ("WHERE detector = ?", [detector]) if detector else ("", [])
    rows = store.rows(f"SELECT * FROM audit {where} ORDER BY id DESC LIMIT ?", [*values, limit])
    return [{**dict(row), "details": json.loads(row["details"])} for row in rows]
