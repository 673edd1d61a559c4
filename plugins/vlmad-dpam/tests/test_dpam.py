"""The second path is what its formula says, leaves the image's own feature alone, and fits every backbone."""

import copy

import numpy as np
import pytest
import torch

import vlmad_core
from vlmad_core.contracts import forward_blocks
from vlmad_core.registry.validate import validate
from vlmad_core.testing import tiny_backbone
from vlmad_dpam.dpam import Dpam
from vlmad_dpam.plugin import DpamConfig

BACKBONES = {
    "plain": {},
    "registers, oblong": {"registers": 2, "image_size": (24, 40)},
    "no class": {"class_pool": False},
}


@pytest.fixture(params=BACKBONES)
def backbone(request):
    return tiny_backbone(depth=5, **BACKBONES[request.param])


def pictures(backbone, count=2):
    return torch.randn(count, 3, *backbone.preprocess.size, generator=torch.Generator().manual_seed(1))


def attention(block, q, k, v):
    """The block's output of explicit attention, by heads."""
    weights = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)
    return block.to_out((weights @ v).transpose(1, 2).flatten(2))


def expected(block, x, kind):
    q, k, v = block.qkv(x)
    if kind == "value":
        return block.to_out(v.transpose(1, 2).flatten(2))
    if kind == "qq+kk":
        return (attention(block, q, q, v) + attention(block, k, k, v)) / 2
    peers = {"vv": v, "qq": q, "kk": k}[kind]
    return attention(block, peers, peers, v)


@torch.no_grad()
@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("kind", ["vv", "qq", "kk", "qq+kk", "value"])
def test_the_path_is_its_formula(backbone, kind, residual):
    vision, images = backbone.vision, pictures(backbone)
    config = DpamConfig(start=3, layers=(1, 3, 5), attention=kind, residual=residual)
    features = Dpam(config, backbone)(vision, images)
    x, _ = vision.embed(images)
    _, kept = forward_blocks(vision.blocks, x, layers=range(1, 6))
    local = kept[2] if residual else torch.zeros_like(x)
    after = {1: kept[1]}
    for i in (3, 4, 5):
        local = after[i] = local + expected(vision.blocks[i - 1], kept[i - 1], kind)
    for i in (1, 3, 5):
        wanted = vision.project(vision.norm(after[i][:, vision.prefix :]))
        torch.testing.assert_close(features[f"local{i}"].vectors, wanted, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_whole_image_is_seen_as_without_the_second_path(backbone):
    images = pictures(backbone)
    x, _ = forward_blocks(backbone.vision.blocks, backbone.vision.embed(images)[0])
    for options in ({}, {"start": 1}, {"layers": (2,)}, {"attention": "value", "residual": False}):
        features = Dpam(DpamConfig(**options), backbone)(backbone.vision, images)
        torch.testing.assert_close(features.image, backbone.vision.pool(x))


@torch.no_grad()
def test_without_the_last_norm_the_class_token_is_projected_as_it_is():
    backbone = tiny_backbone()
    images = pictures(backbone)
    x, _ = forward_blocks(backbone.vision.blocks, backbone.vision.embed(images)[0])
    features = Dpam(DpamConfig(pool_norm=False), backbone)(backbone.vision, images)
    torch.testing.assert_close(features.image, backbone.vision.project(x[:, 0]))
    assert not torch.allclose(features.image, backbone.vision.pool(x))


@torch.no_grad()
def test_a_result_does_not_depend_on_its_batch(backbone):
    images = pictures(backbone, 3)
    extractor = Dpam(DpamConfig(layers=(2, -1)), backbone)
    whole, alone = extractor(backbone.vision, images), extractor(backbone.vision, images[1:2])
    torch.testing.assert_close(whole.image[1:2], alone.image, rtol=1e-4, atol=1e-5)
    for one, other in zip(whole.levels, alone.levels, strict=True):
        torch.testing.assert_close(one.vectors[1:2], other.vectors, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_nothing_is_learned_so_looking_is_everything(backbone):
    extractor, images = Dpam(DpamConfig(), backbone), pictures(backbone)
    assert not list(extractor.parameters())
    assert not extractor.state_dict()
    whole, later = (
        extractor(backbone.vision, images),
        extractor.apply_learned(extractor.extract_frozen(backbone.vision, images)),
    )
    torch.testing.assert_close(later.image, whole.image, rtol=0, atol=0)
    torch.testing.assert_close(later.levels[0].vectors, whole.levels[0].vectors, rtol=0, atol=0)


def test_the_backbone_is_left_as_it_was(backbone):
    before = copy.deepcopy(backbone.state_dict())
    modules = dict(backbone.named_modules())
    with torch.no_grad():
        Dpam(DpamConfig(start=1), backbone)(backbone.vision, pictures(backbone))
    assert dict(backbone.named_modules()) == modules
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in modules.values())
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())


