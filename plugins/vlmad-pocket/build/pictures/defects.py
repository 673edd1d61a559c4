# ruff: noqa: D102, D103 (one signature, told above; each name says what it draws)
"""The table of kinds of defect: how each is made and where it can happen."""

from collections.abc import Callable
from dataclasses import dataclass

from pictures import baked, photovoltaic, small, structure, surface, weave
from pictures.noise import Array, Rng
from pictures.scene import Scene

Surface = Callable[[Rng, Scene, Array, Array, float, float], Array]
Structure = Callable[[Rng, Scene, Array, float, float], Scene]


@dataclass(frozen=True)
class Kind:
    """One kind of defect: `traits` of which the material has to have one, `flags` the scene; empty allows all."""

    name: str
    mark: Surface | None = None
    edit: Structure | None = None
    traits: frozenset[str] = frozenset()
    flags: frozenset[str] = frozenset()
    weight: float = 1.0

    def fits(self, scene: Scene) -> bool:
        have = set(scene.flags) | ({"items"} if scene.items else set())
        have |= {"bordered"} if scene.items and not scene.everywhere else set()
        traits = not self.traits or bool(self.traits & scene.material.traits)
        return traits and self.flags <= have


def mark(name: str, how: Surface, traits: str = "", flags: str = "", weight: float = 1.0) -> Kind:
    return Kind(name, how, None, frozenset(traits.split()), frozenset(flags.split()), weight)


def edit(name: str, how: Structure, flags: str = "items", weight: float = 1.0) -> Kind:
    return Kind(name, None, how, frozenset(), frozenset(flags.split()), weight)


KINDS = (
    mark("scratch", surface.scratch, weight=1.6),
    mark("abrasion", surface.abrasion),
    mark("crack", surface.crack, "hard brittle soft", weight=1.8),
    mark("chip", surface.chip, "hard brittle", "bordered"),
    mark("hole", surface.hole, weight=1.2),
    mark("pits", surface.pits, "hard brittle soft"),
    mark("dent", surface.dent, weight=1.3),
    mark("stain", surface.stain, weight=1.3),
    mark("oil", surface.oil),
    mark("discolouration", surface.discolour, weight=1.2),
    mark("burn", surface.burn, "burns"),
    mark("rust", surface.rust, "metal"),
    mark("contamination", surface.contamination, weight=1.4),
    mark("fibre", surface.fibre),
    mark("thread", surface.thread, "thread", weight=1.5),
    mark("tear", surface.tear, "thin soft"),
    mark("cut", surface.cut),
    mark("fold", surface.fold, "thin soft"),
    mark("bubble", surface.bubble, "coated thin brittle"),
    mark("run", surface.run, "coated"),
    mark("peel", surface.peel, "coated thin hard"),
    mark("smear", surface.smear),
    mark("fade", surface.fade),
    mark("wear", surface.worn, "", "bordered"),
    mark("foreign texture", surface.foreign, weight=1.6),
    mark("dead area", surface.dead_area, "wafer hard pattern"),
    edit("missing part", structure.missing, "items many", weight=2.5),
    edit("extra part", structure.extra, weight=1.2),
    edit("misplaced part", structure.misplaced, "items many", weight=2.0),
    edit("deformation", structure.deformed, weight=1.8),
    edit("break", structure.broken, weight=1.5),
    edit("nick", structure.nicked, "bordered items", weight=1.5),
    edit("odd cell", structure.odd, "items many", weight=1.5),
    edit("interrupted pattern", structure.interrupted, "items regular", weight=2.0),
    mark("cell crack", photovoltaic.cell_crack, "", "cell", 1.5),
    mark("disconnected area", photovoltaic.disconnected, "", "cell", 1.5),
    mark("finger interruption", photovoltaic.finger, "", "cell", 1.5),
    mark("solder spot", photovoltaic.solder, "", "cell", 1.0),
    mark("broken corner", photovoltaic.corner, "", "cell", 0.7),
    edit("bite", baked.bite, "bordered items"),
    edit("split", baked.split, "bordered items"),
    mark("crumbs", baked.crumbs, "soft brittle", "bordered items", 0.7),
    mark("impurity", small.impurity, "soft thin brittle coated", weight=1.3),
    edit("missing yarn", weave.missing_yarn, "weave"),
    edit("thick yarn", weave.thick_yarn, "weave"),
    edit("weave fault", weave.weave_fault, "weave"),
    edit("density change", weave.density_change, "weave"),
    mark("knot", weave.knot, "", "weave"),
    edit("misprint", structure.misprint, "print", weight=4.0),
)

BY_NAME = {kind.name: kind for kind in KINDS}
"""Every kind by its name."""
