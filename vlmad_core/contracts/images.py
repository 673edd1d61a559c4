"""From paths, PIL images and arrays to a batch of pixels, by a :class:`Preprocess` made of plain numbers.

Every picture is squashed to the size that the backbone wants, so that a map always covers the whole image. What cannot
be read raises :class:`~vlmad_core.errors.ImageError` with a sentence.
"""

from __future__ import annotations

import glob
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from vlmad_core.errors import ConfigError, ImageError

__all__ = ["SUFFIXES", "ImageLike", "Picture", "Preprocess", "find_images", "open_image", "read", "to_pixels"]

ImageLike: TypeAlias = "str | Path | Image.Image | np.ndarray"

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".jp2", ".png", ".pgm", ".ppm", ".tif", ".tiff", ".webp"})
"""Files that a folder is searched for."""

_KERNELS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}

# 20,000 x 20,000 is a real scan; a picture above this limit is more likely a decompression bomb.
_MOST_PIXELS = 500_000_000


@dataclass(frozen=True)
class Preprocess:
    """How a backbone wants its pictures.

    Args:
        size: ``(height, width)`` in pixels.
        mean: Of each of the red, green and blue channels, in [0, 1].
        std: Likewise.
        interpolation: PIL's filter for the resize, in 8 bits and with antialiasing, as CLIP was trained.
    """

    size: tuple[int, int]
    mean: tuple[float, float, float] = (0.48145466, 0.4578275, 0.40821073)
    std: tuple[float, float, float] = (0.26862954, 0.26130258, 0.27577711)
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bicubic"

    def __post_init__(self) -> None:
        if self.interpolation not in _KERNELS:
            raise ConfigError(f"interpolation must be one of {', '.join(_KERNELS)}; got {self.interpolation!r}.")
        if min(self.size) < 1 or min(self.std) <= 0:
            raise ConfigError(f"size and std must be greater than 0, got size {self.size} and std {self.std}.")


@dataclass(frozen=True)
class Picture:
    """One image on its way into a batch.

    Args:
        source: As it was given.
        size: ``(height, width)`` as it was given, after its EXIF rotation.
        pixels: ``[3, H, W]`` float32, preprocessed; None if it could not be read.
        error: Why not.
    """

    source: ImageLike
    size: tuple[int, int] | None = None
    pixels: Tensor | None = None
    error: str | None = None

    @property
    def path(self) -> str | None:
        """The file, where there is one."""
        return str(self.source) if isinstance(self.source, str | Path) else None


def open_image(source: ImageLike) -> Image.Image:
    """Any picture as 8-bit RGB, upright.

    16-bit grey is scaled by 1/257, a fixed scale; transparency is laid on white; EXIF rotation is applied; CMYK,
    palette and grey are converted. Arrays are ``[height, width]`` or ``[height, width, 1|3|4]``, uint8, uint16, bool,
    or float in [0, 1].

    Raises:
        ImageError: Not there, not an image, truncated, above 500 megapixels, or of a kind whose scale is unknown.
    """
    if isinstance(source, np.ndarray):
        return _flatten(_from_array(source))
    if isinstance(source, Image.Image):
        try:
            source.load()
            return _flatten(_upright(source))
        except ImageError:
            raise
        except Exception as error:  # an image that PIL opened and has not read yet may be damaged
            raise ImageError(f"the picture is damaged or cut short ({_told(error)}).") from error
    if not isinstance(source, str | Path):
        raise ImageError(f"an image must be a path, a PIL image or a numpy array; got {type(source).__name__}.")
    with opened(Path(source)) as image:
        return _flatten(_upright(image))


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """A file's picture as it is stored, read whole.

    Raises:
        ImageError: Not there, not an image, truncated, or above 500 megapixels; also what goes wrong with it inside the
            ``with``, so that the path is told.
    """
    try:
        with _unlimited, path.open("rb") as file, Image.open(file) as image:
            if image.width * image.height > _MOST_PIXELS:
                size = f"{image.width} x {image.height}"
                raise ImageError(f"{size} pixels are more than 500 megapixels; cut it into tiles.")
            image.load()
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
        empty = path.stat().st_size == 0
        raise ImageError(f"{path}: {'the file is empty.' if empty else 'is not an image that can be read.'}") from error
    except Exception as error:  # PIL's decoders raise all sorts of things on damage
        raise ImageError(f"{path}: is damaged or cut short ({_told(error)}).") from error


