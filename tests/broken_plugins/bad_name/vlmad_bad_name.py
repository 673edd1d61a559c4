"""A name with capitals."""

from vlmad_core.registry import Component, hookimpl


@hookimpl
def vlmad_extractors():
    yield Component(name="Bad_Name", target="vlmad_core.builtin.patches:Patches", summary="For tests.")
