"""Its data sets fail; its extractor is fine."""

from vlmad_core.registry import Component, hookimpl


@hookimpl
def vlmad_extractors():
    yield Component(name="late-view", target="vlmad_core.builtin.patches:Patches", summary="For tests.")


@hookimpl
def vlmad_datasets():
    yield Component(name="late-pictures", target="vlmad_core.datasets.folders:Folders", summary="For tests.")
    raise RuntimeError("no more")
