"""Which files a search for images finds, and which it passes over, with the reason. Free of torch and PIL."""

from __future__ import annotations

import glob
import os
import stat
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from vlmad_core.errors import ImageError
from vlmad_core.files import written_here

__all__ = ["SUFFIXES", "Found", "PassedOver", "find_images", "search", "search_folder", "special_file"]

_READABLE = (
    ".apng .avif .avifs .bmp .dib .gif .icb .j2c .j2k .jfif .jp2 .jpc .jpe .jpeg .jpf .jpg .jpx .mpo .pbm .pfm .pgm "
    ".png .pnm .ppm .tga .tif .tiff .vda .vst .webp "
    ".dcm .dicom"  # pydicom, where it is installed
)
SUFFIXES = frozenset(_READABLE.split())
"""File name endings, in lower case, of the formats that can be read; a folder is searched for them."""

_NO_IMAGES = (
    ".cfg .csv .db .docx .htm .html .ini .ipynb .json .jsonl .log .md .npy .npz .odt .pdf .pt .py .rst .safetensors "
    ".sh .toml .tsv .txt .xls .xlsx .xml .yaml .yml"
)
_COMPANIONS = frozenset(_NO_IMAGES.split())
"""Endings of files that lie beside images and are none; they are passed over without a message."""

_PROGRAM_FOLDERS = frozenset({".git", ".svn", ".hg", ".dvc", ".venv", ".idea", ".vscode", ".cache", ".Trash"})
_HIDDEN_NAMES = frozenset({"thumbs.db", "desktop.ini", ".ds_store"})
_NAMED = 3


@dataclass(frozen=True)
class PassedOver:
    """A file or folder that a search did not take.

    Args:
        path: The file or folder.
        reason: In the words of :attr:`Found.message`, such as ``"file with an unknown ending"``.
    """

    path: Path
    reason: str


@dataclass(frozen=True)
class Found:
    """What a search gave.

    Args:
        images: Each once, in order.
        passed_over: What was not taken although it might be meant.
    """

    images: tuple[Path, ...]
    passed_over: tuple[PassedOver, ...] = ()

    @property
    def message(self) -> str:
        """What was passed over, counted by reason, with a few names each; empty where nothing was."""
        groups: dict[str, list[Path]] = {}
        for item in self.passed_over:
            groups.setdefault(item.reason, []).append(item.path)
        texts = []
        for reason, paths in groups.items():
            more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
            texts.append(f"{len(paths)} x {reason} ({', '.join(map(str, paths[:_NAMED]))}{more})")
        return f"passed over: {'; '.join(texts)}." if texts else ""


def find_images(sources: str | Path | Iterable[str | Path]) -> list[Path]:
    """Files, folders (searched to the bottom) and glob patterns, as a list of image files, each once, in order.

    A file that is named outright is kept whatever its ending. Links are followed, and a folder is searched once, so a
    link that leads back up does no harm. Hidden files, and what vlmad wrote itself, are passed over. What else is
    passed over is counted and named in a ``UserWarning``; :func:`search` returns it instead.

    Raises:
        ImageError: A source that does not exist, or that holds no image.
    """
    found = search(sources)
    if found.passed_over:
        warnings.warn(found.message, UserWarning, stacklevel=2)
    return list(found.images)


def search(sources: str | Path | Iterable[str | Path]) -> Found:
    """As :func:`find_images`, with what was passed over.

    Raises:
        ImageError: A source that does not exist, or that holds no image.
    """
    images: dict[Path, None] = {}
    passed: dict[Path, PassedOver] = {}
    for source in [sources] if isinstance(sources, str | Path) else sources:
        found = _source(source)
        if not found.images:
            raise ImageError(_nothing_found(source, found))
        images.update(dict.fromkeys(found.images))
        passed.update((item.path, item) for item in found.passed_over)
    return Found(tuple(images), tuple(item for path, item in passed.items() if path not in images))


