"""A hook that returns one entry and no list of them."""

from vlmad_core.registry import Component, hookimpl


@hookimpl
def vlmad_extractors():
    return Component(name="lonely-look", target="vlmad_core.builtin.patches:Patches", summary="For tests.")
