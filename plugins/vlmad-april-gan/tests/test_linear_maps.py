"""The maps fit every backbone that they can, split into what is seen and what is learned, and own nothing else."""

import warnings

import numpy as np
import pytest
import torch

import vlmad_core
from vlmad_april_gan.linear_maps import Projections
from vlmad_april_gan.plugin import ProjectionsConfig
from vlmad_core.contracts.towers import forward_blocks
from vlmad_core.registry.validate import validate
from vlmad_core.testing import tiny_backbone
from vlmad_core.training.losses import dice, focal

PICTURES = [np.random.default_rng(i).integers(0, 255, (32, 32, 3), dtype=np.uint8) for i in range(4)]


def extractor(backbone, **options):
    return Projections(ProjectionsConfig(**options), backbone)


@pytest.mark.parametrize(
    ("depth", "layers"), [(24, (6, 12, 18, 24)), (12, (3, 6, 9, 12)), (3, (1, 2, 3)), (2, (1, 2)), (1, (1,))]
)
def test_without_taps_it_is_the_last_of_each_quarter(depth, layers):
    assert extractor(tiny_backbone(depth=depth)).layers == layers


def test_taps_count_from_the_end_too_in_order_and_once():
    assert extractor(tiny_backbone(depth=6), layers=(-1, 2, 6)).layers == (2, 6)


@pytest.mark.parametrize("layers", [(4,), (0,), (-4,), (1, 9)])
def test_taps_beyond_the_tower_are_refused(layers):
    with pytest.raises(
        vlmad_core.errors.IncompatibleError, match=r"is beyond this tower; it has blocks 1 to 3, -1 being the last\."
    ):
        extractor(tiny_backbone(), layers=layers)


def test_options_that_do_not_exist_are_refused():
    with pytest.raises(vlmad_core.errors.ConfigError, match="Did you mean 'layers'"):
        validate(ProjectionsConfig, {"layer": [1]}, "extractor.config", "projections")


@pytest.mark.parametrize("raw", [True, False])
def test_levels_are_as_declared(raw):
    backbone = tiny_backbone(registers=2, image_size=(24, 40))
    maps = extractor(backbone, layers=(1, 3), raw=raw)
    features = maps(backbone.vision, torch.randn(2, 3, 24, 40))
    assert tuple(level.spec for level in features.levels) == maps.levels
    assert [str(level) for level in maps.levels] == ["stage1 (joint, 16)", "stage3 (joint, 16)"] + raw * [
        "raw1 (visual, 32)",
        "raw3 (visual, 32)",
    ]
    for level in features.levels:
        assert level.vectors.shape == (2, 15, level.spec.dim)
        assert level.grid == (3, 5)


@torch.no_grad()
def test_a_level_is_the_linear_map_of_the_tokens_after_the_block():
    backbone, images = tiny_backbone(registers=1), torch.randn(2, 3, 32, 32)
    maps = extractor(backbone, layers=(2,), raw=True)
    features = maps(backbone.vision, images)
    _, kept = forward_blocks(backbone.vision.blocks, backbone.vision.embed(images)[0], layers=[2])
    tokens = kept[2][:, 2:]  # behind the class token and the register
    assert torch.equal(features["raw2"].vectors, tokens)
    expected = tokens @ maps.fc[0].weight.T + maps.fc[0].bias
    torch.testing.assert_close(features["stage2"].vectors, expected, rtol=1e-4, atol=1e-5)
    last, _ = forward_blocks(backbone.vision.blocks, backbone.vision.embed(images)[0])
    torch.testing.assert_close(features.image, backbone.vision.pool(last))


@torch.no_grad()
@pytest.mark.parametrize("raw", [True, False])
def test_looking_and_refining_is_the_whole(raw):
    backbone, images = tiny_backbone(), torch.randn(3, 3, 32, 32)
    maps = extractor(backbone, raw=raw)
    whole, split = maps(backbone.vision, images), maps.apply_learned(maps.extract_frozen(backbone.vision, images))
    assert [level.spec for level in whole.levels] == [level.spec for level in split.levels]
    for one, other in zip(whole.levels, split.levels, strict=True):
        assert torch.equal(one.vectors, other.vectors)
    assert torch.equal(whole.image, split.image)


