"""Two entries of one name and kind."""

from vlmad_core.registry import Component, hookimpl


@hookimpl
def vlmad_extractors():
    yield Component(name="echo", target="vlmad_core.builtin.patches:Patches", summary="For tests.")
    yield Component(name="echo", target="vlmad_core.builtin.patches:Patches", summary="For tests.")