def _source(source: str | Path) -> Found:
    path = Path(source)
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        if isinstance(error, PermissionError):
            raise ImageError(f"{path}: may not be read (permission denied).") from error
        if path.is_symlink():
            raise ImageError(f"{path}: is a link that leads nowhere, or in a circle.") from error
        mode = 0
    if stat.S_ISDIR(mode):
        return search_folder(path)
    if mode:
        return _own_left_out([path])
    if not glob.has_magic(str(source)):
        raise ImageError(f"{path}: no such file or folder.")
    try:
        matches = [Path(name) for name in glob.glob(str(source), recursive=True)]  # noqa: PTH207 - absolute patterns
    except OSError:
        matches = []
    once: dict[tuple[str, str], Path] = {}  # a link that leads back up gives the same file again and again
    for match in sorted(matches, key=lambda p: (len(p.parts), p)):
        once.setdefault((os.path.realpath(match.parent), match.name), match)
    files = [p for p in sorted(once.values()) if not p.is_dir()]
    found = _own_left_out([p for p in files if p.suffix.lower() in SUFFIXES and p.is_file()])
    rest = (PassedOver(p, reason) for p in files if (reason := _reason(p)))
    return Found(found.images, (*found.passed_over, *rest))


def _nothing_found(source: str | Path, found: Found) -> str:
    rest = f" {found.message[0].upper()}{found.message[1:]}" if found.passed_over else ""
    path = Path(source)
    if path.is_dir():
        return f"{path}: no image in this folder (looked for {', '.join(sorted(SUFFIXES))}).{rest}"
    if found.passed_over:
        return f"{source}: no image to judge.{rest}"
    hint = ""
    if "[" in str(source):
        hint = f" A bracket in a name is written [[] in a pattern: '{str(source).replace('[', '[[]')}'."
    return f"{source}: matches no image.{hint}"


def search_folder(root: Path) -> Found:
    """Everything below a folder, sorted.

    A folder is searched once: a link to a folder that was searched already, or that leads back up, is not followed.
    """
    own = _own_part(root)
    if own is not None:
        return Found((), (PassedOver(root, f"folder that vlmad wrote, see {own}"),))
    images: list[Path] = []
    passed: list[PassedOver] = []
    seen: set[tuple[int, int]] = set()
    folders, links = [root], list[Path]()
    while folders or links:
        is_link = not folders  # links last, so that a picture is found under its own path where it has one
        folder = links.pop(0) if is_link else folders.pop(0)
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as entries:
                inside = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            reason = (
                "folder that may not be read" if isinstance(error, PermissionError) else "folder that cannot be read"
            )
            passed.append(PassedOver(folder, reason))
            continue
        own_names = written_here(folder)
        for entry in inside:
            path = folder / entry.name
            if entry.name in own_names:
                continue
            if _is_folder(entry):
                if entry.name.startswith("."):
                    if entry.name not in _PROGRAM_FOLDERS:
                        passed.append(PassedOver(path, "hidden folder"))
                else:
                    (links if is_link or entry.is_symlink() else folders).append(path)
            elif path.suffix.lower() in SUFFIXES and not entry.name.startswith(".") and _is_file(entry):
                images.append(path)
            elif reason := _reason(path):
                passed.append(PassedOver(path, reason))
    return Found(tuple(sorted(images)), tuple(passed))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads in a circle
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False


def _reason(path: Path) -> str:
    """Why a file is not taken; empty where nobody would expect it to be."""
    try:
        mode = path.stat().st_mode
    except PermissionError:
        return "file that may not be read"
    except OSError:
        return "broken link"
    if kind := special_file(mode):
        return kind
    suffix = path.suffix.lower()
    if path.name.startswith("."):
        return "hidden file" if suffix in SUFFIXES and not path.name.startswith("._") else ""
    if suffix in SUFFIXES or suffix in _COMPANIONS or path.name.lower() in _HIDDEN_NAMES:
        return ""
    return "file with an unknown ending"


def special_file(mode: int) -> str:
    """What a file is that is no regular one, from its ``st_mode``; empty for a regular file and for a folder."""
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return ""
    kinds = ((stat.S_ISFIFO, "pipe"), (stat.S_ISSOCK, "socket"), (stat.S_ISCHR, "device"), (stat.S_ISBLK, "device"))
    return next((name for test, name in kinds if test(mode)), "special file")


def _own_left_out(paths: list[Path]) -> Found:
    passed = [PassedOver(path, f"file that vlmad wrote, see {own}") for path in paths if (own := _own_part(path))]
    left_out = {item.path for item in passed}
    return Found(tuple(path for path in paths if path not in left_out), tuple(passed))


def _own_part(path: Path) -> Path | None:
    """The folder of a run that this file or folder is a part of, if there is one."""
    absolute = Path(os.path.abspath(path))  # noqa: PTH100 - without following links
    return next((folder for folder, name in _steps(absolute) if name in written_here(folder)), None)


def _steps(path: Path) -> Iterator[tuple[Path, str]]:
    while path != path.parent:
        yield path.parent, path.name
        path = path.parent