def test_what_is_seen_does_not_depend_on_what_is_learned():
    backbone, images = tiny_backbone(), torch.randn(1, 3, 32, 32)
    maps = extractor(backbone)
    with torch.no_grad():
        before = maps.extract_frozen(backbone.vision, images)
        for parameter in maps.parameters():
            parameter.zero_()
        after = maps.extract_frozen(backbone.vision, images)
    for one, other in zip(before.levels, after.levels, strict=True):
        assert torch.equal(one.vectors, other.vectors)
        assert not one.vectors.requires_grad


@torch.no_grad()
def test_a_result_does_not_depend_on_its_batch():
    backbone, images = tiny_backbone(), torch.randn(3, 3, 32, 32)
    maps = extractor(backbone, raw=True)
    whole, alone = maps(backbone.vision, images), maps(backbone.vision, images[1:2])
    for one, other in zip(whole.levels, alone.levels, strict=True):
        torch.testing.assert_close(one.vectors[1:2], other.vectors, rtol=1e-4, atol=1e-5)


def test_it_owns_a_weight_and_a_bias_a_tap_and_nothing_else():
    maps = extractor(tiny_backbone())
    assert sorted(maps.state_dict()) == sorted(f"fc.{i}.{part}" for i in range(3) for part in ("weight", "bias"))
    assert sum(p.numel() for p in maps.parameters()) == 3 * (32 * 16 + 16)
    assert [name for name, _ in maps.named_buffers()] == []


def test_every_parameter_gets_a_gradient_and_the_backbone_none():
    backbone = tiny_backbone()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    detector = vlmad_core.build("april-gan", backbone=backbone).train()
    scores = detector(torch.randn(2, 3, 32, 32), ["nut", "bolt"])
    target = torch.zeros(2, 32, 32)
    target[0, 8:20, 8:20] = 1
    sum(focal(m, target) + dice(m, target) for m in scores.levels.values()).backward()
    assert len(list(detector.parameters())) == 6
    for parameter in detector.parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0
    assert all(p.grad is None for p in backbone.parameters())
    assert all(torch.equal(value, backbone.state_dict()[name]) for name, value in before.items())


def test_gradients_from_the_loss_to_the_maps_are_right():
    backbone = tiny_backbone(dtype=torch.float64, image_size=(16, 16), width=8, dim=4, depth=2)
    detector = vlmad_core.build(
        "april-gan", backbone=backbone, overrides={"scorers.0.config.temperature": 0.5}
    ).double()
    with torch.no_grad():
        seen = detector.extractor.extract_frozen(backbone.vision, torch.randn(2, 3, 16, 16, dtype=torch.float64))
        text_embeddings = detector.text_embeddings(["nut", "bolt"])
    target = torch.zeros(2, 16, 16, dtype=torch.float64)
    target[0, 4:11, 2:9] = 1
    names = [name for name, _ in detector.extractor.named_parameters()]
    refine = Refine(detector.extractor)

    def loss(*values):
        features = torch.func.functional_call(refine, dict(zip(names, values, strict=True)), (seen,))
        maps = detector.score_features(features, text_embeddings, (16, 16)).levels.values()
        return sum(focal(m, target) + dice(m, target) for m in maps)

    values = [p.detach().clone().requires_grad_() for p in detector.extractor.parameters()]
    assert torch.autograd.gradcheck(loss, values)


class Refine(torch.nn.Module):
    """``refine`` as a module's forward, with the parameters under their own names."""

    def __init__(self, extractor):
        super().__init__()
        self.fc, self.extractor = extractor.fc, [extractor]

    def forward(self, features):
        return self.extractor[0].apply_learned(features)


@torch.no_grad()
def test_a_tower_in_bfloat16_keeps_the_maps_in_float32():
    backbone = tiny_backbone()
    detector = vlmad_core.build("april-gan", backbone=backbone)
    images = torch.randn(2, 3, 32, 32)
    exact = detector(images, ["nut"] * 2).anomaly_map
    backbone.to(torch.bfloat16)
    assert detector.extractor(backbone.vision, images.bfloat16())["stage3"].vectors.dtype == torch.float32
    assert (detector(images, ["nut"] * 2).anomaly_map - exact).abs().max() < 0.25


