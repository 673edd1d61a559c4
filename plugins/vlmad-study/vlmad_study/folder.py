"""The folder of a study: its settings, how much of it fits, the time it took; one process at a time."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Self

from vlmad_core.errors import ConfigError
from vlmad_core.files import mark_written, refuse_special, write_whole
from vlmad_core.report import ROWS, read_rows
from vlmad_core.run.disk import lock
from vlmad_core.run.settings import differences
from vlmad_core.version import __version__
from vlmad_study.settings import Scope, StudySettings

__all__ = ["PLAN", "StudyFolder", "check_rows", "drop_partial_rows"]

PLAN = "study-plan.json"
_PICTURES = ("images", "trained")
"""Folders with pictures that are no images of the user; sections mark their own."""
_FREE = {"minutes", "batch_size", "workers", "device"}
"""What may change from one call to the next: more time completes what was cut."""


class StudyFolder:
    """Opened for one call.

    Args:
        path: Made if needed.
        settings: Compared with those that made the folder.

    Raises:
        ConfigError: The path is a file, holds another study, cannot be written to, or another process writes there.
    """

    def __init__(self, path: Path, settings: StudySettings) -> None:
        if path.exists() and not path.is_dir():
            raise ConfigError(f"{path}: is a file; --out must name a folder.")
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = (path / ".study-lock").open("w")
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written to ({error.strerror}); choose another --out.") from error
        try:
            lock(self._lock, path)
            self.record = self._read(settings)
            mark_written(path, *_PICTURES)
        except BaseException:
            self._lock.close()
            raise
        self._since = time.perf_counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.close()

    @property
    def scope(self) -> Scope | None:
        """As it was chosen; None before that."""
        scope = self.record.get("scope")
        return None if scope is None else Scope.model_validate(scope)

    def save_scope(self, scope: Scope) -> Scope:
        """Write it down, so that the next call uses the same images."""
        self.record["scope"] = scope.model_dump(mode="json")
        self._write()
        return scope

    def save_facts(self, **facts: Any) -> None:
        """Versions and weights, for the report.

        Raises:
            ConfigError: What is in the folder was made with others.
        """
        before = self.record.setdefault("facts", {})
        changed = differences({k: v for k, v in before.items() if k in facts}, facts) if before else ""
        if changed:
            raise ConfigError(f"{self.path}: was made with something else: {changed}. Use another --out.")
        before |= json.loads(json.dumps(facts))
        self._write()

    def save_time(self) -> None:
        """Add the time since the last call, so that what a killed run took is counted."""
        now = time.perf_counter()
        self.record["seconds"] = round(self.record.get("seconds", 0.0) + now - self._since, 1)
        self._since = now
        self._write()

    def _read(self, settings: StudySettings) -> dict[str, Any]:
        asked = {"vlmad": __version__, "study": settings.model_dump(mode="json", exclude=_FREE)}
        path = self.path / PLAN
        try:
            before: dict[str, Any] = json.loads(refuse_special(path).read_text(encoding="utf-8"))
            changed = differences(before["asked"], asked)
        except FileNotFoundError:
            return {"asked": asked}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{path}: cannot be read as a plan of a study; use another --out.") from error
        if changed:
            raise ConfigError(f"{self.path}: was made by another study: {changed}. Use another --out.")
        return before

    def _write(self) -> None:
        write_whole(self.path / PLAN, (json.dumps(self.record, indent=1) + "\n").encode())


def check_rows(folder: Path, cells: Collection[str]) -> None:
    """Refuse to mix results of methods as they are now with what they were: a plugin or the data has changed.

    Args:
        folder: Of a section.
        cells: Keys of all rows that it should hold in the end.

    Raises:
        ConfigError: It holds others.
    """
    if not (folder / ROWS).exists():
        return
    unknown = list(dict.fromkeys(row["method"] for row in read_rows(folder) if row["cell"] not in cells))
    if unknown:
        raise ConfigError(
            f"{folder}: holds rows of {', '.join(unknown[:3])} as it was before; a plugin, a recipe or the data has "
            "changed since. Use another --out."
        )


def drop_partial_rows(folder: Path) -> None:
    """Keep the categories that most methods have finished, and the methods that have finished all of these.

    What is dropped is measured again when the study goes on: means over different categories cannot be compared.
    """
    if not (folder / ROWS).exists():
        return
    rows = read_rows(folder)
    finished: dict[tuple[Any, ...], set[tuple[str, str]]] = {}
    for row in rows:
        finished.setdefault(_method(row), set()).add((row["dataset"], row["category"]))

    def size(kept: set[tuple[str, str]]) -> int:
        return len(kept) * sum(kept <= own for own in finished.values())

    best = max(finished.values(), key=size, default=set())
    kept = [r for r in rows if (r["dataset"], r["category"]) in best and best <= finished[_method(r)]]
    write_whole(folder / ROWS, b"".join(json.dumps(row, allow_nan=False).encode() + b"\n" for row in kept), sync=True)


def _method(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["method"], row["shots"], row["seed"]
