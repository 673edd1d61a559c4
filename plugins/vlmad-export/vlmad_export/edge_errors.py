"""Errors of the edge runtime as those of the core, whose classes the command line and callers know."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from vlmad_core import errors
from vlmad_edge.shared.errors import VlmadError

__all__ = ["as_core_errors"]


@contextmanager
def as_core_errors() -> Iterator[None]:
    """The runtime shares no class with the core, since it must run without it; the text stays.

    Raises:
        VlmadError: Of the core, of the class with the same name.
    """
    try:
        yield
    except VlmadError as error:
        kind: type[errors.VlmadError] = getattr(errors, type(error).__name__, errors.VlmadError)
        raise kind(str(error)) from error
