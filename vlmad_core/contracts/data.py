"""The data that flows: levels of local features, text embeddings, scores, and the prediction for one image.

Letters: **B** images, **M** regions in a level, **S** states, **D** joint dimension, **h w** token grid, **H W**
pixels.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vlmad_core.errors import ConfigError, ImageError

if TYPE_CHECKING:
    from PIL import Image

    from vlmad_core.contracts.decode import ImageLike
    from vlmad_core.inspection.evidence import Evidence

__all__ = ["Features", "Level", "LevelSpec", "Prediction", "Scores", "TextEmbeddings"]


LEAST = 1e-18
"""What a harmonic mean uses in place of 0: small enough not to matter, and its inverse squared is still a float32."""


@dataclass(frozen=True)
class LevelSpec:
    """What is known of a level before an image is read.

    Args:
        name: Such as ``"block12"`` or ``"window3"``; scorers choose levels by patterns on it.
        dim: Length of its vectors.
        joint: True: comparable with text; False: only with features of other images.
    """

    name: str
    dim: int
    joint: bool

    def __str__(self) -> str:
        return f"{self.name} ({'joint' if self.joint else 'visual'}, {self.dim})"


@dataclass(frozen=True)
class Level:
    """Local features of one scale or depth: M regions, and the cells that each region covers.

    Args:
        spec: Name, dimension, space.
        vectors: ``[B, M, dim]``.
        grid: ``(h, w)``.
        cover: ``[M, h*w]`` bool, the cells under each region; None: one region a cell, in row-major order.
    """

    spec: LevelSpec
    vectors: Tensor
    grid: tuple[int, int]
    cover: Tensor | None = None

    def to_map(self, values: Tensor, mean: Literal["arithmetic", "harmonic"] = "arithmetic") -> Tensor:
        """Give each cell the mean of the regions over it.

        The harmonic mean is WinCLIP's (CVPR 2023): a region with value 0 makes each cell under it 0. It is defined
        for values of at least 0. One matrix product with the cover table, whatever the regions are.

        Args:
            values: ``[..., M]``.
            mean: ``"arithmetic"`` or ``"harmonic"``.

        Returns:
            ``[..., h, w]``.

        >>> cover = torch.tensor([[1, 1, 0, 1, 1, 0, 0, 0, 0], [0, 1, 1, 0, 1, 1, 0, 0, 0],
        ...                       [0, 0, 0, 1, 1, 0, 1, 1, 0], [0, 0, 0, 0, 1, 1, 0, 1, 1]]).bool()
        >>> level = Level(LevelSpec("window2", 8, True), torch.zeros(1, 4, 8), (3, 3), cover)
        >>> level.to_map(torch.tensor([1, 0.75, 0.5, 0.25]), "harmonic")
        tensor([[1.0000, 0.8571, 0.7500],
                [0.6667, 0.4800, 0.3750],
                [0.5000, 0.3333, 0.2500]])
        """
        if self.cover is not None:
            cover = self.cover.to(values)  # [M, h*w]
            count = cover.sum(0)
            # Never 1/0: infinity times "not under this region" would be NaN in every other cell.
            inverse = 1 / values.clamp_min(LEAST)
            values = count / (inverse @ cover) if mean == "harmonic" else values @ cover / count
        return values.reshape(*values.shape[:-1], *self.grid)


@dataclass(frozen=True)
class Features:
    """What an extractor computes from a batch of images.

    Args:
        levels: Local features, in the order that the extractor declared.
        image: ``[B, D]``, the whole image in the joint space; None where there is no such space.
    """

    levels: tuple[Level, ...]
    image: Tensor | None = None

    def __len__(self) -> int:
        """B, the number of images."""
        return len(self.levels[0].vectors)

    def __getitem__(self, name: str) -> Level:
        """The level with this name."""
        return next(level for level in self.levels if level.spec.name == name)

    def tensors(self) -> dict[str, Tensor]:
        """All vectors by name, ``level0`` and so on and ``image``, for a file; :meth:`with_tensors` is the way back."""
        found = {f"level{i}": level.vectors for i, level in enumerate(self.levels)}
        return found if self.image is None else {**found, "image": self.image}

    def with_tensors(self, tensors: Mapping[str, Tensor]) -> Features:
        """The same levels and grids with other vectors, named as :meth:`tensors` names them."""
        levels = tuple(replace(level, vectors=tensors[f"level{i}"]) for i, level in enumerate(self.levels))
        return Features(levels, tensors.get("image"))

    def select(self, rows: slice | Sequence[int]) -> Features:
        """The features of some images of the batch, in that order; a slice copies nothing.

        >>> features = Features((Level(LevelSpec("raw1", 2, False), torch.zeros(3, 4, 2), (2, 2)),))
        >>> len(features.select([2, 0])), len(features.select(slice(0, 1)))
        (2, 1)
        """
        return self.with_tensors({name: tensor[rows] for name, tensor in self.tensors().items()})

    @staticmethod
    def cat(batches: Sequence[Features]) -> Features:
        """Several batches of one extractor as one, in order."""
        if len(batches) == 1:
            return batches[0]
        parts = [batch.tensors() for batch in batches]
        return batches[0].with_tensors({name: torch.cat([part[name] for part in parts]) for name in parts[0]})

    def to(self, device: torch.device | str) -> Features:
        """On a device, with the tables of covered cells."""
        covered = (
            level if level.cover is None else replace(level, cover=level.cover.to(device)) for level in self.levels
        )
        moved = {name: tensor.to(device) for name, tensor in self.tensors().items()}
        return Features(tuple(covered), self.image).with_tensors(moved)


@dataclass(frozen=True)
class TextEmbeddings:
    """Text features of the states "normal" and "abnormal".

    Args:
        vectors: ``[B, S, D]``, unit length.
        abnormal: ``[S]`` bool; two states usually, several kinds of defect if wanted.
    """

    vectors: Tensor
    abnormal: Tensor


@dataclass(frozen=True)
class Scores:
    """What a scorer computes from a batch; higher is more anomalous.

    Args:
        image: ``[B]``.
        anomaly_map: ``[B, H, W]``.
        levels: ``[B, H, W]`` each, by name: the maps of the levels, for losses and for inspection.
    """

    image: Tensor
    anomaly_map: Tensor
    levels: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class Prediction:
    """The result for one image, without tensors.

    Args:
        score: Higher is more anomalous; `Pipeline.verdict` decides.
        raw_map: ``[h, w]`` float32 at the size that the detector works at.
        size: ``(height, width)`` of the image as it was given.
        path: The file, where there was one.
        normal_range: Median of the maps of normal images, and what 99.5 % of their cells do not exceed; None where the
            detector has fewer than two normal images.
        class_token: ``[D]`` float32 of unit length, the image as a whole; None where the extractor gives none.
        bits: Of the values in the file, where the detector was given them: :meth:`overlay` shows the same pixels.
        tiles: In how many tiles the image was also read; 0: as a whole alone.
        explainer: What `evidence` calls; it keeps the detector, and a copy in another process has none.
    """

    score: float
    raw_map: np.ndarray
    size: tuple[int, int]
    path: str | None = None
    normal_range: tuple[float, float] | None = None
    class_token: np.ndarray | None = None
    bits: int | str | None = None
    tiles: int = 0
    explainer: Callable[[Prediction, ImageLike | None], Evidence] | None = field(default=None, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        """Without the detector, so that a prediction stays small in another process."""
        return {**self.__dict__, "explainer": None}

    def evidence(self, image: ImageLike | None = None) -> Evidence:
        """Why the score is what it is: contributions that add up to it, the place, the nearest normal.

        Computed when it is asked for: the image is read and scored once more. See ``docs/howto/explain.md``.

        Args:
            image: The image that was given to the detector; needed where that was no file.

        Raises:
            ImageError: No image was given and there is no file, or it cannot be read.
            ConfigError: The image or the detector changed since, or the prediction came from another process.
        """
        if self.explainer is None:
            raise ConfigError("this prediction has no detector with it; call detector.predict(image) for its evidence.")
        return self.explainer(self, image)

    def __repr__(self) -> str:
        """In one line, without the map.

        >>> Prediction(0.25, np.zeros((2, 2), np.float32), (480, 640), "a.png")
        Prediction(score=0.2500, size=(480, 640), peak=(120, 160), path='a.png')
        """
        place = "" if self.path is None else f", path={self.path!r}"
        tiles = f", tiles={self.tiles}" if self.tiles else ""
        return f"Prediction(score={self.score:.4f}, size={self.size}, peak={self.peak}{tiles}{place})"

    def overlay(self, image: ImageLike | None = None) -> Image.Image:
        """The image with its map as heat, the outline of what is unusual, the score, and a legend.

        Args:
            image: The image that was given to the detector; needed where that was no file.

        Raises:
            ImageError: No image was given and there is no file, or it cannot be read.
        """
        source = self.path if image is None else image
        if source is None:
            raise ImageError("this prediction is of an image in memory; give it: result.overlay(image).")
        # Imported by name when asked for: drawing uses predictions, and they know nothing of it otherwise.
        overlay = import_module("vlmad_core.run.overlay")
        decode = import_module("vlmad_core.contracts.decode").decode
        picture = decode(source, smallest=self.raw_map.shape, bits=self.bits).image
        drawn: Image.Image = overlay.draw(
            picture, self, overlay.Scale.of_range(self.normal_range), Path(self.path or "").name
        )
        return drawn

    def show(self, image: ImageLike | None = None) -> None:
        """:meth:`overlay` in the program of this computer for pictures. In a notebook, end a cell with the result."""
        self.overlay(image).show()

    def _repr_png_(self) -> bytes | None:
        """For notebooks; nothing, so that the text is shown, where the image is not to be had."""
        try:
            picture = self.overlay()
        except ImageError:
            return None
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        return buffer.getvalue()

    @cached_property
    def anomaly_map(self) -> np.ndarray:
        """``[height, width]`` float32 of the image as it was given, same scale as :attr:`raw_map`."""
        return self.map_at(self.size)

    def map_at(self, size: tuple[int, int]) -> np.ndarray:
        """The map at ``(height, width)``, bilinear; computed at each call, so that predictions stay small."""
        if size == self.raw_map.shape:
            return self.raw_map
        small = torch.from_numpy(np.ascontiguousarray(self.raw_map))[None, None]
        return F.interpolate(small, size=size, mode="bilinear", align_corners=False)[0, 0].numpy()

    @property
    def is_finite(self) -> bool:
        """Whether the score and all values of the map are finite numbers."""
        return bool(np.isfinite(self.score) and np.isfinite(self.raw_map).all())

    @property
    def peak(self) -> tuple[int, int]:
        """``(row, column)`` in the image of the highest value of the map."""
        row, column = np.unravel_index(int(self.raw_map.argmax()), self.raw_map.shape)
        height, width = self.raw_map.shape
        return int((row + 0.5) * self.size[0] / height), int((column + 0.5) * self.size[1] / width)
