"""A pipeline in words, for people who want to know what they have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vlmad_core.pipeline.trained import tell_trained

if TYPE_CHECKING:
    from vlmad_core.pipeline.pipeline import Pipeline

__all__ = ["describe"]


def describe(pipeline: Pipeline) -> str:
    """One line a part: its name, its levels, dimensions and sizes."""
    backbone, spec, fuse = pipeline.backbone, pipeline.spec, pipeline.fuse
    (height, width), (rows, columns) = backbone.preprocess.size, backbone.grid
    vision, own = backbone.vision, sum(p.numel() for p in pipeline.parameters())
    frozen = sum(p.numel() for p in backbone.parameters())
    lines = [
        f"backbone   {spec.backbone.use if spec else type(backbone).__name__}: {height} x {width} pixels, "
        f"{rows} x {columns} patches, {len(vision.blocks)} blocks, width {vision.width}, "
        f"{'with' if backbone.text is not None else 'no'} text, {str(backbone.dtype).removeprefix('torch.')}",
        f"extractor  {spec.extractor.use if spec else type(pipeline.extractor).__name__}: "
        + ", ".join(map(str, pipeline.extractor.levels)),
    ]
    if pipeline.prompts is not None:
        used = spec.prompts.use if spec and spec.prompts else type(pipeline.prompts).__name__
        lines.append(f"prompts    {used}: {f'for {pipeline.class_name!r}' if pipeline.class_name else 'no name yet'}")
    for scorer, label in zip(pipeline.scorers, pipeline.labels, strict=True):
        seen = "normal images" if scorer.is_fitted else "normal images (none seen yet)"
        lines.append(f"scorer     {label}: compares with {'words' if scorer.needs_text else seen}")
    lines.append(f"fuse       image {fuse.image}, map {fuse.map}, smooth {fuse.smooth:g} px")
    lines.append(f"learns     {own:,} numbers; the backbone's {frozen:,} stay as they are")
    if pipeline.trained:
        lines.append(f"trained    {tell_trained(pipeline.trained)}")
    return "\n".join(lines)
