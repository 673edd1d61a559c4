"""Rules of a backbone's text encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vlmad_core.contracts.text_encoding import encode_text
from vlmad_core.contracts.towers import TextTower, forward_blocks
from vlmad_core.errors import IncompatibleError
from vlmad_core.testing.rules import CheckFailed, check, close, require

if TYPE_CHECKING:
    from vlmad_core.testing.cases import BackboneCase

_SENTENCES = ("a photo of a flawless metal nut.", "a photo of a damaged metal nut.", "carpet")
_TOLERANCE = 1e-3


@check("backbone", needs="text")
def tokenizes_any_text(case: BackboneCase) -> None:
    """Texts of any script become ids ``[P, L]`` of one L."""
    text = _text(case)
    odd = ["", "a", "metal_nut (left), 5 %", "Öse ölig 螺母 🔩"]
    ids, short = text.tokenize(odd), text.tokenize(["a"])
    whole = not ids.is_floating_point() and ids.ndim == 2 and len(ids) == len(odd)
    require(whole, f"tokenize gives {ids.dtype} {tuple(ids.shape)}; it must give whole numbers [P, L].")
    require(
        ids.shape[1] == short.shape[1],
        f"L is {ids.shape[1]} for long texts and {short.shape[1]} for short ones; pad to the context length.",
    )
    with torch.no_grad():
        found = encode_text(text, odd)
    require(found.isfinite().all(), "an odd text gives vectors that are not finite; look at the empty text first.")


@check("backbone", needs="text")
def refuses_long_text(case: BackboneCase) -> None:
    """A text that is longer than the tower reads is refused in a sentence, and not cut off in silence."""
    try:
        _text(case).tokenize(["word " * 500])
    except IncompatibleError as error:
        require(str(error).endswith("."), f"it refuses with '{error}'; make it a sentence that says what would work.")
        return
    raise CheckFailed(
        "500 words are cut off and nothing is said; in tokenize, call vlmad_core.contracts.check_text_length."
    )


@check("backbone", needs="text")
def text_shapes(case: BackboneCase) -> None:
    """``embed`` and ``add_positions`` give ``[P, L, width]``, also for fewer columns; ``pool`` gives ``[P, dim]``."""
    text = _text(case)
    ids = text.tokenize(_SENTENCES)
    with torch.no_grad():
        for columns in (ids, text.trim(ids)):
            x = text.embed(columns)
            placed = text.add_positions(x)
            wanted = (*columns.shape, text.width)
            for name, value in (("embed", x), ("add_positions", placed)):
                same = tuple(value.shape) == wanted
                require(same, f"{name} gives {tuple(value.shape)}; it must be [P, L, width] = {wanted}.")
        pooled = _pooled(text, ids)
    shape = (len(ids), text.dim)
    require(tuple(pooled.shape) == shape, f"pool gives {tuple(pooled.shape)}; it must be [P, dim] = {shape}.")


@check("backbone", needs="text")
def mask_is_additive(case: BackboneCase) -> None:
    """``mask`` is None or ``[L, L]`` of numbers to add: 0 for a token that may be attended to, else minus infinity."""
    text = _text(case)
    if text.mask is not None:
        length = text.tokenize(["a"]).shape[1]
        fits = text.mask.is_floating_point() and tuple(text.mask.shape) == (length, length)
        require(fits, f"the mask is {text.mask.dtype} {tuple(text.mask.shape)}; it must be float [{length}, {length}].")
        require(text.mask.diagonal().eq(0).all(), "the mask hides a token from itself; its diagonal must be 0.")


@check("backbone", needs="text")
def trim_changes_nothing(case: BackboneCase) -> None:
    """The columns that ``trim`` drops cannot change what ``pool`` gives: the end is found, and padding is not read."""
    text = _text(case)
    ids = text.tokenize(_SENTENCES)
    with torch.no_grad():
        whole, short = _pooled(text, ids), _pooled(text, text.trim(ids))
    require(
        close(short, whole, tolerance=_TOLERANCE),
        "sentences have other features without their padding; let trim keep every column up to the last end (all of "
        "them without a causal mask), and let pool read at the end of each sentence.",
    )


@check("backbone", needs="text")
def sentence_does_not_depend_on_its_batch(case: BackboneCase) -> None:
    """The features of a sentence are the same whichever sentences are beside it."""
    text = _text(case)
    with torch.no_grad():
        whole = _pooled(text, text.tokenize(_SENTENCES))
        alone = _pooled(text, text.tokenize(_SENTENCES[1:2]))
    require(
        close(alone, whole[1:2], tolerance=_TOLERANCE),
        "a sentence has other features beside others; look for a norm over the batch, or one end for all sentences.",
    )


@check("backbone", needs="text")
def beginnings_can_be_shared(case: BackboneCase) -> None:
    """Sentences that begin alike have the same features whether their common tokens are computed once or for each."""
    text = _text(case)
    sentences = [f"a {kind} photo of a {state} metal nut" for kind in ("dark", "small") for state in ("good", "bent")]
    with torch.no_grad():
        shared = encode_text(text, sentences)
        alone = torch.cat([_pooled(text, text.trim(text.tokenize([sentence]))) for sentence in sentences])
    require(
        close(shared, alone, tolerance=_TOLERANCE),
        "sentences that share their first tokens have other features than alone; add every position in add_positions, "
        "none in the blocks, and let the blocks use the mask that they are given.",
    )


@check("backbone", needs="text")
def text_features_depend_on_the_text(case: BackboneCase) -> None:
    """Sentences of other words, or the same words in another order, have other vectors."""
    pairs = (("a metal nut", "a carpet"), ("flawless", "damaged"), ("a nut on a bolt", "a bolt on a nut"))
    with torch.no_grad():
        for one, other in pairs:
            a, b = encode_text(_text(case), [one, other])
            require(
                not close(a, b),
                f"'{one}' and '{other}' have the same features; add positions, and pool behind the last token.",
            )


@check("backbone", needs="text")
def gradients_reach_the_text(case: BackboneCase) -> None:
    """Gradients pass through the frozen text tower to the token embeddings, for prompts that learn."""
    text = _text(case)
    ids = text.tokenize(_SENTENCES[:1])
    with torch.enable_grad():
        words = text.embed(ids).detach().requires_grad_()
        pooled = text.pool(forward_blocks(text.blocks, text.add_positions(words), mask=text.mask)[0], ids)
        require(pooled.requires_grad, "the tower cuts gradients; remove no_grad, inference_mode and detach from it.")
        pooled.float().square().sum().backward()
    reached = words.grad is not None and bool(words.grad.any())
    require(reached, "no gradient reaches the token embeddings; remove detach and rounding from the tower.")


def _text(case: BackboneCase) -> TextTower:
    text = case.backbone.text
    assert text is not None, "checks of text need the tag 'text'"
    return text


def _pooled(text: TextTower, ids: Tensor) -> Tensor:
    length = ids.shape[1]
    mask = None if text.mask is None else text.mask[:length, :length]
    x, _ = forward_blocks(text.blocks, text.add_positions(text.embed(ids)), mask=mask)
    return text.pool(x, ids)
