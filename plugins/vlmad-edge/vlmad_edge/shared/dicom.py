# Copied from vlmad_core/contracts/dicom.py by plugins/vlmad-edge/build/shared.py; edit that file.
"""From a DICOM file to 8-bit RGB, by the window and the scale that the file states; pydicom is read when one is met.

The steps are those of the standard (PS3.3 C.11): stored values, rescale, window, and the turn of MONOCHROME1, in which
low values are bright. Without a window the scale is the whole range of the stored bits, never that of one picture.
Nothing here imports torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vlmad_edge.shared.memory import budget
from vlmad_edge.shared.errors import ImageError

__all__ = ["DicomImage", "decode_dicom", "dicom_size", "is_dicom"]

_BYTES = 28
"""A pixel: stored values, values as float64, two intermediate results, and the picture."""


@dataclass(frozen=True)
class DicomImage:
    """A picture from a DICOM file.

    Args:
        image: 8-bit RGB.
        note: Which window and scale were used, as a sentence without the path.
    """

    image: Image.Image
    note: str


def is_dicom(path: Path) -> bool:
    """Whether a file begins as the standard's files do: 128 bytes, then ``DICM``. False where it cannot be read."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def dicom_size(path: Path) -> tuple[int, int]:
    """``(height, width)`` from the header; no pixel is read.

    Raises:
        ImageError: It cannot be read, or holds no single picture.
    """
    header = _read(path, stop=True)
    return _size(header)


def decode_dicom(path: Path, window: tuple[float, float] | None = None) -> DicomImage:
    """The picture of a file with one frame.

    Args:
        path: The file.
        window: Rescaled values that become black and white (white and black for MONOCHROME1), in place of the file's.

    Raises:
        ImageError: pydicom is missing; the file is damaged, has several frames or no picture, is compressed in a way
            that nothing here can decode, needs too much memory, or is of a kind whose scale is unknown.
    """
    dataset = _read(path)
    height, width = _size(dataset)
    needed = height * width * _BYTES
    if needed > budget.limit:
        raise ImageError(
            f"{width} x {height} pixels need {needed / 1e9:.1f} GB of memory, more than the limit of "
            f"{budget.limit / 1e9:.1f} GB. Cut it into tiles."
        )
    with budget.reserve(needed):
        kind = str(dataset.get("PhotometricInterpretation", ""))
        stored = _pixels(dataset)
        if kind == "RGB" and stored.ndim == 3 and stored.dtype == np.uint8:
            return DicomImage(Image.fromarray(np.ascontiguousarray(stored)), "DICOM in colour, as stored.")
        if kind not in ("MONOCHROME1", "MONOCHROME2") or stored.ndim != 2:
            raise ImageError(f"is DICOM of kind '{kind or 'unknown'}'; grey (MONOCHROME1 or 2) and 8-bit RGB are read.")
        if window is None:
            low, high, how = _window(dataset)
        else:
            (low, high), how = window, "values {:g} to {:g} as asked for".format(*window)
        values = stored * _number(dataset, "RescaleSlope", 1.0) + _number(dataset, "RescaleIntercept", 0.0)
        shares = np.clip((values - low) / (high - low), 0, 1)
        turned = kind == "MONOCHROME1"
        grey = np.round(255 * (1 - shares if turned else shares)).astype(np.uint8)
        note = f"DICOM: {how}{', MONOCHROME1 turned' if turned else ''}."
        return DicomImage(Image.fromarray(grey).convert("RGB"), note)


def _read(path: Path, *, stop: bool = False) -> Any:
    try:
        import pydicom
    except ModuleNotFoundError as error:
        raise ImageError("is DICOM, which pydicom reads, and that is not installed: pip install pydicom.") from error
    try:
        return pydicom.dcmread(path, stop_before_pixels=stop)
    except Exception as error:  # a damaged file stops it in many ways
        raise ImageError(f"is damaged DICOM, or cut short ({type(error).__name__}: {error}).") from error


def _size(dataset: Any) -> tuple[int, int]:
    if "Rows" not in dataset or "Columns" not in dataset:
        raise ImageError("is DICOM without a picture, such as a report or a structure; give image files.")
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames > 1:
        raise ImageError(f"holds {frames} frames, and which one is meant cannot be known; save each as a file.")
    height, width = int(dataset.Rows), int(dataset.Columns)
    if height < 1 or width < 1:
        raise ImageError(f"is DICOM of {width} x {height} pixels; there is nothing to see.")
    return height, width


def _pixels(dataset: Any) -> np.ndarray:
    try:
        return np.asarray(dataset.pixel_array)
    except Exception as error:  # no decoder, or damage, each decoder in its own way
        syntax = getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", None)
        if syntax is not None and syntax.is_compressed:
            raise ImageError(
                f"is compressed DICOM ({syntax.name}), and no decoder that is installed reads it. Install one, such as "
                "pylibjpeg with pylibjpeg-libjpeg and pylibjpeg-openjpeg, or save it uncompressed."
            ) from error
        raise ImageError(f"has pixels that cannot be read ({type(error).__name__}: {error}).") from error


def _window(dataset: Any) -> tuple[float, float, str]:
    """Values that become black and white, and how they were found, in words."""
    center, width = (_first(dataset.get(name)) for name in ("WindowCenter", "WindowWidth"))
    if center is not None and width is not None:
        function = str(dataset.get("VOILUTFunction") or "LINEAR")
        if function == "LINEAR" and width > 1:  # of whole numbers: both ends belong to it (C.11.2.1.2.1)
            low, high = center - 0.5 - (width - 1) / 2, center - 0.5 + (width - 1) / 2
        elif function == "LINEAR_EXACT" and width > 0:
            low, high = center - width / 2, center + width / 2
        else:
            raise ImageError(
                f"is DICOM with a window of function {function} and width {width:g}; linear windows of a width above 1 "
                "are read."
            )
        return low, high, f"window of the file, center {center:g} and width {width:g}"
    if "VOILUTSequence" in dataset or "ModalityLUTSequence" in dataset:
        raise ImageError("is DICOM whose scale is a table and no window; save it with a window, or as 16-bit PNG.")
    bits, signed = int(dataset.BitsStored), int(dataset.get("PixelRepresentation", 0))
    ends = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    slope, intercept = _number(dataset, "RescaleSlope", 1.0), _number(dataset, "RescaleIntercept", 0.0)
    low, high = sorted(end * slope + intercept for end in ends)
    if not high > low:
        raise ImageError(f"is DICOM with a rescale slope of {slope:g}, by which all values are alike.")
    return low, high, f"no window in the file, so all of its {bits} bits"


def _number(dataset: Any, name: str, default: float) -> float:
    value = _first(dataset.get(name))
    return default if value is None else value


def _first(value: Any) -> float | None:
    """The first of several windows; None where there is none."""
    if value is None or value == "":
        return None
    try:
        found = float(value[0] if isinstance(value, list | tuple) or hasattr(value, "insert") else value)
    except (TypeError, ValueError, IndexError) as error:
        raise ImageError(f"is DICOM with a scale that is no number: {value!r}.") from error
    if not np.isfinite(found):
        raise ImageError(f"is DICOM with a scale that is not finite: {value!r}.")
    return found
