# Copied from vlmad_core/errors.py by plugins/vlmad-edge/build/shared.py; edit that file.
"""The few exceptions that a user meets. Each text says what is wrong, where, and what to try."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "ConfigError",
    "ImageError",
    "IncompatibleError",
    "NotFittedError",
    "UnknownComponentError",
    "VlmadError",
    "did_you_mean",
]


class VlmadError(Exception):
    """Base of every error that vlmad raises on purpose; the command line prints it without a traceback."""


class UnknownComponentError(VlmadError, LookupError):
    """A name that no installed plugin offers, or that two of them offer."""


class ConfigError(VlmadError, ValueError):
    """An option that does not exist, a value out of range, or a file that says something impossible."""


class IncompatibleError(VlmadError, ValueError):
    """Parts that are fine by themselves and cannot work together."""


class NotFittedError(VlmadError, RuntimeError):
    """A detector was asked to predict before it was fitted or trained."""


class ImageError(VlmadError, OSError):
    """An image that cannot be read; the text begins with its path where it has one."""


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the nearest known word, or nothing.

    >>> did_you_mean("scale", ["scales", "chunk"])
    " Did you mean 'scales'?"
    """
    from difflib import get_close_matches  # here: no command but a refused one needs it

    near = get_close_matches(given, list(known), n=1)
    return f" Did you mean '{near[0]}'?" if near else ""
