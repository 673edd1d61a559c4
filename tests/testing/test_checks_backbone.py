"""Deliberately wrong backbones, each caught by the check that is meant for it."""

from __future__ import annotations

import pytest
import torch

from vlmad_core.contracts import Backbone
from vlmad_core.testing import TinyConfig, tiny_backbone
from vlmad_core.testing.tiny import TinyBlock, TinyVision


def wrong(change, **options):
    """A target that makes a tiny backbone and then spoils it."""

    def make(config):
        backbone = tiny_backbone(**options)
        change(backbone)
        return backbone

    return make


def patched(owner, name, make):
    """Replace a method on one half of a new backbone, by a class of its own."""

    def change(backbone):
        part = getattr(backbone, owner) if owner in ("vision", "text") else None
        for module in [part] if part is not None else [m for m in backbone.modules() if isinstance(m, TinyBlock)]:
            module.__class__ = type("Changed", (type(module),), {name: make(getattr(type(module), name))})

    return change


def train(backbone):
    backbone.vision.final.weight.requires_grad_()


def no_text(backbone):
    backbone.text = None


def forget(backbone):
    backbone.provenance = {}


def bool_mask(backbone):
    backbone.text.mask = torch.ones(32, 32, dtype=torch.bool).tril()


class Trains(Backbone):
    """Wakes up when asked."""

    def __init__(self, config):
        tiny = tiny_backbone()
        super().__init__(tiny.vision, tiny.text, tiny.preprocess, provenance=tiny.provenance)

    def train(self, mode=True):
        return torch.nn.Module.train(self, mode)


def pool_last(old):
    return lambda self, x, ids: self.final(x[:, -1]) @ self.projection


def adds_positions(old):
    def forward(self, x, mask=None):
        place, channel = (torch.arange(count, dtype=x.dtype) for count in x.shape[1:])
        return old(self, x + torch.sin(place[:, None] + channel), mask)

    return forward


def count_calls(old):
    def forward(self, x, mask=None):
        self.to_out.bias.data.add_(1e-3)
        return old(self, x, mask)

    return forward


WRONG = {
    "block forgets its mlp": (
        patched("blocks", "forward", lambda old: lambda self, x, mask=None: x + self.attend(*self.qkv(x), mask)),
        "block_law",
    ),
    "all queries at once": (
        patched("blocks", "attend", lambda old: lambda self, q, k, v, mask=None: old(self, q.expand_as(k), k, v, mask)),
        "attends_with_fewer_queries",
    ),
    "grid turned": (patched("vision", "embed", lambda old: lambda self, i: (old(self, i)[0], (9, 9))), "embed_shapes"),
    "pool keeps tokens": (patched("vision", "pool", lambda old: lambda self, x: self.project(x)), "pool_shapes"),
    "pool reads all": (
        patched("vision", "pool", lambda old: lambda self, x: self.project(self.norm(x.mean(1)))),
        "pool_reads_the_class_token_alone",
    ),
    "depends on the batch": (
        patched("vision", "embed", lambda old: lambda self, i: old(self, i - i.mean(0))),
        "image_does_not_depend_on_its_batch",
    ),
    "cuts gradients": (
        patched("vision", "embed", lambda old: lambda self, i: old(self, i.detach())),
        "gradients_reach_the_image",
    ),
    "asks for gradients": (train, "is_frozen"),
    "joint without words": (no_text, "joint_space_is_one"),
    "changes in use": (patched("blocks", "forward", count_calls), "changes_nothing_in_use"),
    "comes from nowhere": (forget, "has_provenance"),
    "one grid for all images": (
        patched("vision", "embed", lambda old: lambda self, i: (old(self, i)[0], (4, 4))),
        "accepts_images_that_are_not_square",
    ),
    "ids as long as the text": (
        patched("text", "tokenize", lambda old: lambda self, texts: self.trim(old(self, texts))),
        "tokenizes_any_text",
    ),
    "words of one length": (
        patched("text", "add_positions", lambda old: lambda self, x: x[:, :1] + self.positions[: x.shape[1]].sum()),
        "text_shapes",
    ),
    "a mask of yes and no": (bool_mask, "mask_is_additive"),
    "pools behind the end": (patched("text", "pool", pool_last), "trim_changes_nothing"),
    "reads neighbours": (
        patched("text", "pool", lambda old: lambda self, x, ids: old(self, x, ids) - old(self, x, ids).mean(0)),
        "sentence_does_not_depend_on_its_batch",
    ),
    "positions in the blocks": (patched("blocks", "forward", adds_positions), "beginnings_can_be_shared"),
    "has no positions, and hears all": (
        patched("text", "pool", lambda old: lambda self, x, ids: 0 * old(self, x, ids)),
        "text_features_depend_on_the_text",
    ),
    "cuts gradients of words": (
        patched("text", "add_positions", lambda old: lambda self, x: old(self, x.detach())),
        "gradients_reach_the_text",
    ),
}


@pytest.mark.parametrize(("change", "meant"), WRONG.values(), ids=list(WRONG))
def test_caught_by_the_check_meant_for_it(broken, change, meant):
    assert meant in broken("backbone", wrong(change), meant=meant)


def test_a_backbone_that_wakes_up_is_caught(broken):
    assert "is_frozen" in broken("backbone", Trains)


def test_a_target_that_makes_no_backbone_is_caught(broken):
    found = broken("backbone", lambda config: TinyVision)
    assert "must make a Backbone" in found["builds_or_names_what_it_needs"]


@pytest.mark.parametrize("options", [{}, {"text": False}, {"class_pool": False, "registers": 2}])
def test_the_tiny_backbone_is_right(broken, options):
    assert broken("backbone", wrong(lambda backbone: None, **options), TinyConfig) == {}
