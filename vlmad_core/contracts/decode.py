"""From a file, a PIL image or an array to 8-bit RGB, upright, on a scale that is fixed for each kind of pixels."""

from __future__ import annotations

import hashlib
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from PIL import Image, UnidentifiedImageError

from vlmad_core.contracts.dicom import decode_dicom, dicom_size, is_dicom
from vlmad_core.contracts.find import special_file
from vlmad_core.contracts.memory import budget
from vlmad_core.contracts.pixels import (
    PixelKind,
    depth_note,
    from_array,
    is_turned,
    kind_of,
    page_note,
    reduced,
    tiff_kind,
    to_rgb,
    upright,
)
from vlmad_core.errors import ConfigError, ImageError

__all__ = ["FORMATS", "Decoded", "ImageLike", "decode", "open_image", "opened", "size_of", "stamp_of"]

ImageLike: TypeAlias = "str | Path | Image.Image | np.ndarray"
Smallest: TypeAlias = "tuple[int, int] | Callable[[tuple[int, int]], tuple[int, int]] | None"

FORMATS = ("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TGA", "TIFF", "WEBP")
"""Formats that are opened, whatever the name of the file says. EPS and PDF are not: PIL would start Ghostscript."""

# Bytes a pixel and band that a decoder needs beside the picture itself, measured with 36 megapixels of noise.
_DECODER_BYTES = {"JPEG2000": 5.0, "WEBP": 4.5, "AVIF": 4.0, "TIFF": 1.5}
_PROGRESSIVE_BYTES = 2.0
_STORED_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}
_LARGE = 256_000_000
"""Bytes from which on a picture is decoded at a reduced scale where the caller needs no more."""
_ORIENTATION = 0x0112


@dataclass(frozen=True)
class Decoded:
    """A picture and what is known of its file.

    Args:
        image: 8-bit RGB, upright; smaller than stored where ``smallest`` allowed that.
        size: ``(height, width)`` as stored, upright.
        notes: What a person should know, such as that only the first of several pages was read.
        sha256: Of the bytes that were decoded; empty unless asked for.
        stamp: See :func:`stamp_of`; empty unless asked for.
    """

    image: Image.Image
    size: tuple[int, int]
    notes: tuple[str, ...] = ()
    sha256: str = ""
    stamp: str = ""


def open_image(source: ImageLike, *, bits: int | None = None) -> Image.Image:
    """Any picture as 8-bit RGB, upright.

    16-bit grey is scaled by 1/257, a fixed scale; transparency is laid on white; EXIF rotation is applied; CMYK,
    palette and grey are converted. Arrays are ``[height, width]`` or ``[height, width, 1|3|4]``, uint8, uint16, bool,
    or float in [0, 1].

    Args:
        source: A path, a PIL image or an array.
        bits: Of the values in 16-bit grey, such as 12 for a 12-bit camera: the scale is then 255 / (2**bits - 1).

    Raises:
        ImageError: Not there, not an image, truncated, larger than the memory limit, or of a kind whose scale is
            unknown.

    Warns:
        UserWarning: The file has more pages than the first, or its values fit in fewer bits than its pixels have.
    """
    decoded = decode(source, bits=bits)
    for note in decoded.notes:
        warnings.warn(note, UserWarning, stacklevel=2)
    return decoded.image


def decode(source: ImageLike, *, smallest: Smallest = None, bits: int | None = None, digest: bool = False) -> Decoded:
    """As :func:`open_image`, with what is known of the file, and without warnings.

    Args:
        source: A path, a PIL image or an array.
        smallest: ``(height, width)`` that the caller needs, or a function from the picture's to it. A picture that
            takes much memory may come out smaller than it is stored, but not below twice that; others come out as
            they are.
        bits: Of the values in 16-bit grey.
        digest: Also hash the file.

    Raises:
        ImageError: As :func:`open_image`.
    """
    if bits is not None and not 8 <= bits <= 16:
        raise ConfigError(f"bits must be from 8 to 16, got {bits}.")
    if isinstance(source, np.ndarray):
        kind = PixelKind(bits or 16)
        image, note = to_rgb(from_array(source, kind.bits), kind), depth_note(source, kind, given=bits is not None)
        return Decoded(image, (image.height, image.width), (f"an array: {note}",) if note else ())
    if isinstance(source, Image.Image):
        try:
            kind = kind_of(source, bits)
            source.load()
            image = to_rgb(upright(source), kind)
        except ImageError:
            raise
        except Exception as error:  # an image that PIL opened and has not read yet may be damaged
            raise ImageError(f"the picture is damaged or cut short ({_message(error)}).") from error
        note = depth_note(source, kind, given=bits is not None)
        image = image.copy() if image is source else image
        return Decoded(image, (image.height, image.width), (f"a PIL image: {note}",) if note else ())
    if not isinstance(source, str | Path):
        raise ImageError(f"an image must be a path, a PIL image or a numpy array; got {type(source).__name__}.")
    return _decode_file(Path(source), smallest, bits, digest)


