"""Make the report of a results folder: read, make pictures, write the page beside them."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from vlmad_core.errors import ConfigError, VlmadError
from vlmad_core.files import mark_written, write_whole
from vlmad_core.inspection.verdict import labels
from vlmad_core.run.overlay import Scale
from vlmad_core.version import __version__
from vlmad_report.images import Pictures, make_pictures
from vlmad_report.page import detail_of, folders_of, render, row_of
from vlmad_report.source import Source, read_source

__all__ = ["Report", "write_report"]

_LARGEST = 400_000_000
"""Bytes of pictures in a page; browsers fail at about 512 MB of text."""
_INDEX = "files.json"
_THREADS = 2


@dataclass(frozen=True)
class Report:
    """What was written.

    Attributes:
        page: The HTML file.
        n_images: On it.
        verdicts: How many images have each verdict.
        n_bytes: Of the page and its pictures.
        notes: Sentences about what is missing or odd; they stand on the page too.
    """

    page: Path
    n_images: int
    verdicts: Mapping[str, int]
    n_bytes: int
    notes: tuple[str, ...]


def write_report(
    results: str | Path,
    out: str | Path | None = None,
    *,
    embed: bool = False,
    images: str | Path | None = None,
    max_side: int = 1024,
    title: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> Report:
    """Write one HTML page of a results folder, and its pictures in a folder beside it.

    Args:
        results: Folder that `vlmad predict` wrote.
        out: The HTML file; ``report.html`` in ``results`` if None. Pictures go to ``NAME-files`` beside it.
        embed: Put the pictures into the page, so that it is one file.
        images: Where relative paths of images start, if they have moved since.
        max_side: Longer side of the photographs, in pixels.
        title: Shown on top; by default from the class name and the folder.
        progress: Called with 1 for each image that is done.

    Raises:
        ConfigError: The folder holds no results, or something that cannot be shown rightly; or too much to embed.
        VlmadError: The page or a picture cannot be written.
    """
    results = Path(results)
    page = results / "report.html" if out is None else Path(out)
    if page.is_dir():
        raise ConfigError(f"{page}: is a folder; --out must name the HTML file, such as {page / 'report.html'}.")
    if max_side < 64:
        raise ConfigError(f"max_side must be at least 64 pixels, not {max_side}.")
    source = read_source(results)
    places = [Path(images)] if images is not None else []
    places += [Path(str(source.record["started_in"]))] if "started_in" in source.record else []
    places += [Path.cwd(), results]
    scale = _scale(source)
    folders = folders_of([row.path for row in source.rows])
    rows, details, embedded, problems, n_bytes = [], [], {}, Counter[str](), 0
    with _Files(page.parent / f"{page.stem}-files", is_used=not embed) as files:
        for i, pictures in enumerate(_pictures(source, places, scale, max_side)):
            rows.append(row_of(source.rows[i], pictures, folders[i]))
            details.append(detail_of(source.rows[i], pictures))
            problems.update(pictures.problems)
            n_bytes += sum(map(len, pictures.files.values()))
            if embed:
                embedded.update(pictures.files)
                _check_size(n_bytes, i + 1, len(source.rows))
            else:
                files.write(pictures.files)
            if progress is not None:
                progress(1)
        notes = (*source.notes, *_contradictions(source), *(f"{text}: {n} images." for text, n in problems.items()))
        notes = tuple(note[0].upper() + note[1:] for note in notes)
        content = render(
            title=title or _title(source),
            about=_about(source),
            rows=rows,
            details=details,
            calibration=source.calibration,
            scale=scale,
            settings=list(_flat({name: value for name, value in source.record.items() if name != "calibration"})),
            notes=notes,
            folder=quote(os.fsencode(files.folder.name)),
            embedded=embedded.items(),
        )
        files.write_page(page, content)
    verdicts = Counter(str(row.verdict) for row in source.rows)
    return Report(page, len(rows), dict(verdicts), len(content) + (0 if embed else n_bytes), notes)


def _pictures(source: Source, places: list[Path], scale: Scale, max_side: int) -> Iterator[Pictures]:
    """In the order of the rows, a few ahead of what is written, so that memory stays flat."""
    settings = source.record.get("settings")
    bits = settings.get("bits") if isinstance(settings, dict) else None
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="vlmad-report") as pool:
        step = 8 * _THREADS
        for start in range(0, len(source.rows), step):
            yield from pool.map(
                lambda row: make_pictures(row, source.folder, places, scale, max_side=max_side, bits=bits),
                source.rows[start : start + step],
            )


class _Files:
    """The folder of pictures: writes them, and removes those of an earlier report that are no longer used."""

    def __init__(self, folder: Path, *, is_used: bool) -> None:
        self.folder, self._is_used = folder, is_used
        self._names: list[str] = []

    def __enter__(self) -> _Files:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def write(self, files: Mapping[str, bytes]) -> None:
        for name, content in files.items():
            self._put(self.folder / name, content)
            self._names.append(name)

    def write_page(self, page: Path, content: bytes) -> None:
        earlier = self._earlier()
        if self._is_used:
            self._put(self.folder / _INDEX, json.dumps(sorted(self._names), indent=0).encode())
        self._put(page, content)
        mark_written(page.parent, page.name, self.folder.name)
        root = self.folder.resolve()
        for name in set(earlier) - set(self._names):
            path = self.folder / name
            if path.resolve().is_relative_to(root):
                path.unlink(missing_ok=True)

    def _earlier(self) -> list[str]:
        if not self._is_used:
            return []
        try:
            names = json.loads((self.folder / _INDEX).read_bytes())
        except (OSError, ValueError):
            return []
        return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []

    def _put(self, path: Path, content: bytes) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, content)
        except OSError as error:
            raise VlmadError(f"{path}: cannot be written ({error}). Free some space, or use another --out.") from error


def _check_size(n_bytes: int, done: int, total: int) -> None:
    if n_bytes > _LARGEST:
        whole = n_bytes / done * total
        raise ConfigError(
            f"{total} images would make a page of about {whole * 4 / 3e6:.0f} MB, which browsers do not open. Leave "
            "out --embed, so that the pictures lie beside the page, or choose a smaller --max-side."
        )


def _scale(source: Source) -> Scale:
    given = source.record.get("scale")
    if not given:
        return Scale(0.0, 1.0)
    try:
        normal = given.get("normal")
        return Scale(float(given["low"]), float(given["high"]), None if normal is None else float(normal))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{source.folder / 'run.json'}: scale must hold the numbers low and high ({error})."
        ) from error


def _contradictions(source: Source) -> list[str]:
    """Verdicts that do not follow from the scores and the calibration: the page must not hide that."""
    found = []
    record = source.calibration
    decided = [row for row in source.rows if row.verdict in ("pass", "review", "reject") and row.score is not None]
    if record is not None:
        expected = labels([row.score for row in decided], record.threshold, record.review_threshold)  # type: ignore[arg-type]
        n_wrong = sum(str(label) != row.verdict for label, row in zip(expected.tolist(), decided, strict=True))
        if n_wrong:
            found.append(
                f"{n_wrong} verdicts do not follow from the score and the threshold in run.json; the page shows the "
                "recorded verdicts. Were the files edited, or made by two runs?"
            )
    return found


def _title(source: Source) -> str:
    class_name = source.record.get("settings", {}).get("class_name")
    name = source.folder.resolve().name
    return f"{class_name}: {name}" if isinstance(class_name, str) and class_name else name


def _about(source: Source) -> dict[str, Any]:
    """What identifies the report; the id is the same for the same images and scores, so feedback is found again."""
    lines = [[row.path, row.score] for row in source.rows]
    settings = source.record.get("settings", {})
    return {
        "id": hashlib.sha256(json.dumps(lines).encode()).hexdigest()[:20],
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "vlmad": __version__,
        "class_name": settings.get("class_name") if isinstance(settings, dict) else None,
        "results": source.folder.resolve().name,
    }


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value if isinstance(value, str) else json.dumps(value)
