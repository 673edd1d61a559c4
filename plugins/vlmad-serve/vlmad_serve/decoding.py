"""From the bytes that a client sent to a picture for the detector; limits are checked before anything is decoded."""

from __future__ import annotations

import io
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

from vlmad_core.contracts.decode import FORMATS, decode
from vlmad_core.contracts.images import Picture, Preprocess, to_pixels
from vlmad_core.errors import ImageError
from vlmad_serve.archive import SUFFIXES, Archive
from vlmad_serve.refusal import Refusal

__all__ = ["Received", "StoredImage", "decode_image", "store_image"]


@dataclass(frozen=True)
class Received:
    """An image as a client sent it.

    Attributes:
        name: What the client calls it, for people to read.
        data: The file.
    """

    name: str
    data: bytes


@dataclass(frozen=True)
class StoredImage:
    """An image in the archive.

    Attributes:
        name: What the client calls it.
        file: In the archive.
        n_bytes: Of the file.
    """

    name: str
    file: str
    n_bytes: int

    @property
    def sha256(self) -> str:
        """Of its content."""
        return self.file[:64]


def store_image(received: Received, archive: Archive, *, max_bytes: int, max_pixels: int) -> StoredImage:
    """Check what the header says, and put the file into the archive; no pixel is decoded.

    The caller ends its use by ``archive.release_image``.

    Raises:
        Refusal: 413; too many bytes or pixels. 422; empty, or no image of a known format.
    """
    name, data = received.name or "the image", received.data
    if not data:
        raise Refusal(422, f"{name}: the file is empty.")
    if len(data) > max_bytes:
        raise Refusal(413, f"{name}: has {len(data):,} bytes, more than the limit of {max_bytes:,}.")
    kind, (width, height) = _header(name, data)
    if width * height > max_pixels:
        raise Refusal(
            413,
            f"{name}: has {width} x {height} pixels, more than the limit of {max_pixels:,}; cut it into tiles or send "
            "it smaller.",
        )
    return StoredImage(received.name, archive.put_image(data, SUFFIXES[kind]), len(data))


def _header(name: str, data: bytes) -> tuple[str, tuple[int, int]]:
    Image.init()
    formats = [each for each in FORMATS if each in Image.OPEN]
    try:
        with Image.open(io.BytesIO(data), formats=formats) as image:
            return str(image.format), image.size
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Refusal(413, f"{name}: has far more pixels than the limit; cut it into tiles.") from error
    except UnidentifiedImageError as error:
        raise Refusal(
            422, f"{name}: is not an image that can be read; send JPEG, PNG, TIFF, WebP, BMP or another common format."
        ) from error
    except Exception as error:  # PIL's parsers raise all sorts of things on damage
        raise Refusal(422, f"{name}: is damaged or cut short ({error}).") from error


def decode_image(stored: StoredImage, archive: Archive, preprocess: Preprocess) -> Picture:
    """Decode as ``vlmad predict`` does, so that a score is the same there and here.

    Args:
        stored: From `store_image`.
        archive: Where it lies.
        preprocess: What the backbone wants.

    Raises:
        Refusal: 422; damaged, cut short, or of a kind whose scale is unknown.
    """
    path = archive.image_path(stored.file)
    try:
        decoded = decode(path, smallest=preprocess.size, bits=preprocess.bits)
        pixels = to_pixels(decoded.image, preprocess)
    except ImageError as error:
        text = str(error).replace(f"{path}: ", "")
        raise Refusal(422, f"{stored.name or 'the image'}: {text}") from error
    notes = tuple(note.replace(f"{path}: ", "") for note in (*decoded.notes, decoded.read_as) if note)
    return Picture(str(path), decoded.size, pixels, notes=notes, sha256=stored.sha256)
