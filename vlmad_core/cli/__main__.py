"""The command ``vlmad``: finds the file of a command when it is called, and turns every refusal into one sentence."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from keyword import iskeyword
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from vlmad_core.cli import terminal
from vlmad_core.errors import VlmadError
from vlmad_core.registry.registry import default_registry
from vlmad_core.version import __version__

__all__ = ["app", "main"]

_COMMANDS = (
    "predict",
    "fit",
    "calibrate",
    "feedback",
    "prompts",
    "train",
    "import",
    "benchmark",
    "speed",
    "compare",
    "list",
    "show",
    "compose",
    "data",
    "plugins",
    "check",
    "new-plugin",
    "doctor",
)


class _Lazy(TyperGroup):
    """Imports a command's file only when that command is called, or all are listed."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*_COMMANDS, *sorted(_plugin_commands())]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in self.commands:
            return self.commands[cmd_name]
        kind, settings = None, None
        if cmd_name in _COMMANDS:
            word = cmd_name.replace("-", "_")
            module = import_module(f"vlmad_core.cli.{word}{'_' * iskeyword(word)}")  # none can be called "import"
            command = getattr(module, f"{word}_command")
            kind = getattr(module, f"{cmd_name.title().replace('-', '')}Command", None)
        elif cmd_name in _plugin_commands():
            try:
                command = default_registry().get("command", cmd_name).load()
            except VlmadError as error:  # one broken plugin must not take the list of all commands with it
                command, settings = _broken(error), {"ignore_unknown_options": True, "allow_extra_args": True}
        else:
            for name in self.list_commands(ctx):  # Click suggests the nearest of the names in self.commands
                self.get_command(ctx, name)
            return None
        app = command
        if not isinstance(command, typer.Typer):  # one command, not a group of them
            app = typer.Typer(add_completion=False)
            app.command(cmd_name, cls=kind, context_settings=settings)(command)
        self.commands[cmd_name] = _without_flag_types(typer.main.get_command(app))
        return self.commands[cmd_name]

    def get_params(self, ctx: Any) -> Any:
        return _without_types(super().get_params(ctx))

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            terminal.complain(str(error) or "stopped.")
            raise typer.Exit(130) from None


def _broken(error: VlmadError) -> Callable[[], None]:
    """In place of a command that cannot be imported: says why when it is called."""

    def command() -> None:
        """Cannot be used: its plugin cannot be imported; call it to see why."""
        raise error

    return command


def _without_flag_types(command: Any) -> Any:
    """A command, and those inside it, whose help says nothing of the type of a flag."""
    given = command.get_params
    command.get_params = lambda ctx: _without_types(given(ctx))
    for inner in getattr(command, "commands", {}).values():
        _without_flag_types(inner)
    return command


def _without_types(parameters: Any) -> Any:
    for parameter in parameters:
        if getattr(parameter, "is_flag", False) and parameter.metavar is None:
            parameter.metavar = ""
    return parameters


def _plugin_commands() -> set[str]:
    """Names of the commands that plugins add; a command of the core is never replaced."""
    with terminal.stdout_to_stderr():
        default_registry()
    return {entry.name for entry in default_registry().entries("command")} - set(_COMMANDS)


app = typer.Typer(
    cls=_Lazy,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 all judged; 1 refused or failed; 2 wrong usage; 3 some images could not be judged; "
    "4 --fail-on; 130 interrupted.",
)


def _tell_version(value: bool) -> None:
    if value:
        typer.echo(f"vlmad {__version__}")
        raise typer.Exit


@app.callback()
def _start(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_tell_version, is_eager=True)
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show tracebacks; so does VLMAD_DEBUG=1.")] = False,
) -> None:
    """Find defects in images with vision-language models."""
    with terminal.stdout_to_stderr():
        if ctx.invoked_subcommand == "check":
            from vlmad_core.testing.guard import guarded_registry

            guarded_registry()
        else:
            default_registry()
    terminal.verbose = verbose or bool(os.environ.get("VLMAD_DEBUG"))


def _unexpected(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "there is not enough memory for this. Take a smaller --image-size or --batch-size."
    if isinstance(error, RecursionError):
        return "what was given is nested too deeply."
    reason = " ".join(str(error).split()) or "no reason was given"
    return f"an error inside vlmad or a plugin stopped this command: {reason}. `vlmad --verbose ...` shows where."


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit code."""
    warnings.showwarning = terminal.show_warning
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a file name may hold what the terminal cannot write
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            typer.main.get_command(app)(args=None if arguments is None else list(arguments), prog_name="vlmad")
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # `vlmad list | head -1`: nobody listens, so there is nobody to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if terminal.verbose:
            raise
        terminal.complain(str(error) if isinstance(error, VlmadError | OSError) else _unexpected(error))
    sys.exit(1)


if __name__ == "__main__":
    main()