# -- recipes


@pytest.mark.parametrize("suffix", ["", "-mean"])
def test_every_recipe_runs_saves_and_loads(suffix, tmp_path):
    backbone = tiny_backbone()
    for shots in ("", "-few-shot"):
        detector = vlmad_core.build(f"april-gan{suffix}{shots}", backbone=backbone)
        detector.trained = {"data": {"name": "random parameters"}}
        if shots:
            detector.fit(PICTURES[:2], class_name="nut")
        result = detector.predict(PICTURES[3], class_name="nut")
        loaded = vlmad_core.load(detector.save(tmp_path / f"saved{shots}"), backbone=backbone)
        again = loaded.predict(PICTURES[3], class_name="nut")
        assert again.score == result.score
        assert np.array_equal(again.raw_map, result.raw_map)
        assert np.isfinite(result.raw_map).all()


def test_zero_shot_and_few_shot_share_what_is_learned():
    backbone = tiny_backbone()
    zero, few = (vlmad_core.build(name, backbone=backbone) for name in ("april-gan", "april-gan-few-shot"))
    few.extractor.load_state_dict(zero.extractor.state_dict())
    few.fit(PICTURES[:2], class_name="nut")
    with torch.no_grad():
        images = torch.randn(1, 3, 32, 32)
        both, words = few(images, ["nut"]), zero(images, ["nut"])
    torch.testing.assert_close(both.levels["text-match/stage2"], words.levels["text-match/stage2"])
    memory = sum(both.levels[f"memory/raw{layer}"] for layer in (1, 2, 3))
    torch.testing.assert_close(both.anomaly_map, words.anomaly_map + memory)


def test_without_text_the_memory_is_left_and_it_says_so():
    backbone = tiny_backbone(text=False)
    with pytest.warns(UserWarning, match="scorer 'text-match' is left out"):
        detector = vlmad_core.build("april-gan-few-shot", backbone=backbone)
    assert [level.name for level in detector.extractor.levels] == ["raw1", "raw2", "raw3"]
    assert list(detector.parameters()) == []
    detector.fit(PICTURES[:2], class_name="nut")
    assert detector.predict(PICTURES[0]).score < 1e-5 < detector.predict(PICTURES[2]).score


def test_zero_shot_without_text_is_refused():
    with pytest.raises(vlmad_core.errors.IncompatibleError, match="need a backbone with text"):
        vlmad_core.build("april-gan", backbone=tiny_backbone(text=False))


def test_a_tower_whose_image_vector_no_text_is_near_still_learns_maps():
    """Words and patches meet through the maps; the image score is then read off the map."""
    backbone = tiny_backbone()
    backbone.vision.joint = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        detector = vlmad_core.build("april-gan", backbone=backbone)
    with torch.no_grad():
        scores = detector(torch.randn(2, 3, 32, 32), ["nut"] * 2)
    torch.testing.assert_close(scores.image, scores.anomaly_map.amax((1, 2)))


def test_recipes_tell_how_the_paper_trained_and_where_checkpoints_are_read():
    from vlmad_core.training.options import TrainingOptions

    recipes = {entry.name: entry.item for entry in vlmad_core.registry.default_registry().entries("recipe")}
    for name in ("april-gan", "april-gan-few-shot", "april-gan-mean", "april-gan-mean-few-shot"):
        options = validate(TrainingOptions, recipes[name].training)
        assert (options.epochs, options.batch_size, options.lr, options.betas) == (3, 8, 1e-3, (0.5, 0.999))
        assert (options.focal, options.dice, options.dice_normal, options.cross_entropy) == (1, 1, 0, 0)
        assert (options.optimizer, options.weight_decay, options.schedule, options.mosaic) == ("adam", 0, "none", 0.2)
        assert recipes[name].checkpoint == "vlmad_april_gan.checkpoint:convert"
