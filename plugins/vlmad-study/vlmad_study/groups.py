"""Which kinds of thing a data set has: textures, objects, what bends, and what is put together of parts."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["groups_of"]

_TEXTURES = ("carpet", "grid", "leather", "tile", "wood")
_ASSEMBLIES = ("cable", "transistor", "zipper", "pcb1", "pcb2", "pcb3", "pcb4")
_DEFORMABLE = ("cable", "zipper", "leather", "carpet", "cashew", "chewinggum", "fryum", "pipe_fryum", "macaroni2")
_OBJECTS = (
    *("bottle", "capsule", "hazelnut", "metal_nut", "pill", "screw", "toothbrush"),
    *("candle", "capsules", "cashew", "chewinggum", "fryum", "macaroni1", "macaroni2", "pipe_fryum"),
    *("cable", "transistor", "zipper", "pcb1", "pcb2", "pcb3", "pcb4"),
)
_KNOWN = ("mvtec-ad", "visa")


def groups_of(dataset: str, categories: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Group to its categories, for data sets whose categories are known; a category may be in two.

    >>> groups_of("mvtec-ad", ["bottle", "wood", "cable"])
    {'textures': ('wood',), 'objects': ('bottle', 'cable'), 'deformable': ('cable',), 'assemblies': ('cable',)}
    >>> groups_of("piped", ["PA_BRG01_RL"])
    {}
    """
    if not dataset.startswith(_KNOWN):
        return {}
    there = list(categories)
    lists = {"textures": _TEXTURES, "objects": _OBJECTS, "deformable": _DEFORMABLE, "assemblies": _ASSEMBLIES}
    found = {name: tuple(one for one in there if one in members) for name, members in lists.items()}
    return {name: members for name, members in found.items() if members}
