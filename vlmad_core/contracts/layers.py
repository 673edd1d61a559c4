"""Chooses transformer blocks: by number, by number from the end, or by relative depth. Free of torch.

A paper names blocks of the tower that it used. Another tower has another depth, so recipes name the *relative* depth
where the paper's choice is meant, and every tower takes the blocks that lie as deep.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Annotated

from pydantic import BeforeValidator

from vlmad_core.errors import IncompatibleError

__all__ = ["Layers", "resolve_layer", "resolve_layers"]

_RANGE = r"(\d+(?:\.\d+)?)%-(\d+(?:\.\d+)?)%"


def _check_form(given: object) -> object:
    """One error for all forms."""
    if isinstance(given, str):
        is_known = given == "quarters" or all(re.fullmatch(_RANGE, part.strip()) for part in given.split(","))
    else:
        is_known = isinstance(given, list | tuple) and len(given) > 0 and all(type(number) is int for number in given)
    if not is_known:
        raise ValueError("give numbers of blocks such as [6, 12], 'quarters', or a range such as '50%-75%'")
    return given


Layers = Annotated[tuple[int, ...] | str, BeforeValidator(_check_form)]
"""Type of an option that chooses blocks; see :func:`resolve_layers`."""


def resolve_layers(layers: Sequence[int] | str, depth: int, *, option: str = "layers") -> tuple[int, ...]:
    """Numbers of blocks, from 1, in ascending order, each once.

    Args:
        layers: Numbers from 1, or from the end with -1 for the last block; or ``"quarters"``, the last block of each
            quarter of the tower, rounded up; or a range such as ``"57.5%-72.5%"``, every block whose number divided by
            the depth lies in it (at least one: the nearest to its middle); or several ranges, separated by commas.
        depth: Number of blocks in the tower.
        option: What the option is called, for the error.

    Raises:
        IncompatibleError: No block at all, a number beyond the tower, or text of another form.

    >>> resolve_layers([-1, 3, 12], 12)
    (3, 12)
    >>> resolve_layers("quarters", 24)
    (6, 12, 18, 24)
    >>> resolve_layers("57.5%-72.5%", 40)
    (23, 24, 25, 26, 27, 28, 29)
    >>> resolve_layers("57.5%-72.5%, 100%-100%", 12)
    (7, 8, 12)
    """
    if isinstance(layers, str):
        return _relative(layers, depth, option)
    numbers = tuple(sorted({_from_one(layer, depth) for layer in layers}))
    if not numbers or not all(1 <= number <= depth for number in numbers):
        raise _beyond(f"{option} {list(layers)}", depth)
    return numbers


def resolve_layer(layer: int, depth: int, *, option: str) -> int:
    """The number of one block, from 1; -1 is the last block.

    Raises:
        IncompatibleError: A number beyond the tower.
    """
    number = _from_one(layer, depth)
    if not 1 <= number <= depth:
        raise _beyond(f"{option} {layer}", depth)
    return number


def _from_one(layer: int, depth: int) -> int:
    return layer + depth + 1 if layer < 0 else layer


def _beyond(chosen: str, depth: int) -> IncompatibleError:
    return IncompatibleError(f"{chosen} is beyond this tower; it has blocks 1 to {depth}, -1 being the last.")


def _relative(layers: str, depth: int, option: str) -> tuple[int, ...]:
    if layers == "quarters":
        return tuple(sorted({math.ceil(depth * quarter / 4) for quarter in (1, 2, 3, 4)}))
    if "," in layers:
        parts = (_relative(part.strip(), depth, option) for part in layers.split(","))
        return tuple(sorted({number for part in parts for number in part}))
    found = re.fullmatch(_RANGE, layers)
    low, high = (float(found[1]) / 100, float(found[2]) / 100) if found else (1.0, 0.0)
    if not 0 <= low <= high <= 1:
        raise IncompatibleError(
            f"{option} '{layers}' names no blocks. Give numbers, 'quarters', or a range such as '50%-75%'."
        )
    slack = 1e-9  # 29 / 40 is not exactly 72.5 %
    inside = tuple(i for i in range(1, depth + 1) if low - slack <= i / depth <= high + slack)
    return inside or (min(max(1, round((low + high) / 2 * depth)), depth),)
