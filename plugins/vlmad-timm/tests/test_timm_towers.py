"""timm's vision transformers, opened: the law of blocks holds, and everything equals timm's own forward pass."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import vlmad_core
from vlmad_core.contracts import (
    Backbone,
    Block,
    Preprocess,
    VisionTower,
    forward_blocks,
    import_with_torchvision,
)
from vlmad_core.errors import IncompatibleError
from vlmad_timm.vision import TimmVision
from vlmad_timm.weights import blank

import_with_torchvision("timm")
VisionTransformer: Any = import_module("timm.models.vision_transformer").VisionTransformer
Eva: Any = import_module("timm.models.eva").Eva
SwiGLUPacked: Any = import_module("timm.layers").SwiGLUPacked

TINY: dict[str, Any] = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 3, "num_heads": 2, "num_classes": 0}

vit = partial(VisionTransformer, **TINY)
eva = partial(Eva, **TINY)

ABSOLUTE: dict[str, Callable[[], nn.Module]] = {
    "plain": vit,
    "dinov2": partial(vit, init_values=1e-5),
    "dinov2, registers": partial(vit, init_values=1e-5, reg_tokens=4, no_embed_class=True),
    "registers with positions": partial(vit, reg_tokens=2),
    "swiglu": partial(vit, mlp_layer=SwiGLUPacked, mlp_ratio=4.0),
    "clip": partial(vit, pre_norm=True),
    "qk norm": partial(vit, qk_norm=True, qkv_bias=False),
    "siglip": partial(vit, class_token=False, global_pool="map"),
    "map over a class token": partial(vit, global_pool="map"),
    "no class token": partial(vit, class_token=False, global_pool="avg"),
    "mean and norm after pooling": partial(vit, global_pool="avg", fc_norm=True),
    "mean and norm before pooling": partial(vit, global_pool="avg", fc_norm=False),
    "mean and maximum": partial(vit, global_pool="avgmax"),
    "no positions": partial(vit, pos_embed="none"),
    "patches that are not square": partial(vit, patch_size=(8, 4)),
    "eva": eva,
    "eva, mean": partial(eva, global_pool="avg", num_reg_tokens=2),
    "eva, norms inside": partial(eva, swiglu_mlp=True, scale_mlp=True, scale_attn_inner=True, qkv_fused=False),
}
ROTARY: dict[str, Callable[[], nn.Module]] = {
    "eva02": partial(eva, use_rot_pos_emb=True, swiglu_mlp=True, qkv_fused=False, ref_feat_shape=(2, 2)),
    "dinov3": partial(
        eva,
        use_rot_pos_emb=True,
        use_abs_pos_emb=False,
        rope_type="dinov3",
        rope_rotate_half=True,
        num_reg_tokens=4,
        no_embed_class=True,
        qkv_bias=False,
        init_values=1e-5,
        dynamic_img_size=True,
        use_fc_norm=False,
    ),
    "own frequencies for each block": partial(eva, use_rot_pos_emb=True, rope_type="mixed"),
    "perception encoder": partial(
        eva, use_rot_pos_emb=True, attn_type="rope", use_pre_transformer_norm=True, global_pool="map"
    ),
}
EVERY = {**ABSOLUTE, **ROTARY}
OTHER_SIZE = (16, 40)


def random(make: Callable[[], nn.Module]) -> nn.Module:
    """A model none of whose numbers is a neutral one."""
    model, generator = make().eval(), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(1.0 if "norm" in name and name.endswith("weight") else 0.0, 0.2, generator=generator)
    return model


def picture(*size: int, batch: int = 2) -> Tensor:
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(1))


def run(tower: TimmVision, images: Tensor) -> Tensor:
    return forward_blocks(tower.blocks, tower.embed(images)[0])[0]


@pytest.mark.parametrize("name", EVERY)
def test_it_is_a_vision_tower(name: str) -> None:
    tower = TimmVision(random(EVERY[name]))
    assert isinstance(tower, VisionTower)
    assert len(tower.blocks) == 3
    assert all(isinstance(block, Block) for block in tower.blocks)
    assert len(tower.state_dict()) == len(random(EVERY[name]).state_dict()) - (name == "own frequencies for each block")


@torch.no_grad()
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", EVERY)
def test_block_law(name: str, masked: bool) -> None:
    tower = TimmVision(random(EVERY[name]))
    x, grid = tower.embed(picture(32, 32))
    length = x.shape[1]
    assert length == tower.prefix + grid[0] * grid[1]
    mask = torch.zeros(length, length).masked_fill_(torch.eye(length).roll(1, 1).bool(), -torch.inf) if masked else None
    for block in tower.blocks:
        q, k, v = block.qkv(x)
        assert q.shape == k.shape == v.shape == (2, 2, length, 16)
        y = x + block.attend(q, k, v, mask)
        torch.testing.assert_close(block(x, mask), y + block.mlp(y))
        torch.testing.assert_close(block.attend(q[:, :, :1], k, v), block.attend(q, k, v)[:, :1])
        x = block(x, mask)


@torch.no_grad()
@pytest.mark.parametrize("size", [(32, 32), OTHER_SIZE])
@pytest.mark.parametrize("name", EVERY)
def test_same_as_timm(name: str, size: tuple[int, int]) -> None:
    model = random(EVERY[name])
    tower = TimmVision(copy.deepcopy(model), size)
    theirs: Any = model
    if size == OTHER_SIZE:
        theirs.set_input_size(img_size=size)
    features = theirs.forward_features(picture(*size))
    last = run(tower, picture(*size))
    torch.testing.assert_close(tower.norm(last), features)
    torch.testing.assert_close(tower.pool(last), theirs.forward_head(features, pre_logits=True))


@torch.no_grad()
@pytest.mark.parametrize("name", ABSOLUTE)
def test_one_tower_takes_pictures_of_any_size(name: str) -> None:
    model = random(ABSOLUTE[name])
    there = TimmVision(copy.deepcopy(model), OTHER_SIZE)
    here = TimmVision(model)
    for size in ((32, 32), OTHER_SIZE, (8, 8), (32, 32)):
        torch.testing.assert_close(run(here, picture(*size)), run(there, picture(*size)))


@pytest.mark.parametrize("name", ROTARY)
def test_rotary_positions_hold_for_one_size(name: str) -> None:
    tower = TimmVision(random(ROTARY[name]), OTHER_SIZE)
    x, _ = tower.embed(picture(*OTHER_SIZE))
    with pytest.raises(IncompatibleError, match="has rotary positions and was built for images of 16 x 40"):
        tower.embed(picture(32, 32))
    with pytest.raises(IncompatibleError, match=r"rotary positions.*2 x 5 tokens; got 7"):
        tower.blocks[0](x[:, :7])


@pytest.mark.parametrize(("name", "alone"), [("plain", True), ("siglip", False), ("no class token", False)])
def test_class_pool_says_whether_pooling_reads_token_0_alone(name: str, alone: bool) -> None:
    tower = TimmVision(random(ABSOLUTE[name]))
    x = run(tower, picture(32, 32))
    changed = torch.cat([x[:, :1], x[:, 1:].flip(0)], dim=1)
    assert tower.class_pool == alone
    assert torch.equal(tower.pool(x), tower.pool(changed)) == alone


@pytest.mark.parametrize("with_class", [True, False])
def test_a_model_without_pooling_is_pooled(with_class: bool) -> None:
    tower = TimmVision(random(partial(vit, global_pool="", class_token=with_class)))
    x = run(tower, picture(32, 32))
    expected = tower.norm(x)[:, 0] if with_class else tower.norm(x).mean(dim=1)
    torch.testing.assert_close(tower.pool(x), expected)


@pytest.mark.parametrize("name", EVERY)
def test_gradients_reach_the_picture_after_inference(name: str) -> None:
    tower = TimmVision(random(EVERY[name]), OTHER_SIZE).requires_grad_(False)
    with torch.inference_mode():
        run(tower, picture(*OTHER_SIZE))
    images = picture(*OTHER_SIZE, batch=1).requires_grad_()
    tower.pool(run(tower, images)).square().sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0


@torch.no_grad()
@pytest.mark.parametrize("name", ["dinov2, registers", "dinov3", "eva02"])
def test_bfloat16_is_near_float32(name: str) -> None:
    full, half = (TimmVision(random(EVERY[name]), OTHER_SIZE) for _ in range(2))
    half.to(torch.bfloat16)
    images = picture(*OTHER_SIZE)
    cosine = torch.cosine_similarity(run(full, images), run(half, images.bfloat16()).float(), dim=-1)
    assert cosine.min() > 0.99


@pytest.mark.parametrize(("size", "said"), [((33, 32), "height of 32 or 40 and a width of 32"), ((8, 5), "width of 8")])
def test_sizes_that_are_not_whole_patches_are_refused(size: tuple[int, int], said: str) -> None:
    model = random(vit)
    with pytest.raises(IncompatibleError, match=said):
        TimmVision(copy.deepcopy(model), size)
    with pytest.raises(IncompatibleError, match=said):
        TimmVision(model).embed(picture(*size))


NAMES_OPENED = {
    "vit_small_patch14_dinov2": (384, 1, 14),
    "vit_base_patch14_reg4_dinov2": (768, 5, 14),
    "vit_small_patch16_dinov3": (384, 5, 16),
    "vit_small_plus_patch16_dinov3": (384, 5, 16),
    "vit_base_patch16_224": (768, 1, 16),
    "vit_base_patch16_siglip_224": (768, 0, 16),
    "vit_base_patch32_clip_quickgelu_224": (768, 1, 32),
    "deit3_small_patch16_224": (384, 1, 16),
    "eva02_small_patch14_224": (384, 1, 14),
    "vit_medium_patch16_reg4_gap_256": (512, 4, 16),
    "flexivit_small": (384, 1, 16),
}
NAMES_REFUSED = {
    "resnet18": "is a ResNet of timm",
    "beit_base_patch16_224": "is a Beit of timm",
    "deit_tiny_distilled_patch16_224": "is a VisionTransformerDistilled of timm",
    "vit_relpos_small_patch16_224": "is a VisionTransformerRelPos of timm",
    "vit_base_patch16_rpn_224": "is made of ResPostBlock",
    "vit_base_patch16_xp_224": "is made of ParallelScalingBlock",
    "vit_small_patch16_18x2_224": "is made of ParallelThingsBlock",
    "vit_tiny_r_s16_p8_224": "begins with a HybridEmbed",
}


@pytest.mark.parametrize("name", NAMES_OPENED)
def test_names_that_are_opened(name: str) -> None:
    tower = TimmVision(blank(name), name=name)
    assert (tower.width, tower.prefix, tower.patch[0]) == NAMES_OPENED[name]


@pytest.mark.parametrize("name", NAMES_REFUSED)
def test_names_that_are_refused_in_a_sentence(name: str) -> None:
    with pytest.raises(IncompatibleError, match=f"'{name}' .*{NAMES_REFUSED[name]}|'{name}' {NAMES_REFUSED[name]}"):
        TimmVision(blank(name), name=name)


def test_other_channels_than_rgb_are_refused() -> None:
    with pytest.raises(IncompatibleError, match="images of 4 channels"):
        TimmVision(random(partial(vit, in_chans=4)))


# -- the few-shot recipes on towers of other families and depths

FAMILIES = ("dinov2", "dinov2, registers", "dinov3", "siglip")
PICTURES = [np.random.default_rng(seed).integers(0, 256, (40, 40, 3), dtype=np.uint8) for seed in range(3)]


@pytest.mark.parametrize("recipe", ["patch-memory", "subspace"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_recipe_reads_the_middle_blocks_of_any_family(family: str, recipe: str) -> None:
    vision = TimmVision(random(partial(EVERY[family], depth=12)))
    backbone = Backbone(vision, None, Preprocess((32, 32)))
    detector = vlmad_core.build(recipe, backbone=backbone, overrides={"references.rotations": 4})
    assert detector.extractor.layers == (7, 8)
    detector.fit(PICTURES[:2])
    rotated, other = detector.predict([np.rot90(PICTURES[0]).copy(), PICTURES[2]])
    assert rotated.score < other.score
    assert detector.normals["rotations"] == [90.0, 180.0, 270.0]


@pytest.mark.parametrize("family", FAMILIES)
def test_safe_rotations_are_decided_with_or_without_a_class_token(family: str) -> None:
    backbone = Backbone(TimmVision(random(EVERY[family])), None, Preprocess((32, 32)))
    even = np.full((40, 40, 3), 90, np.uint8)
    detector = vlmad_core.build("patch-memory", backbone=backbone).fit([even])
    assert detector.normals["rotations"] == [90.0, 180.0, 270.0]  # an even image is the same from every side
    assert detector.predict(even).score == pytest.approx(0, abs=1e-5)


def test_a_deep_tower_gives_as_many_blocks_as_lie_as_deep() -> None:
    vision = TimmVision(random(partial(EVERY["dinov2"], depth=24)))
    backbone = Backbone(vision, None, Preprocess((32, 32)))
    assert vlmad_core.build("patch-memory", backbone=backbone).extractor.layers == (14, 15, 16, 17)
