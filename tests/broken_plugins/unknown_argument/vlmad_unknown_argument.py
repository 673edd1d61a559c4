"""A hook that asks for what vlmad does not give."""

from vlmad_core.registry import Component, hookimpl


@hookimpl
def vlmad_extractors(registry):
    yield Component(name="greedy-look", target="vlmad_core.builtin.patches:Patches", summary="For tests.")
