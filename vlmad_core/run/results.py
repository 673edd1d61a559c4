"""The results file: one JSON line an image, each image exactly once, whatever interrupts the run."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Self

from vlmad_core.errors import ConfigError
from vlmad_core.run.disk import lock

__all__ = ["Result", "ResultsFile", "read_results"]

JSONL, CSV = "results.jsonl", "results.csv"


@dataclass(frozen=True, kw_only=True)
class Result:
    """One image, as a line of ``results.jsonl``.

    Args:
        path: As it was given or found.
        score: Higher is more anomalous; None if it could not be judged.
        height: Of the image as it was given.
        width: Likewise.
        milliseconds: Its share of the time that its batch took to read and judge.
        anomaly_map: File of its map, relative to the folder of the results.
        overlay: File of its overlay, likewise.
        error: Why it could not be judged.
    """

    path: str
    score: float | None = None
    height: int | None = None
    width: int | None = None
    milliseconds: float | None = None
    anomaly_map: str | None = None
    overlay: str | None = None
    error: str | None = None

    def to_json(self) -> str:
        """The line, without its end."""
        return json.dumps(asdict(self), allow_nan=False)

    @classmethod
    def from_json(cls, line: bytes | str) -> Self | None:
        """The result that a line holds, or None."""
        try:
            result = cls(**json.loads(line))
        except (ValueError, TypeError):
            return None
        return result if isinstance(result.path, str) else None


def read_results(folder: str | Path) -> Iterator[Result]:
    """Every result in a folder, one at a time; a last line that was cut short is passed over.

    Raises:
        ConfigError: No results are there, or a line in the middle is none.
    """
    path = Path(folder) / JSONL
    try:
        with path.open("rb") as file:
            yield from (result for result, _ in _lines(file, path))
    except FileNotFoundError as error:
        raise ConfigError(f"{folder}: holds no results ({JSONL} is missing).") from error


class ResultsFile:
    """``results.jsonl`` of one folder, open for this process alone.

    Args:
        folder: Made if needed.
        overwrite: Start afresh: what an earlier run left, and named in its results, is removed.

    Attributes:
        paths: Of the images that have a line, as it was opened.

    Raises:
        ConfigError: Another process is writing there, or the file is not one of results.
    """

    def __init__(self, folder: str | Path, *, overwrite: bool = False) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / JSONL
        self._file = path.open("ab", buffering=0)  # unbuffered, so that a line is one write
        try:
            lock(self._file, self.folder)
            if overwrite:
                self._clear(path)
            self.paths: set[str] = set()
            self._end = 0
            with path.open("rb") as file:
                for result, end in _lines(file, path):
                    self.paths.add(result.path)
                    self._end = end
            self._file.truncate(self._end)
        except BaseException:
            self._file.close()
            raise

    def append(self, result: Result) -> None:
        """Add a line, in one write; if there is no room for all of it, none of it stays."""
        line = result.to_json().encode() + b"\n"
        try:
            if self._file.write(line) != len(line):
                self._file.write(line)  # a short write is a full disk; asking again raises with the system's reason
                raise OSError("only part of a line could be written")
        except OSError:
            self._file.truncate(self._end)
            raise
        self._end += len(line)

    def sync(self) -> None:
        """Have what was written on the disk itself; once a batch."""
        os.fsync(self._file.fileno())

    def write_csv(self) -> None:
        """``results.csv`` with the same lines, replaced in one step."""
        part = self.folder / f"{CSV}.part"
        try:
            with part.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
                writer = csv.DictWriter(file, [field.name for field in fields(Result)])
                writer.writeheader()
                writer.writerows(asdict(result) for result in read_results(self.folder))
            part.replace(self.folder / CSV)
        except OSError:
            part.unlink(missing_ok=True)
            raise

    def close(self) -> None:
        """Let others write."""
        self._file.close()

    def _clear(self, path: Path) -> None:
        root = self.folder.resolve()
        with suppress(ConfigError):  # a file that cannot be read names nothing to remove
            for result in read_results(self.folder):
                for name in (result.anomaly_map, result.overlay):
                    if name and (self.folder / name).resolve().is_relative_to(root):
                        (self.folder / name).unlink(missing_ok=True)
        self._file.truncate(0)
        (self.folder / CSV).unlink(missing_ok=True)


def _lines(file: io.BufferedReader, path: Path) -> Iterator[tuple[Result, int]]:
    """Results, each with the place where its line ends; stops before a last line that is not whole."""
    end = 0
    for number, line in enumerate(file, 1):
        result = Result.from_json(line) if line.endswith(b"\n") else None
        if result is None:
            if file.read(1):
                raise ConfigError(
                    f"{path}: line {number} is not a result; mend or remove the file, or use another --out."
                )
            return
        end += len(line)
        yield result, end
