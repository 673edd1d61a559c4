"""Which blocks become which levels."""

import pytest
import torch

from vlmad_core.builtin.patches import Patches
from vlmad_core.builtin.plugin import PatchesConfig
from vlmad_core.errors import IncompatibleError
from vlmad_core.testing import tiny_backbone


def names(text=True, depth=4, **options):
    return [level.name for level in Patches(PatchesConfig(**options), tiny_backbone(depth=depth, text=text)).levels]


def test_raw_tokens_can_be_of_other_blocks_than_projected_ones():
    assert names(layers=[-1], raw_layers=[2, 3], space="both") == ["block4", "raw2", "raw3"]
    assert names(layers=[-1], raw_layers="50%-75%", space="both", depth=12) == [
        "block12",
        *(f"raw{i}" for i in range(6, 10)),
    ]


def test_without_text_only_raw_tokens_are_left():
    assert names(text=False, layers=[-1], raw_layers=[2], space="auto") == ["raw2"]
    assert names(text=False, layers=[-1], space="auto") == ["raw4"]


def test_each_level_is_what_its_block_gives_by_itself():
    backbone = tiny_backbone(depth=4)
    images = torch.randn(2, 3, 32, 32)
    both = Patches(PatchesConfig(layers=[4], raw_layers=[2], space="both"), backbone)(backbone.vision, images)
    joint = Patches(PatchesConfig(layers=[4], space="joint"), backbone)(backbone.vision, images)
    raw = Patches(PatchesConfig(layers=[2], space="raw"), backbone)(backbone.vision, images)
    assert torch.equal(both["block4"].vectors, joint["block4"].vectors)
    assert torch.equal(both["raw2"].vectors, raw["raw2"].vectors)
    assert torch.equal(both.image, joint.image)


def test_a_block_beyond_the_tower_is_refused_by_the_name_of_its_option():
    with pytest.raises(IncompatibleError, match=r"raw_layers \[9\] is beyond this tower"):
        names(raw_layers=[9], space="both")
