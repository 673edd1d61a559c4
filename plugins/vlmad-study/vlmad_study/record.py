"""``study-plan.json``: what a study was asked, how much of it fits, and the time it took; one process at a time."""

from __future__ import annotations

import json
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any, Self

from vlmad_core.errors import ConfigError
from vlmad_core.files import write_whole
from vlmad_core.report.rows import ROWS, read_rows
from vlmad_core.run.disk import lock
from vlmad_core.run.settings import differences
from vlmad_core.version import __version__
from vlmad_study.settings import Scope, StudySettings

__all__ = ["PLAN", "StudyFolder", "check_rows"]

PLAN = "study-plan.json"
_FREE = {"minutes"}
"""What may change between two parts of a run: it decided how much fits, and that is kept."""


class StudyFolder:
    """Opened for one run.

    Args:
        path: Made if needed.
        settings: Compared with those that made the folder.

    Raises:
        ConfigError: A file, another study, or another process is writing there.
    """

    def __init__(self, path: Path, settings: StudySettings) -> None:
        if path.exists() and not path.is_dir():
            raise ConfigError(f"{path}: is a file; --out must name a folder.")
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self._lock = (path / ".study-lock").open("w")
        try:
            lock(self._lock, path)
            self.record = self._read(settings)
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
        told = self.record.get("scope")
        return None if told is None else Scope.model_validate(told)

    def keep_scope(self, scope: Scope) -> None:
        """Write it down, so that a study that goes on goes on with the same images."""
        self.record["scope"] = scope.model_dump(mode="json")
        self._write()

    def note(self, **facts: Any) -> None:
        """Facts for the report; other weights than before are refused.

        Raises:
            ConfigError: What is in the folder was made with other weights.
        """
        before = self.record.setdefault("facts", {})
        told = differences({k: v for k, v in before.items() if k in facts}, facts) if before else ""
        if told:
            raise ConfigError(f"{self.path}: was made with something else: {told}. Use another --out.")
        before |= json.loads(json.dumps(facts))
        self._write()

    def touch(self) -> None:
        """Count the time since the last call, so that what a killed run took is not forgotten."""
        now = time.perf_counter()
        self.record["seconds"] = round(self.record.get("seconds", 0.0) + now - self._since, 1)
        self._since = now
        self._write()

    def _read(self, settings: StudySettings) -> dict[str, Any]:
        asked = {"vlmad": __version__, "study": settings.model_dump(mode="json", exclude=_FREE)}
        path = self.path / PLAN
        try:
            before: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            told = differences(before["asked"], asked)
        except FileNotFoundError:
            return {"asked": asked}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{path}: cannot be read as a plan of a study; use another --out.") from error
        if told:
            raise ConfigError(f"{self.path}: was made by another study: {told}. Use another --out.")
        return before

    def _write(self) -> None:
        write_whole(self.path / PLAN, (json.dumps(self.record, indent=1) + "\n").encode())


def check_rows(folder: Path, cells: Collection[str]) -> None:
    """Refuse to mix what methods are now with what they were: a plugin that was updated, images that came or went.

    Args:
        folder: Of a section.
        cells: Keys of all rows that it should hold in the end.

    Raises:
        ConfigError: It holds others.
    """
    if not (folder / ROWS).exists():
        return
    strange = list(dict.fromkeys(row["method"] for row in read_rows(folder) if row["cell"] not in cells))
    if strange:
        raise ConfigError(
            f"{folder}: holds rows of {', '.join(strange[:3])} as it was before; a plugin, a recipe or the data has "
            "changed since. Use another --out."
        )
