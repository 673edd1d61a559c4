"""Turns the docstrings of the code into Markdown for the reference pages: an extension of Griffe, see mkdocs.yml."""

from __future__ import annotations

import re
from typing import Any

import griffe

_ROLE = re.compile(r":\w+:`~?(?:[\w.]*\.)?([\w()]+)`")
_EXAMPLE = re.compile(r"(?:^>>> .*\n(?:.+\n?)*)", re.MULTILINE)


def as_markdown(text: str) -> str:
    """Roles of Sphinx become code, and examples become blocks of code.

    >>> as_markdown("See :func:`~vlmad_core.build`.")
    'See `build`.'
    """
    text = _ROLE.sub(r"`\1`", text)
    return _EXAMPLE.sub(lambda found: f"```pycon\n{found[0].rstrip()}\n```\n", text)


class AsMarkdown(griffe.Extension):
    """Rewrites each docstring as soon as its object is known."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called by Griffe for every object."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)
