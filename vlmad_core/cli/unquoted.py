"""Refuses a pattern without quotes: the shell makes of it one value of an option, and more images for the command."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand

__all__ = ["QuotedCommand"]


class QuotedCommand(TyperCommand):
    """Looks at what was typed, in its order, before it is taken apart.

    Attributes:
        one_value: Options that take one file, folder or pattern, with their short names.
    """

    one_value: ClassVar[Sequence[Sequence[str]]] = ()

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As usual, after a pattern that the shell took apart was refused.

        Raises:
            typer.BadParameter: A file follows the file given to such an option, and lies in the same folder.
        """
        for names in self.one_value:
            _refuse_unquoted(names, args)
        return super().parse_args(ctx, args)


def _refuse_unquoted(names: Sequence[str], args: Sequence[str]) -> None:
    """``--normal good/*.png`` without quotes reaches vlmad as one normal image, with the others to be judged."""
    name = names[0]
    for i, word in enumerate(args):
        option, equals, value = word.partition("=")
        if option not in names:
            continue
        given = [value, *args[i + 1 : i + 2]] if equals else args[i + 1 : i + 3]
        if len(given) < 2 or given[1].startswith("-"):
            continue
        first, second = Path(given[0]), Path(given[1])
        if first.parent == second.parent and first.is_file() and second.is_file():
            raise typer.BadParameter(
                f"takes one file, folder or pattern, and '{second}' follows '{first}'. If the shell took a pattern "
                f"apart, quote it: {name} '{first.parent}/*{first.suffix}'; for several files repeat {name}. "
                f"Images to judge go before {name}, or after another option.",
                param_hint=name,
            )
