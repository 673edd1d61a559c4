"""Base classes of the three parts that a plugin writes beside backbones: extractor, prompts, scorer.

Two rules: a part never holds the backbone (it reads sizes in its constructor and is given the tower at each call), and
a part never changes it. So ``part.parameters()`` is exactly what is trained and ``state_dict()`` exactly what must be
saved.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import ClassVar, Literal

from torch import Tensor, nn

from vlmad_core.contracts.data import Features, LevelSpec, Scores, TextEmbeddings
from vlmad_core.contracts.towers import TextTower, VisionTower
from vlmad_core.errors import IncompatibleError

__all__ = ["ClassNameUse", "Ensemble", "Extractor", "Prompts", "Scorer", "select_levels"]


class Extractor(nn.Module, ABC):
    """Turns images into local features: ``Extractor(config, backbone)``.

    An extractor with trained parameters splits its work: :meth:`extract_frozen` is everything that no parameter
    influences, :meth:`apply_learned` the rest, and ``forward`` is
    ``self.apply_learned(self.extract_frozen(vision, images))``. Training computes ``extract_frozen`` once an image.

    Attributes:
        levels: What :meth:`forward` will give, known from the constructor on.
    """

    levels: tuple[LevelSpec, ...]

    @abstractmethod
    def forward(self, vision: VisionTower, images: Tensor) -> Features:
        """``[B, 3, H, W]`` to features with the declared levels; an image's result does not depend on its batch."""

    def extract_frozen(self, vision: VisionTower, images: Tensor) -> Features:
        """The part of ``forward`` that no parameter influences: may be computed once an image and kept."""
        features: Features = self(vision, images)
        return features

    def apply_learned(self, features: Features) -> Features:
        """From the features of :meth:`extract_frozen` to those of ``forward``."""
        return features


@dataclass(frozen=True)
class Ensemble:
    """The texts that prompts average over: every state in every template.

    Args:
        states: The normal states, then the abnormal ones of each kind, with ``{}`` for the class name.
        templates: Sentences with ``{}`` for the state.
    """

    states: tuple[tuple[str, ...], ...]
    templates: tuple[str, ...]


ClassNameUse = Literal["ignored", "optional", "required"]
"""Whether prompts depend on the class name, and whether it may be left out (it is then "object")."""


class Prompts(nn.Module, ABC):
    """Text embeddings of the states "normal" and "abnormal": ``Prompts(config, backbone)``.

    Attributes:
        per_image: True: depends on the features of the image, and is never cached.
        class_name_use: "ignored", "optional" or "required"; may be set in the constructor.
    """

    per_image: ClassVar[bool] = False
    class_name_use: ClassNameUse = "required"

    @property
    def ensemble(self) -> Ensemble | None:
        """States and templates, where these prompts are such an ensemble.

        Such prompts have options ``states`` and ``templates`` that take other lists: ``{"normal": [...], "abnormal":
        [...] or {kind: [...]}}`` and ``[...]``.
        """
        return None

    @abstractmethod
    def forward(self, text: TextTower, names: Sequence[str], features: Features | None = None) -> TextEmbeddings:
        """TextEmbeddings ``[len(names), S, D]`` of unit length, in the order of the class names."""


class Scorer(nn.Module, ABC):
    """Turns features into scores and maps: ``Scorer(config, levels, dim)``, with ``dim`` that of the text or None.

    Attributes:
        needs_text: True: it compares features with text embeddings.
        needs_fit: True: it compares features with those of normal images, which :meth:`fit` must have received.
        is_monotone: True: another normal image can only lower its scores. What is proved of a threshold from remembered
            images depends on it.
        takes_rotations: False: it must not be fitted on rotated copies of images, as where images are compared one by
            one.
        maximum: The highest value that its maps can have; None: no bound. Set it in the constructor where options
            decide. Maps saved as 16-bit PNG use it as their scale.
    """

    needs_text: ClassVar[bool] = False
    needs_fit: ClassVar[bool] = False
    is_monotone: bool = False
    takes_rotations: ClassVar[bool] = True
    maximum: float | None = None

    def fit(self, features: Features) -> None:
        """Add the features of normal images; called once a batch, accumulates. Does nothing unless ``needs_fit``."""

    def forget(self) -> None:
        """Drop what :meth:`fit` added."""

    @property
    def is_fitted(self) -> bool:
        """False while :meth:`forward` would raise :class:`~vlmad_core.errors.NotFittedError`."""
        return True

    @abstractmethod
    def forward(self, features: Features, text_embeddings: TextEmbeddings | None, size: tuple[int, int]) -> Scores:
        """Scores with maps of ``size`` = (H, W) pixels."""


def select_levels(
    levels: Sequence[LevelSpec], patterns: Sequence[str], *, joint: bool = False
) -> tuple[LevelSpec, ...]:
    """The levels whose names match a shell pattern, in the order of ``levels``.

    Args:
        levels: As an extractor declares them.
        patterns: Such as ``"window*"``; each must match at least one level.
        joint: Only those comparable with text.

    Raises:
        IncompatibleError: A pattern matches nothing, or no joint level is left; the text names what there is.
    """
    there = ", ".join(map(str, levels)) or "none"
    for pattern in patterns:
        if not any(fnmatch(level.name, pattern) for level in levels):
            raise IncompatibleError(f"no level is called '{pattern}'; there are only: {there}.")
    chosen = tuple(level for level in levels if any(fnmatch(level.name, p) for p in patterns))
    if not joint:
        return chosen
    chosen = tuple(level for level in chosen if level.joint)
    if not chosen:
        raise IncompatibleError(
            f"needs a level that can be compared with text, but there are only: {there}. "
            "Use scorer 'memory', or a backbone with text such as 'open-clip'."
        )
    return chosen
