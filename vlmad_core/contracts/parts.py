"""Base classes of the three parts that a plugin writes beside backbones: extractor, prompts, scorer.

Two rules: a part never holds the backbone (it reads sizes in its constructor and is given the tower at each call), and
a part never changes it. So ``part.parameters()`` is exactly what is trained and ``state_dict()`` exactly what must be
saved.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import ClassVar, Literal

from torch import Tensor, nn

from vlmad_core.contracts.data import Features, LevelSpec, Scores, TextEmbeddings
from vlmad_core.contracts.towers import TextTower, VisionTower
from vlmad_core.errors import IncompatibleError

__all__ = [
    "WHOLE_IMAGE",
    "ClassNameUse",
    "Ensemble",
    "Extractor",
    "Prompts",
    "Scorer",
    "Sentence",
    "TextParts",
    "TextWeights",
    "select_levels",
]

WHOLE_IMAGE = "whole image"
"""The name under which a scorer gives the value of the whole image among those of its levels."""


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


@dataclass(frozen=True)
class Sentence:
    """One sentence of a text embedding.

    Args:
        text: As the text encoder received it.
        state: Number of its text embedding, from 0.
        phrase: What it says of the object, with the class name, such as "damaged nut".
        template: What is around that phrase, with ``{}`` for it.
    """

    text: str
    state: int
    phrase: str
    template: str = "{}"


@dataclass(frozen=True)
class TextParts:
    """The text embeddings of one class name as sums over sentences.

    Args:
        sentences: J of them.
        vectors: ``[J, D]``; those of one state add up to its text embedding.
    """

    sentences: tuple[Sentence, ...]
    vectors: Tensor


@dataclass(frozen=True)
class TextWeights:
    """What each cosine between a region and a state contributes to something that depends on the region values.

    Args:
        base: ``[B]`` by name of the level: what is there without any cosine.
        cosines: ``[B, M, S]`` by name: the factor of each cosine; over the states they add up to 0.
    """

    base: Mapping[str, Tensor]
    cosines: Mapping[str, Tensor]


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

    def text_parts(self, text: TextTower, name: str) -> TextParts | None:
        """The text embeddings of one class name as sums over sentences; None: not offered.

        The vectors of the sentences of a state add up to its embedding from :meth:`forward`.
        """
        return None

    def forward_with_losses(
        self, text: TextTower, names: Sequence[str], features: Features | None = None
    ) -> tuple[TextEmbeddings, Mapping[str, Tensor]]:
        """As ``forward``, with scalars that training makes small too, by name; see ``training.part_losses``."""
        return self(text, names, features), {}

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
        no_export: Why it cannot be a fixed function of one image, as a sentence; empty: it can, and `vlmad export`
            writes it into a file.
    """

    needs_text: ClassVar[bool] = False
    needs_fit: ClassVar[bool] = False
    is_monotone: bool = False
    takes_rotations: ClassVar[bool] = True
    maximum: float | None = None
    no_export: ClassVar[str] = ""

    def fit(self, features: Features) -> None:
        """Add the features of normal images; called once a batch, accumulates. Does nothing unless ``needs_fit``."""

    def fit_rotated(self, features: Features, regions_before: Callable[[tuple[int, int]], Tensor]) -> None:
        """Add rotated copies of the images of the last :meth:`fit`.

        Args:
            features: Of the copies.
            regions_before: From the grid of a level to ``[B, h * w]``, the cell of the image that each cell shows.
        """
        self.fit(features)

    def forget(self) -> None:
        """Drop what :meth:`fit` added."""

    @property
    def is_fitted(self) -> bool:
        """False while :meth:`forward` would raise :class:`~vlmad_core.errors.NotFittedError`."""
        return True

    def losses(
        self, features: Features, text_embeddings: TextEmbeddings | None, labels: Tensor
    ) -> Mapping[str, Tensor]:
        """Scalars that training makes small beside the losses of the scores, by name; see ``training.part_losses``.

        Args:
            features: Of a batch.
            text_embeddings: Of that batch.
            labels: ``[B]``, 1 where abnormal.
        """
        return {}

    @abstractmethod
    def forward(self, features: Features, text_embeddings: TextEmbeddings | None, size: tuple[int, int]) -> Scores:
        """Scores with maps of ``size`` = (H, W) pixels."""

    # -- optional, for reasons: `Prediction.evidence` splits the score by what these give

    def region_values(
        self, features: Features, text_embeddings: TextEmbeddings | None, size: tuple[int, int]
    ) -> Mapping[str, Tensor] | None:
        """The values of regions before they become maps: ``[B, M]`` by the name of the level; None: not offered.

        ``forward`` is then ``combine_regions(region_values(...), ...)``. The value of the whole image has the name
        :data:`WHOLE_IMAGE`. Where a softmax follows the resize, the regions are pixels, row by row.
        """
        return None

    def combine_regions(self, values: Mapping[str, Tensor], features: Features, size: tuple[int, int]) -> Scores:
        """Scores from the values of :meth:`region_values`.

        Differentiable, and twice as high for values twice as high: then each value times the derivative of the score
        with respect to it adds up to the score (Euler's theorem on homogeneous functions).
        """
        raise NotImplementedError

    def text_weights(
        self,
        features: Features,
        text_embeddings: TextEmbeddings,
        size: tuple[int, int],
        gradients: Mapping[str, Tensor],
    ) -> TextWeights | None:
        """The sum of value times gradient over the regions as base plus weighted cosines to states; None: not offered.

        Args:
            features: Of a batch.
            text_embeddings: Of that batch.
            size: Of the maps.
            gradients: Of any quantity with respect to the values of :meth:`region_values`, in the same shapes.
        """
        return None

    def nearest_rows(self, vectors: Tensor, level: str) -> tuple[Tensor, Tensor] | None:
        """The normal vectors that decide the values of some vectors of a level; None: there are none to name.

        Args:
            vectors: ``[n, dim]``.
            level: Its name.

        Returns:
            The normal vectors, ``[n, dim]``, and where they come from, ``[n, 2]``: number of the normal image in the
            order of :meth:`fit` from 0, and number of the region in it; -1 for what is not known.
        """
        return None


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
