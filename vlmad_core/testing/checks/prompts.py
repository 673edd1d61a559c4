"""Rules of prompts: text embeddings of unit length, in the order of the names."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import torch

from vlmad_core.contracts.data import TextEmbeddings
from vlmad_core.contracts.parts import ClassNameUse
from vlmad_core.contracts.towers import forward_blocks
from vlmad_core.errors import VlmadError
from vlmad_core.testing.rules import CheckFailed, CheckSkipped, check, close, require

if TYPE_CHECKING:
    from vlmad_core.testing.cases import PromptsCase


@check("prompts")
def text_embeddings_as_declared(case: PromptsCase) -> None:
    """``forward`` gives TextEmbeddings: vectors ``[B, S, D]``, a row for each name, and ``abnormal`` ``[S]`` bool."""
    text_embeddings = _text_embeddings(case)
    require(
        isinstance(text_embeddings, TextEmbeddings),
        f"forward gives {type(text_embeddings).__name__}; it must give TextEmbeddings.",
    )
    assert case.backbone.text is not None
    shape, states = tuple(text_embeddings.vectors.shape), tuple(text_embeddings.abnormal.shape)
    dim = case.backbone.text.dim
    fits = len(shape) == 3 and shape[0] == 3 and shape[2] == dim
    require(fits, f"three names give vectors {shape}; they must be [B, S, D] = [3, S, {dim}].")
    fits = text_embeddings.abnormal.dtype == torch.bool and states == shape[1:2]
    actual = f"{text_embeddings.abnormal.dtype} {states}"
    require(fits, f"abnormal is {actual}; it must be torch.bool [S] = [{shape[1]}], one for each state.")


@check("prompts")
def text_embeddings_have_unit_length(case: PromptsCase) -> None:
    """Each text embedding has length 1."""
    lengths = _text_embeddings(case).vectors.norm(dim=-1)
    holds = bool(((lengths - 1).abs() < 1e-3).all())
    low, high = float(lengths.min()), float(lengths.max())
    require(
        holds,
        f"text embeddings have lengths from {low:.3g} to {high:.3g}; normalize them with l2_normalize.",
    )


@check("prompts")
def has_a_normal_and_an_abnormal_state(case: PromptsCase) -> None:
    """There is at least one normal state and one abnormal state, and they are not the same."""
    text_embeddings = _text_embeddings(case)
    abnormal = text_embeddings.abnormal
    there = bool(abnormal.any()) and not bool(abnormal.all())
    require(there, f"abnormal is {abnormal.tolist()}; it needs a False for normal and a True for abnormal.")
    normal, other = text_embeddings.vectors[:, ~abnormal][:, :1], text_embeddings.vectors[:, abnormal][:, :1]
    require(not close(normal, other), "normal and abnormal are the same vector; describe them by different text.")


@check("prompts")
def keeps_the_order_of_class_names(case: PromptsCase) -> None:
    """Row i belongs to name i: names in another order, twice, or alone give the same rows."""
    with torch.no_grad():
        whole = case.run(case.part)["text_embeddings"]
        for rows in ((2, 1, 0), (1, 1, 0), (1,), (2,)):
            some = case.run(case.part, rows)["text_embeddings"]
            require(
                some.shape[0] == len(rows) and close(some, whole[list(rows)]),
                f"names in the order {rows} do not give the rows {rows} of (0, 1, 2); compute each name by itself, and "
                "do not sort them or leave out what comes twice.",
            )


@check("prompts")
def declares_class_name_use(case: PromptsCase) -> None:
    """``class_name_use`` is "ignored" exactly where the embeddings do not depend on the class name."""
    part = case.part
    if part.per_image:
        raise CheckSkipped("it uses the image, so text embeddings differ without class names.")
    with torch.no_grad():
        vectors = case.run(part)["text_embeddings"]
    depends = not close(vectors, vectors[:1].expand_as(vectors))
    require(
        part.class_name_use in get_args(ClassNameUse),
        f"class_name_use is {part.class_name_use!r}; it must be one of {', '.join(get_args(ClassNameUse))}.",
    )
    require(
        depends == (part.class_name_use != "ignored"),
        'the class name changes the embeddings; set class_name_use = "required", or "optional".'
        if depends
        else 'the class name changes nothing, but is asked for; set class_name_use = "ignored".',
    )


@check("prompts")
def accepts_any_class_name(case: PromptsCase) -> None:
    """Empty, long and foreign names give finite text embeddings, or are refused in a sentence."""
    for name in ("", "metal_nut", "Öse, links {0}", "part " * 60, "螺母"):
        try:
            with torch.no_grad():
                text_embeddings = case.text_embeddings(case.part, [name], (0,))
        except VlmadError as error:
            require(str(error).endswith("."), f"the name {name[:20]!r} is refused with '{error}'; make it a sentence.")
            continue
        except Exception as error:
            raise CheckFailed(
                f"the name {name[:20]!r} stops it with {type(error).__name__}: {error}; use str.replace in place of "
                "str.format, and cut what is too long."
            ) from error
        require(
            text_embeddings.vectors.isfinite().all(),
            f"the name {name[:20]!r} gives text embeddings that are not finite.",
        )


@check("prompts")
def same_after_an_extractor_ran(case: PromptsCase) -> None:
    """The text embeddings are the same before and after the image encoder was used."""
    with torch.no_grad():
        before = case.run(case.part)["text_embeddings"]
        vision = case.backbone.vision
        forward_blocks(vision.blocks, vision.embed(case.images(seed=9))[0])
        after = case.run(case.part)["text_embeddings"]
    require(
        torch.equal(before, after),
        "text_embeddings differ after the vision tower was used; keep no state between calls.",
    )


@check("prompts")
def sentences_add_up_to_the_embeddings(case: PromptsCase) -> None:
    """Where it offers ``text_parts``: the vectors of the sentences of a state add up to its embedding."""
    name = case.names[0]
    with torch.no_grad():
        parts = case.part.text_parts(case.backbone.text, name)
        if parts is None:
            return
        vectors = case.text_embeddings(case.part, [name], (0,)).vectors[0]
    states = torch.tensor([sentence.state for sentence in parts.sentences])
    fits = len(states) == len(parts.vectors) and bool(((states >= 0) & (states < len(vectors))).all())
    require(fits, "text_parts must have a vector for each sentence, and the number of its state.")
    summed = torch.zeros_like(vectors).index_add(0, states, parts.vectors.to(vectors.dtype))
    require(
        close(summed, vectors, tolerance=1e-5),
        "the vectors of text_parts do not add up to the text embeddings; divide each by the number of sentences of its "
        "state and by the length of their mean.",
    )


def _text_embeddings(case: PromptsCase) -> TextEmbeddings:
    with torch.no_grad():
        return case.text_embeddings(case.part, case.names)
