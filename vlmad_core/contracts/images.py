"""From paths, PIL images and arrays to a batch of pixels, by a :class:`Preprocess` made of plain numbers.

A picture is resized as a whole, to the size that the backbone wants or to those that :class:`Views` asks for, so that a
map always covers the whole image; a large one may be read in tiles beside. What cannot be read raises
:class:`~vlmad_core.errors.ImageError` with a sentence.
"""

from __future__ import annotations

import hashlib
import warnings
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vlmad_core.contracts.decode import ImageLike, decode, open_image, size_of, stamp_of
from vlmad_core.contracts.find import SUFFIXES, find_images
from vlmad_core.contracts.pixels import pages_left_out, pages_message
from vlmad_core.contracts.values import values_of
from vlmad_core.contracts.views import View, Views
from vlmad_core.errors import ConfigError, ImageError

__all__ = [
    "SUFFIXES",
    "WORKERS",
    "ImageLike",
    "Picture",
    "Preprocess",
    "find_images",
    "open_image",
    "read",
    "stack",
    "to_pixels",
    "view_batches",
]

WORKERS = 2
"""Threads that decode, unless the caller says otherwise."""

_TILES_AT_ONCE = 8

_KERNELS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True)
class Preprocess:
    """How a backbone wants its pictures.

    Args:
        size: ``(height, width)`` in pixels.
        mean: Of each of the red, green and blue channels, in [0, 1].
        std: Likewise.
        interpolation: PIL's filter for the resize, in 8 bits and with antialiasing, as CLIP was trained.
        bits: Of the values in 16-bit grey, such as 12 for a 12-bit camera; None: what the file says, or 16. Or a fixed
            window and channels, as the text ``"window=0:4000;channels=3,2,1"``.
        views: Which inputs are made of an image; None: one, of ``size``.
    """

    size: tuple[int, int]
    mean: tuple[float, float, float] = (0.48145466, 0.4578275, 0.40821073)
    std: tuple[float, float, float] = (0.26862954, 0.26130258, 0.27577711)
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bicubic"
    bits: int | str | None = None
    views: Views | None = None

    def __post_init__(self) -> None:
        if self.interpolation not in _KERNELS:
            raise ConfigError(f"interpolation must be one of {', '.join(_KERNELS)}; got {self.interpolation!r}.")
        if min(self.size) < 1 or min(self.std) <= 0:
            raise ConfigError(f"size and std must be greater than 0, got size {self.size} and std {self.std}.")
        if isinstance(self.bits, str):
            values_of(self.bits)
        elif self.bits is not None and not 8 <= self.bits <= 16:
            raise ConfigError(f"bits must be from 8 to 16, got {self.bits}.")

    def views_of(self, given: tuple[int, int]) -> tuple[View, ...]:
        """The inputs that are made of an image of this ``(height, width)``; the first is of the whole image."""
        return (View(0, (0, 0, *given), self.size),) if self.views is None else self.views.of(given)


class _LargeImage:
    """The one decoded image from which tiles are cut; empty after :meth:`close`, so that no list keeps it alive."""

    def __init__(self, image: Image.Image, given: tuple[int, int], preprocess: Preprocess) -> None:
        self._image: Image.Image | None = image
        self._given, self._preprocess = given, preprocess

    def pixels(self, view: View) -> Tensor:
        """``[3, H, W]`` of one view."""
        if self._image is None:
            raise ImageError("the tiles of an image must be used before the next image is read.")
        return _view_pixels(self._image, self._given, view, self._preprocess)

    def close(self) -> None:
        """Give the memory back."""
        self._image = None


