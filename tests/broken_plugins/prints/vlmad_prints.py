"""It talks while it is imported and when it is asked."""

from vlmad_core.registry import Component, hookimpl

print("hello from the import")


@hookimpl
def vlmad_extractors():
    print("hello from the hook")
    yield Component(name="chatty-look", target="vlmad_core.builtin.patches:Patches", summary="For tests.")
