"""Rules of a backbone and its image encoder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vlmad_core.contracts.towers import Block, forward_blocks
from vlmad_core.errors import IncompatibleError
from vlmad_core.testing.rules import CheckSkipped, check, close, require
from vlmad_core.testing.state import differences, snapshot

if TYPE_CHECKING:
    from vlmad_core.testing.cases import BackboneCase


@check("backbone")
def block_law(case: BackboneCase) -> None:
    """For each block, ``y = x + attend(*qkv(x), mask)`` and ``block(x, mask) == y + mlp(y)``."""
    for where, block, x, mask in _inputs(case):
        y = x + block.attend(*block.qkv(x), mask)
        require(
            close(block(x, mask), y + block.mlp(y), tolerance=_tolerance(case)),
            f"{where} is not y + mlp(y) with y = x + attend(*qkv(x), mask); put the norms inside qkv and mlp, layer "
            "scale and the output projection inside attend and mlp, and the residuals outside.",
        )


@check("backbone")
def attends_with_fewer_queries(case: BackboneCase) -> None:
    """``attend`` of the first query alone gives the first token of what all queries give."""
    for where, block, x, _ in _inputs(case):
        q, k, v = block.qkv(x)
        one, whole = block.attend(q[:, :, :1], k, v), block.attend(q, k, v)
        require(
            one.shape == (len(x), 1, x.shape[2]) and close(one, whole[:, :1], tolerance=_tolerance(case)),
            f"attend of {where} must give as many tokens as there are queries, each by itself; take L from q.",
        )


@check("backbone")
def embed_shapes(case: BackboneCase) -> None:
    """``embed`` gives ``[B, prefix + h*w, width]`` and the grid ``(h, w)``, as ``backbone.grid`` says."""
    backbone, vision = case.backbone, case.backbone.vision
    with torch.no_grad():
        x, grid = vision.embed(case.images(2))
    wanted = (2, vision.prefix + grid[0] * grid[1], vision.width)
    require(tuple(x.shape) == wanted, f"embed gives {tuple(x.shape)}; it must be [B, prefix + h*w, width] = {wanted}.")
    height, width = backbone.preprocess.size
    asked = (height // vision.patch[0], width // vision.patch[1])
    require(
        tuple(grid) == asked == tuple(backbone.grid),
        f"the grid is {tuple(grid)}, and {height} x {width} pixels in patches of {vision.patch[0]} x {vision.patch[1]} "
        f"are {asked}; correct `patch`, or the grid that embed returns as (rows, columns).",
    )


@check("backbone")
def accepts_images_that_are_not_square(case: BackboneCase) -> None:
    """An image that is not square has its own grid, or is refused in a sentence."""
    vision = case.backbone.vision
    (down, across), (rows, columns) = vision.patch, case.backbone.grid
    image = case.images(1)[:, :, :down].repeat(1, 1, rows, 1)
    image = torch.cat([image, image[..., :across]], dim=3)
    try:
        with torch.no_grad():
            x, grid = vision.embed(image)
            x, _ = forward_blocks(vision.blocks, x)
    except IncompatibleError as error:
        require(str(error).endswith("."), f"it refuses with '{error}'; make it a sentence that says what would work.")
        return
    require(
        tuple(grid) == (rows, columns + 1) and x.shape[1] == vision.prefix + rows * (columns + 1),
        f"{image.shape[2]} x {image.shape[3]} pixels give a grid of {tuple(grid)}; resize the table of positions to "
        f"{(rows, columns + 1)}, or raise IncompatibleError from embed.",
    )


@check("backbone")
def pool_shapes(case: BackboneCase) -> None:
    """``norm`` keeps its shape, ``project`` and ``pool`` give ``[..., dim]``, all of them finite."""
    vision = case.backbone.vision
    x = _walked(case)
    with torch.no_grad():
        normed = vision.norm(x)
        found = {"norm": (normed, x.shape), "project": (vision.project(normed), (*x.shape[:-1], vision.dim))}
        found["pool"] = (vision.pool(x), (len(x), vision.dim))
    for name, (value, shape) in found.items():
        require(value.shape == shape, f"{name} gives {tuple(value.shape)}; it must be {tuple(shape)}.")
        require(value.isfinite().all(), f"{name} gives values that are not finite; look for overflow or zero division.")


@check("backbone", needs="class token")
def pool_reads_the_class_token_alone(case: BackboneCase) -> None:
    """With ``class_pool`` true, ``pool`` gives the same when every other token is left out."""
    vision, x = case.backbone.vision, _walked(case)
    with torch.no_grad():
        same = close(vision.pool(x[:, :1]), vision.pool(x), tolerance=_tolerance(case))
    require(same, "pool reads other tokens than the first; set class_pool = False, or pool token 0.")


@check("backbone", needs="joint")
def joint_space_is_one(case: BackboneCase) -> None:
    """A tower whose images are comparable with text has a text tower of the same ``dim``."""
    vision, text = case.backbone.vision, case.backbone.text
    require(text is not None, "vision.joint is true and there is no text; set joint = False, or give a text tower.")
    assert text is not None
    require(
        text.dim == vision.dim,
        f"images have {vision.dim} dimensions and texts {text.dim}; project both to one space, or set joint = False.",
    )


@check("backbone")
def is_frozen(case: BackboneCase) -> None:
    """No parameter asks for a gradient, and the backbone stays in eval mode whatever is asked."""
    backbone = case.backbone
    learning = [name for name, p in backbone.named_parameters() if p.requires_grad]
    require(not learning, f"{', '.join(learning[:3])} can be trained; call self.requires_grad_(False) at the end.")
    backbone.train()
    awake = [name or "itself" for name, module in backbone.named_modules() if module.training]
    require(
        not awake,
        f"after train(), {', '.join(awake[:3])} is in training mode; derive from vlmad_core.contracts.Backbone.",
    )


@check("backbone")
def image_does_not_depend_on_its_batch(case: BackboneCase) -> None:
    """The features of an image are the same whichever images are beside it."""
    images, vision = case.images(3), case.backbone.vision
    with torch.no_grad():
        whole = vision.pool(forward_blocks(vision.blocks, vision.embed(images)[0])[0])
        alone = vision.pool(forward_blocks(vision.blocks, vision.embed(images[1:2])[0])[0])
    require(
        close(alone, whole[1:2], tolerance=_tolerance(case)),
        "an image has other features beside others; look for a norm over the batch, or for blocks that want [L, B, W].",
    )


@check("backbone")
def gradients_reach_the_image(case: BackboneCase) -> None:
    """Gradients pass through the frozen tower to the pixels, for parts that learn in front of it."""
    images, vision = case.images(1).requires_grad_(), case.backbone.vision
    with torch.enable_grad():
        pooled = vision.pool(forward_blocks(vision.blocks, vision.embed(images)[0])[0])
        require(pooled.requires_grad, "the tower cuts gradients; remove no_grad, inference_mode and detach from it.")
        pooled.float().square().sum().backward()
    reached = images.grad is not None and bool(images.grad.any())
    require(reached, "no gradient reaches the pixels; remove detach and rounding from the tower.")


@check("backbone")
def changes_nothing_in_use(case: BackboneCase) -> None:
    """Used, it keeps its weights, buffers, modules and hooks."""
    before = snapshot(case.backbone)
    _walked(case)
    text = case.backbone.text
    if text is not None:
        with torch.no_grad():
            ids = text.tokenize(["a metal nut"])
            text.pool(forward_blocks(text.blocks, text.add_positions(text.embed(ids)), mask=text.mask)[0], ids)
    changed = differences(before, case.backbone, attributes=False)
    require(not changed, f"in use it changed {', '.join(changed[:3])}; compute into new tensors.")


@check("backbone")
def has_provenance(case: BackboneCase) -> None:
    """``provenance`` says which weights it has, so that a saved detector is not loaded onto others."""
    provenance = case.backbone.provenance
    require(
        provenance and all(isinstance(text, str) for pair in provenance.items() for text in pair),
        "it has no provenance; pass provenance={'weights': ..., 'sha256': ...} to Backbone.__init__.",
    )


def _inputs(case: BackboneCase) -> Iterator[tuple[str, Block, Tensor, Tensor | None]]:
    """Each block of both towers with what it would receive, without gradients."""
    backbone = case.backbone
    with torch.no_grad():
        x, _ = backbone.vision.embed(case.images(2))
        for i, block in enumerate(backbone.vision.blocks, start=1):
            yield f"vision block {i}", block, x, None
            x = block(x)
        if backbone.text is not None:
            text = backbone.text
            x = text.add_positions(text.embed(text.tokenize(["a metal nut", "a damaged carpet with a hole"])))
            for i, block in enumerate(text.blocks, start=1):
                yield f"text block {i}", block, x, text.mask
                x = block(x, text.mask)


def _walked(case: BackboneCase) -> Tensor:
    vision = case.backbone.vision
    if not len(vision.blocks):
        raise CheckSkipped("it has no blocks.")
    with torch.no_grad():
        x, _ = forward_blocks(vision.blocks, vision.embed(case.images(2))[0])
    return x


def _tolerance(case: BackboneCase) -> float:
    return 1e-3 if case.backbone.dtype == torch.float32 else 5e-2
