"""Text files as editors and spreadsheets write them: in UTF-8 or UTF-16, with a byte order mark or without."""

from __future__ import annotations

import codecs
from pathlib import Path

from vlmad_core.contracts.find import special_file
from vlmad_core.errors import ConfigError

__all__ = ["read_text"]

_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def read_text(path: Path) -> str:
    """The whole of a text file; ends of lines stay as they are.

    Raises:
        ConfigError: It cannot be read, is no regular file, or is in another encoding.
    """
    try:
        if kind := special_file(path.stat().st_mode):
            raise ConfigError(f"{path}: is a {kind}, not a file; copy what it gives into a file first.")
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}).") from error
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "")
    if not encoding and b"\0" in data[:4]:  # UTF-16 without a mark; the first letter is ASCII
        encoding = "utf-16-be" if data[:1] == b"\0" else "utf-16-le"
    try:
        return data.decode(encoding or "utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not text in UTF-8 or UTF-16 ({error}); save it as UTF-8.") from error
