"""A data set of somebody else: ``*.spoon`` in a folder; those whose names begin with b are bent."""

from vlmad_core import Dataset, Sample
from vlmad_core.datasets import DatasetReader, LayoutMatch
from vlmad_core.registry import Component, hookimpl


@hookimpl
def vlmad_datasets():
    yield Component(name="cutlery", target="vlmad_cutlery:Spoons", summary="For tests.")


class Spoons(DatasetReader):
    tree = "*.spoon"

    def fits(self, root):
        return LayoutMatch.KNOWN if any(root.glob("*.spoon")) else LayoutMatch.NO

    def read(self, root):
        paths = sorted(root.glob("*.spoon"))
        return Dataset("cutlery", tuple(Sample(p, p.name[0] == "b", "spoon", "test") for p in paths), root)
