"""Where a sample is defective: masks of any kind as one array of bool.

A mask's pixels above 0 are defective, whatever its mode: VisA numbers its kinds of defect from 1, so a mask may look
black and is not. A mask that was stored with losses, or has soft edges, has many grey values; it is cut at half of its
highest one, so that what is nearly black does not count. Nothing here imports torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

from vlmad_core.datasets.base import Sample
from vlmad_core.datasets.tree import LOSSY
from vlmad_core.errors import ImageError

if TYPE_CHECKING:
    from vlmad_core.contracts.images import ImageLike

__all__ = ["MaskFacts", "describe_mask", "mask_of", "mask_values", "open_mask"]

# More different values than kinds of defect that anybody numbers, and one in the brighter half: grey, not numbers.
_MOST_KINDS, _BRIGHT = 16, 127


def mask_of(sample: Sample, size: tuple[int, int] | None = None) -> np.ndarray:
    """Where it is defective.

    Args:
        sample: One without masks gives an array of False; its image is opened for its size, where none is given.
        size: ``(height, width)`` of the result; None: that of the masks. A mask of another size is resized in 8 bits,
            bilinear with antialiasing, and cut at one half, as APRIL-GAN and AnomalyCLIP do it.

    Returns:
        ``[height, width]`` bool, all masks joined.

    Raises:
        ImageError: A mask that cannot be read, or masks of different sizes.
    """
    if not sample.masks:
        return np.zeros(size or _size(sample.image), bool)
    masks = [open_mask(mask) for mask in sample.masks]
    for mask, source in zip(masks, sample.masks, strict=True):
        if mask.shape != masks[0].shape:
            height, width = masks[0].shape
            raise ImageError(
                f"{_name(source)}: is {mask.shape[1]} x {mask.shape[0]} pixels, but {_name(sample.masks[0])}, for the "
                f"same image, {width} x {height}; masks of one image must be of one size."
            )
    joined: np.ndarray = np.logical_or.reduce(masks)
    return joined if size is None or size == joined.shape else _resize(joined, size)


def open_mask(source: ImageLike) -> np.ndarray:
    """Any mask as ``[height, width]`` bool: True where a pixel is above 0 in any channel, and not transparent.

    A file with losses, and any mask with more than 16 grey values of which the highest is above 127, is cut at half of
    its highest value instead.

    Raises:
        ImageError: Not there, not an image, empty or cut short; not finite; or an array that is not ``[H, W]``.
    """
    values = mask_values(source)
    flat = values.max(-1) if values.ndim == 3 else values
    return np.asarray(flat > _threshold(source, flat))


def _threshold(source: ImageLike, values: np.ndarray) -> float:
    highest = float(values.max())
    lossy = isinstance(source, str | Path) and Path(source).suffix.lower() in LOSSY
    return highest / 2 if highest > _BRIGHT and (lossy or len(_grey_values(values)) > _MOST_KINDS) else 0.0


def _grey_values(values: np.ndarray) -> np.ndarray:
    """The values above 0, each once, of an 8-bit mask; those of others number kinds of defect."""
    if values.dtype != np.uint8:
        return np.zeros(0, np.uint8)
    return np.flatnonzero(np.bincount(values.ravel(), minlength=256)[1:]) + 1


@dataclass(frozen=True)
class MaskFacts:
    """What the checker needs to know of a mask.

    Args:
        size: ``(height, width)``.
        any: Something is marked.
        coloured: Its channels differ.
        share: Of its pixels, how many are marked.
        grey_values: Different values above 0, where there are more than numbered kinds of defect would need; else 0.
        pages: The file holds more than one.
    """

    size: tuple[int, int]
    any: bool
    coloured: bool
    share: float = 0.0
    grey_values: int = 0
    pages: bool = False


def describe_mask(source: ImageLike) -> MaskFacts:
    """A mask without its pixels.

    Raises:
        ImageError: As :func:`open_mask`.
    """
    values = mask_values(source)
    coloured = values.ndim == 3 and bool((values != values[..., :1]).any())
    flat = values.max(-1) if values.ndim == 3 else values
    marked, kinds = flat > _threshold(source, flat), len(_grey_values(flat))
    pages = isinstance(source, str | Path) and _has_pages(Path(source))
    return MaskFacts(
        (values.shape[0], values.shape[1]),
        bool(marked.any()),
        coloured,
        float(marked.mean()),
        kinds if kinds > _MOST_KINDS and flat.max() > _BRIGHT else 0,
        pages,
    )


def _has_pages(path: Path) -> bool:
    from vlmad_core.contracts.decode import opened
    from vlmad_core.contracts.pixels import page_note

    with opened(path) as image:
        return bool(page_note(image))


def mask_values(source: ImageLike) -> np.ndarray:
    """A mask as it is stored.

    Returns:
        ``[height, width]`` numbers, or ``[height, width, channels]`` of one in colour, whose transparent pixels are 0.

    Raises:
        ImageError: As :func:`open_mask`.
    """
    if isinstance(source, np.ndarray):
        if source.ndim != 2 or source.size == 0:
            raise ImageError(f"a mask must be an array [height, width], not empty; got shape {source.shape}.")
        return _finite(source, source)
    image = _opened(source)
    if image.mode == "P":  # the colours count and not their numbers: white may be number 0
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    elif image.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        image = image.convert("RGB")
    values = np.asarray(image)
    if image.mode in ("LA", "La", "RGBA", "RGBa"):
        values = values[..., :-1] * (values[..., -1:] > 0)
    return _finite(values, source)


def _finite(values: np.ndarray, source: ImageLike) -> np.ndarray:
    if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all():
        raise ImageError(f"{_name(source)}: holds values that are not finite; a mask is 0 where nothing is defective.")
    return values


def _opened(source: str | Path | Image.Image) -> Image.Image:
    if isinstance(source, Image.Image):
        return source
    if Path(source).is_dir():
        raise ImageError(f"{source}: is a folder, not a mask.")
    from vlmad_core.contracts.decode import opened  # here: PIL's plugins, which listing a data set does not need

    with opened(Path(source)) as image:
        return image.copy()


def _size(source: ImageLike) -> tuple[int, int]:
    if isinstance(source, np.ndarray):
        return source.shape[0], source.shape[1]
    upright = ImageOps.exif_transpose(_opened(source))  # as open_image shows it
    return upright.height, upright.width


def _resize(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    picture = Image.fromarray(mask.astype(np.uint8) * 255)
    resized = picture.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(resized) > 127


def _name(source: ImageLike) -> str:
    return str(source) if isinstance(source, str | Path) else "a mask in memory"
