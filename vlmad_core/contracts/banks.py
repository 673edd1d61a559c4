"""A scorer that remembers feature vectors of normal images, however many there are."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from vlmad_core.contracts.data import Features, LevelSpec
from vlmad_core.contracts.origins import Origins
from vlmad_core.contracts.parts import Scorer
from vlmad_core.errors import IncompatibleError, VlmadError

__all__ = ["BankScorer", "check_finite"]


def check_finite(rows: Tensor, name: str) -> None:
    """Refuse features that a scorer must not be fitted on, since they would make every later score wrong.

    Args:
        rows: Of any shape.
        name: Of the level, for the error.

    Raises:
        VlmadError: A value is NaN or infinite.
    """
    if not bool(rows.isfinite().all()):
        raise VlmadError(
            f"features of level '{name}' hold values that are not finite, so no image can be compared with them. Look "
            "for damaged weights, or take dtype float32 where the model overflows in float16."
        )


class BankScorer(Scorer):
    """Base class of scorers with a memory bank for each level: a buffer that grows along its first axis.

    :meth:`remember` only keeps what it is given; the rows are joined once, when a bank is first read or saved, so the
    time to fit grows linearly with the number of images. A state dict of any length loads.

    Args:
        levels: One bank for each.
        prefix: Bank ``NAME`` is the buffer ``prefix_NAME``.
        ndim: Dimensions of a bank: 2 for ``[N, dim]``, 3 for ``[N, M, dim]``.
    """

    needs_fit: ClassVar[bool] = True

    def __init__(self, levels: Sequence[LevelSpec], *, prefix: str = "bank", ndim: int = 2) -> None:
        super().__init__()
        self._prefix = prefix
        self._waiting: dict[str, list[Tensor]] = {}
        self._names = tuple(level.name for level in levels)
        self._origins = Origins()
        self._regions_before: dict[str, Tensor] | None = None
        for level in levels:
            self.register_buffer(f"{prefix}_{level.name}", torch.empty(*[0] * (ndim - 1), level.dim))

    @property
    def is_fitted(self) -> bool:
        """Whether every bank holds something."""
        return all(name in self._waiting or len(self._buffer(name)) for name in self._names)

    def bank(self, name: str) -> Tensor:
        """What is remembered of one level: ``[N, dim]`` or ``[N, M, dim]``, N of 0 before the first image."""
        if name in self._waiting:
            rows = self._waiting.pop(name)
            stored = self._buffer(name)
            # A tensor made under inference_mode could never stand in a graph; a later call may want gradients.
            with torch.inference_mode(False), torch.no_grad():
                parts = [*([stored] if len(stored) else []), *rows]
                setattr(self, f"{self._prefix}_{name}", torch.cat([part.to(rows[-1]) for part in parts]))
        return self._buffer(name)

    def origins(self, name: str) -> Tensor:
        """Where the rows of a bank come from, ``[N, 2]``: image in the order of :meth:`fit`, region; -1: not known."""
        return self._origins.of(name, len(self.bank(name)))

    def next_origins(self, name: str, images: int, regions: int) -> Tensor:
        """For :meth:`remember` of every region of the next images, in order: ``[images * regions, 2]``."""
        if self._regions_before is None:
            return self._origins.next_of(name, images, regions)
        return self._origins.again(name, images, regions, self._regions_before.get(name))

    def fit_rotated(self, features: Features, regions_before: Callable[[tuple[int, int]], Tensor]) -> None:
        """As :meth:`fit`; the rows are noted as those of the images before they were rotated."""
        self._regions_before = {
            level.spec.name: regions_before(level.grid) for level in features.levels if level.cover is None
        }
        try:
            self.fit(features)
        finally:
            self._regions_before = None

    def remember(self, name: str, rows: Tensor, origins: Tensor | None = None) -> None:
        """Add rows to the bank of a level.

        Args:
            name: Of the level.
            rows: ``[n, dim]`` or ``[n, M, dim]``; no graph is kept.
            origins: ``[n, 2]``, number of the normal image and of the region in it; None: not known.

        Raises:
            VlmadError: A value that is not finite.
            IncompatibleError: Rows of another shape than those before.
        """
        check_finite(rows, name)
        earlier = self._waiting[name][0] if name in self._waiting else self._buffer(name)
        if len(earlier) and earlier.shape[1:] != rows.shape[1:]:
            raise IncompatibleError(
                f"level '{name}' has {' x '.join(map(str, rows.shape[1:]))} values, and the images before had "
                f"{' x '.join(map(str, earlier.shape[1:]))}; fit images of one size."
            )
        self._waiting.setdefault(name, []).append(rows.detach())
        self._origins.add(name, len(rows), origins)

    def held(self, name: str) -> int:
        """How many rows the bank of a level has, those among them that are not joined yet."""
        return len(self._buffer(name)) + sum(len(rows) for rows in self._waiting.get(name, ()))

    def keep(self, name: str, index: Tensor) -> None:
        """Keep these rows of a bank alone, in this order: ``[n]`` of integers."""
        rows = BankScorer.bank(self, name)
        self._origins.keep(name, index, len(rows))
        setattr(self, f"{self._prefix}_{name}", rows[index])

    def forget(self) -> None:
        """Empty every bank."""
        self._waiting.clear()
        self._origins.clear()
        for name in self._names:
            setattr(self, f"{self._prefix}_{name}", self._buffer(name).new_empty(self._empty_shape(name)))

    def _buffer(self, name: str) -> Tensor:
        return self.get_buffer(f"{self._prefix}_{name}")

    def _empty_shape(self, name: str) -> tuple[int, ...]:
        stored = self._buffer(name)
        return (*[0] * (stored.ndim - 1), stored.shape[-1])

    def _join(self) -> None:
        for name in tuple(self._waiting):
            self.bank(name)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        self._join()
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call, no-any-return]

    def _save_to_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._join()
        super()._save_to_state_dict(*args, **kwargs)
        destination, prefix = args[0], args[1]
        known = self._origins.tensors({name: len(self._buffer(name)) for name in self._names})
        destination.update({f"{prefix}origins_{name}": tensor for name, tensor in known.items()})

    def _load_from_state_dict(self, state_dict: MutableMapping[str, Any], prefix: str, *args: Any) -> None:
        # A bank has no fixed length, and load_state_dict refuses another shape: make room first.
        self._waiting.clear()
        errors: list[str] = args[-1]
        for name in self._names:
            key, stored = f"{prefix}{self._prefix}_{name}", self._buffer(name)
            saved = state_dict.get(key)
            if not isinstance(saved, Tensor):
                continue
            if not saved.is_floating_point() or not bool(saved.isfinite().all()):
                errors.append(f"{key} is {saved.dtype} and must hold finite floating-point numbers.")
            elif saved.ndim == stored.ndim and saved.shape[-1] == stored.shape[-1]:
                setattr(self, f"{self._prefix}_{name}", saved.new_empty(saved.shape, device=stored.device))
        for name in self._names:  # files of earlier versions know no origins
            origins, rows = state_dict.pop(f"{prefix}origins_{name}", None), len(self._buffer(name))
            if origins is None:
                self._origins.unknown(name, rows)
            elif not self._origins.load(name, origins, rows):
                errors.append(f"{prefix}origins_{name} must hold two whole numbers for each of {rows} rows.")
        super()._load_from_state_dict(state_dict, prefix, *args)
