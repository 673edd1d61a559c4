"""A vision tower that remembers what it computed of the current batch, so that several extractors share one pass."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from vlmad_core.contracts.towers import Block, VisionTower

__all__ = ["RememberingTower"]


class RememberingTower:
    """Gives exactly what the tower gives: a call with a tensor that it was called with before gives the same tensor.

    Remembered are ``embed`` of a batch, and each block on what comes of it without a detour: ``embed``, block 1, block
    2, … Whatever an extractor makes of these (windows, a second path) is computed as ever, and not kept. A tensor that
    somebody changed in place since is not given again.

    Attributes:
        images: How many images went through ``embed``.
        blocks_asked: Whole images through single blocks, as asked for.
        blocks_run: Those of them that were computed.
    """

    def __init__(self, tower: VisionTower) -> None:
        self._tower = tower
        self.width, self.dim, self.prefix, self.patch = tower.width, tower.dim, tower.prefix, tower.patch
        self.joint, self.class_pool = tower.joint, tower.class_pool
        self.blocks: tuple[Block, ...] = tuple(
            _RememberingBlock(block, self, i) for i, block in enumerate(tower.blocks)
        )
        self.images = self.blocks_asked = self.blocks_run = 0
        self._trunk: dict[int, tuple[Tensor, int]] = {}  # id to tensor and version; held, so that the id stays its own
        self._results: dict[tuple[str, int], Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "_tower"), name)

    def forget(self) -> None:
        """Drop the batch."""
        self._trunk.clear()
        self._results.clear()

    def embed(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """As the tower's; once for the same tensor."""
        if not self.is_trunk(images):
            self.keep(images)
        found = self.recall("embed", images)
        if found is None or not self.is_trunk(found[0]):
            self.images += len(images)
            found = self._tower.embed(images)
            self.keep(found[0])
            self._results["embed", id(images)] = found
        tokens, grid = found
        return tokens, grid

    def norm(self, x: Tensor) -> Tensor:
        """As the tower's."""
        return self._tower.norm(x)

    def project(self, x: Tensor) -> Tensor:
        """As the tower's."""
        return self._tower.project(x)

    def pool(self, x: Tensor) -> Tensor:
        """As the tower's."""
        return self._tower.pool(x)

    def is_trunk(self, x: Tensor) -> bool:
        """Whether it is a remembered tensor, and still what it was."""
        held = self._trunk.get(id(x))
        return held is not None and held[0] is x and held[1] == x._version

    def keep(self, x: Tensor) -> None:
        """From now on a part of the trunk; what was computed of it before it changed is dropped."""
        self._results = {key: value for key, value in self._results.items() if key[1] != id(x)}
        self._trunk[id(x)] = (x, x._version)

    def recall(self, what: str, x: Tensor) -> Any:
        """What was computed of a tensor, or None."""
        return self._results.get((what, id(x)))

    def remember(self, what: str, x: Tensor, result: Any) -> None:
        """Keep what was computed of a tensor of the trunk."""
        self._results[what, id(x)] = result


class _RememberingBlock:
    def __init__(self, block: Block, tower: RememberingTower, number: int) -> None:
        self._block, self._tower, self._name = block, tower, f"block {number}"

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "_block"), name)

    def __call__(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        tower = self._tower
        if mask is not None or not tower.is_trunk(x):
            return self._block(x, mask)
        tower.blocks_asked += len(x)
        out: Tensor | None = tower.recall(self._name, x)
        if out is None or not tower.is_trunk(out):
            tower.blocks_run += len(x)
            out = self._block(x)
            tower.keep(out)
            tower.remember(self._name, x, out)
        return out

    def qkv(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self._block.qkv(x)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        return self._block.attend(q, k, v, mask)

    def mlp(self, x: Tensor) -> Tensor:
        return self._block.mlp(x)
