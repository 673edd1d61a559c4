"""One of two that chose the same name."""

from vlmad_core.registry import Component, hookimpl


@hookimpl
def vlmad_extractors():
    yield Component(name="twin", target="vlmad_core.builtin.patches:Patches", summary="For tests.")
    yield Component(name="only-one", target="vlmad_core.builtin.patches:Patches", summary="For tests.")