def _told(error: Exception) -> str:
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


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # a broken EXIF block must not hide a good picture; a broken picture is told when it is converted
        return image


def _from_array(array: np.ndarray) -> Image.Image:
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
        array = (array * 255).round().astype(np.uint8)
    elif array.dtype == np.uint16:
        array = (array / 257).round().astype(np.uint8)
    elif array.dtype != np.uint8:
        raise ImageError(f"an array must be uint8, uint16, bool or float in [0, 1]; got {array.dtype}.")
    return Image.fromarray(np.ascontiguousarray(array))


def _flatten(image: Image.Image) -> Image.Image:
    """To 8-bit RGB; the scale is fixed for each kind and never read off the picture."""
    if image.mode.startswith("I") or image.mode == "F":
        array = np.asarray(image)
        if image.mode != "F":
            if array.min() < 0 or array.max() > 65535:
                raise ImageError(f"has {image.mode} pixels outside 0 to 65535; convert it to 8 or 16 bits.")
            array = array.astype(np.uint16)
        image = _from_array(array)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def to_pixels(image: Image.Image, preprocess: Preprocess) -> Tensor:
    """An RGB image to ``[3, H, W]`` float32: resize in 8 bits, divide by 255, subtract the mean, divide by std."""
    height, width = preprocess.size
    if image.size != (width, height):
        image = image.resize((width, height), _KERNELS[preprocess.interpolation])
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float().div_(255)
    mean, std = torch.tensor(preprocess.mean), torch.tensor(preprocess.std)
    return pixels.sub_(mean[:, None, None]).div_(std[:, None, None])


def find_images(sources: str | Path | Iterable[str | Path]) -> list[Path]:
    """Files, folders (searched to the bottom) and glob patterns, as a list of image files, each once, in order.

    A file that is named outright is kept whatever its ending; hidden files and folders are passed over.

    Raises:
        ImageError: A source that does not exist, or that holds no image.
    """
    found: dict[Path, None] = {}
    for source in [sources] if isinstance(sources, str | Path) else sources:
        path = Path(source)
        if path.is_dir():
            inside = sorted(
                p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and _is_shown(p, path) and p.is_file()
            )
            if not inside:
                raise ImageError(f"{path}: no image in this folder (looked for {', '.join(sorted(SUFFIXES))}).")
        elif path.exists():
            inside = [path]
        elif glob.has_magic(str(source)):
            matches = (Path(p) for p in sorted(glob.glob(str(source), recursive=True)))  # noqa: PTH207 - absolute patterns
            inside = [p for p in matches if p.suffix.lower() in SUFFIXES and p.is_file()]
            if not inside:
                raise ImageError(f"{source}: matches no image.")
        else:
            raise ImageError(f"{path}: no such file or folder.")
        found.update(dict.fromkeys(inside))
    return list(found)


def _is_shown(path: Path, root: Path) -> bool:
    return not any(part.startswith(".") for part in path.relative_to(root).parts)


def read(
    sources: Iterable[ImageLike], preprocess: Preprocess, *, batch_size: int = 8, workers: int = 2
) -> Generator[list[Picture]]:
    """Pictures in order, ``batch_size`` at a time, decoded ahead in threads; unreadable ones carry their error.

    At most two batches wait at any moment, so the memory needed does not depend on how many images there are.
    """

    def load(source: ImageLike) -> Picture:
        try:
            image = open_image(source)
        except ImageError as error:
            return Picture(source, error=str(error))
        return Picture(source, (image.height, image.width), to_pixels(image, preprocess))

    if batch_size < 1:
        raise ConfigError(f"batch_size must be at least 1, got {batch_size}.")
    waiting: deque[Future[Picture]] = deque()
    batch: list[Picture] = []
    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="vlmad-read") as pool:
        try:
            for source in sources:
                waiting.append(pool.submit(load, source))
                if len(waiting) > 2 * batch_size:
                    batch.append(waiting.popleft().result())
                if len(batch) == batch_size:
                    yield batch
                    batch = []
            while waiting:
                batch.append(waiting.popleft().result())
                if len(batch) == batch_size or not waiting:
                    yield batch
                    batch = []
            if batch:
                yield batch
        finally:
            for future in waiting:
                future.cancel()


def stack(pictures: Sequence[Picture]) -> Tensor:
    """``[B, 3, H, W]`` of pictures that could be read."""
    return torch.stack([picture.pixels for picture in pictures if picture.pixels is not None])
