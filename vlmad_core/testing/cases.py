"""What a check is about: an entry with its options, built on the tiny backbone, and inputs for it.

Each check gets a case of its own, so that a part which spoils something spoils it for one check alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vlmad_core.contracts.data import Features, Level, LevelSpec, TextEmbeddings
from vlmad_core.contracts.ops import l2_normalize
from vlmad_core.contracts.towers import Backbone
from vlmad_core.errors import IncompatibleError, VlmadError
from vlmad_core.registry.component import Config
from vlmad_core.registry.registry import Entry, Registry
from vlmad_core.registry.validate import validate
from vlmad_core.testing.rules import CheckSkipped
from vlmad_core.testing.tiny import tiny_backbone

__all__ = [
    "BackboneCase",
    "Case",
    "DatasetCase",
    "ExtractorCase",
    "PartCase",
    "PromptsCase",
    "RecipeCase",
    "ScorerCase",
]

Outputs = dict[str, Tensor]


class Case:
    """An entry and its options.

    Args:
        entry: Which.
        registry: Where its neighbours are.
        config: Options in place of the defaults.
        root: An example, for a data set.
    """

    def __init__(self, entry: Entry, registry: Registry, config: Mapping[str, Any], root: Path | None = None) -> None:
        self.entry, self.registry, self.given, self.root = entry, registry, config, root

    @cached_property
    def target(self) -> Any:
        """The class or function behind it."""
        return self.entry.load()

    @cached_property
    def config(self) -> Config:
        """Its options, validated."""
        return validate(self.entry.component.config, self.given, "config", self.entry.name)

    @property
    def tags(self) -> frozenset[str]:
        """What it has; see ``TAGS``."""
        return frozenset()


class RecipeCase(Case):
    """A recipe: no target, no options."""


class DatasetCase(Case):
    """A reader, and perhaps an example."""

    @property
    def tags(self) -> frozenset[str]:
        """Whether there is an example."""
        return frozenset({"example"} if self.root else ())

    def make(self) -> Any:
        """A reader."""
        return self.target(self.config)


class BackboneCase(Case):
    """A backbone, built once for all checks, since it may be large."""

    _refusal: VlmadError | None = None

    @cached_property
    def backbone(self) -> Backbone:
        """Built with its options; one that cannot be, for want of weights, is skipped."""
        if self._refusal is None:
            try:
                made: Backbone = self.target(self.config)
            except VlmadError as error:
                self._refusal = error
            else:
                return made
        raise CheckSkipped(f"it is not built without options, given with config= or --set: {self._refusal}")

    @property
    def tags(self) -> frozenset[str]:
        """Of the towers."""
        vision, text = self.backbone.vision, self.backbone.text
        found = {"text": text is not None, "joint": vision.joint, "class token": vision.class_pool}
        return frozenset(tag for tag, there in found.items() if there)

    def images(self, count: int = 3, seed: int = 0) -> Tensor:
        """``[count, 3, H, W]`` at the size that it asks for, in its type, where it is."""
        height, width = self.backbone.preprocess.size
        return _noise((count, 3, height, width), seed).to(self.backbone.device, self.backbone.dtype)


class PartCase(Case):
    """A part on a tiny backbone: the first of a few that it accepts."""

    bases: ClassVar[Sequence[Mapping[str, Any]]] = (
        {},
        {"depth": 12},
        {"depth": 24, "image_size": (64, 64)},
        {"text": False},
    )
    """From small to large: defaults such as ``layers=(6, 12)`` need a tower that deep."""

    @cached_property
    def options(self) -> Mapping[str, Any]:
        """Of the tiny backbone."""
        for options in self.bases:
            try:
                self.make(tiny_backbone(**options))
            except IncompatibleError:
                continue
            except Exception:
                break
            return options
        return self.bases[0]

    @cached_property
    def backbone(self) -> Backbone:
        """A tiny one."""
        return tiny_backbone(**self.options)

    def make(self, backbone: Backbone) -> Any:
        """A new part."""
        return self.target(self.config, backbone)

    @cached_property
    def part(self) -> Any:
        """Ready to run, in eval mode."""
        return self.ready(self.backbone)

    def ready(self, backbone: Backbone) -> Any:
        """A new part in eval mode, fitted where it must be."""
        try:
            part = self.make(backbone)
        except Exception as error:
            raise CheckSkipped("it cannot be built; see `builds_with_its_defaults`.") from error
        return part.eval().to(backbone.dtype)

    def run(self, part: Any, rows: Sequence[int] = (0, 1, 2), *, backbone: Backbone | None = None) -> Outputs:
        """Everything that it gives, by name, for three inputs that are always the same, or some of them."""
        raise NotImplementedError

    @property
    def tags(self) -> frozenset[str]:
        """Of the part."""
        part = self.part
        learns = isinstance(part, nn.Module) and any(p.requires_grad for p in part.parameters())
        return frozenset({"learns"} if learns else ())

    def images(self, backbone: Backbone | None = None, seed: int = 0) -> Tensor:
        """``[3, 3, H, W]``."""
        backbone = backbone or self.backbone
        return _noise((3, 3, *backbone.preprocess.size), seed).to(backbone.dtype)


class ExtractorCase(PartCase):
    """An extractor."""

    def features(self, part: Any, rows: Sequence[int] = (0, 1, 2), backbone: Backbone | None = None) -> Features:
        """Of some of the three images."""
        backbone = backbone or self.backbone
        found: Features = part(backbone.vision, self.images(backbone)[list(rows)])
        return found

    def run(self, part: Any, rows: Sequence[int] = (0, 1, 2), *, backbone: Backbone | None = None) -> Outputs:
        """Vectors of each level, and the whole image."""
        return tensors(self.features(part, rows, backbone))


class PromptsCase(PartCase):
    """Prompts."""

    names = ("metal nut", "carpet", "solar cell")

    def text_embeddings(self, part: Any, names: Sequence[str], rows: Sequence[int] = (0, 1, 2)) -> TextEmbeddings:
        """Of class names; where it uses images, of those in ``rows``."""
        found: TextEmbeddings = self._say(part, names, rows, self.backbone)
        return found

    def run(self, part: Any, rows: Sequence[int] = (0, 1, 2), *, backbone: Backbone | None = None) -> Outputs:
        """The text embeddings of some of the three names."""
        names = [self.names[row] for row in rows]
        return {"text_embeddings": self._say(part, names, rows, backbone or self.backbone).vectors}

    def _say(self, part: Any, names: Sequence[str], rows: Sequence[int], backbone: Backbone) -> TextEmbeddings:
        features = None
        if part.per_image:
            x, grid = backbone.vision.embed(self.images(backbone)[list(rows)])
            for block in backbone.vision.blocks:
                x = block(x)
            vision = backbone.vision
            patches = vision.project(vision.norm(x[:, vision.prefix :]))
            last = LevelSpec(f"block{len(vision.blocks)}", vision.dim, vision.joint)
            features = Features((Level(last, patches, grid),), vision.pool(x))
        found: TextEmbeddings = part(backbone.text, names, features)
        return found


class ScorerCase(PartCase):
    """A scorer, on levels of every sort."""

    grid, size = (4, 4), (37, 53)
    specs = (
        *(LevelSpec(name, 16, True) for name in ("image", "window2", "block1", "block3", "stage1", "local1")),
        *(LevelSpec(name, 32, False) for name in ("patch", "raw1", "raw3")),
    )

    def make(self, backbone: Backbone) -> Any:
        """A new part, for the levels of this case and the text of the backbone."""
        return self.target(self.config, self.specs, None if backbone.text is None else backbone.text.dim)

    def ready(self, backbone: Backbone) -> Any:
        """A new part, fitted on two normal images where it must be."""
        part = super().ready(backbone)
        if part.needs_fit:
            with torch.no_grad():
                part.fit(self.features((7, 8), dtype=backbone.dtype))
        return part

    @property
    def tags(self) -> frozenset[str]:
        """Of the part."""
        part = self.part
        found = {"memory": part.needs_fit, "text scores": part.needs_text}
        return super().tags | {tag for tag, there in found.items() if there}

    def features(self, seeds: Sequence[int], *, dtype: torch.dtype = torch.float32) -> Features:
        """One image of noise a seed."""

        def vectors(spec: LevelSpec, regions: int) -> Tensor:
            return torch.cat([_noise((1, regions, spec.dim), 100 + seed) for seed in seeds]).to(dtype)

        image = torch.cat([_noise((1, 16), 300 + seed) for seed in seeds]).to(dtype)
        return Features(tuple(self._level(spec, vectors) for spec in self.specs), image)

    def alike(self, joint: Tensor, visual: Tensor) -> Features:
        """Images that look the same everywhere: ``[B, 16]`` in the joint levels, ``[B, 32]`` in the others."""

        def vectors(spec: LevelSpec, regions: int) -> Tensor:
            return (joint if spec.joint else visual)[:, None].expand(-1, regions, -1).clone()

        return Features(tuple(self._level(spec, vectors) for spec in self.specs), joint)

    def _level(self, spec: LevelSpec, vectors: Any) -> Level:
        cover = {"image": torch.ones(1, 16, dtype=torch.bool), "window2": _windows()}.get(spec.name)
        return Level(spec, vectors(spec, 16 if cover is None else len(cover)), self.grid, cover)

    def text_embeddings(self, count: int, *, states: int = 2, dtype: torch.dtype = torch.float32) -> TextEmbeddings:
        """The same for each of ``count`` images; the first state is normal."""
        vectors = l2_normalize(_noise((1, states, 16), 500)).expand(count, -1, -1)
        return TextEmbeddings(vectors.to(dtype), torch.arange(states) > 0)

    def score(self, part: Any, features: Features) -> Any:
        """Scores at ``size``, with text where it needs it."""
        count, dtype = len(features.levels[0].vectors), features.levels[0].vectors.dtype
        words = self.text_embeddings(count, dtype=dtype) if part.needs_text else None
        return part(features, words, self.size)

    def run(self, part: Any, rows: Sequence[int] = (0, 1, 2), *, backbone: Backbone | None = None) -> Outputs:
        """Image scores, map and the maps of the levels."""
        scores = self.score(part, self.features(rows, dtype=(backbone or self.backbone).dtype))
        return {
            "image": scores.image,
            "map": scores.anomaly_map,
            **{f"levels[{k}]": v for k, v in scores.levels.items()},
        }


def tensors(features: Features) -> Outputs:
    """Features as tensors by name."""
    found = {level.spec.name: level.vectors for level in features.levels}
    return found if features.image is None else found | {"the whole image": features.image}


def _noise(shape: Sequence[int], seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _windows() -> Tensor:
    """``[9, 16]``: windows of 2 x 2 cells on a grid of 4 x 4."""
    cells = torch.arange(16).view(4, 4)
    corners = [(row, column) for row in range(3) for column in range(3)]
    cover = torch.zeros(9, 16, dtype=torch.bool)
    for region, (row, column) in enumerate(corners):
        cover[region, cells[row : row + 2, column : column + 2].flatten()] = True
    return cover
