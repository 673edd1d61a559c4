"""The database of a server: SQLite in one file, written by one connection at a time and read by many.

It is in WAL mode with full synchronisation: what was answered is in it after a crash of the process or the machine.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vlmad_core.errors import ConfigError

__all__ = ["Store"]

_FORMAT = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS versions (
  detector TEXT NOT NULL, version INTEGER NOT NULL, created REAL NOT NULL, reason TEXT NOT NULL, origin TEXT NOT NULL,
  is_active INTEGER NOT NULL, details TEXT NOT NULL, PRIMARY KEY (detector, version));
CREATE TABLE IF NOT EXISTS operating (
  detector TEXT PRIMARY KEY, false_alarms REAL, review REAL, confidence REAL);
CREATE TABLE IF NOT EXISTS normals (
  detector TEXT NOT NULL, sha256 TEXT NOT NULL, file TEXT NOT NULL, name TEXT NOT NULL, grouping TEXT NOT NULL,
  kind TEXT NOT NULL, PRIMARY KEY (detector, sha256));
CREATE TABLE IF NOT EXISTS results (
  id TEXT PRIMARY KEY, detector TEXT NOT NULL, version INTEGER NOT NULL, received REAL NOT NULL, name TEXT NOT NULL,
  sha256 TEXT NOT NULL, file TEXT NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL, score REAL NOT NULL,
  verdict TEXT NOT NULL, threshold REAL, review_threshold REAL, p_value REAL, share_below REAL, confidence REAL,
  false_alarms REAL, class_distance REAL, class_p_value REAL, reason TEXT NOT NULL, regions TEXT NOT NULL,
  nearest TEXT NOT NULL, milliseconds REAL NOT NULL, note TEXT NOT NULL, bytes INTEGER NOT NULL,
  has_files INTEGER NOT NULL, drift REAL NOT NULL, label TEXT, comment TEXT NOT NULL DEFAULT '', applied INTEGER);
CREATE INDEX IF NOT EXISTS results_of_detector ON results (detector, id);
CREATE INDEX IF NOT EXISTS results_with_label ON results (detector, label) WHERE label IS NOT NULL;
CREATE INDEX IF NOT EXISTS results_with_files ON results (id) WHERE has_files = 1;
CREATE INDEX IF NOT EXISTS results_of_file ON results (file);
CREATE TABLE IF NOT EXISTS feedback (
  id INTEGER PRIMARY KEY, at REAL NOT NULL, result TEXT NOT NULL, label TEXT, comment TEXT NOT NULL, by TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS audit (
  id INTEGER PRIMARY KEY, at REAL NOT NULL, detector TEXT NOT NULL, action TEXT NOT NULL, by TEXT NOT NULL,
  details TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS drift (
  detector TEXT PRIMARY KEY, version INTEGER NOT NULL, last TEXT NOT NULL, state TEXT NOT NULL);
"""


class Store:
    """The open database.

    Args:
        path: Made if needed.

    Raises:
        ConfigError: It is no database of vlmad-serve, or cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._local = threading.local()
        self._readers: list[sqlite3.Connection] = []
        try:
            self._writer = self._connect()
            self._writer.execute("PRAGMA synchronous = FULL")
            found = self._writer.execute("PRAGMA user_version").fetchone()[0]
            if found not in (0, _FORMAT):
                raise ConfigError(f"{path}: has format {found}, this vlmad reads {_FORMAT}; upgrade vlmad-serve.")
            self._writer.executescript(_SCHEMA)
            self._writer.execute(f"PRAGMA user_version = {_FORMAT}")
        except sqlite3.Error as error:
            raise ConfigError(f"{path}: is not a database of vlmad-serve, or is damaged ({error}).") from error

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=30, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA busy_timeout = 30000")
        return connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it is kept, or nothing. Inside another one it is part of that."""
        with self._lock:
            if self._writer.in_transaction:
                yield self._writer
                return
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
            except BaseException:
                self._writer.execute("ROLLBACK")
                raise
            self._writer.execute("COMMIT")

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """All rows of a query, by a connection of the calling thread."""
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._connect()
            with self._lock:
                self._readers.append(connection)
        return list(connection.execute(sql, values))

    def row(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Row | None:
        """The first row of a query, or None."""
        found = self.rows(sql, values)
        return found[0] if found else None

    def close(self) -> None:
        """Close every connection; the log is merged into the file."""
        with self._lock:
            for connection in (*self._readers, self._writer):
                connection.close()
            self._readers.clear()
