"""It has the name of a built-in, and another that is its own."""

from vlmad_core.registry import Component, hookimpl


@hookimpl
def vlmad_scorers():
    yield Component(name="memory", target="vlmad_core.builtin.memory:Memory", summary="For tests.")
    yield Component(name="own-score", target="vlmad_core.builtin.memory:Memory", summary="For tests.")