@dataclass(frozen=True)
class Picture:
    """One image on its way into a batch.

    Args:
        source: As it was given.
        size: ``(height, width)`` as it was given, after its EXIF rotation.
        pixels: ``[3, H, W]`` float32, the first view, preprocessed; None if it could not be read.
        error: Why not.
        notes: What a person should know of it, such as that only the first of several pages was read.
        read_as: The window and channels that made grey values of the stored ones; empty where there were none.
        sha256: Of the file, where :func:`read` was asked for it.
        stamp: Its size and times when it was read, likewise.
        bits: Of its values, where they were given.
        views: What is made of it: the whole image at one or several sizes, then tiles.
        others: ``[3, H, W]`` each, of the further views of the whole image.
        tiles: What the pixels of tiles are cut from; None where there are none.
    """

    source: ImageLike
    size: tuple[int, int] | None = None
    pixels: Tensor | None = None
    error: str | None = None
    notes: tuple[str, ...] = ()
    read_as: str = ""
    sha256: str = ""
    stamp: str = ""
    bits: int | str | None = None
    views: tuple[View, ...] = ()
    others: tuple[Tensor, ...] = ()
    tiles: _LargeImage | None = None

    def __post_init__(self) -> None:
        if self.pixels is not None and not self.views:
            height, width = self.pixels.shape[-2:]
            whole = View(0, (0, 0, *(self.size or (height, width))), (height, width))
            object.__setattr__(self, "views", (whole,))

    @property
    def tile_count(self) -> int:
        """In how many tiles it is read; 0: as a whole alone."""
        return sum(view.is_tile for view in self.views)

    @property
    def tile_note(self) -> str:
        """What to say of an image that is read in tiles; empty otherwise."""
        if not self.tile_count:
            return ""
        top, left, bottom, right = self.views[-1].box
        return f"read as a whole and in {self.tile_count} tiles of {right - left} x {bottom - top} pixels."

    def view_pixels(self, number: int) -> Tensor:
        """``[3, H, W]`` of one of :attr:`views`; those of a tile are made when they are asked for."""
        view = self.views[number]
        if view.is_tile and self.tiles is not None:
            return self.tiles.pixels(view)
        found = self.pixels if number == 0 else self.others[number - 1]
        if found is None:
            raise ImageError(self.error or "the image was not read.")
        return found

    @property
    def content(self) -> bytes:
        """What identifies the picture: the hash of its file, or of its pixels where it has none."""
        if self.sha256 or self.pixels is None:
            return self.sha256.encode()
        return hashlib.sha256(self.pixels.numpy().tobytes()).hexdigest().encode()

    @property
    def path(self) -> str | None:
        """The file, where there is one."""
        return str(self.source) if isinstance(self.source, str | Path) else None


def to_pixels(image: Image.Image, preprocess: Preprocess) -> Tensor:
    """An RGB image to ``[3, H, W]`` float32: resize in 8 bits, divide by 255, subtract the mean, divide by std."""
    whole = View(0, (0, 0, image.height, image.width), preprocess.size)
    return _view_pixels(image, (image.height, image.width), whole, preprocess)


def _view_pixels(image: Image.Image, given: tuple[int, int], view: View, preprocess: Preprocess) -> Tensor:
    """One view of an image, which may have been decoded smaller than ``given``."""
    height, width = view.size
    down, across = image.height / given[0], image.width / given[1]
    top, left, bottom, right = view.box
    box = (left * across, top * down, right * across, bottom * down) if view.is_tile else None
    if box is not None or image.size != (width, height):
        image = image.resize((width, height), _KERNELS[preprocess.interpolation], box)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float().div_(255)
    mean, std = torch.tensor(preprocess.mean), torch.tensor(preprocess.std)
    return pixels.sub_(mean[:, None, None]).div_(std[:, None, None])


def read(
    sources: Iterable[ImageLike],
    preprocess: Preprocess,
    *,
    batch_size: int = 8,
    workers: int = WORKERS,
    digest: bool = False,
    warn: bool = True,
) -> Generator[list[Picture]]:
    """Pictures in order, ``batch_size`` at a time, decoded ahead in threads; unreadable ones carry their error.

    At most two batches wait at any moment, or two images for each thread where that is more, so the memory needed does
    not depend on how many images there are. An image
    that is read in tiles is a batch of its own, decoded when its turn comes, and given back when the next batch is
    asked for: one such image is in memory at a time.

    Args:
        sources: Paths, PIL images and arrays.
        preprocess: What the backbone wants.
        batch_size: Pictures in a batch.
        workers: Threads that decode.
        digest: Also hash the files, for :attr:`Picture.sha256`.
        warn: Warn of notes; False where the same pictures were read before.

    Warns:
        UserWarning: The first time that a picture has a note, such as that it holds more pages than the first; and at
            the end how many files do, and how many pages were not read, where there are several such files.
    """
    if batch_size < 1 or workers < 1:
        name, number = ("batch_size", batch_size) if batch_size < 1 else ("workers", workers)
        raise ConfigError(f"{name} must be at least 1, got {number}.")

    def load(source: ImageLike) -> Picture | None:
        """None: it is read in tiles."""
        return None if _is_tiled(source, preprocess) else _load(source, preprocess, digest)

    ahead = 2 * max(batch_size, workers)  # fewer would leave threads without work
    waiting: deque[tuple[ImageLike, Future[Picture | None]]] = deque()

    def loaded() -> Iterator[tuple[ImageLike, Picture | None]]:
        for source in sources:
            waiting.append((source, pool.submit(load, source)))
            if len(waiting) > ahead:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()

    batch: list[Picture] = []
    noted = _Noted() if warn else None
    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="vlmad-read") as pool:
        try:
            for source, picture in loaded():
                if picture is not None:
                    batch.append(picture)
                if batch and (picture is None or len(batch) == batch_size):
                    if noted is not None:
                        noted.add(batch, is_last=picture is not None and not waiting)
                    yield batch
                    batch = []
                if picture is None:
                    large = _load(source, preprocess, digest)
                    if noted is not None:
                        noted.add([large], is_last=not waiting)
                    try:
                        yield [large]
                    finally:
                        if large.tiles is not None:
                            large.tiles.close()
            if batch:
                if noted is not None:
                    noted.add(batch, is_last=True)
                yield batch
        finally:
            for _, future in waiting:
                future.cancel()


