"""From a folder, a pattern or a list to the addresses of images, as Parquet files that a run reads."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from vlmad_core.contracts.find import SUFFIXES, search
from vlmad_core.errors import ConfigError, ImageError

__all__ = ["find_addresses", "is_remote", "open_filesystem", "write_manifest"]

COLUMNS = ("uri", "path", "url", "image")
"""Names of the column with addresses that are tried in a list."""


def is_remote(address: str) -> bool:
    """Whether an address has a protocol such as ``s3://``; ``file://`` is local."""
    return "://" in address and not address.startswith("file://")


def open_filesystem(address: str) -> tuple[Any, str]:
    """The file system of an address, and the path on it.

    Raises:
        ConfigError: The protocol is unknown, or the package for it is not installed.
    """
    try:
        filesystem, path = fsspec.core.url_to_fs(address)
    except (ImportError, ValueError) as error:
        raise ConfigError(f"{address}: cannot be opened: {error}.") from error
    return filesystem, path


def find_addresses(source: str, column: str | None = None) -> tuple[list[str], str]:
    """Every image of a source, each once, and what was passed over, in a sentence.

    Args:
        source: A folder, a pattern, or a ``.parquet`` or ``.csv`` file with a column of addresses; local, or with a
            protocol of fsspec such as s3, gs or http.
        column: Of the list; None: the first of `COLUMNS` that it has.

    Raises:
        ImageError: There is nothing, or it cannot be reached; an access that was refused is named.
    """
    if source.lower().endswith((".parquet", ".csv")):
        listed = list(_listed(source, column))
        addresses = list(dict.fromkeys(listed))
        copies = len(listed) - len(addresses)
        note = f"{copies} rows of {source} name an image that another row names; each is judged once." if copies else ""
    elif is_remote(source):
        addresses, note = _remote(source)
    else:
        found = search(source.removeprefix("file://"))
        addresses, note = [os.path.abspath(path) for path in found.images], found.message  # noqa: PTH100 - no links
    if not addresses:
        raise ImageError(f"{source}: holds no address of an image.")
    return addresses, note


def write_manifest(addresses: Sequence[str], folder: Path, rows: int) -> int:
    """The addresses as Parquet files of at most so many rows, each of which becomes one piece of work.

    Args:
        addresses: Each once.
        folder: Of the files; those of an earlier run are replaced.
        rows: In a file.

    Returns:
        The number of files.
    """
    folder.mkdir(exist_ok=True)
    for old in folder.glob("part-*.parquet"):
        old.unlink()
    starts = range(0, len(addresses), rows)
    for number, start in enumerate(starts):
        table = pa.table({"path": pa.array(addresses[start : start + rows], pa.string())})
        pq.write_table(table, folder / f"part-{number:06}.parquet")
    return len(starts)


def _listed(source: str, column: str | None) -> Iterator[str]:
    filesystem, path = open_filesystem(source)
    try:
        with filesystem.open(path, "rb") as file:
            table = pq.read_table(file) if source.lower().endswith(".parquet") else pyarrow.csv.read_csv(file)
    except (OSError, pa.ArrowInvalid) as error:
        raise ImageError(f"{source}: cannot be read ({error}).") from error
    names = [column] if column is not None else [name for name in COLUMNS if name in table.column_names]
    if not names or names[0] not in table.column_names:
        wanted = f"'{column}'" if column else ", ".join(COLUMNS)
        raise ImageError(
            f"{source}: has the columns {', '.join(table.column_names)}; addresses were looked for in {wanted}. Name "
            "the column with --column."
        )
    folder = "" if is_remote(source) else os.path.dirname(os.path.abspath(source))  # noqa: PTH100,PTH120
    for value in table[names[0]].to_pylist():
        if not value:
            continue
        yield str(value) if is_remote(str(value)) else os.path.join(folder, str(value).removeprefix("file://"))  # noqa: PTH118


def _remote(source: str) -> tuple[list[str], str]:
    filesystem, path = open_filesystem(source)
    try:
        names = filesystem.glob(path) if any(sign in path for sign in "*?[") else filesystem.find(path)
    except Exception as error:  # each file system has errors of its own
        raise ImageError(
            f"{source}: cannot be listed ({type(error).__name__}: {' '.join(str(error).split())}). Are there "
            "credentials for it in the environment, and is the address right?"
        ) from error
    images = [name for name in sorted(names) if os.path.splitext(name)[1].lower() in SUFFIXES]  # noqa: PTH122
    others = len(names) - len(images)
    note = f"passed over: {others} files with the ending of no image." if others else ""
    return [filesystem.unstrip_protocol(name) for name in images], note
