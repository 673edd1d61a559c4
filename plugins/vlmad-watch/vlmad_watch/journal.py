"""The journal of a hot folder: which content has which verdict, and which files are dealt with. SQLite, on the disk.

A verdict belongs to a content (SHA-256), a row of ``files`` to a file at a place with a size and a time. Both are
written in one transaction before anything is done with the file, so after a crash it is known what is still to do, and
no content has two verdicts.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from vlmad_core.errors import ConfigError

__all__ = ["Entry", "FileRow", "Journal", "Scored"]

_VERSION = 1
_TABLES = """
CREATE TABLE IF NOT EXISTS contents (
    sha256 TEXT PRIMARY KEY, verdict TEXT NOT NULL, score REAL, result TEXT NOT NULL, scored_at TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS files (
    number INTEGER PRIMARY KEY, path BLOB NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    sha256 TEXT NOT NULL REFERENCES contents, is_done INTEGER NOT NULL DEFAULT 0, target BLOB,
    UNIQUE (path, size, mtime_ns)
);
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


@dataclass(frozen=True)
class Scored:
    """What a detector says of one file.

    Attributes:
        sha256: Of the content that was scored.
        verdict: ``pass``, ``review``, ``reject``, ``not this part``, ``uncalibrated``, or ``error``.
        score: Higher is more anomalous; None for ``error``.
        result: The same with more, as JSON.
    """

    sha256: str
    verdict: str
    score: float | None = None
    result: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """A file with its content, to write down."""

    path: Path
    size: int
    mtime_ns: int
    scored: Scored


@dataclass(frozen=True)
class FileRow:
    """A file that was written down."""

    number: int
    path: Path
    size: int
    mtime_ns: int
    scored: Scored
    is_done: bool
    target: Path | None


class Journal:
    """Open for one process; the folder is locked by the caller.

    Args:
        path: Made if needed.
        about: What decides the verdicts; another journal's is refused.

    Raises:
        ConfigError: It is no journal, of another version, damaged, or of another detector.
    """

    def __init__(self, path: Path, about: str = "") -> None:
        self.path = path
        try:
            self._database = sqlite3.connect(path, isolation_level=None)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = FULL")  # a verdict survives a power cut too
            (version,) = self._database.execute("PRAGMA user_version").fetchone()
            if version not in (0, _VERSION):
                raise ConfigError(f"{path}: is a journal of version {version}; this vlmad-watch reads {_VERSION}.")
            self._database.executescript(f"{_TABLES} PRAGMA user_version = {_VERSION};")
            self._database.execute("INSERT OR IGNORE INTO about VALUES ('detector', ?)", (about,))
            (there,) = self._database.execute("SELECT value FROM about WHERE name = 'detector'").fetchone()
        except sqlite3.Error as error:
            raise ConfigError(f"{path}: is not a journal that can be used ({error}). Use another --out.") from error
        if there != about:
            raise ConfigError(
                f"{path}: has verdicts of another detector, calibration or rate. Use another --out, so that no "
                "journal holds the verdicts of two."
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def is_known(self, path: Path, size: int, mtime_ns: int) -> bool:
        """Whether this very file was written down."""
        values = (os.fsencode(path), size, mtime_ns)
        found = self._database.execute("SELECT 1 FROM files WHERE path = ? AND size = ? AND mtime_ns = ?", values)
        return found.fetchone() is not None

    def scored(self, sha256: str) -> Scored | None:
        """The verdict on a content, if there is one."""
        found = self._database.execute("SELECT verdict, score, result FROM contents WHERE sha256 = ?", (sha256,))
        row = found.fetchone()
        return None if row is None else Scored(sha256, row[0], row[1], json.loads(row[2]))

    def add(self, entries: Sequence[Entry]) -> list[FileRow]:
        """Write down files with their verdicts, all of them or none.

        Raises:
            ConfigError: The disk is full or cannot be written to; nothing was written then.
        """
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        contents = [
            (one.scored.sha256, one.scored.verdict, one.scored.score, json.dumps(one.scored.result), now)
            for one in entries
        ]
        files = [(os.fsencode(one.path), one.size, one.mtime_ns, one.scored.sha256) for one in entries]
        try:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.executemany("INSERT OR IGNORE INTO contents VALUES (?, ?, ?, ?, ?)", contents)
            self._database.executemany(
                "INSERT OR IGNORE INTO files (path, size, mtime_ns, sha256) VALUES (?, ?, ?, ?)", files
            )
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise ConfigError(f"{self.path}: cannot be written ({error}). Nothing of this batch is lost.") from error
        keys = [file[:3] for file in files]
        return [row for key in keys for row in self._rows("path = ? AND size = ? AND mtime_ns = ?", key)]

    def finish(self, number: int, target: Path | None) -> None:
        """Note that nothing is left to do with a file, and where it is now."""
        place = None if target is None else os.fsencode(target)
        self._database.execute("UPDATE files SET is_done = 1, target = ? WHERE number = ?", (place, number))

    def unfinished(self) -> list[FileRow]:
        """Files that were written down before a stop and not dealt with."""
        return list(self._rows("is_done = 0", ()))

    def rows(self) -> Iterator[FileRow]:
        """Every file in the order in which it was written down."""
        return self._rows("1", ())

    def counts(self) -> dict[str, int]:
        """Contents by verdict."""
        found = self._database.execute("SELECT verdict, COUNT(*) FROM contents GROUP BY verdict ORDER BY verdict")
        return {str(verdict): int(number) for verdict, number in found}

    def _rows(self, where: str, values: tuple[Any, ...]) -> Iterator[FileRow]:
        query = (
            "SELECT number, path, size, mtime_ns, sha256, verdict, score, result, is_done, target "
            f"FROM files JOIN contents USING (sha256) WHERE {where} ORDER BY number"
        )
        for number, path, size, mtime_ns, sha256, verdict, score, result, is_done, target in self._database.execute(
            query, values
        ).fetchall():
            yield FileRow(
                number=number,
                path=Path(os.fsdecode(path)),
                size=size,
                mtime_ns=mtime_ns,
                scored=Scored(sha256, verdict, score, json.loads(result)),
                is_done=bool(is_done),
                target=None if target is None else Path(os.fsdecode(target)),
            )
