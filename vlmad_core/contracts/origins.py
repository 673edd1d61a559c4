"""Where the rows of a memory bank come from: which normal image, and which region of it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["Origins"]

_UNKNOWN = -1


class Origins:
    """Image and region of each row of the banks of several levels; what is not known is -1.

    They are no part of what a scorer computes, so they are saved beside it, and a bank without them works as before.
    """

    def __init__(self) -> None:
        self._parts: dict[str, list[Tensor]] = {}
        self._images: dict[str, int] = {}

    def next_of(self, level: str, images: int, regions: int) -> Tensor:
        """For a batch of new images, every region in order: ``[images * regions, 2]``."""
        first = self._images.get(level, 0)
        self._images[level] = first + images
        numbers = torch.arange(first, first + images, dtype=torch.int32).repeat_interleave(regions)
        return torch.stack([numbers, torch.arange(regions, dtype=torch.int32).repeat(images)], 1)

    def again(self, level: str, images: int, regions: int, before: Tensor | None) -> Tensor:
        """For rotated copies of the last images: as `next_of`, with other regions.

        Args:
            level: Of the bank.
            images: How many, the last ones that `next_of` counted.
            regions: Of each.
            before: ``[images, regions]``, the region of the image that a region of the copy shows; None: not known.
        """
        first = self._images.get(level, images) - images
        numbers = torch.arange(first, first + images, dtype=torch.int32).repeat_interleave(regions)
        known = before is not None and before.shape == (images, regions)
        places = before.flatten().to("cpu", torch.int32) if known and before is not None else None
        return torch.stack([numbers, torch.full_like(numbers, _UNKNOWN) if places is None else places], 1)

    def keep(self, level: str, index: Tensor, rows: int) -> None:
        """Keep some of so many rows, in the order of an index."""
        self._parts[level] = [self.of(level, rows)[index.cpu()]]

    def add(self, level: str, rows: int, origins: Tensor | None) -> None:
        """Note rows that are added to a bank; None, or another number of rows: not known."""
        known = origins is not None and origins.shape == (rows, 2)
        part = torch.full((rows, 2), _UNKNOWN, dtype=torch.int32) if not known or origins is None else origins
        self._parts.setdefault(level, []).append(part.to("cpu", torch.int32))

    def of(self, level: str, rows: int) -> Tensor:
        """``[rows, 2]`` of a bank with so many rows; all -1 where its rows were changed by other means."""
        parts = self._parts.get(level, [])
        if len(parts) > 1:
            parts = self._parts[level] = [torch.cat(parts)]
        if len(parts) == 1 and len(parts[0]) == rows:
            return parts[0]
        return torch.full((rows, 2), _UNKNOWN, dtype=torch.int32)

    def clear(self) -> None:
        """Forget all rows."""
        self._parts.clear()
        self._images.clear()

    def tensors(self, rows: Mapping[str, int]) -> dict[str, Tensor]:
        """By level, for a file; levels of which nothing is known are left out."""
        found = {level: self.of(level, count) for level, count in rows.items()}
        return {level: tensor for level, tensor in found.items() if bool((tensor >= 0).any())}

    def load(self, level: str, saved: Tensor, rows: int) -> bool:
        """Take over what a file holds for a bank of so many rows; False: it cannot be that."""
        if saved.is_floating_point() or saved.is_complex() or saved.shape != (rows, 2) or bool((saved < -1).any()):
            return False
        self._parts[level] = [saved.detach().to("cpu", torch.int32)]
        self._images[level] = int(saved[:, 0].max()) + 1 if rows else 0
        return True

    def unknown(self, level: str, rows: int) -> None:
        """A file that knows nothing of the rows of a bank."""
        self._parts.pop(level, None)
        self._images.pop(level, None)
        if rows:
            self.add(level, rows, None)
