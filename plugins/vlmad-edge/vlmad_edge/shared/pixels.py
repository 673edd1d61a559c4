# Copied from vlmad_core/contracts/pixels.py by plugins/vlmad-edge/build/shared.py; edit that file.
"""From pixels of any kind to 8-bit RGB; the scale is fixed for each kind and never read off a picture."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin

from vlmad_edge.shared.errors import ImageError

__all__ = [
    "PixelKind",
    "depth_note",
    "from_array",
    "is_turned",
    "kind_of",
    "page_note",
    "pages_left_out",
    "pages_message",
    "reduced",
    "tiff_kind",
    "to_rgb",
]

_STRIP = 4_000_000
_BITS_SAMPLES, _PHOTOMETRIC, _SAMPLE_COUNT, _SAMPLE_FORMAT, _WHITE_IS_ZERO = 258, 262, 277, 339, 0
_USUAL_BITS = (8, 10, 12, 14)
_MOST_PAGES = 100
_HIGHEST_16 = 65535
_PAGES = re.compile(r"holds (?:more than )?(\d+) pages or frames")


@dataclass(frozen=True)
class PixelKind:
    """What the header of a file says of its pixels, beside their mode.

    Args:
        bits: Of the values in 16-bit grey.
        white_is_zero: The values are those of a negative, and PIL has not turned them.
        colour_cut: Stored with 16 bits a channel, of which PIL reads the upper 8.
    """

    bits: int = 16
    white_is_zero: bool = False
    colour_cut: bool = False


def kind_of(image: Image.Image, bits: int | None = None) -> PixelKind:
    """From the header alone; ask before the pixels are read.

    Args:
        image: As it was opened.
        bits: Of the values in 16-bit grey, where the user knows them.

    Raises:
        ImageError: ``bits`` are given, and the picture has 16 bits a channel in colour, of which half are lost.
    """
    deep = _is_deep(image)
    cut = not deep and any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))
    if cut and bits is not None and bits < 16:
        raise ImageError(
            f"has 16 bits a channel in colour, of which the upper 8 are read, so {bits} bits cannot be honoured; "
            "save it with 8 bits a channel."
        )
    if _is_scaled(image):
        bits = 16
    tags = getattr(image, "tag_v2", {})
    if bits is None and image.mode.startswith("I;16"):
        stored = tags.get(_BITS_SAMPLES, (16,))[0]
        bits = stored if 8 < stored < 16 else 16
    return PixelKind(bits or 16, deep and tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO, cut)


def _is_scaled(image: Image.Image) -> bool:
    """Whether the decoder brings the values to 16 bits: a PGM says its highest value itself, such as 4095."""
    return any(
        str(tile[0]).startswith("ppm") and _HIGHEST_16 not in np.atleast_1d(tile[3]).tolist()
        for tile in getattr(image, "tile", ())
    )


def _is_deep(image: Image.Image) -> bool:
    return image.mode.startswith("I") or image.mode == "F"


def from_array(array: np.ndarray, bits: int = 16, *, white_is_zero: bool = False) -> Image.Image:
    """An array as an 8-bit picture.

    Raises:
        ImageError: A shape or type that is no picture; values outside the scale, or not finite.
    """
    shape = array.shape
    if array.ndim == 3 and shape[2] == 1:
        array = array[:, :, 0]
    if array.size == 0 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise ImageError(f"an array must be [height, width] or [height, width, 1|3|4], not empty; got shape {shape}.")
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    elif np.issubdtype(array.dtype, np.floating):
        if not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
            raise ImageError("a float array must be finite and in [0, 1]; divide by the largest possible value first.")
        array = ((1 - array if white_is_zero else array) * 255).round().astype(np.uint8)
    elif array.dtype == np.uint16:
        top = 2**bits - 1
        if array.max() > top:
            raise ImageError(
                f"has a value of {array.max()}, and {bits} bits end at {top}; give the right number of bits."
            )
        array = ((top - array if white_is_zero else array) / (top / 255)).round().astype(np.uint8)
    elif array.dtype != np.uint8:
        raise ImageError(f"an array must be uint8, uint16, bool or float in [0, 1]; got {array.dtype}.")
    return Image.fromarray(np.ascontiguousarray(array))


def to_rgb(image: Image.Image, kind: PixelKind) -> Image.Image:
    """To 8-bit RGB, a strip at a time where the picture is large; one that is RGB already is given back itself."""
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    if image.width * image.height <= _STRIP:
        return _strip_to_rgb(image, kind)
    whole = Image.new("RGB", image.size)
    for top, bottom in _strips(image, 1):
        whole.paste(_strip_to_rgb(image.crop((0, top, image.width, bottom)), kind), (0, top))
    return whole


def reduced(image: Image.Image, smallest: tuple[int, int], kind: PixelKind) -> Image.Image:
    """To 8-bit RGB with fewer pixels, each the mean of a square, and never below twice ``smallest``.

    The picture is worked through in strips, so that it takes no memory beside its own.
    """
    side = max(1, min(image.height // (2 * smallest[0]), image.width // (2 * smallest[1])))
    if side == 1:
        return to_rgb(image, kind)
    whole = Image.new("RGB", (-(-image.width // side), -(-image.height // side)))
    for top, bottom in _strips(image, side):
        strip = _strip_to_rgb(image.crop((0, top, image.width, bottom)), kind)
        whole.paste(strip.reduce(side), (0, top // side))
    return whole


def _strips(image: Image.Image, multiple: int) -> Iterator[tuple[int, int]]:
    height = max(1, _STRIP // max(1, image.width) // multiple) * multiple
    for top in range(0, image.height, height):
        yield top, min(top + height, image.height)


def _strip_to_rgb(image: Image.Image, kind: PixelKind) -> Image.Image:
    if _is_deep(image):
        array = np.asarray(image)
        if image.mode != "F":
            if array.min() < 0 or array.max() > 65535:
                raise ImageError(f"has {image.mode} pixels outside 0 to 65535; convert it to 8 or 16 bits.")
            array = array.astype(np.uint16)
        image = from_array(array, kind.bits, white_is_zero=kind.white_is_zero)
    if image.mode == "La":  # Pillow converts it to LA alone
        image = image.convert("LA")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def depth_note(image: Image.Image | np.ndarray, kind: PixelKind, *, given: bool) -> str:
    """What to say where 16-bit values are so low that the camera had fewer bits; empty otherwise.

    Args:
        image: Read whole.
        kind: From its header.
        given: The user said how many bits there are.
    """
    if isinstance(image, np.ndarray):
        highest = int(image.max()) if image.dtype == np.uint16 and image.size else 0
    elif image.mode.startswith("I"):
        strips = (image.crop((0, top, image.width, bottom)) for top, bottom in _strips(image, 1))
        highest = max(int(np.asarray(strip).max()) for strip in strips)
    elif kind.colour_cut:
        highest = max(int(high) for _, high in image.getextrema()) * 257  # type: ignore[misc]
    else:
        return ""
    bits = next((bits for bits in _USUAL_BITS if 0 < highest < 2**bits), 16)
    if given or kind.bits < 16 or bits == 16:
        return ""
    todo = "save it with 8 bits a channel" if kind.colour_cut else f"if so, give bits={bits} (--bits {bits})"
    return f"its highest value, {highest}, fits in {bits} of its 16 bits, so it is nearly black; {todo}."


def page_note(image: Image.Image) -> str:
    """What to say of a file that holds more than one page or frame; empty for one. The first page is left chosen.

    The preview in an MPO photo and reduced copies in a TIFF are no pages.
    """
    if image.format == "MPO" or not getattr(image, "is_animated", False):
        return ""
    pages = 1
    try:
        while pages <= _MOST_PAGES:
            image.seek(image.tell() + 1)
            pages += not getattr(image, "tag_v2", {}).get(254, 0) & 1  # a reduced copy
    except EOFError:
        pass
    image.seek(0)
    many = f"more than {_MOST_PAGES}" if pages > _MOST_PAGES else str(pages)
    return f"holds {many} pages or frames, and the first alone is read; save each as a file." if pages > 1 else ""


def pages_left_out(note: str) -> int:
    """How many pages or frames a text of :func:`page_note` says are not read; 0 where it says nothing of pages.

    >>> pages_left_out("a.tif: holds 3 pages or frames, and the first alone is read; save each as a file.")
    2
    """
    found = _PAGES.search(note)
    return int(found[1]) - 1 if found else 0


def pages_message(files: int, pages: int) -> str:
    """How many pages are not read, of so many files that hold more than one."""
    return f"{files} files hold more than one page or frame: {pages} pages after the first are not read."


def tiff_kind(file: Any) -> str:
    """In words, the samples of a TIFF that PIL has no mode for; empty where the header cannot be read."""
    try:
        file.seek(0)
        directory = TiffImagePlugin.ImageFileDirectory_v2(file.read(8))
        file.seek(directory.next)
        directory.load(file)
        bits = directory.get(_BITS_SAMPLES, (1,))
        kind = {1: "integers", 2: "signed integers", 3: "floats"}.get(directory.get(_SAMPLE_FORMAT, (1,))[0], "numbers")
        samples = directory.get(_SAMPLE_COUNT, 1)
    except Exception:  # damaged in a way of its own
        return ""
    return f"{samples} x {bits[0]}-bit {kind} a pixel"


def is_turned(image: Image.Image) -> bool:
    """Whether its EXIF block says that it must be turned or mirrored."""
    try:
        return bool(image.getexif().get(0x0112, 1) in range(2, 9))
    except Exception:  # a broken EXIF block must not hide a good picture
        return False


def upright(image: Image.Image) -> Image.Image:
    """Turned as its EXIF block says; the picture itself where nothing is said."""
    try:
        return ImageOps.exif_transpose(image) if is_turned(image) else image
    except Exception:  # as above; damage of the pixels is reported when they are converted
        return image
