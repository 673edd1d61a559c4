"""Options of ``vlmad benchmark`` about where its cells run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Annotated

import typer

from vlmad_core.cli.named_component import make_named
from vlmad_core.cli.names import complete

__all__ = ["ExecutorName", "ExecutorSetting", "OnRay", "chosen_executor"]

_PANEL = "Other processes and machines"
ExecutorName = Annotated[
    str | None,
    typer.Option(
        "--executor",
        help="Share the cells out, a category on a backbone at a time, through this executor of a plugin.",
        autocompletion=complete("executor"),
        rich_help_panel=_PANEL,
    ),
]
ExecutorSetting = Annotated[
    list[str] | None,
    typer.Option(
        "--executor-set",
        metavar="NAME=VALUE",
        help="An option of it, such as address=auto; `vlmad show NAME` lists them. Repeat it for several.",
        rich_help_panel=_PANEL,
    ),
]
OnRay = Annotated[
    bool, typer.Option("--ray", help="Short for --executor ray, of the plugin vlmad-ray.", rich_help_panel=_PANEL)
]


@contextmanager
def chosen_executor(name: str | None, settings: Sequence[str] | None) -> Iterator[Executor | None]:
    """The executor that was named, and its end; None where nobody was named.

    Raises:
        typer.BadParameter: Options without a name, or one that is not ``NAME=VALUE``.
        UnknownComponentError: Nobody offers the name.
        ConfigError: An option that does not exist or does not fit.
        VlmadError: It cannot be started.
    """
    if name is None:
        if settings:
            raise typer.BadParameter("sets an option of an executor; name it with --executor, or --ray.")
        yield None
        return
    made = make_named("executor", Executor, name, settings, option="--executor", example="address=auto")
    try:
        yield made
    finally:
        made.shutdown(wait=False, cancel_futures=True)
