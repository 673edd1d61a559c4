"""A recipe from a hook for parts."""

from vlmad_core import Recipe, hookimpl


@hookimpl
def vlmad_extractors():
    yield Recipe(name="misplaced", spec={}, summary="For tests.")
