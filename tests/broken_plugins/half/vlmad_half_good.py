"""The entry point that works."""

from vlmad_core import Component, hookimpl


@hookimpl
def vlmad_extractors():
    yield Component(name="half-look", target="vlmad_core.builtin.patches:Patches", summary="For tests.")