@pytest.mark.parametrize("kind", ["vv", "qq+kk", "value"])
def test_gradients_reach_the_picture(kind):
    backbone = tiny_backbone(dtype=torch.float64, width=16, dim=8, image_size=(16, 16))
    extractor = Dpam(DpamConfig(start=1, attention=kind), backbone)
    images = torch.randn(1, 3, 16, 16, dtype=torch.float64, requires_grad=True)

    def look(x):
        features = extractor(backbone.vision, x)
        return features.levels[0].vectors, features.image

    assert torch.autograd.gradcheck(look, images, fast_mode=True)


@pytest.mark.parametrize(("depth", "start"), [(24, 6), (12, 3), (14, 3), (3, 1), (1, 1)])
def test_the_second_path_begins_at_a_quarter_of_the_depth(depth, start):
    backbone = tiny_backbone(depth=depth, width=4, dim=4)
    assert Dpam(DpamConfig(), backbone).start == start
    assert Dpam(DpamConfig(), backbone).levels[0].name == f"local{depth}"


def test_blocks_are_counted_from_the_end_too():
    extractor = Dpam(DpamConfig(start=-2, layers=(-1, 4, -4)), tiny_backbone(depth=5))
    assert extractor.start == 4
    assert [level.name for level in extractor.levels] == ["local2", "local4", "local5"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"start": 0}, "start 0 is beyond this tower; it has blocks 1 to 3"),
        ({"start": 4}, "start 4 is beyond this tower"),
        ({"start": -4}, "start -4 is beyond this tower"),
        ({"layers": (1, 9)}, r"layers \[1, 9\] is beyond this tower"),
    ],
)
def test_blocks_beyond_the_tower_are_refused(options, said):
    with pytest.raises(vlmad_core.errors.IncompatibleError, match=said):
        Dpam(DpamConfig(**options), tiny_backbone())


def test_a_class_token_that_is_not_there_is_refused():
    with pytest.raises(vlmad_core.errors.IncompatibleError, match="use pool_norm true"):
        Dpam(DpamConfig(pool_norm=False), tiny_backbone(class_pool=False))


@pytest.mark.parametrize("options", [{"attention": "qk"}, {"layers": []}, {"begin": 3}])
def test_impossible_options_are_refused(options):
    with pytest.raises(vlmad_core.errors.ConfigError, match=r"extractor\.config"):
        validate(DpamConfig, options, "extractor.config", "dpam")


def test_without_text_the_tokens_serve_a_memory():
    backbone = tiny_backbone(text=False)
    extractor = Dpam(DpamConfig(layers=(1, 2), pool_norm=False), backbone)
    assert [str(level) for level in extractor.levels] == ["local1 (visual, 32)", "local2 (visual, 32)"]
    with torch.no_grad():
        features = extractor(backbone.vision, pictures(backbone))
    assert features.image is None
    assert features["local2"].vectors.shape == (2, 16, 32)
    spec = {"backbone": "tiny", "extractor": "dpam", "scorers": ["memory"]}
    detector = vlmad_core.build(spec, backbone=backbone)
    shown = [np.random.default_rng(i).integers(0, 255, (32, 32, 3), dtype=np.uint8) for i in range(2)]
    assert detector.fit(shown[:1], class_name="cell").predict(shown[0]).score < 1e-5 < detector.predict(shown[1]).score


@torch.no_grad()
def test_bfloat16_stays_close():
    full, small = tiny_backbone(), tiny_backbone(dtype=torch.bfloat16)
    images = pictures(full)
    one = Dpam(DpamConfig(), full)(full.vision, images).levels[0].vectors
    other = Dpam(DpamConfig(), small)(small.vision, images.bfloat16()).levels[0].vectors.float()
    assert torch.cosine_similarity(one, other, dim=-1).min() > 0.99
