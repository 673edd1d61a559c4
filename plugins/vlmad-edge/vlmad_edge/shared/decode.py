# Copied from vlmad_core/contracts/decode.py by plugins/vlmad-edge/build/shared.py; edit that file.
"""From a file, a PIL image or an array to 8-bit RGB, upright, on a scale that is fixed for each kind of pixels."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from PIL import Image, UnidentifiedImageError

from vlmad_edge.shared.dicom import decode_dicom, dicom_size, is_dicom
from vlmad_edge.shared.opening import (
    FORMATS,
    decoding_bytes,
    draft_smaller,
    error_text,
    identified,
    named,
    opened,
    room,
    stamp_of,
)
from vlmad_edge.shared.pixels import (
    PixelKind,
    depth_note,
    from_array,
    is_turned,
    kind_of,
    page_note,
    reduced,
    to_rgb,
    upright,
)
from vlmad_edge.shared.stored import is_tiff, stored_tiff
from vlmad_edge.shared.values import Values, values_of
from vlmad_edge.shared.errors import ConfigError, ImageError

__all__ = [
    "FORMATS",
    "Decoded",
    "ImageLike",
    "as_converted",
    "decode",
    "open_image",
    "opened",
    "size_of",
    "stamp_of",
]

ImageLike: TypeAlias = "str | Path | Image.Image | np.ndarray"
Smallest: TypeAlias = "tuple[int, int] | Callable[[tuple[int, int]], tuple[int, int]] | None"

_LARGE = 256_000_000
"""Bytes from which on a picture is decoded at a reduced scale where the caller needs no more."""
_ORIENTATION = 0x0112
_CONVERTED = "vlmad: converted"


@dataclass(frozen=True)
class Decoded:
    """A picture and what is known of its file.

    Args:
        image: 8-bit RGB, upright; smaller than stored where ``smallest`` allowed that.
        size: ``(height, width)`` as stored, upright.
        notes: What a person should know, such as that only the first of several pages was read.
        read_as: The window and channels that made grey values of the stored ones; empty where those were 8 or 16 bits.
        sha256: Of the bytes that were decoded; empty unless asked for.
        stamp: See :func:`stamp_of`; empty unless asked for.
    """

    image: Image.Image
    size: tuple[int, int]
    notes: tuple[str, ...] = ()
    sha256: str = ""
    stamp: str = ""
    read_as: str = ""


def open_image(source: ImageLike, *, bits: int | str | None = None) -> Image.Image:
    """Any picture as 8-bit RGB, upright.

    16-bit grey is scaled by 1/257, a fixed scale; transparency is laid on white; EXIF rotation is applied; CMYK,
    palette and grey are converted. Arrays are ``[height, width]`` or ``[height, width, 1|3|4]``, uint8, uint16, bool,
    or float in [0, 1].

    Args:
        source: A path, a PIL image or an array.
        bits: Of the values in 16-bit grey, such as 12 for a 12-bit camera: the scale is then 255 / (2**bits - 1). Or a
            fixed window and channels, as the text ``"window=0:4000;channels=3,2,1"``.

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


def decode(
    source: ImageLike, *, smallest: Smallest = None, bits: int | str | None = None, digest: bool = False
) -> Decoded:
    """As :func:`open_image`, with what is known of the file, and without warnings.

    Args:
        source: A path, a PIL image or an array.
        smallest: ``(height, width)`` that the caller needs, or a function from the picture's to it. A picture that
            takes much memory may come out smaller than it is stored, but not below twice that; others come out as
            they are.
        bits: Of the values in 16-bit grey, or a window and channels.
        digest: Also hash the file.

    Raises:
        ImageError: As :func:`open_image`.
    """
    if isinstance(source, Image.Image) and source.info.get(_CONVERTED):
        bits = None
    if isinstance(bits, str):
        return _decode_values(source, values_of(bits), digest)
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
            raise ImageError(f"the picture is damaged or cut short ({error_text(error)}).") from error
        note = depth_note(source, kind, given=bits is not None)
        image = image.copy() if image is source else image
        return Decoded(image, (image.height, image.width), (f"a PIL image: {note}",) if note else ())
    if not isinstance(source, str | Path):
        raise ImageError(f"an image must be a path, a PIL image or a numpy array; got {type(source).__name__}.")
    return _decode_file(Path(source), smallest, bits, digest)


