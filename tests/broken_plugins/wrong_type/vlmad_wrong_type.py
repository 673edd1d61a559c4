"""A hook that yields a word."""

from vlmad_core.registry import hookimpl


@hookimpl
def vlmad_extractors():
    yield "windows"
