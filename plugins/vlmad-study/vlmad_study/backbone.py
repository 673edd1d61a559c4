"""What a backbone offers: its depth, whether it has a text encoder, and which zero-shot pipeline suits it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace

from vlmad_core.benchmark import BackboneChoice, label_of
from vlmad_core.contracts import Backbone, Ensemble
from vlmad_core.contracts.device import AUTO
from vlmad_core.errors import UnknownComponentError
from vlmad_core.pipeline import PartSpec, PipelineSpec, assemble, make_backbone
from vlmad_core.pipeline.resolve import resolve
from vlmad_core.registry import Registry

__all__ = ["BackboneInfo", "inspect_backbone"]


@dataclass(frozen=True)
class BackboneInfo:
    """A backbone, as far as the study must know it.

    Args:
        choice: Name and options, as given.
        model: Built once; extractors are tried on it.
        depth: Number of blocks.
        size: ``(height, width)`` of its input, in pixels.
        provenance: Weights and their hash.
        recipe: Its own zero-shot recipe, the one with its name; empty where there is none.
        zero_shot: The zero-shot pipeline that sections compare with; None without a text encoder.
        ensemble: States and templates of its prompts; None where they are no ensemble.
    """

    choice: BackboneChoice
    model: Backbone
    depth: int
    size: tuple[int, int]
    provenance: Mapping[str, str]
    recipe: str = ""
    zero_shot: PipelineSpec | None = None
    ensemble: Ensemble | None = None

    @property
    def label(self) -> str:
        """As rows of results have it."""
        return label_of(self.choice)

    @property
    def has_text(self) -> bool:
        """Whether there is a text encoder."""
        return self.zero_shot is not None

    @property
    def prompts(self) -> PartSpec:
        """Prompts of the zero-shot pipeline."""
        assert self.zero_shot is not None
        assert self.zero_shot.prompts is not None
        return self.zero_shot.prompts

    @property
    def image_score(self) -> str:
        """Option `image` of the text scorer: its own recipe knows whether the whole-image feature is of use."""
        scorers = () if self.zero_shot is None else self.zero_shot.scorers
        return next((str(part.config.get("image", "class")) for part in scorers if part.name == "text-match"), "class")

    def block(self, share: float) -> int:
        """Number of the block at this share of the depth, from 1."""
        return max(1, round(share * self.depth))


def inspect_backbone(
    choice: BackboneChoice, registry: Registry, *, device: str = AUTO, bits: int | str | None = None
) -> BackboneInfo:
    """Build the backbone once and read its properties.

    Args:
        choice: Name and options.
        registry: Where to look for parts.
        device: Where it runs.
        bits: Of the values in 16-bit grey files, or a window and channels: all that is built on it reads them so.

    Raises:
        UnknownComponentError: No plugin offers it.
        ConfigError: An option that does not exist or does not fit.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the benchmark passes them on
        model = make_backbone(PartSpec(use=choice.use, config=choice.config), device=device, registry=registry)
        model.preprocess = replace(model.preprocess, bits=bits)
        depth, size = len(model.vision.blocks), model.preprocess.size
        if model.text is None:
            return BackboneInfo(choice, model, depth, size, dict(model.provenance))
        recipe = _own_recipe(choice, registry)
        spec = resolve(recipe or _plain_zero_shot(registry), {"backbone": choice.part}, registry=registry).spec
        prompts = assemble(spec, backbone=model, registry=registry).prompts
    ensemble = None if prompts is None else prompts.ensemble
    return BackboneInfo(choice, model, depth, size, dict(model.provenance), recipe, spec, ensemble)


def _own_recipe(choice: BackboneChoice, registry: Registry) -> str:
    """The recipe that has the name of the backbone, where its parts are installed and it uses text."""
    try:
        spec = resolve(choice.use, registry=registry).spec
        for kind, part in (("extractor", spec.extractor), ("prompts", spec.prompts)):
            if part is not None:
                registry.get(kind, part.use)
    except UnknownComponentError:
        return ""
    return choice.use if spec.backbone.name == choice.name and spec.prompts is not None else ""


def _plain_zero_shot(registry: Registry) -> dict[str, object]:
    """For a backbone without a recipe: patches of its last block against an ensemble, or two sentences without one."""
    lists = {"states", "templates"}
    ensembles = [e.name for e in registry.entries("prompts") if lists <= set(e.component.config.model_fields)]
    return {
        "backbone": "open-clip",  # replaced at once
        "extractor": {"use": "patches", "config": {"layers": [-1], "space": "joint"}},
        "prompts": (ensembles or ["templates"])[0],
        "scorers": [{"use": "text-match", "config": {"image": "both"}}],
        "output": {"smooth": 4.0},
    }