def as_converted(image: Image.Image) -> Image.Image:
    """The picture, marked: it was made of images that were read, so no bits, window or channels apply to it again.

    Args:
        image: 8-bit RGB; the mark is kept with it and in no file.
    """
    image.info[_CONVERTED] = True
    return image


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
        with named(Path(source)):
            return dicom_size(Path(source))
    with identified(Path(source)) as image:
        # Asking a PNG without an EXIF block before its pixels would read them all.
        turned = (image.format != "PNG" or "exif" in image.info) and _is_sideways(image)
        return (image.width, image.height) if turned else (image.height, image.width)


def _decode_values(source: ImageLike, values: Values, digest: bool) -> Decoded:
    """By a fixed window and chosen channels; nothing is read off the image."""
    if isinstance(source, np.ndarray):
        image = Image.fromarray(values.to_rgb(source))
        return Decoded(image, (image.height, image.width), read_as=f"an array: {values.note}")
    if isinstance(source, Image.Image):
        image = Image.fromarray(values.to_rgb(_stored(upright(source))))
        return Decoded(image, (image.height, image.width), read_as=f"a PIL image: {values.note}")
    if not isinstance(source, str | Path):
        raise ImageError(f"an image must be a path, a PIL image or a numpy array; got {type(source).__name__}.")
    path = Path(source)
    if is_dicom(path):
        return _decode_dicom(path, digest, values)
    pages, cut = "", True
    try:
        with identified(path) as header:  # the kind is known before the pixels are read
            pages, kind = page_note(header), kind_of(header)
            cut = kind.colour_cut
        if kind.white_is_zero:
            raise ImageError(f"{path}: has white as zero, so its window cannot be known; save it with black as zero.")
        if not cut:
            with opened(path) as stored:
                image = Image.fromarray(values.to_rgb(_stored(upright(stored))))
    except ImageError as error:
        if not is_tiff(path) or not isinstance(error.__cause__, UnidentifiedImageError):
            raise
    if cut:  # Pillow cannot open it, or would read the upper 8 bits alone
        with named(path):
            if not is_tiff(path):
                raise ImageError("has 16 bits a channel in colour, of which the upper 8 are read; save it as TIFF.")
            image = Image.fromarray(values.to_rgb(stored_tiff(path)))
    sha256, stamp = _digest(path) if digest else ("", "")
    notes = (f"{path}: {pages}",) if pages else ()
    return Decoded(image, (image.height, image.width), notes, sha256, stamp, f"{path}: {values.note}")


def _stored(image: Image.Image) -> np.ndarray:
    """``[H, W]`` or ``[H, W, C]`` of the values as they are."""
    return np.asarray(image.convert() if image.mode == "P" else image)


def _decode_file(path: Path, smallest: Smallest, bits: int | None, digest: bool) -> Decoded:
    if is_dicom(path):
        return _decode_dicom(path, digest, bits=bits)
    with identified(path) as image:
        sha256, stamp = _content(getattr(image, "fp", None), path) if digest else ("", "")
        pages, kind, (width, height) = page_note(image), kind_of(image, bits), image.size
        reduce_to = None
        if smallest is not None and decoding_bytes(image) + 4 * width * height > _LARGE:
            reduce_to = smallest((height, width)) if callable(smallest) else smallest
        if reduce_to is not None:
            draft_smaller(image, reduce_to)
        with room(image, width * height, 0 if reduce_to is not None else _copies(image)):
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


def _decode_dicom(path: Path, digest: bool, values: Values | None = None, bits: int | None = None) -> Decoded:
    with named(path):
        if bits is not None:
            raise ImageError("is DICOM, which says itself how its values are meant; leave bits (--bits) out.")
        if values is not None and values.channels is not None:
            raise ImageError("is DICOM, whose kind says what its channels are; leave channels (--channels) out.")
        found = decode_dicom(path, None if values is None else values.window)
    sha256, stamp = _digest(path) if digest else ("", "")
    size = (found.image.height, found.image.width)
    return Decoded(found.image, size, (), sha256, stamp, f"{path}: {found.note}")


def _digest(path: Path) -> tuple[str, str]:
    with named(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), stamp_of(path)


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
