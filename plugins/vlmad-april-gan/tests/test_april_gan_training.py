"""The recipes can be trained as they are, memory and all, and learn what a tower without them does not tell."""

import numpy as np
import pytest
import torch
from PIL import Image

import vlmad_core
from vlmad_core import Dataset, Sample
from vlmad_core.contracts.images import to_pixels
from vlmad_core.testing import tiny_backbone

SIDE = 32


def picture(seed, defect):
    """Grey noise; a defect is a square of stripes."""
    draws = np.random.default_rng(seed)
    pixels = draws.integers(110, 146, (SIDE, SIDE, 3), dtype=np.uint8)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    if defect:
        top, left = 8 * draws.integers(0, 3, 2)
        pixels[top : top + 16 : 2, left : left + 16] = 250
        mask[top : top + 16, left : left + 16] = 255
    return pixels, mask


def data(seeds):
    samples = []
    for seed in seeds:
        pixels, mask = picture(seed, seed % 2)
        kind = "stripes" if seed % 2 else "good"
        samples.append(Sample(pixels, bool(seed % 2), "sheet", "test", kind, (mask,) if seed % 2 else ()))
    return Dataset("sheets", tuple(samples))


def gap(detector):
    """How much higher the map of the words stands on a defect that was not seen in training than beside it."""
    pixels, mask = picture(101, True)
    seen = to_pixels(Image.fromarray(pixels), detector.backbone.preprocess)[None]
    with torch.no_grad():
        features = detector.extractor(detector.backbone.vision, seen)
        map_ = detector.scorers[0](features, detector.text_embeddings(["sheet"]), (SIDE, SIDE)).anomaly_map[0].numpy()
    return map_[mask > 0].mean() - map_[mask == 0].mean()


@pytest.mark.parametrize("recipe", ["april-gan", "april-gan-mean-few-shot"])
def test_a_recipe_learns_where_defects_are(tmp_path, recipe):
    torch.manual_seed(0)
    detector = vlmad_core.build(recipe, backbone=tiny_backbone())
    before = gap(detector)
    vlmad_core.train(detector, data(range(12)), tmp_path / "out", recipe=recipe, epochs=6, batch_size=4, lr=1e-2)
    share = 1 if "mean" in recipe else len(detector.extractor.layers)
    assert gap(detector) > before + 0.3 * share
    assert detector.was_trained_on("sheets")
    loaded = vlmad_core.load(tmp_path / "out", backbone=detector.backbone)
    if "few-shot" in recipe:
        loaded.fit([picture(seed, False)[0] for seed in (20, 22)], class_name="sheet")
    normal, defective = loaded.predict([picture(30, False)[0], picture(31, True)[0]], class_name="sheet")
    assert defective.raw_map.max() > normal.raw_map.max()
