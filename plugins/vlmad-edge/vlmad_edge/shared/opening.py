# Copied from vlmad_core/contracts/opening.py by plugins/vlmad-edge/build/shared.py; edit that file.
"""Opening image files: which formats, how much memory they may take, and errors that begin with the path."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from vlmad_edge.shared.find import special_file
from vlmad_edge.shared.memory import budget
from vlmad_edge.shared.pixels import tiff_kind
from vlmad_edge.shared.errors import ImageError

__all__ = [
    "FORMATS",
    "decoding_bytes",
    "draft_smaller",
    "error_text",
    "identified",
    "named",
    "opened",
    "room",
    "stamp_of",
]

FORMATS = ("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TGA", "TIFF", "WEBP")
"""Formats that are opened, whatever the name of the file says. EPS and PDF are not: PIL would start Ghostscript."""

# Bytes a pixel and band that a decoder needs beside the picture itself, measured with 36 megapixels of noise.
_DECODER_BYTES = {"JPEG2000": 5.0, "WEBP": 4.5, "AVIF": 4.0, "TIFF": 1.5}
_PROGRESSIVE_BYTES = 2.0
_STORED_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Errors begin with the path."""
    try:
        yield
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error.__cause__
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror}).") from error


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """A file's picture as it is stored, read whole; the memory it takes is reserved inside the ``with``.

    Raises:
        ImageError: Not there, not an image, truncated, or larger than the memory limit; also what goes wrong with it
            inside the ``with``, so that the message begins with the path.
    """
    with identified(path) as image, room(image, 0, image.width * image.height * _bytes_stored(image.mode)):
        image.load()
        yield image


@contextmanager
def identified(path: Path) -> Iterator[Image.Image]:
    """An open file whose header was read, and no pixel."""
    try:
        if kind := special_file(path.stat().st_mode):
            raise ImageError(f"is a {kind}, not a file; copy what it gives into a file first.")
        with _unlimited, path.open("rb") as file, Image.open(file, formats=_formats()) as image:
            yield image
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error.__cause__
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ImageError(f"{path}: no such file.") from error
    except IsADirectoryError as error:
        raise ImageError(f"{path}: is a folder; give its images, or find_images('{path}').") from error
    except PermissionError as error:
        raise ImageError(f"{path}: may not be read (permission denied).") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{path}: {_unidentified(path)}") from error
    except Exception as error:  # PIL's decoders raise all sorts of things on damage
        raise ImageError(f"{path}: is damaged or cut short ({error_text(error)}).") from error


def _unidentified(path: Path) -> str:
    if path.stat().st_size == 0:
        return "the file is empty."
    with path.open("rb") as file:
        head = file.read(32)
        kind = tiff_kind(file) if head[:4] in (b"II*\0", b"MM\0*") else ""
    if kind:
        return f"is a TIFF of {kind}, a kind that cannot be read; save it with 8 or 16 bits."
    if path.suffix.lower() in (".dcm", ".dicom"):
        return "has no DICOM preamble (128 bytes and DICM), so its kind cannot be known; save it as a DICOM file."
    if head.startswith((b"%!PS", b"%PDF", b"\xc5\xd0\xd3\xc6")):
        return "is PostScript or PDF, which is not opened because it can run programs; save it as PNG."
    if head.startswith(b"version https://git-lfs"):
        return "is a pointer of git LFS and not the image; fetch it with `git lfs pull`."
    if head[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftyphevc"):
        return "is HEIC, which cannot be read; save it as JPEG or PNG."
    return "is not an image that can be read."


def _formats() -> list[str]:
    """Those of :data:`FORMATS` that this build of PIL has."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def stamp_of(path: str | Path) -> str:
    """Size and times of a file, as text: the same stamp means that nobody wrote to it. Empty where there is no file."""
    try:
        status = os.stat(path)  # noqa: PTH116 - a str stays one
    except OSError:
        return ""
    return f"{status.st_size}-{status.st_mtime_ns}-{status.st_ctime_ns}"


def _bytes_stored(mode: str) -> int:
    return _STORED_BYTES.get(mode, 4)


def decoding_bytes(image: Image.Image, stored_pixels: int | None = None) -> int:
    """What a decoder takes at most, with the picture it makes.

    Args:
        image: Perhaps after :func:`draft_smaller`.
        stored_pixels: Of the file, where the decoder gives fewer.
    """
    bands, pixels = len(image.getbands()), image.width * image.height
    extra = _DECODER_BYTES.get(image.format or "", 0.0) * bands * (2 if image.mode in ("I", "F", "I;16") else 1)
    needed = pixels * (_bytes_stored(image.mode) + extra)
    if image.format == "JPEG2000":
        needed /= 4 ** getattr(image, "_reduce", 0)
    if image.info.get("progressive") or image.info.get("progression"):  # all coefficients, also for fewer pixels
        needed += (stored_pixels or pixels) * _PROGRESSIVE_BYTES * bands
    return int(needed)


def room(image: Image.Image, stored_pixels: int, copies: int) -> AbstractContextManager[None]:
    """Memory for a picture and what is made of it, or a refusal before anything is decoded."""
    needed = decoding_bytes(image, stored_pixels) + copies
    if needed > budget.limit:
        raise ImageError(
            f"{image.width} x {image.height} pixels need {needed / 1e9:.1f} GB of memory, more than the limit of "
            f"{budget.limit / 1e9:.1f} GB; a small file of such a size may be a decompression bomb. Cut it into tiles."
        )
    return budget.reserve(needed)


def draft_smaller(image: Image.Image, smallest: tuple[int, int]) -> None:
    """Have the decoder itself give fewer pixels, where the format can."""
    height, width = smallest
    if image.format in ("JPEG", "MPO"):
        image.draft("RGB" if image.mode == "RGB" else image.mode, (2 * max(width, height),) * 2)
    elif image.format == "JPEG2000":
        factor = min(image.size) // (2 * max(smallest))
        image.reduce = max(0, min(5, factor.bit_length() - 1))  # type: ignore[method-assign,assignment]


def error_text(error: Exception) -> str:
    """What an error says, or its kind where it says nothing."""
    return str(error) or type(error).__name__


class _Unlimited:
    """A stretch without PIL's own limit, which is global: the last thread to leave puts back what the first found."""

    def __init__(self) -> None:
        self.lock, self.inside = threading.Lock(), 0
        self.limit: int | None = None

    def __enter__(self) -> None:
        with self.lock:
            if not self.inside:
                self.limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            self.inside += 1

    def __exit__(self, *error: object) -> None:
        with self.lock:
            self.inside -= 1
            if not self.inside:
                Image.MAX_IMAGE_PIXELS = self.limit


_unlimited = _Unlimited()
