"""It asks for no version of vlmad-core; that is allowed."""

from vlmad_core.registry import Component, hookimpl


@hookimpl
def vlmad_scorers():
    yield Component(name="no-range-score", target="vlmad_core.builtin.memory:Memory", summary="For tests.")
