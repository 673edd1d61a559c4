"""The results file: one JSON line an image, each image exactly once, whatever interrupts the run."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from vlmad_core.errors import ConfigError
from vlmad_core.files import refuse_special
from vlmad_core.run.disk import file_name, lock

__all__ = ["Result", "ResultsFile", "evidence_names", "map_names", "overlay_name", "read_results"]

JSONL, CSV = "results.jsonl", "results.csv"
CSV_COLUMNS = (
    *("path", "score", "height", "width", "milliseconds", "anomaly_map", "overlay", "error", "note", "sha256"),
    *("verdict", "threshold", "p_value", "share_below", "confidence", "regions", "opinion"),
    *("reasons", "nearest_normal", "score_without_region", "evidence"),
)


def map_names(path: str) -> tuple[str, str]:
    """Where the map of an image lies in the folder, as PNG and as npy."""
    return f"maps/{file_name(path)}.png", f"maps/{file_name(path)}.npy"


def overlay_name(path: str) -> str:
    """Where the overlay of an image lies in the folder."""
    return f"overlays/{file_name(path)}.jpg"


def evidence_names(path: str) -> tuple[str, str, str]:
    """Where the picture, the numbers and the nearest normal place of an image lie in the folder."""
    name = file_name(path)
    return f"evidence/{name}.jpg", f"evidence/{name}.json", f"evidence/{name}.normal.jpg"


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
        note: What to know of it, such as that only the first of several pages was read.
        sha256: Of the file that was judged.
        stamp: Size and times of that file: while they are the same, it is not judged again.
        verdict: ``pass``, ``review``, ``reject``, ``not this part`` or ``uncalibrated``.
        threshold: Above it is ``reject``, in units of the score.
        p_value: ``(1 + #{normals >= score}) / (n + 1)``.
        share_below: Share of the normals with a lower score, in [0, 1].
        confidence: In ``reject``, exactly 0.5 at the threshold.
        regions: From ``vlmad_core.inspection.regions.region_record``, highest first; in ``results.csv`` their number.
        reasons: With ``--explain``: ``label`` and ``value``, in units of the score; the values add up to it.
        nearest_normal: With ``--explain`` and a memory: ``path`` and ``sha256`` of the normal image, ``box`` in its
            pixels, ``region`` in those of this image, ``crop``, a picture of the place; in ``results.csv`` the path.
        score_without_region: With ``--explain`` and a memory: the score if the area around the highest value of the map
            were its nearest normals.
        evidence: With ``--explain``: file of the picture of the reasons; the numbers are beside it as JSON.
        opinion: A second opinion, from :class:`vlmad_core.run.opinion.Opinion`; in ``results.csv`` in short.
        tiles: In how many tiles it was read beside the whole image; None: in none.
        squeezed: How many of its pixels became one of the encoder's, down and across, where they were more than 36
            together and a small defect may be lost; None elsewhere, and where it was read in tiles.
    """

    path: str
    score: float | None = None
    height: int | None = None
    width: int | None = None
    milliseconds: float | None = None
    anomaly_map: str | None = None
    overlay: str | None = None
    error: str | None = None
    note: str | None = None
    sha256: str | None = None
    stamp: str | None = None
    verdict: str | None = None
    threshold: float | None = None
    p_value: float | None = None
    share_below: float | None = None
    confidence: float | None = None
    regions: Sequence[Mapping[str, Any]] | None = None
    tiles: int | None = None
    squeezed: Sequence[float] | None = None
    reasons: Sequence[Mapping[str, Any]] | None = None
    nearest_normal: Mapping[str, Any] | None = None
    score_without_region: float | None = None
    evidence: str | None = None
    opinion: Mapping[str, Any] | None = None

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
        with refuse_special(path).open("rb") as file:
            yield from (result for result, _ in _lines(file, path))
    except FileNotFoundError as error:
        raise ConfigError(f"{folder}: holds no results ({JSONL} is missing).") from error


