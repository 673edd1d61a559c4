"""A recipe from a hook for parts."""

from vlmad_core.registry import Recipe, hookimpl


@hookimpl
def vlmad_extractors():
    yield Recipe(name="misplaced", spec={}, summary="For tests.")
