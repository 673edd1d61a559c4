"""Words: other names for things that data sets are known for, names that fit anything, and words that mean nothing."""

from __future__ import annotations

__all__ = ["ANYTHING", "NONSENSE_NAME", "NONSENSE_STATES", "synonyms_of"]

ANYTHING = ("object", "surface")
"""Class names that are never quite wrong."""

NONSENSE_NAME = "florbit"

NONSENSE_STATES = (
    (("a vumple {}",), ("a drasky {}",)),
    (("{} with quorl",), ("{} with besp",)),
    (("a tirnful {}",), ("a golpish {}",)),
)
"""Pairs in the place of normal and abnormal. What they reach is what any two directions reach."""

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


def synonyms_of(words: str) -> tuple[str, ...]:
    """Other names, where any are known.

    >>> synonyms_of("metal nut")
    ('flange nut', 'metal part')
    """
    return _KNOWN.get(words.lower().replace("_", " "), ())
