"""Text embeddings, computed once a class name while nothing is being learned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vlmad_core.contracts.data import TextEmbeddings
from vlmad_core.contracts.parts import Prompts
from vlmad_core.contracts.towers import Backbone

__all__ = ["TextCache"]


class TextCache:
    """What prompts give for each class name, until the prompts or the backbone change."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[Any, Tensor, Tensor]] = {}

    def clear(self) -> None:
        """Forget everything."""
        self._found.clear()

    def get(self, prompts: Prompts, backbone: Backbone, class_names: Sequence[str]) -> TextEmbeddings:
        """``[len(class_names), S, D]``.

        Args:
            prompts: Not of the kind that depends on the image.
            backbone: With a text encoder.
            class_names: One for each image.
        """
        assert backbone.text is not None
        # A change in place makes an entry stale, and so does another pipeline that moves the shared backbone.
        own = [(id(t), t._version) for t in (*prompts.parameters(), *prompts.buffers())]
        key = (backbone.device, backbone.dtype, own)
        rows = []
        for name in class_names:
            entry = self._found.get(name)
            if entry is None or entry[0] != key:
                one: TextEmbeddings = prompts(backbone.text, [name])
                entry = self._found[name] = (key, one.vectors[0], one.abnormal)
            rows.append(entry)
        return TextEmbeddings(torch.stack([row[1] for row in rows]), rows[0][2])
