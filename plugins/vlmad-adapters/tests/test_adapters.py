"""Adapters do what their formula says, leave the backbone alone, learn, and mix."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import leaky_relu

import vlmad_core
from vlmad_adapters.adapters import AdaptedPatches, AdaptedWords, Adapters
from vlmad_adapters.plugin import AdaptedViewConfig, AdaptedWordsConfig
from vlmad_core import Dataset, Sample
from vlmad_core.contracts import forward_blocks
from vlmad_core.contracts.images import to_pixels
from vlmad_core.errors import IncompatibleError
from vlmad_core.testing import parametrize_checks, tiny_backbone

SIDE = 32


@parametrize_checks("vlmad-adapters")
def test_contract(check):
    check()


def test_an_adapter_is_the_formula_of_the_paper():
    torch.manual_seed(0)
    adapters = Adapters(width=8, depth=4, blocks=2, weight=0.3)
    weight = adapters.maps[1].weight.data.normal_()
    x = torch.randn(2, 5, 8)
    turned = leaky_relu(x @ weight.T)
    length = x.norm(dim=-1, keepdim=True)
    expected = 0.7 * x + 0.3 * turned / turned.norm(dim=-1, keepdim=True) * length
    torch.testing.assert_close(adapters.before(3, x), expected)
    assert adapters.before(1, x) is x, "nothing stands before the first block"
    assert adapters.before(4, x) is x, "two adapters follow blocks 1 and 2"


def test_a_weight_near_zero_leaves_the_tower_as_it_is():
    backbone = tiny_backbone()
    extractor = AdaptedPatches(AdaptedViewConfig(weight=1e-7), backbone)
    images = torch.randn(2, 3, *backbone.preprocess.size)
    x, _ = backbone.vision.embed(images)
    _, kept = forward_blocks(backbone.vision.blocks, x, layers=extractor.layers)
    for level, layer, map_ in zip(
        extractor(backbone.vision, images).levels, extractor.layers, extractor.maps, strict=True
    ):
        tokens = backbone.vision.norm(kept[layer][:, backbone.vision.prefix :])
        torch.testing.assert_close(level.vectors, map_(tokens), atol=1e-4, rtol=1e-4)


def test_a_quarter_of_the_tower_is_adapted_by_default():
    backbone = tiny_backbone()
    depth = len(backbone.vision.blocks)
    assert len(AdaptedPatches(AdaptedViewConfig(), backbone).adapters.maps) == -(-depth // 4)


@pytest.mark.parametrize("options", [{"blocks": 99}, {"layers": (99,)}])
def test_what_leaves_the_tower_is_refused(options):
    with pytest.raises(IncompatibleError, match=r"1 to \d+"):
        AdaptedPatches(AdaptedViewConfig(**options), tiny_backbone())


def test_without_text_the_tokens_stay_and_there_are_no_words():
    backbone = tiny_backbone(text=False)
    extractor = AdaptedPatches(AdaptedViewConfig(), backbone)
    assert not list(extractor.parameters())
    assert {level.name[:3] for level in extractor.levels} == {"raw"}
    assert not any(level.joint for level in extractor.levels)
    with pytest.raises(IncompatibleError, match="open-clip"):
        AdaptedWords(AdaptedWordsConfig(), backbone)


def picture(seed):
    """Grey noise; odd ones have a square of stripes."""
    draws = np.random.default_rng(seed)
    pixels = draws.integers(110, 146, (SIDE, SIDE, 3), dtype=np.uint8)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    if seed % 2:
        top, left = 8 * draws.integers(0, 3, 2)
        pixels[top : top + 16 : 2, left : left + 16] = 250
        mask[top : top + 16, left : left + 16] = 255
    return pixels, mask


def gap(detector):
    """How much higher the map stands on a defect that was not seen in training than beside it."""
    pixels, mask = picture(101)
    seen = to_pixels(Image.fromarray(pixels), detector.backbone.preprocess)[None]
    with torch.no_grad():
        map_ = detector(seen, ["sheet"]).anomaly_map[0].numpy()
    return map_[mask > 0].mean() - map_[mask == 0].mean()


def test_both_towers_learn_and_the_backbone_stays(tmp_path):
    torch.manual_seed(0)
    backbone = tiny_backbone()
    frozen = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    detector = vlmad_core.build("adapters", backbone=backbone, overrides={"output.smooth": 0.0})
    eyes, words = (part.adapters.maps[0].weight.detach().clone() for part in (detector.extractor, detector.prompts))
    before = gap(detector)
    samples = []
    for seed in range(12):
        pixels, mask = picture(seed)
        samples.append(Sample(pixels, bool(seed % 2), "sheet", "test", "", (mask,) if seed % 2 else ()))
    data = Dataset("sheets", tuple(samples))
    vlmad_core.train(detector, data, tmp_path / "out", recipe="adapters", epochs=8, batch_size=4, lr=1e-2)
    assert gap(detector) > before + 0.2
    assert not torch.equal(detector.extractor.adapters.maps[0].weight, eyes)
    assert not torch.equal(detector.prompts.adapters.maps[0].weight, words)
    assert all(torch.equal(tensor, frozen[name]) for name, tensor in backbone.state_dict().items())
    loaded = vlmad_core.load(tmp_path / "out", backbone=backbone)
    assert gap(loaded) == pytest.approx(gap(detector), abs=1e-6)


@pytest.mark.parametrize(
    "parts",
    [
        {"prompts": "compositional"},
        {"extractor": "patches"},
        {"extractor": {"use": "dpam", "config": {"start": 2, "layers": [-1]}}},
        {"scorers": "memory", "prompts": None},
    ],
)
def test_either_half_mixes_with_parts_of_others(parts):
    detector = vlmad_core.build("adapters", backbone=tiny_backbone(), **parts)
    detector.trained = {"data": {"name": "random parameters"}}
    good = [picture(seed)[0] for seed in (0, 2)]
    if "scorers" in parts:
        detector.fit(good, class_name="sheet")
    assert np.isfinite(detector.predict(good[0], class_name="sheet").score)
