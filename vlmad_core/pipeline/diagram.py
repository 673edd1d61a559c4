"""How data flows through a detector, with the real shapes: one picture of noise is sent through, and each part noted.

The towers' blocks are skipped: what they compute decides no shape, and takes nearly all of the time. Drawn as Mermaid
Mermaid text, which GitHub and the docs draw.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vlmad_core.contracts.data import Features, Level, Scores, TextEmbeddings
from vlmad_core.contracts.parts import Scorer
from vlmad_core.pipeline.pipeline import Pipeline

if TYPE_CHECKING:
    from vlmad_core.contracts.towers import Block

__all__ = ["Arrow", "Box", "Flow", "flow_of", "mermaid"]


@dataclass(frozen=True)
class Box:
    """One part.

    Args:
        column: From the pictures at 0 to the prediction.
        title: Its kind and name.
        lines: What it is, or what it gives, with shapes.
        data: True: what goes in or comes out; False: a part.
    """

    column: int
    title: str
    lines: tuple[str, ...]
    data: bool = False


@dataclass(frozen=True)
class Arrow:
    """What goes from one box to another.

    Args:
        start: Index of a box.
        end: Index of a box.
        label: What it is; may be of several lines.
    """

    start: int
    end: int
    label: str = ""


@dataclass(frozen=True)
class Flow:
    """A drawing that is not yet drawn."""

    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]


def flow_of(pipeline: Pipeline) -> Flow:
    """Send one picture of noise through a pipeline, and note what each part gives.

    Args:
        pipeline: A memory in it that has seen nothing is shown that picture, and forgets it again.
    """
    spec, backbone, prompts = pipeline.spec, pipeline.backbone, pipeline.prompts
    (height, width), (rows, columns), vision = backbone.preprocess.size, backbone.grid, backbone.vision
    text, text_embeddings = backbone.text, None
    noise = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features: Features = pipeline.extractor(_Outline(vision), noise.to(backbone.device, backbone.dtype))
        if prompts is not None and text is not None:
            text_embeddings = prompts(
                _Outline(text), [pipeline.class_name or "object"], features if prompts.per_image else None
            )
    see = spec.backbone.use if spec else type(backbone).__name__
    look = spec.extractor.use if spec else type(pipeline.extractor).__name__
    tokens = f"{vision.prefix} + {rows} x {columns} tokens of width {vision.width}"
    boxes = [
        Box(0, "pictures", (f"[B, 3, {height}, {width}]",), data=True),
        Box(1, f"backbone {see}", ("vision tower", f"{len(vision.blocks)} blocks", tokens)),
        Box(2, f"extractor {look}", tuple(_levels(features))),
    ]
    arrows = [Arrow(0, 1), Arrow(1, 2)]
    words = None
    if text_embeddings is not None and text is not None:
        words = len(boxes) + 2
        say = spec.prompts.use if spec and spec.prompts else type(pipeline.prompts).__name__
        normal = int((~text_embeddings.abnormal).sum())
        states = f"{normal} normal, {len(text_embeddings.abnormal) - normal} abnormal"
        boxes += [
            Box(0, "class names", ("such as 'metal nut'",), data=True),
            Box(1, f"backbone {see}", ("text tower", f"{len(text.blocks)} blocks", f"width {text.width}")),
            Box(2, f"prompts {say}", (f"[B, {_by(text_embeddings.vectors.shape[1:])}]", states)),
        ]
        arrows += [Arrow(words - 2, words - 1), Arrow(words - 1, words)]
    first = len(boxes)
    for scorer, label in zip(pipeline.scorers, pipeline.labels, strict=True):
        assert isinstance(scorer, Scorer)
        used = _used(scorer, features, text_embeddings, (height, width))
        beside = "words" if scorer.needs_text else "normal pictures" if scorer.needs_fit else "each other"
        boxes.append(Box(3, f"scorer {label}", (f"compares with {beside}", f"[B] and [B, {height}, {width}]")))
        arrows.append(Arrow(2, len(boxes) - 1, used))
        if scorer.needs_text and words is not None:
            arrows.append(Arrow(words, len(boxes) - 1, "text_embeddings"))
    fuse = pipeline.fuse
    boxes.append(Box(4, "fuse", (f"image {fuse.image}", f"map {fuse.map}", f"smooth {fuse.smooth:g} px")))
    boxes.append(Box(5, "prediction", ("score in 0 to 1", "map as large as the picture"), data=True))
    arrows += [Arrow(i, len(boxes) - 2) for i in range(first, len(boxes) - 2)]
    arrows.append(Arrow(len(boxes) - 2, len(boxes) - 1))
    return Flow(tuple(boxes), tuple(arrows))


class _Outline:
    """A tower with its blocks skipped; all else is the tower's own."""

    def __init__(self, tower: Any) -> None:
        self.tower = tower
        self.blocks = [_Skipped(block) for block in tower.blocks]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tower, name)


class _Skipped:
    """Gives what it gets, in the shapes of the block that it stands for."""

    def __init__(self, block: Block) -> None:
        self.block = block

    def __call__(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return x

    def qkv(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        heads = self.block.qkv(x[:1, :1])[0].shape[1]  # of one token, so next to nothing
        split = x.unflatten(-1, (heads, -1)).transpose(1, 2)
        return split, split, split

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        return q.transpose(1, 2).flatten(2)

    def mlp(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


def _levels(features: Features) -> Iterator[str]:
    for level in features.levels:
        yield f"{level.spec.name} {_shape(level)} {'joint' if level.spec.joint else 'visual'}"
    if features.image is not None:
        yield f"image [B, {features.image.shape[-1]}]"


def _shape(level: Level) -> str:
    return f"[B, {_by(level.vectors.shape[1:])}]"


def _by(shape: torch.Size) -> str:
    return ", ".join(map(str, shape))


def _used(scorer: Scorer, features: Features, text_embeddings: TextEmbeddings | None, size: tuple[int, int]) -> str:
    """The levels that a scorer gives a map of."""
    fresh = not scorer.is_fitted
    with torch.no_grad():
        if fresh:
            scorer.fit(features)
        try:
            scores: Scores = scorer(features, text_embeddings, size)
        finally:
            if fresh:
                scorer.forget()
    return "\n".join(scores.levels)


def mermaid(flow: Flow) -> str:
    """A flowchart, for Markdown pages that draw Mermaid, such as GitHub's."""
    lines = ["flowchart LR"]
    for i, box in enumerate(flow.boxes):
        text = "<br>".join([f"<b>{box.title}</b>", *box.lines]).replace('"', "'")
        lines.append(f'    n{i}(["{text}"])' if box.data else f'    n{i}["{text}"]')
    for arrow in flow.arrows:
        label = arrow.label.replace("\n", "<br>")
        lines.append(f"    n{arrow.start} -->{f'|{label!s}|' if label else ''} n{arrow.end}")
    return "\n".join(lines) + "\n"
