"""A remembering tower changes nothing, obeys the law of blocks, and computes once what is asked for twice."""

from __future__ import annotations

import pytest
import torch

from vlmad_core.benchmark.tower import RememberingTower
from vlmad_core.builtin.patches import Patches
from vlmad_core.builtin.plugin import PatchesConfig
from vlmad_core.contracts.towers import Block, VisionTower, forward_blocks
from vlmad_core.testing import tiny_backbone

TOWERS = [{}, {"registers": 2}, {"class_pool": False}, {"text": False}, {"dtype": torch.bfloat16}]


@pytest.fixture(params=TOWERS, ids=str)
def backbone(request):
    return tiny_backbone(**request.param)


@pytest.fixture
def images(backbone):
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)).to(backbone.dtype)


@torch.no_grad()
def test_it_is_a_vision_tower_that_gives_what_the_tower_gives(backbone, images):
    tower, own = RememberingTower(backbone.vision), backbone.vision
    assert isinstance(tower, VisionTower)
    assert all(isinstance(block, Block) for block in tower.blocks)
    for name in ("width", "dim", "prefix", "patch", "joint", "class_pool"):
        assert getattr(tower, name) == getattr(own, name)
    for _ in range(2):  # computed, then remembered
        (x, grid), (y, own_grid) = tower.embed(images), own.embed(images)
        assert grid == own_grid
        assert torch.equal(x, y)
        (last, kept), (own_last, own_kept) = (
            forward_blocks(tower.blocks, x, layers=[1, 2]),
            forward_blocks(own.blocks, y, layers=[1, 2]),
        )
        assert torch.equal(last, own_last)
        assert all(torch.equal(kept[layer], own_kept[layer]) for layer in (1, 2))
        assert torch.equal(tower.pool(last), own.pool(own_last))
        assert torch.equal(tower.project(tower.norm(last)), own.project(own.norm(own_last)))


@torch.no_grad()
def test_blocks_obey_the_law(images, backbone):
    tower = RememberingTower(backbone.vision)
    x, _ = tower.embed(images)
    for block in tower.blocks:
        y = x + block.attend(*block.qkv(x))
        tolerance = {"rtol": 0.05, "atol": 0.1} if x.dtype == torch.bfloat16 else {"rtol": 1e-5, "atol": 1e-5}
        torch.testing.assert_close(block(x), y + block.mlp(y), **tolerance)
        x = block(x)


@torch.no_grad()
def test_two_extractors_share_one_pass():
    backbone = tiny_backbone()
    images = torch.randn(3, 3, 32, 32)
    tower = RememberingTower(backbone.vision)
    extractors = [Patches(PatchesConfig(layers=layers), backbone) for layers in ((1,), (1, 3))]
    seen = [extractor(tower, images) for extractor in extractors]
    assert (tower.images, tower.blocks_asked, tower.blocks_run) == (3, 2 * 3 * 3, 3 * 3)
    for extractor, features in zip(extractors, seen, strict=True):
        alone = extractor(backbone.vision, images)
        assert all(torch.equal(a.vectors, b.vectors) for a, b in zip(features.levels, alone.levels, strict=True))
        assert torch.equal(features.image, alone.image)
    tower.forget()
    extractors[0](tower, images)
    assert tower.images == 6


@torch.no_grad()
def test_another_batch_another_mask_and_other_tokens_are_computed():
    tower = RememberingTower(tiny_backbone().vision)
    images = torch.randn(2, 3, 32, 32)
    x, _ = tower.embed(images)
    y, _ = tower.embed(images.clone())
    assert tower.images == 4
    assert y is not x
    block = tower.blocks[0]
    masked = torch.full((x.shape[1], x.shape[1]), -torch.inf).fill_diagonal_(0)
    assert not torch.equal(block(x, masked), block(x))
    assert tower.blocks_run == 2
    window = x[:, :3]
    assert block(window) is not block(window)  # not of the trunk, so it is not held
    assert tower.blocks_run == 2


@torch.no_grad()
def test_what_somebody_changed_in_place_is_not_given_again():
    tower = RememberingTower(tiny_backbone().vision)
    images = torch.randn(1, 3, 32, 32)
    first, _ = tower.embed(images)
    good = first.clone()
    first += 1
    again, _ = tower.embed(images)
    assert torch.equal(again, good)
    out = tower.blocks[0](again)
    right = out.clone()
    out.zero_()
    assert torch.equal(tower.blocks[0](again), right)
    images.mul_(2)
    assert not torch.equal(tower.embed(images)[0], good)
