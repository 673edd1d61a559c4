"""Images and anomaly maps on the disk: named by the server, in one folder, the oldest deleted when they are too many.

An image is named by the hash of its content, a map by the number of its result. No name that a client gave is used.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections import Counter
from pathlib import Path

from vlmad_core.files import write_whole
from vlmad_serve.store import Store

__all__ = ["SUFFIXES", "Archive"]

SUFFIXES = {
    "AVIF": "avif",
    "BMP": "bmp",
    "DIB": "dib",
    "GIF": "gif",
    "JPEG": "jpg",
    "JPEG2000": "jp2",
    "MPO": "jpg",
    "PNG": "png",
    "PPM": "ppm",
    "TGA": "tga",
    "TIFF": "tif",
    "WEBP": "webp",
}
"""Format of PIL to the suffix of its files."""

_STEP = 500


class Archive:
    """Files of one data folder.

    Args:
        folder: Of the data; ``images`` and ``maps`` are made in it.
        store: Knows which files belong to which result.
        keep_bytes: Of all files together; see :meth:`trim`.
    """

    def __init__(self, folder: Path, store: Store, keep_bytes: int) -> None:
        self._images, self._maps = folder / "images", folder / "maps"
        self._store, self._keep = store, keep_bytes
        self._lock, self._in_use = threading.Lock(), Counter[str]()
        row = store.row("SELECT COALESCE(SUM(bytes), 0) AS total FROM results WHERE has_files = 1")
        self._total = int(row["total"]) if row else 0

    def image_path(self, file: str) -> Path:
        """Where a stored image lies.

        Args:
            file: As :meth:`put_image` gave it; anything else is a fault of the program.
        """
        if not re.fullmatch(r"[0-9a-f]{64}\.[a-z0-9]{2,4}", file):
            raise ValueError(f"not a name of this archive: {file!r}")
        return self._images / file[:2] / file

    def map_path(self, result: str) -> Path:
        """Where the map of a result lies, in the format of ``vlmad_core.run.maps``."""
        if not re.fullmatch(r"[0-9a-f]{24}", result):
            raise ValueError(f"not a number of a result: {result!r}")
        return self._maps / result[:8] / f"{result}.png"  # a folder for each 72 minutes

    def put_image(self, data: bytes, suffix: str) -> str:
        """Store the content of an image file; one that is there already is not written again.

        The image stays until `release_image`, whatever is deleted meanwhile.

        Returns:
            Its name.
        """
        file = f"{hashlib.sha256(data).hexdigest()}.{suffix}"
        path = self.image_path(file)
        with self._lock:
            self._in_use[file] += 1
        try:
            if not path.is_file():
                path.parent.mkdir(parents=True, exist_ok=True)
                write_whole(path, data)
        except BaseException:
            self.release_image(file)
            raise
        return file

    def release_image(self, file: str) -> None:
        """End one use that `put_image` began: once what refers to the image is in the database, or when it failed.

        The image is deleted where nothing refers to it and no other request uses it.
        """
        with self._lock:
            self._in_use[file] -= 1
            if self._in_use[file] <= 0:
                del self._in_use[file]
        self._remove_unused(file)

    def put_map(self, result: str, data: bytes) -> None:
        """Store the map of a result."""
        path = self.map_path(result)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data)

    def added(self, n_bytes: int) -> bool:
        """Count what a result takes; whether :meth:`trim` has something to do."""
        self._total += n_bytes
        return self._total > self._keep

    def trim(self) -> int:
        """Delete the files of the oldest results without feedback until nine tenths of the limit are left.

        The results themselves stay in the database. Normal images of a product are never deleted.

        Returns:
            The number of results that lost their files.
        """
        count = 0
        while self._total > 0.9 * self._keep:
            rows = self._store.rows(
                "SELECT id, file, bytes FROM results WHERE has_files = 1 AND label IS NULL ORDER BY id LIMIT ?", [_STEP]
            )
            if not rows:
                break
            for row in rows:
                with self._store.writing() as connection:
                    connection.execute("UPDATE results SET has_files = 0 WHERE id = ?", [row["id"]])
                self.map_path(row["id"]).unlink(missing_ok=True)
                self._remove_unused(row["file"])
                self._total -= row["bytes"]
                count += 1
                if self._total <= 0.9 * self._keep:
                    break
        return count

    def _remove_unused(self, file: str) -> None:
        with self._lock:  # a request that comes in now waits, and writes the image again
            if file not in self._in_use and not self._is_used(file):
                self.image_path(file).unlink(missing_ok=True)

    def _is_used(self, file: str) -> bool:
        return (
            self._store.row("SELECT 1 FROM results WHERE file = ? AND has_files = 1 LIMIT 1", [file]) is not None
            or self._store.row("SELECT 1 FROM normals WHERE file = ? LIMIT 1", [file]) is not None
        )
