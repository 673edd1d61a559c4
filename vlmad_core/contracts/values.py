"""A fixed window and chosen channels, as one text that every record can hold: how stored values become 8-bit RGB.

``window=0:4000`` makes 0 black and 4000 white, whatever the type of the values; ``channels=3,2,1`` takes the third
channel as red. Both are the same for every image, so that a score means the same for all. Free of torch and PIL.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np

from vlmad_core.errors import ConfigError, ImageError

__all__ = ["Values", "values_of", "values_text"]

_FORM = re.compile(r"(?:window=(?P<low>[^:; ]+):(?P<high>[^:; ]+)(?:;(?=c)|$))?(?:channels=(?P<channels>[\d,]+))?")


@dataclass(frozen=True)
class Values:
    """How stored values are read.

    Args:
        window: Values that become black and white; None: by their type, 0 to 255 or 65535, 0 to 1 for floats.
        channels: Numbers from 1 of the channels that become red, green and blue, or of one that becomes grey; None: the
            file has one or three.
    """

    window: tuple[float, float] | None = None
    channels: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.window is not None:
            low, high = self.window
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise ConfigError(f"a window is two finite numbers, the lower one first; got {low:g} and {high:g}.")
        if self.channels is not None and (len(self.channels) not in (1, 3) or min(self.channels) < 1):
            given = ",".join(map(str, self.channels))
            raise ConfigError(f"channels are one number, or three for red, green and blue, from 1; got {given}.")

    @property
    def note(self) -> str:
        """In words, for the results."""
        parts = [] if self.window is None else ["values {:g} to {:g} as black to white".format(*self.window)]
        if self.channels is not None:
            parts.append(f"channels {', '.join(map(str, self.channels))}")
        return f"read with {' and '.join(parts)}."

    def to_rgb(self, stored: np.ndarray) -> np.ndarray:
        """``[H, W]`` or ``[H, W, C]`` of any number type to ``[H, W, 3]`` uint8.

        Raises:
            ImageError: A channel that is not there, values that are not finite, or a type without a known scale.
        """
        array = stored[..., None] if stored.ndim == 2 else stored
        if array.ndim != 3 or array.size == 0:
            raise ImageError(
                f"an image must be [height, width] or [height, width, channels]; got shape {stored.shape}."
            )
        count = array.shape[2]
        channels = self.channels or ((1,) if count == 1 else (1, 2, 3) if count == 3 else ())
        if not channels:
            raise ImageError(
                f"has {count} channels; say which are red, green and blue with channels (--channels 3,2,1)."
            )
        if max(channels) > count:
            raise ImageError(f"has {count} channels, and channel {max(channels)} was asked for (--channels).")
        low, high = self.window or _range_of(array.dtype)
        values = array[..., [channel - 1 for channel in channels]].astype(np.float64)
        if not np.isfinite(values).all():
            raise ImageError("holds values that are not finite, which no window can show; replace them first.")
        if self.window is None and (values.min() < low or values.max() > high):
            raise ImageError("has float values outside 0 to 1; say what is black and white with a window (--window).")
        grey = np.round(255 * np.clip((values - low) / (high - low), 0, 1)).astype(np.uint8)
        return np.repeat(grey, 3, axis=2) if len(channels) == 1 else grey


def values_of(text: str) -> Values:
    """From the text of :func:`values_text`.

    >>> values_of("window=0:4000;channels=3,2,1")
    Values(window=(0.0, 4000.0), channels=(3, 2, 1))

    Raises:
        ConfigError: It is no such text.
    """
    found = _FORM.fullmatch(text)
    if not text or found is None:
        raise ConfigError(f"values are read by a text such as 'window=0:4000;channels=3,2,1'; got {text!r}.")
    try:
        window = None if found["low"] is None else (float(found["low"]), float(found["high"]))
        channels = None if found["channels"] is None else tuple(map(int, found["channels"].split(",")))
    except ValueError as error:
        raise ConfigError(f"values are read by a text such as 'window=0:4000;channels=3,2,1'; got {text!r}.") from error
    return Values(window, channels)


def values_text(values: Values) -> str:
    """One text for the same values, for records and settings.

    >>> values_text(Values((0, 4000), (3, 2, 1)))
    'window=0:4000;channels=3,2,1'
    """
    parts = [] if values.window is None else ["window={:.17g}:{:.17g}".format(*values.window)]
    parts += [] if values.channels is None else [f"channels={','.join(map(str, values.channels))}"]
    return ";".join(parts)


def _range_of(kind: np.dtype) -> tuple[float, float]:
    if kind == np.bool_ or kind.kind == "f":
        return 0.0, 1.0
    if kind.kind == "u" and kind.itemsize <= 2:
        return 0.0, float(np.iinfo(kind).max)
    raise ImageError(f"holds values of type {kind}, whose scale is not known; say it with a window (--window).")
