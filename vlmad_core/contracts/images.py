"""From paths, PIL images and arrays to a batch of pixels, by a :class:`Preprocess` made of plain numbers.

Every picture is squashed to the size that the backbone wants, so that a map always covers the whole image. What cannot
be read raises :class:`~vlmad_core.errors.ImageError` with a sentence.
"""

from __future__ import annotations

import hashlib
import warnings
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vlmad_core.contracts.decode import ImageLike, decode, open_image, stamp_of
from vlmad_core.contracts.find import SUFFIXES, find_images
from vlmad_core.contracts.pixels import pages_left_out, pages_message
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
]

WORKERS = 2
"""Threads that decode, unless the caller says otherwise."""

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
        bits: Of the values in 16-bit grey, such as 12 for a 12-bit camera; None: what the file says, or 16.
    """

    size: tuple[int, int]
    mean: tuple[float, float, float] = (0.48145466, 0.4578275, 0.40821073)
    std: tuple[float, float, float] = (0.26862954, 0.26130258, 0.27577711)
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bicubic"
    bits: int | None = None

    def __post_init__(self) -> None:
        if self.interpolation not in _KERNELS:
            raise ConfigError(f"interpolation must be one of {', '.join(_KERNELS)}; got {self.interpolation!r}.")
        if min(self.size) < 1 or min(self.std) <= 0:
            raise ConfigError(f"size and std must be greater than 0, got size {self.size} and std {self.std}.")
        if self.bits is not None and not 8 <= self.bits <= 16:
            raise ConfigError(f"bits must be from 8 to 16, got {self.bits}.")


@dataclass(frozen=True)
class Picture:
    """One image on its way into a batch.

    Args:
        source: As it was given.
        size: ``(height, width)`` as it was given, after its EXIF rotation.
        pixels: ``[3, H, W]`` float32, preprocessed; None if it could not be read.
        error: Why not.
        notes: What a person should know of it, such as that only the first of several pages was read.
        sha256: Of the file, where :func:`read` was asked for it.
        stamp: Its size and times when it was read, likewise.
        bits: Of its values, where they were given.
    """

    source: ImageLike
    size: tuple[int, int] | None = None
    pixels: Tensor | None = None
    error: str | None = None
    notes: tuple[str, ...] = ()
    sha256: str = ""
    stamp: str = ""
    bits: int | None = None

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
    height, width = preprocess.size
    if image.size != (width, height):
        image = image.resize((width, height), _KERNELS[preprocess.interpolation])
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

    At most two batches wait at any moment, so the memory needed does not depend on how many images there are.

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

    def load(source: ImageLike) -> Picture:
        def stamp() -> str:
            return stamp_of(source) if digest and isinstance(source, str | Path) else ""

        try:
            seen = decode(source, smallest=preprocess.size, bits=preprocess.bits, digest=digest)
            pixels = to_pixels(seen.image, preprocess)
        except ImageError as error:
            return Picture(source, error=str(error), stamp=stamp())
        except Exception as error:  # one picture must not end the work on all others
            name = source if isinstance(source, str | Path) else "a picture in memory"
            text = f"{name}: cannot be read ({type(error).__name__}: {error})."
            return Picture(source, error=text, stamp=stamp())
        return Picture(source, seen.size, pixels, None, seen.notes, seen.sha256, seen.stamp, preprocess.bits)

    waiting: deque[Future[Picture]] = deque()
    batch: list[Picture] = []
    noted = _Noted() if warn else None
    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="vlmad-read") as pool:
        try:
            for source in sources:
                waiting.append(pool.submit(load, source))
                if len(waiting) > 2 * batch_size:
                    batch.append(waiting.popleft().result())
                if len(batch) == batch_size:
                    if noted is not None:
                        noted.add(batch)
                    yield batch
                    batch = []
            while waiting:
                batch.append(waiting.popleft().result())
                if len(batch) == batch_size or not waiting:
                    if noted is not None:
                        noted.add(batch)
                        if not waiting:  # now, since nobody may ask for more after the last batch
                            noted.count_pages()
                    yield batch
                    batch = []
        finally:
            for future in waiting:
                future.cancel()


class _Noted:
    """Warns of a note of each kind once, with the first picture that has it, and counts pages that are not read."""

    def __init__(self) -> None:
        self.kinds: set[str] = set()
        self.files = self.pages = 0

    def add(self, pictures: Sequence[Picture]) -> None:
        for picture in pictures:
            for note in picture.notes:
                pages = pages_left_out(note)
                self.files, self.pages = self.files + bool(pages), self.pages + pages
                kind = "pages" if pages else "bits"
                if kind not in self.kinds:
                    self.kinds.add(kind)
                    warnings.warn(f"{note} Others may be like it.", UserWarning, stacklevel=3)

    def count_pages(self) -> None:
        if self.files > 1:
            warnings.warn(pages_message(self.files, self.pages), UserWarning, stacklevel=3)


def stack(pictures: Sequence[Picture]) -> Tensor:
    """``[B, 3, H, W]`` of pictures that could be read."""
    return torch.stack([picture.pixels for picture in pictures if picture.pixels is not None])
