"""The values of an image file as they are stored, in any number of channels; tifffile is read where Pillow cannot."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vlmad_core.contracts.memory import budget
from vlmad_core.errors import ImageError

__all__ = ["is_tiff", "stored_tiff"]


def is_tiff(path: Path) -> bool:
    """Whether a file begins as a TIFF does. False where it cannot be read."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
    except OSError:
        return False


def stored_tiff(path: Path) -> np.ndarray:
    """``[H, W]`` or ``[H, W, C]`` of a TIFF with one page, by tifffile.

    Raises:
        ImageError: It is not installed, or the file is damaged, of several pages, too large, or compressed in a way
            that it cannot decode.
    """
    try:
        import tifffile
    except ModuleNotFoundError as error:
        raise ImageError(
            "is a TIFF of a kind that Pillow cannot read, and tifffile is not installed: pip install tifffile."
        ) from error
    try:
        with tifffile.TiffFile(path) as file:
            series = file.series[0]
            axes, shape = series.axes, series.shape
            if axes not in ("YX", "YXS", "YXC", "SYX", "CYX") or len(file.series) > 1:
                raise ImageError(
                    f"holds several pages or images (axes {axes}), and which one is meant cannot be known; save each "
                    "as a file."
                )
            needed = int(np.prod(shape)) * 16
            if needed > budget.limit:
                raise ImageError(
                    f"needs {needed / 1e9:.1f} GB of memory, more than the limit of {budget.limit / 1e9:.1f} GB. Cut "
                    "it into tiles."
                )
            with budget.reserve(needed):
                array = np.asarray(series.asarray())
    except ImageError:
        raise
    except Exception as error:  # damage, or a codec that is missing, each in its own way
        raise ImageError(f"cannot be read as TIFF ({type(error).__name__}: {error}).") from error
    return np.moveaxis(array, 0, -1) if axes in ("SYX", "CYX") else array
