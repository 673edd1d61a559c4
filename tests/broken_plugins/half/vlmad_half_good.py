"""The entry point that works."""

from vlmad_core.registry import Component, hookimpl


@hookimpl
def vlmad_extractors():
    yield Component(name="half-look", target="vlmad_core.builtin.patches:Patches", summary="For tests.")