class ResultsFile:
    """``results.jsonl`` of one folder, open for this process alone.

    Args:
        folder: Made if needed.
        overwrite: Start afresh: what an earlier run left, and named in its results, is removed.

    Attributes:
        lines: Stamp and hash of each image that has a line, by its path, as it was opened.

    Raises:
        ConfigError: Another process is writing there, or the file is not one of results.
    """

    def __init__(self, folder: str | Path, *, overwrite: bool = False) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / JSONL
        self._file = refuse_special(path).open("ab", buffering=0)  # unbuffered, so that a line is one write
        try:
            lock(self._file, self.folder)
            if os.fstat(self._file.fileno()).st_ino != path.stat().st_ino:  # replaced by another run a moment ago
                raise ConfigError(f"{self.folder}: another run is writing here; wait for it, or use another --out.")
            if overwrite:
                self._clear(path)
            self.lines: dict[str, tuple[str | None, str | None]] = {}
            self._end = 0
            with path.open("rb") as file:
                for result, end in _lines(file, path):
                    self.lines[result.path] = result.stamp, result.sha256
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

    def drop(self, paths: Set[str]) -> None:
        """Take out the lines of images that are judged again, with the files that they name; in one step."""
        target, part = self.folder / JSONL, self.folder / f"{JSONL}.part"
        new = part.open("wb", buffering=0)
        try:
            lock(new, self.folder)
            for result in read_results(self.folder):
                if result.path not in paths:
                    new.write(result.to_json().encode() + b"\n")
            os.fsync(new.fileno())
            end = new.tell()
            part.replace(target)
        except BaseException:
            new.close()
            part.unlink(missing_ok=True)
            raise
        self._file.close()
        self._file, self._end = new, end
        for path in paths & self.lines.keys():
            del self.lines[path]
            self._remove_files(path)

    def sync(self) -> None:
        """Have what was written on the disk itself; once a batch."""
        os.fsync(self._file.fileno())

    def write_csv(self) -> None:
        """``results.csv`` with the same lines, replaced in one step."""
        part = self.folder / f"{CSV}.part"
        try:
            with part.open("w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, CSV_COLUMNS)
                writer.writeheader()
                writer.writerows(_csv_row(result) for result in read_results(self.folder))
            part.replace(self.folder / CSV)
        except OSError:
            part.unlink(missing_ok=True)
            raise

    def _remove_files(self, path: str) -> None:
        """The files of an image, by the names that this run would give them; what a line names otherwise is kept."""
        for name in (*map_names(path), overlay_name(path), *evidence_names(path)):
            (self.folder / name).unlink(missing_ok=True)

    def close(self) -> None:
        """Let others write."""
        self._file.close()

    def _clear(self, path: Path) -> None:
        with suppress(ConfigError):  # a file that cannot be read names nothing to remove
            for result in read_results(self.folder):
                self._remove_files(result.path)
        self._file.truncate(0)
        (self.folder / CSV).unlink(missing_ok=True)


def _csv_row(result: Result) -> dict[str, Any]:
    """A line for spreadsheets, in which no cell is a formula: a path gets './' in front, other text an apostrophe."""
    row = {name: getattr(result, name) for name in CSV_COLUMNS}
    row["regions"] = None if result.regions is None else len(result.regions)
    if result.reasons is not None:
        row["reasons"] = "; ".join(f"{one['label']}: {one['value']:.4g}" for one in result.reasons)
    if result.nearest_normal is not None:
        row["nearest_normal"] = result.nearest_normal.get("path") or "unknown"
    if result.opinion is not None:
        row["opinion"] = ": ".join(filter(None, (str(result.opinion[key]) for key in ("outcome", "sentence"))))
    for name, value in row.items():
        if isinstance(value, str):
            # Bytes of a name that the system could not decode: they are UTF-8 as a rule, and spelt out where not.
            text = value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            formula = text.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
            row[name] = text if not formula else f"./{text}" if name == "path" else f"'{text}"
    return row


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
