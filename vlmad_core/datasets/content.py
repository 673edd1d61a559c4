"""What is in the files of a data set, as hashes: a replaced or relabelled file is another one, a renamed copy is not.

A file is hashed once: its hash is kept with its size and the time of its last change, and is read again only where one
of them differs. Free of torch.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from vlmad_core.errors import ConfigError
from vlmad_core.files import refuse_special, write_whole

if TYPE_CHECKING:
    from vlmad_core.contracts.images import ImageLike
    from vlmad_core.datasets.base import Sample

__all__ = ["FileHashes", "contents_of", "fingerprint", "hash_of", "known_hashes", "prepare"]

_SETTLED = 2.0
"""Seconds after a change from which the time of change can be relied on: some file systems count whole seconds."""
_THREADS = 4
_SHORT = 16
_MOST = 4096

Known = tuple[int, int, str]
"""Size in bytes, time of the last change in nanoseconds, SHA-256 as hexadecimal digits."""


class FileHashes:
    """SHA-256 of files, each read once while it does not change; several threads may ask.

    Attributes:
        read: How many files were read.
    """

    def __init__(self) -> None:
        self.read = 0
        self._known: dict[str, Known] = {}
        self._lock = Lock()

    def of(self, path: str | Path) -> str:
        """The hash of a file's content; ``"unreadable"`` where it cannot be read."""
        name = os.path.abspath(path)  # noqa: PTH100 - without following links, and for names of any encoding
        try:
            status = os.stat(name)  # noqa: PTH116
            known = self._known.get(name)
            if known is not None and known[:2] == (status.st_size, status.st_mtime_ns):
                return known[2]
            with open(name, "rb") as file:  # noqa: PTH123
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            return "unreadable"
        with self._lock:
            self.read += 1
            if time.time() - status.st_mtime > _SETTLED:
                self._known[name] = (status.st_size, status.st_mtime_ns, digest)
        return digest

    def prepare(self, paths: Iterable[str | Path]) -> None:
        """Hash many files in several threads, so that :meth:`of` knows them."""
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="vlmad-hash") as pool:
            for _ in pool.map(self.of, paths):
                pass

    def load(self, path: Path) -> None:
        """Take over what :meth:`save` wrote; a file that is not there or damaged is passed over."""
        with suppress(OSError, ValueError, TypeError, AttributeError, ConfigError):
            saved: Mapping[str, Known] = json.loads(refuse_special(path).read_text(encoding="utf-8"))
            found = {str(name): (int(one[0]), int(one[1]), str(one[2])) for name, one in saved.items()}
            with self._lock:
                self._known = {**found, **self._known}

    def save(self, path: Path, files: Iterable[str | Path]) -> None:
        """Write the hashes of these files, for another process.

        Args:
            path: A JSON file, replaced in one step.
            files: Those to write; others stay out.
        """
        names = dict.fromkeys(os.path.abspath(file) for file in files)  # noqa: PTH100
        kept = {name: self._known[name] for name in names if name in self._known}
        write_whole(path, json.dumps(kept).encode())


known_hashes = FileHashes()
"""Of this process."""


def hash_of(source: ImageLike, hashes: FileHashes = known_hashes) -> str:
    """SHA-256 of a file's bytes, or of an image in memory: its pixels, size and type."""
    if isinstance(source, str | Path):
        return hashes.of(source)
    about = f"{getattr(source, 'shape', None) or source.size} {getattr(source, 'dtype', None) or source.mode} "  # type: ignore[union-attr]
    return hashlib.sha256(about.encode() + source.tobytes()).hexdigest()


def prepare(samples: Iterable[Sample], hashes: FileHashes = known_hashes) -> None:
    """Hash the images and masks of samples in several threads."""
    sources = (source for sample in samples for source in (sample.image, *sample.masks))
    hashes.prepare(source for source in sources if isinstance(source, str | Path))


def fingerprint(samples: Iterable[Sample], hashes: FileHashes = known_hashes) -> str:
    """SHA-256 over samples, in any order and wherever their files lie, whatever the files are called.

    A sample counts by category, split, kind, label, and the content of its image and masks.
    """
    samples = list(samples)
    prepare(samples, hashes)
    lines = sorted(
        f"{sample.category}/{sample.split}/{sample.kind}/{sample.label} "
        + " ".join(hash_of(source, hashes) for source in (sample.image, *sample.masks))
        for sample in samples
    )
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def contents_of(samples: Iterable[Sample], *, most: int | None = _MOST, hashes: FileHashes = known_hashes) -> list[str]:
    """Short hashes of images alone, sorted: two data sets that share an image share one of them.

    Args:
        samples: Their images count, and neither names nor masks.
        most: Of a larger data set the smallest ones, which are a random draw; None: all.
        hashes: Of files.

    Returns:
        16 hexadecimal digits each.
    """
    samples = list(samples)
    hashes.prepare(sample.image for sample in samples if isinstance(sample.image, str | Path))
    found = {hash_of(sample.image, hashes)[:_SHORT] for sample in samples} - {"unreadable"}
    return sorted(found)[:most]
