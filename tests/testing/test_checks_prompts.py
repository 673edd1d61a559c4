"""Deliberately wrong prompts, each caught by the check that is meant for it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from vlmad_core.builtin.plugin import TemplatesConfig
from vlmad_core.builtin.templates import Templates
from vlmad_core.contracts import TextEmbeddings, encode_text, l2_normalize


class Wrong(Templates):
    """Does as ``Templates``, and then what a test says."""

    def forward(self, text, names, features=None):
        return self.after(super().forward(text, names, features))


class Long(Wrong):
    def after(self, text_embeddings):
        return replace(text_embeddings, vectors=3 * text_embeddings.vectors)


class Sorts(Templates):
    def forward(self, text, names, features=None):
        return super().forward(text, sorted(names), features)


class DropsTwins(Templates):
    def forward(self, text, names, features=None):
        return super().forward(text, list(dict.fromkeys(names)), features)


class NeverAbnormal(Wrong):
    def after(self, text_embeddings):
        return replace(text_embeddings, abnormal=torch.zeros(2, dtype=torch.bool))


class SaysTheSameTwice(Wrong):
    def after(self, text_embeddings):
        return replace(text_embeddings, vectors=text_embeddings.vectors[:, :1].expand(-1, 2, -1))


class CountsStates(Wrong):
    def after(self, text_embeddings):
        return replace(text_embeddings, abnormal=torch.tensor([0, 1]))


class ForgetsTheBatch(Wrong):
    def after(self, text_embeddings):
        return replace(text_embeddings, vectors=text_embeddings.vectors[0])


class AsksInVain(Templates):
    def forward(self, text, names, features=None):
        return super().forward(text, ["object"] * len(names), features)


class DoesNotAsk(Templates):
    def __init__(self, config, backbone):
        super().__init__(config, backbone)
        self.class_name_use = "ignored"


class FormatsNames(Templates):
    def forward(self, text, names, features=None):
        return super().forward(text, [f"{{}} {name}".format("a", "b").format("c") for name in names], features)


class WatchesTheOtherTower(Wrong):
    def __init__(self, config, backbone):
        super().__init__(config, backbone)
        self.calls = 0
        backbone.vision.blocks[0].register_forward_hook(self.count)

    def count(self, module, given, made):
        self.calls += 1

    def after(self, text_embeddings):
        turned = text_embeddings.vectors.roll(self.calls, -1)
        return replace(text_embeddings, vectors=turned)


class Detaches(Wrong):
    def __init__(self, config, backbone):
        super().__init__(config, backbone)
        self.shift = nn.Parameter(torch.zeros(2, backbone.text.dim))

    def after(self, text_embeddings):
        return replace(text_embeddings, vectors=l2_normalize(text_embeddings.vectors + self.shift.detach()))


class Normalises(Wrong):
    def after(self, text_embeddings):
        return replace(text_embeddings, vectors=text_embeddings.vectors / 0)


class MovesTheEnd(Templates):
    def forward(self, text, names, features=None):
        with torch.no_grad():
            text.words[0] += 1
        return super().forward(text, names, features)


WRONG = {
    Long: "text_embeddings_have_unit_length",
    Sorts: "keeps_the_order_of_class_names",
    DropsTwins: "keeps_the_order_of_class_names",
    NeverAbnormal: "has_a_normal_and_an_abnormal_state",
    SaysTheSameTwice: "has_a_normal_and_an_abnormal_state",
    CountsStates: "text_embeddings_as_declared",
    ForgetsTheBatch: "text_embeddings_as_declared",
    AsksInVain: "declares_class_name_use",
    DoesNotAsk: "declares_class_name_use",
    FormatsNames: "accepts_any_class_name",
    WatchesTheOtherTower: "same_after_an_extractor_ran",
    Detaches: "every_parameter_learns",
    Normalises: "outputs_are_finite",
    MovesTheEnd: "leaves_the_backbone_alone",
}


@pytest.mark.parametrize(("wrong", "meant"), WRONG.items(), ids=[wrong.__name__ for wrong in WRONG])
def test_caught_by_the_check_meant_for_it(broken, wrong, meant):
    assert meant in broken("prompts", wrong, TemplatesConfig, meant)


def test_the_part_that_they_are_made_from_is_right(broken):
    assert broken("prompts", Templates, TemplatesConfig) == {}


class Conditioned(Templates):
    """Looks at the image: the text embeddings of each are shifted by it."""

    per_image = True
    class_name_use = "ignored"

    def text_parts(self, text, name):
        return None

    def forward(self, text, names, features=None):
        text_embeddings = l2_normalize(encode_text(text, ["a flawless object", "a damaged object"]))
        return TextEmbeddings(
            l2_normalize(text_embeddings + 0.1 * l2_normalize(features.image)[:, None]), self.abnormal
        )


def test_prompts_that_look_at_pictures_are_given_some(broken):
    assert broken("prompts", Conditioned, TemplatesConfig) == {}
