"""Prompts from captions: a normal and an abnormal text embedding for the image, each part and the background.

FineGrainedAD (arXiv 2510.26464) learns vectors in front of such sentences for each level, and one more for an abnormal
side without words. Without learned vectors the sentences are used as they are.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from vlmad_core.contracts import (
    Backbone,
    Features,
    Prompts,
    Sentence,
    TextEmbeddings,
    TextParts,
    TextTower,
    encode_text,
    l2_normalize,
    word_vectors,
)
from vlmad_core.errors import IncompatibleError
from vlmad_fine_grained.context import encode_with_context
from vlmad_fine_grained.sentences import TEMPLATE, LevelSentences, sentences_of

if TYPE_CHECKING:
    from vlmad_fine_grained.plugin import CaptionPromptsConfig

__all__ = ["CaptionPrompts"]

_SPREAD = 0.02
"""Standard deviation of vectors that begin at random."""
_FIRST_WORDS = "a photo of"


class CaptionPrompts(Prompts):
    """Two text embeddings a level: the mean of its normal sentences, and of its abnormal ones.

    The states are in pairs: normal and abnormal of the image, of each part, of the background. With ``n_context`` each
    level has vectors of its own in place of "a photo of", and one abnormal sentence whose state is learned too:
    ``[V_1 ... V_n A_1 ... A_m] cookie.``

    Attributes:
        ctx_normal: ``[L, n_context, W]``, V; None without.
        ctx_abnormal: ``[L, n_abnormal, W]``, A; None without.

    Raises:
        IncompatibleError: No text, or sentences that are too long for the text tower.
    """

    ctx_normal: Tensor | None
    ctx_abnormal: Tensor | None

    def __init__(self, config: CaptionPromptsConfig, backbone: Backbone) -> None:
        super().__init__()
        text = backbone.text
        if text is None:
            raise IncompatibleError("needs a backbone with text, such as 'open-clip' or 'pocket'.")
        self.config, self.captions = config, config.captions
        self.class_name_use = "ignored" if self.captions.class_name else "required"
        self.levels = tuple((level.kind, level.name) for level in sentences_of(self.captions, "object"))
        count, length = len(self.levels), config.n_context
        learned = config.n_abnormal if length else 0
        normal = torch.stack([_first_vectors(text, length) for _ in range(count)]) if length else None
        abnormal = torch.empty(count, learned, text.width).normal_(0, _SPREAD) if learned else None
        self.register_parameter("ctx_normal", None if normal is None else nn.Parameter(normal))
        self.register_parameter("ctx_abnormal", None if abnormal is None else nn.Parameter(abnormal))
        self.register_buffer("abnormal", torch.tensor([False, True] * count), persistent=False)
        self.abnormal: Tensor
        names = [zlib.crc32(part.name.encode()) for part in self.captions.parts]
        self.register_buffer("learned_for", torch.tensor(names, dtype=torch.long), persistent=bool(length))
        self.learned_for: Tensor
        with torch.no_grad():
            self._sides(text, sentences_of(self.captions, "object"))  # too long a sentence is refused here

    def forward(self, text: TextTower, names: Sequence[str], features: Features | None = None) -> TextEmbeddings:
        """TextEmbeddings ``[len(names), 2 L, D]``, normal and abnormal in turn."""
        return self._embeddings({name: self._sides(text, self._of(name)) for name in self._distinct(names)}, names)

    def forward_with_losses(
        self, text: TextTower, names: Sequence[str], features: Features | None = None
    ) -> tuple[TextEmbeddings, Mapping[str, Tensor]]:
        """As ``forward``, with how far learned sentences are from those in words; without learned vectors no loss.

        ``alignment`` is the squared distance between the learned abnormal sentence of a level and the mean of the
        others, as in PromptAD (Li et al., CVPR 2024); ``regularisation`` is one minus the cosine between a sentence
        with its vectors and the same one in words alone, so that a name keeps what it means.
        """
        sides = {name: self._sides(text, self._of(name)) for name in self._distinct(names)}
        embeddings = self._embeddings(sides, names)
        if self.ctx_normal is None:
            return embeddings, {}
        alignment, regularisation = [], []
        for name, one in sides.items():
            with torch.no_grad():
                plain = self._plain(text, self._of(name))
            for number, (side, words) in enumerate(zip(one, plain, strict=True)):
                given = side[: len(words)]
                regularisation.append(1 - (given * words).sum(-1))
                if number % 2 and len(side) > len(words):
                    alignment.append((given.mean(0) - side[-1]).square().sum())
        found = {"regularisation": self.config.regularisation * torch.cat(regularisation).mean()}
        if alignment:
            found["alignment"] = self.config.alignment * torch.stack(alignment).mean()
        return embeddings, found

    def text_parts(self, text: TextTower, name: str) -> TextParts:
        """Each sentence's unit vector over the number of them and the length of their mean; learned ones stand as V."""
        levels = self._of(name)
        template = "V " * self.config.n_context + "{}." if self.config.n_context else TEMPLATE
        sentences = []
        for number, level in enumerate(levels):
            states = [level.normal, level.abnormal]
            if self.ctx_abnormal is not None:
                states[1] = (*level.abnormal, f"{'A ' * self.config.n_abnormal}{level.name}")
            for side, phrases in enumerate(states):
                sentences += [
                    Sentence(template.replace("{}", one), 2 * number + side, one, template) for one in phrases
                ]
        vectors = [side / (len(side) * side.mean(0).norm()) for side in self._sides(text, levels)]
        return TextParts(tuple(sentences), torch.cat(vectors))

    def _distinct(self, names: Sequence[str]) -> list[str]:
        return [""] if self.class_name_use == "ignored" else list(dict.fromkeys(names))

    def _embeddings(self, sides: Mapping[str, Sequence[Tensor]], names: Sequence[str]) -> TextEmbeddings:
        vectors = l2_normalize(torch.stack([torch.stack([side.mean(0) for side in one]) for one in sides.values()]))
        of = list(sides)
        return TextEmbeddings(vectors[[of.index(name) if name in sides else 0 for name in names]], self.abnormal)

    def _of(self, name: str) -> tuple[LevelSentences, ...]:
        return sentences_of(self.captions, name)

    def _sides(self, text: TextTower, levels: Sequence[LevelSentences]) -> list[Tensor]:
        """Unit vectors of the sentences of each state, ``[P, D]``; a learned abnormal one is the last of its state."""
        if self.ctx_normal is None:
            return self._plain(text, levels)
        rows, counts = [], []
        for number, level in enumerate(levels):
            context = self.ctx_normal[number]
            rows += [(f"{phrase}.", context) for phrase in (*level.normal, *level.abnormal)]
            if self.ctx_abnormal is not None:
                rows.append((f"{level.name}.", torch.cat([context, self.ctx_abnormal[number]])))
            counts += [len(level.normal), len(level.abnormal) + (self.ctx_abnormal is not None)]
        return list(l2_normalize(encode_with_context(text, rows)).split(counts))

    def _plain(self, text: TextTower, levels: Sequence[LevelSentences]) -> list[Tensor]:
        sides = [phrases for level in levels for phrases in (level.normal, level.abnormal)]
        encoded = encode_text(text, [TEMPLATE.replace("{}", phrase) for side in sides for phrase in side])
        return list(l2_normalize(encoded).split([len(side) for side in sides]))

    def _load_from_state_dict(self, state_dict: MutableMapping[str, Any], prefix: str, *args: Any) -> None:
        saved = state_dict.get(f"{prefix}learned_for")
        if self.ctx_normal is not None and isinstance(saved, Tensor) and not torch.equal(saved, self.learned_for.cpu()):
            errors: list[str] = args[-1]
            errors.append(
                f"the prompts learned for captions of {len(saved)} parts, and these captions have "
                f"{len(self.learned_for)} or name them otherwise. Take the captions that it was trained with, or train "
                "again."
            )
            return
        super()._load_from_state_dict(state_dict, prefix, *args)


def _first_vectors(text: TextTower, length: int) -> Tensor:
    """``[length, W]``: the words "a photo of" at the end where they fit, and random vectors before them."""
    vectors = torch.empty(length, text.width).normal_(0, _SPREAD)
    words = word_vectors(text, _FIRST_WORDS).detach().to(vectors)
    return torch.cat([vectors[: length - len(words)], words]) if len(words) <= length else vectors
