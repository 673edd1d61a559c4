"""A data set of somebody else: ``*.spoon`` in a folder; those whose names begin with b are bent."""

from vlmad_core import Component, Dataset, Fit, Reader, Sample, hookimpl


@hookimpl
def vlmad_datasets():
    yield Component(name="cutlery", target="vlmad_cutlery:Spoons", summary="For tests.")


class Spoons(Reader):
    tree = "*.spoon"

    def fits(self, root):
        return Fit.KNOWN if any(root.glob("*.spoon")) else Fit.NO

    def read(self, root):
        paths = sorted(root.glob("*.spoon"))
        return Dataset("cutlery", tuple(Sample(p, p.name[0] == "b", "spoon", "test") for p in paths), root)
