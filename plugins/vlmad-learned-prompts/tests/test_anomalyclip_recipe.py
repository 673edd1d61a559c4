"""The recipe anomalyclip: fits any backbone with text as it is, trains, is saved, and mixes with other parts."""

import numpy as np
import pytest
import torch

import vlmad_core
from vlmad_core.contracts import forward_blocks
from vlmad_core.registry.validate import validate
from vlmad_core.testing import tiny_backbone
from vlmad_learned_prompts.learned import Learned
from vlmad_learned_prompts.plugin import LearnedConfig

PICTURE = np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)


def test_training_with_the_papers_options_finds_a_defect_that_can_be_seen(tmp_path):
    from vlmad_core.datasets.base import Dataset, Sample
    from vlmad_core.training.train import train

    draws, samples = np.random.default_rng(0), []
    for i in range(8):
        picture, mask = draws.integers(100, 120, (32, 32, 3), dtype=np.uint8), np.zeros((32, 32), np.uint8)
        if i % 2:
            picture[8:16, 8:16], mask[8:16, 8:16] = (255, 0, 0), 255
        samples.append(
            Sample(picture, bool(i % 2), "nut", "test", "hole" if i % 2 else "good", (mask,) if i % 2 else ())
        )
    torch.manual_seed(0)
    backbone = tiny_backbone(width=64, dim=32)
    detector = vlmad_core.build("anomalyclip", backbone=backbone, overrides={"output.smooth": 0.0})
    train(detector, Dataset("toy", tuple(samples)), tmp_path, recipe="anomalyclip", lr=1e-2, batch_size=4)
    found = detector.predict([sample.image for sample in samples])
    assert min(one.score for one in found[1::2]) > max(one.score for one in found[::2])
    for one in found[1::2]:
        assert one.anomaly_map[8:16, 8:16].mean() > 0.3 > 10 * one.anomaly_map[24:].mean()
    assert max(one.anomaly_map.mean() for one in found[::2]) < 0.03


def untrained(recipe="anomalyclip", **options):
    """A detector with random parts that runs all the same."""
    detector = vlmad_core.build(recipe, **options)
    detector.trained = {"data": {"name": "random parameters"}}
    return detector


def test_saved_prompts_come_back(tmp_path):
    backbone = tiny_backbone()
    detector = untrained(backbone=backbone)
    before = detector.predict(PICTURE).score
    detector.save(tmp_path)
    again = vlmad_core.load(tmp_path, backbone=backbone)
    assert again.predict(PICTURE).score == before
    assert untrained(backbone=backbone).predict(PICTURE).score != before


@pytest.mark.parametrize("changes", [{}, {"registers": 2, "image_size": (24, 40)}])
def test_the_recipe_needs_no_name(changes):
    detector = untrained(backbone=tiny_backbone(**changes))
    prediction = detector.predict(PICTURE)
    assert prediction.anomaly_map.shape == (40, 50)
    assert 0 <= prediction.raw_map.min() <= prediction.raw_map.max() <= 1
    assert 0 < prediction.score < 1


@torch.no_grad()
def test_the_recipe_fits_pocket_as_it_is():
    pytest.importorskip("vlmad_pocket")
    detector = untrained(backbone="pocket")
    backbone = detector.backbone
    assert (detector.extractor.start, detector.prompts.depth) == (2, 3)
    assert [level.name for level in detector.extractor.levels] == ["local9"]
    assert 0 < detector.predict(PICTURE).score < 1
    text = backbone.text
    plain = Learned(LearnedConfig(length=4, depth=1, init="a photo of a"), backbone)
    x, _ = forward_blocks(text.blocks, text.add_positions(plain.assemble(text, ["object"])[0]), mask=text.mask)
    expected = vlmad_core.contracts.encode_text(text, ["a photo of a object.", "a photo of a damaged object."])
    assert x.shape == (2, 32, 256)
    torch.testing.assert_close(plain.encode(text, ["object"])[0], expected, rtol=1e-4, atol=1e-4)


def test_its_options_and_training_are_valid():
    from vlmad_core.training.options import TrainingOptions

    recipe = vlmad_core.registry.default_registry().get("recipe", "anomalyclip").item
    spec = vlmad_core.pipeline.PipelineSpec.model_validate(recipe.spec)
    assert spec.backbone.config["image_size"] == 518
    options = validate(TrainingOptions, recipe.training, "training", "anomalyclip")
    assert (options.epochs, options.batch_size, options.lr, options.betas) == (15, 8, 1e-3, (0.5, 0.999))


def test_the_words_go_with_other_extractors_and_the_patches_with_other_words():
    pytest.importorskip("vlmad_winclip")
    prompts = {"use": "learned", "config": {"init": "a photo of a"}}
    scorers = {"use": "text-match", "config": {"levels": ["*"]}}
    words = untrained(backbone=tiny_backbone(), extractor="windows", prompts=prompts)
    patches = vlmad_core.build("winclip", backbone=tiny_backbone(), extractor="dpam", scorers=scorers)
    for detector in (words, patches):
        assert np.isfinite(detector.predict(PICTURE, "nut").score)
