"""A plugin with nothing wrong."""

from vlmad_core.registry import Component, Recipe, hookimpl


@hookimpl
def vlmad_extractors():
    yield Component(name="good-look", target="vlmad_core.builtin.patches:Patches", summary="For tests.")


@hookimpl
def vlmad_recipes():
    yield Recipe(
        name="good-recipe",
        spec={"backbone": "far", "extractor": "good-look", "scorers": ["memory"]},
        summary="For tests.",
        needs={"far": "vlmad-far"},
    )
