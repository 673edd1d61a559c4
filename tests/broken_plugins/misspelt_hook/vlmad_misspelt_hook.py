"""A hook that vlmad never calls: the s is missing."""

from vlmad_core.registry import Component, hookimpl


@hookimpl
def vlmad_extractor():
    yield Component(name="misspelt-look", target="vlmad_core.builtin.patches:Patches", summary="For tests.")
