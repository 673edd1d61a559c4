"""open_clip's models as a backbone.

Only this file and its neighbours know open_clip's insides: ``open_clip_blocks.py`` and ``open_clip_towers.py`` open its
modules, ``open_clip_weights.py`` finds the weights, ``open_clip_published.py`` knows how published ones were trained,
and ``open_clip_fill.py`` puts them into a model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, Self, TypeAlias

import torch
from torch import Tensor, nn

from vlmad_core.builtin import open_clip_weights as weights
from vlmad_core.builtin.open_clip_blocks import Activation
from vlmad_core.builtin.open_clip_config import OpenClipConfig
from vlmad_core.builtin.open_clip_fill import build_flat
from vlmad_core.builtin.open_clip_towers import Positions, Vision, open_model
from vlmad_core.contracts.device import find_device
from vlmad_core.contracts.images import Preprocess
from vlmad_core.contracts.towers import Backbone

__all__ = ["OpenClip"]

Size: TypeAlias = int | tuple[int, int] | None


class OpenClip(Backbone):
    """Any plain vision transformer that open_clip ships, with its text tower where that is a plain one too.

    Args:
        config: The options.

    Raises:
        ConfigError: No such model, weights or device, or weights that do not fit.
        IncompatibleError: A model that cannot be opened into blocks, or a size that is not a multiple of the patch.
    """

    def __init__(self, config: OpenClipConfig) -> None:
        device = find_device(config.device)
        blank = weights.build(config.model, "meta")
        open_model(blank, "bicubic", config.activation, tokenizer=None)  # refuse before anything large is read
        found = weights.load(config, blank)
        activation = found.activation if config.activation == "weights" else config.activation
        vision, text = open_model(
            found.model, config.positions, activation, tokenizer=partial(weights.tokenizer, config.model)
        )
        preprocess = Preprocess(_size(vision, config.image_size), **found.pixels)
        super().__init__(vision, text, preprocess, provenance=found.provenance)
        self.to(device=device, dtype=getattr(torch, config.dtype))
        vision.positions(self.grid)

    @classmethod
    def from_model(
        cls,
        model: nn.Module,
        *,
        image_size: Size = None,
        positions: Positions = "bicubic",
        activation: Activation = "weights",
        mean: tuple[float, float, float] = Preprocess.mean,
        std: tuple[float, float, float] = Preprocess.std,
        interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bicubic",
        tokenizer: Callable[[], Any] | None = None,
        provenance: Mapping[str, str] | None = None,
    ) -> Self:
        """Open a model that open_clip has made already; its parameters are shared, frozen and never copied.

        Args:
            model: A ``CLIP``, ``CustomTextCLIP`` or ``CoCa``.
            image_size: As in :class:`OpenClipConfig`, like ``positions`` and ``activation``.
            positions: How positions are resized.
            activation: Override of the activation.
            mean: Of each channel.
            std: Of each channel.
            interpolation: Filter of the image resize.
            tokenizer: Makes the tokenizer when it is first needed; None: CLIP's own.
            provenance: See :class:`~vlmad_core.contracts.towers.Backbone`.
        """
        vision, text = open_model(model, positions, activation, tokenizer=tokenizer)
        made = cls.__new__(cls)
        preprocess = Preprocess(_size(vision, image_size), mean, std, interpolation)
        Backbone.__init__(made, vision, text, preprocess, provenance=provenance)
        vision.positions(made.grid)
        return made

    @classmethod
    def from_state_dict(
        cls,
        state: Mapping[str, Tensor],
        *,
        activation: Literal["gelu", "quick-gelu"],
        heads: tuple[int, int] | None = None,
        **options: Any,
    ) -> Self:
        """Build a CLIP from parameters in OpenAI's flat naming, sizes read off their shapes.

        Args:
            state: By name; both towers.
            activation: Which one they were trained with; parameters do not say it. OpenAI's: "quick-gelu".
            heads: Of the image and of the text tower; None: 64 channels a head.
            **options: As in :meth:`from_model`.

        Raises:
            ConfigError: Parameters that are missing, not known, or of another shape.
        """
        return cls.from_model(build_flat(state, heads), activation=activation, **options)


def _size(vision: Vision, wanted: Size) -> tuple[int, int]:
    (rows, columns), (down, across) = vision.home, vision.patch
    size = (
        (rows * down, columns * across) if wanted is None else (wanted, wanted) if isinstance(wanted, int) else wanted
    )
    vision.grid_of(*size)
    return size
