"""A range that nobody can read is no range."""

from vlmad_core.registry import Component, hookimpl


@hookimpl
def vlmad_scorers():
    yield Component(name="odd-range-score", target="vlmad_core.builtin.memory:Memory", summary="For tests.")
