"""Answers by the hash of everything that was asked: the same question is never paid for twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlmad_core.files import write_whole

__all__ = ["key_of", "read_answer", "store_answer"]


def key_of(base_url: str, body: Mapping[str, Any]) -> str:
    """SHA-256 of the address and the whole request: pictures, words, model, options."""
    return hashlib.sha256(json.dumps([1, base_url, body], sort_keys=True).encode()).hexdigest()


def read_answer(folder: Path | None, key: str) -> bytes | None:
    """The stored reply; None where there is none, or none that can be read."""
    if folder is None:
        return None
    try:
        record = json.loads((folder / f"{key}.json").read_text(encoding="utf-8"))
        reply = record["reply"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return reply.encode() if isinstance(reply, str) else None


def store_answer(folder: Path | None, key: str, reply: bytes) -> None:
    """Keep a reply; one that is no UTF-8, and a folder that cannot be written to, cost nothing but the next request."""
    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / f"{key}.json", json.dumps({"reply": reply.decode()}).encode())
    except (OSError, UnicodeDecodeError):
        return
