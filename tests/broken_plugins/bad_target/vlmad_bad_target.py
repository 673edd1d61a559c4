"""A target without a class."""

from vlmad_core.registry import Component, hookimpl


@hookimpl
def vlmad_extractors():
    yield Component(name="bad-target", target="somewhere.module", summary="For tests.")
