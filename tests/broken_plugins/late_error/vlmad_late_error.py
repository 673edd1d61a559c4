"""Its generator fails after the first entry; its other hook is fine."""

from vlmad_core.registry import Component, hookimpl


@hookimpl
def vlmad_extractors():
    yield Component(name="late-look", target="vlmad_core.builtin.patches:Patches", summary="For tests.")
    raise RuntimeError("failed after the first entry")


@hookimpl
def vlmad_scorers():
    yield Component(name="late-score", target="vlmad_core.builtin.memory:Memory", summary="For tests.")
