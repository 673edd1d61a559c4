"""Connected regions of a mask: a number for each pixel, and the box of each region."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["label"]


def label(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int32], list[tuple[slice, slice]]]:
    """Number the regions whose pixels touch at an edge or a corner.

    Args:
        mask: ``[H, W]``.

    Returns:
        ``[H, W]`` with 0 outside and 1, 2, ... in the regions, in the order of their first pixels row by row; and rows
        and columns of each.
    """
    from scipy import ndimage  # takes a while, so only where it is used

    labels, _ = ndimage.label(mask, structure=np.ones((3, 3)))
    return labels, list(ndimage.find_objects(labels))