def _is_tiled(source: ImageLike, preprocess: Preprocess) -> bool:
    """From the header alone; an image that cannot be read, or would be too many tiles, says so when it is loaded."""
    if preprocess.views is None or preprocess.views.tiles is None:
        return False
    try:
        return any(view.is_tile for view in preprocess.views_of(size_of(source)))
    except ImageError:
        return False


def _load(source: ImageLike, preprocess: Preprocess, digest: bool) -> Picture:
    def stamp() -> str:
        return stamp_of(source) if digest and isinstance(source, str | Path) else ""

    name = source if isinstance(source, str | Path) else "a picture in memory"
    smallest = preprocess.size if preprocess.views is None else preprocess.views.needed
    try:
        seen = decode(source, smallest=smallest, bits=preprocess.bits, digest=digest)
        views = preprocess.views_of(seen.size)
        first, *others = (_view_pixels(seen.image, seen.size, view, preprocess) for view in views if not view.is_tile)
    except ImageError as error:
        text = str(error)
        if isinstance(source, str | Path) and not text.startswith(str(source)):
            text = f"{source}: {text}"
        return Picture(source, error=text, stamp=stamp())
    except Exception as error:  # one picture must not end the work on all others
        text = f"{name}: cannot be read ({type(error).__name__}: {error})."
        return Picture(source, error=text, stamp=stamp())
    large = _LargeImage(seen.image, seen.size, preprocess) if views[-1].is_tile else None
    return Picture(
        source,
        seen.size,
        first,
        notes=seen.notes,
        read_as=seen.read_as,
        sha256=seen.sha256,
        stamp=seen.stamp,
        views=views,
        bits=preprocess.bits,
        others=tuple(others),
        tiles=large,
    )


class _Noted:
    """Warns of a note of each kind once, with the first picture that has it, and counts pages that are not read."""

    def __init__(self) -> None:
        self.kinds: set[str] = set()
        self.files = self.pages = 0

    def add(self, pictures: Sequence[Picture], *, is_last: bool) -> None:
        """Pages are counted with the last batch, since nobody may ask for more after it."""
        for picture in pictures:
            for note in picture.notes:
                pages = pages_left_out(note)
                self.files, self.pages = self.files + bool(pages), self.pages + pages
                kind = "pages" if pages else "bits"
                if kind not in self.kinds:
                    self.kinds.add(kind)
                    warnings.warn(f"{note} Others may be like it.", UserWarning, stacklevel=3)
        if is_last and self.files > 1:
            warnings.warn(pages_message(self.files, self.pages), UserWarning, stacklevel=3)


def stack(pictures: Sequence[Picture]) -> Tensor:
    """``[B, 3, H, W]`` of the first views of pictures that could be read; all of one size."""
    return torch.stack([picture.pixels for picture in pictures if picture.pixels is not None])


def view_batches(pictures: Sequence[Picture]) -> Iterator[tuple[list[int], list[View], Tensor]]:
    """All views of some pictures, those of one scale and one size together: whole images first, then tiles.

    Tiles come eight at a time, so that the memory needed does not depend on how many there are.

    Args:
        pictures: That could be read.

    Yields:
        The place of each view's picture in ``pictures``, the views, and ``[B, 3, H, W]``.
    """
    groups: dict[tuple[bool, int, tuple[int, int]], list[tuple[int, int]]] = {}
    for row, picture in enumerate(pictures):
        for number, view in enumerate(picture.views):
            groups.setdefault((view.is_tile, view.scale, view.size), []).append((row, number))
    for (is_tile, _, _), places in sorted(groups.items()):
        step = _TILES_AT_ONCE if is_tile else len(places)
        for start in range(0, len(places), step):
            part = places[start : start + step]
            views = [pictures[row].views[number] for row, number in part]
            yield [row for row, _ in part], views, _channels_last([pictures[r].view_pixels(n) for r, n in part])


def _channels_last(images: Sequence[Tensor]) -> Tensor:
    """``[B, 3, H, W]``, the channels of a pixel side by side in memory.

    So they come from the decoder, and so the patch embedding takes them without moving them once more.
    """
    return torch.stack([image.permute(1, 2, 0) for image in images]).permute(0, 3, 1, 2)