def size_of(source: ImageLike) -> tuple[int, int]:
    """``(height, width)`` of a picture, upright, from its header; no pixel is decoded.

    Raises:
        ImageError: Not there, or not an image.
    """
    if isinstance(source, np.ndarray):
        if source.ndim < 2:
            raise ImageError(f"an array must be [height, width] or [height, width, channels]; got {source.shape}.")
        return source.shape[0], source.shape[1]
    if isinstance(source, Image.Image):
        turned = _is_sideways(source)
        return (source.width, source.height) if turned else (source.height, source.width)
    if not isinstance(source, str | Path):
        raise ImageError(f"an image must be a path, a PIL image or a numpy array; got {type(source).__name__}.")
    if is_dicom(Path(source)):
        with _named(Path(source)):
            return dicom_size(Path(source))
    with _identified(Path(source)) as image:
        # Asking a PNG without an EXIF block before its pixels would read them all.
        turned = (image.format != "PNG" or "exif" in image.info) and _is_sideways(image)
        return (image.width, image.height) if turned else (image.height, image.width)


def _decode_file(path: Path, smallest: Smallest, bits: int | None, digest: bool) -> Decoded:
    if is_dicom(path):
        return _decode_dicom(path, bits, digest)
    with _identified(path) as image:
        sha256, stamp = _content(getattr(image, "fp", None), path) if digest else ("", "")
        pages, kind, (width, height) = page_note(image), kind_of(image, bits), image.size
        reduce_to = None
        if smallest is not None and _decoding_bytes(image) + 4 * width * height > _LARGE:
            reduce_to = smallest((height, width)) if callable(smallest) else smallest
        if reduce_to is not None:
            _draft(image, reduce_to)
        with _room(image, width * height, 0 if reduce_to is not None else _copies(image)):
            image.load()
            sideways = _is_sideways(image)
            note = depth_note(image, kind, given=bits is not None)
            if reduce_to is not None:
                turned = upright(_with_exif_of(image, reduced(image, reduce_to, kind)))
                if turned is not image:
                    image.close()  # its pixels, before the memory that was reserved for them is free again
            else:
                turned = to_rgb(upright(image), kind)
        if sideways:
            width, height = height, width
        return Decoded(turned, (height, width), tuple(f"{path}: {n}" for n in (pages, note) if n), sha256, stamp)


def _decode_dicom(path: Path, bits: int | None, digest: bool) -> Decoded:
    with _named(path):
        if bits is not None:
            raise ImageError("is DICOM, which says itself how its values are meant; leave bits (--bits) out.")
        sha256 = ""
        if digest:
            with path.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        found = decode_dicom(path)
    image = found.image
    stamp = stamp_of(path) if digest else ""
    return Decoded(image, (image.height, image.width), (f"{path}: {found.note}",), sha256, stamp)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Errors begin with the path."""
    try:
        yield
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error.__cause__
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror}).") from error


def _content(file: Any, path: Path) -> tuple[str, str]:
    """Hash and stamp of a file that PIL has open; its position is put back."""
    place = file.tell()
    file.seek(0)
    sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    file.seek(place)
    return sha256, stamp_of(path)


def _copies(image: Image.Image) -> int:
    """Bytes for the copy in RGB, and for one that is turned."""
    # Asking a PNG without an EXIF block before its pixels would read them all.
    turned = is_turned(image) if image.format != "PNG" or "exif" in image.info else False
    return 4 * image.width * image.height * ((image.mode != "RGB") + turned)


def _is_sideways(image: Image.Image) -> bool:
    return is_turned(image) and image.getexif().get(_ORIENTATION) in (5, 6, 7, 8)


def _with_exif_of(image: Image.Image, small: Image.Image) -> Image.Image:
    """The reduced picture, which knows how it must be turned."""
    if small is not image and is_turned(image):
        small.getexif()[_ORIENTATION] = image.getexif()[_ORIENTATION]
    return small


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """A file's picture as it is stored, read whole; the memory it takes is reserved inside the ``with``.

    Raises:
        ImageError: Not there, not an image, truncated, or larger than the memory limit; also what goes wrong with it
            inside the ``with``, so that the message begins with the path.
    """
    with _identified(path) as image, _room(image, 0, image.width * image.height * _bytes_stored(image.mode)):
        image.load()
        yield image


@contextmanager
def _identified(path: Path) -> Iterator[Image.Image]:
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
        raise ImageError(f"{path}: is damaged or cut short ({_message(error)}).") from error


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


def _decoding_bytes(image: Image.Image, stored_pixels: int | None = None) -> int:
    """What a decoder takes at most, with the picture it makes.

    Args:
        image: Perhaps after :func:`_draft`.
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


def _room(image: Image.Image, stored_pixels: int, copies: int) -> AbstractContextManager[None]:
    """Memory for a picture and what is made of it, or a refusal before anything is decoded."""
    needed = _decoding_bytes(image, stored_pixels) + copies
    if needed > budget.limit:
        raise ImageError(
            f"{image.width} x {image.height} pixels need {needed / 1e9:.1f} GB of memory, more than the limit of "
            f"{budget.limit / 1e9:.1f} GB; a small file of such a size may be a decompression bomb. Cut it into tiles."
        )
    return budget.reserve(needed)


def _draft(image: Image.Image, smallest: tuple[int, int]) -> None:
    """Have the decoder itself give fewer pixels, where the format can."""
    height, width = smallest
    if image.format in ("JPEG", "MPO"):
        image.draft("RGB" if image.mode == "RGB" else image.mode, (2 * max(width, height),) * 2)
    elif image.format == "JPEG2000":
        factor = min(image.size) // (2 * max(smallest))
        image.reduce = max(0, min(5, factor.bit_length() - 1))  # type: ignore[method-assign,assignment]


def _message(error: Exception) -> str:
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
