"""Class names: synonyms for well-known data sets, names that fit anything, invented words, and groups of categories."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["ANY_OBJECT", "NONSENSE_NAME", "NONSENSE_STATES", "groups_of", "synonyms_of"]

ANY_OBJECT = ("object", "surface")
"""Class names that fit anything."""

NONSENSE_NAME = "florbit"

NONSENSE_STATES = (
    (("a vumple {}",), ("a drasky {}",)),
    (("{} with quorl",), ("{} with besp",)),
    (("a tirnful {}",), ("a golpish {}",)),
)
"""Pairs of invented states, normal and abnormal: a control, since any two directions reach some AUROC."""

_KNOWN = {
    "bottle": ("glass bottle", "bottle seen from above"),
    "cable": ("electric cable", "wires"),
    "candle": ("wax candle", "tea lights"),
    "capsule": ("pill capsule", "medicine capsule"),
    "capsules": ("pills", "medicine capsules"),
    "carpet": ("woven carpet", "fabric"),
    "cashew": ("nut", "cashew nut"),
    "chewinggum": ("chewing gum", "white drop"),
    "cookie": ("biscuit", "baked cookie"),
    "fryum": ("snack", "fried pasta wheel"),
    "grid": ("metal grid", "wire mesh"),
    "hazelnut": ("nut", "brown nut"),
    "leather": ("brown leather", "leather surface"),
    "metal nut": ("flange nut", "metal part"),
    "pcb": ("circuit board", "electronic board"),
    "pcb1": ("circuit board", "electronic board"),
    "pcb2": ("circuit board", "electronic board"),
    "pcb3": ("circuit board", "electronic board"),
    "pcb4": ("circuit board", "electronic board"),
    "pill": ("tablet", "white pill"),
    "pipe fryum": ("snack", "fried pasta tube"),
    "screw": ("metal screw", "bolt"),
    "tile": ("stone tile", "granite surface"),
    "toothbrush": ("brush", "head of a toothbrush"),
    "transistor": ("electronic component", "transistor on a board"),
    "wood": ("wooden board", "wood grain"),
    "zipper": ("zip", "zip fastener"),
    "macaroni1": ("pasta", "macaroni"),
    "macaroni2": ("pasta", "macaroni"),
}


def synonyms_of(class_name: str) -> tuple[str, ...]:
    """Other names, where some are known.

    >>> synonyms_of("metal nut")
    ('flange nut', 'metal part')
    """
    return _KNOWN.get(class_name.lower().replace("_", " "), ())


_TEXTURES = ("carpet", "grid", "leather", "tile", "wood")
_ASSEMBLIES = ("cable", "transistor", "zipper", "pcb1", "pcb2", "pcb3", "pcb4")
_DEFORMABLE = ("cable", "zipper", "leather", "carpet", "cashew", "chewinggum", "fryum", "pipe_fryum", "macaroni2")
_OBJECTS = (
    *("bottle", "capsule", "hazelnut", "metal_nut", "pill", "screw", "toothbrush"),
    *("candle", "capsules", "cashew", "chewinggum", "fryum", "macaroni1", "macaroni2", "pipe_fryum"),
    *("cable", "transistor", "zipper", "pcb1", "pcb2", "pcb3", "pcb4"),
)
_KNOWN_DATASETS = ("mvtec-ad", "visa")


def groups_of(dataset: str, categories: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Group to its categories, for data sets whose categories are known; a category may be in two.

    >>> groups_of("mvtec-ad", ["bottle", "wood", "cable"])
    {'textures': ('wood',), 'objects': ('bottle', 'cable'), 'deformable': ('cable',), 'assemblies': ('cable',)}
    >>> groups_of("piped", ["PA_BRG01_RL"])
    {}
    """
    if not dataset.startswith(_KNOWN_DATASETS):
        return {}
    there = list(categories)
    lists = {"textures": _TEXTURES, "objects": _OBJECTS, "deformable": _DEFORMABLE, "assemblies": _ASSEMBLIES}
    found = {name: tuple(one for one in there if one in members) for name, members in lists.items()}
    return {name: members for name, members in found.items() if members}
