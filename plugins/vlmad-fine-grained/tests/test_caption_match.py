"""The scorer 'captions': patches against the part that they fit, training on normal images, scores of parts."""

import numpy as np
import pytest
import torch

import vlmad_core
from vlmad_core.contracts import WHOLE_IMAGE, Features, Level, LevelSpec, TextEmbeddings, l2_normalize
from vlmad_core.datasets.base import Dataset, Sample
from vlmad_core.errors import ConfigError, NotFittedError
from vlmad_core.training.curves import Curves
from vlmad_fine_grained.caption_match import CaptionMatch
from vlmad_fine_grained.groups import group_tokens
from vlmad_fine_grained.plugin import CaptionMatchConfig
from vlmad_fine_grained.scores_of_parts import score_parts

SPEC = LevelSpec("block1", 6, True)
GRID = (2, 4)
AXES = torch.eye(6)
TEXTS = TextEmbeddings(AXES[None], torch.tensor([False, True] * 3))
"""Image normal and abnormal, part normal and abnormal, background normal and abnormal."""


def scorer(**options):
    return CaptionMatch(CaptionMatchConfig(**options), [SPEC], 6)


def features(rows, image=AXES[0]):
    vectors = torch.stack([AXES[row] if isinstance(row, int) else torch.tensor(row) for row in rows])
    return Features((Level(SPEC, vectors[None].float(), GRID),), image[None])


def test_a_patch_has_the_probability_of_its_own_pair_alone():
    part = scorer(groups=1, group_weight=0, temperature=1.0)
    given = features([2, 3, 4, 5, 2, 2, 4, 4])
    assert part.assign(given, TEXTS).tolist() == [[1, 1, 2, 2, 1, 1, 2, 2]]
    values = part.region_values(given, TEXTS, (8, 8))
    low, high = 1 / (1 + np.e), np.e / (1 + np.e)
    torch.testing.assert_close(
        values["block1"][0], torch.tensor([low, high, low, high, low, low, low, low], dtype=torch.float32)
    )
    assert float(values[WHOLE_IMAGE]) == pytest.approx(low, abs=1e-6)
    scores = part(given, TEXTS, (2, 4))
    assert float(scores.image) == pytest.approx((low + high) / 2, abs=1e-6)


def test_a_patch_goes_with_the_part_of_its_group():
    odd = [1.0, 0, 0.2, 0, 0.25, 0]  # alone it fits the background a little better; it lies among patches of the part
    part = [1.0, 0, 0.5, 0, 0.0, 0]
    given = features([part, part, part, odd, 4, 4, 4, 4])
    assert scorer(groups=2, group_weight=0).assign(given, TEXTS)[0, 3] == 2
    tokens = l2_normalize(given.levels[0].vectors).double().numpy()
    groups = group_tokens(tokens, 2)[0].tolist()
    assert groups[3] == groups[0] != groups[4]
    assert scorer(groups=2, group_weight=1.5).assign(given, TEXTS)[0].tolist() == [1, 1, 1, 1, 2, 2, 2, 2]


def test_the_whole_image_is_compared_with_the_first_pair():
    part = scorer(image="class")
    faulty, good = (float(part(features([2] * 8, AXES[i]), TEXTS, (8, 8)).image) for i in (1, 0))
    assert faulty > 0.99
    assert good < 0.01


def test_losses_fall_with_the_fit_of_normal_images_and_leave_abnormal_ones_out():
    part = scorer(groups=2)
    good, bad = (
        part.losses(features([a] * 4 + [b] * 4, AXES[i]), TEXTS, torch.zeros(1)) for a, b, i in ((2, 4, 0), (3, 5, 1))
    )
    assert set(good) == {"cross_entropy", "triplet"}
    assert float(good["cross_entropy"]) < 0.01 < float(bad["cross_entropy"])
    assert float(good["triplet"]) == pytest.approx(0, abs=1e-2)
    assert float(bad["triplet"]) == pytest.approx(1 + 2**0.5, abs=1e-2)
    ignored = part.losses(features([3] * 4 + [5] * 4, AXES[1]), TEXTS, torch.ones(1))
    assert float(ignored["cross_entropy"]) == 0
    assert (
        part.losses(
            features([2] * 8), TextEmbeddings(AXES[None, :3], torch.tensor([False, True, True])), torch.zeros(1)
        )
        == {}
    )


# -- training on normal images, through a whole detector


def normal_images(count=4):
    rng = np.random.default_rng(0)
    return [rng.integers(60, 120, (32, 32, 3), dtype=np.uint8) for _ in range(count)]


@pytest.fixture
def captions(tray):
    return tray.model_dump(mode="json")


def normal_data():
    return Dataset.of("normals", [Sample(one, False, "tray", "train", "good") for one in normal_images()])


def trained(made, out):
    report = vlmad_core.train(made, normal_data(), out, recipe="fine-grained", epochs=6)
    losses = [float(line.split(",")[2]) for line in (out / "losses.csv").read_text().splitlines()[1:]]
    return report, losses


def test_training_on_normal_images_lowers_the_loss_is_the_same_again_and_is_saved(
    make_detector, captions, tmp_path, monkeypatch
):
    monkeypatch.setattr(Curves, "draw", lambda curves: False)
    torch.manual_seed(0)
    one = make_detector(captions, n_context=3)
    torch.manual_seed(0)
    other = make_detector(captions, n_context=3)
    report, losses = trained(one, tmp_path / "one")
    _, again = trained(other, tmp_path / "other")
    assert losses[-1] < losses[0]
    assert losses == again
    assert report.epochs == 6
    loaded = vlmad_core.load(tmp_path / "one", backbone=one.backbone)
    image = normal_images(5)[4]
    assert one.predict(image).score == other.predict(image).score == loaded.predict(image).score


def test_losses_of_the_parts_are_refused_where_no_part_has_any(make_detector, captions, tmp_path):
    learned = {"use": "vlmad-learned-prompts:learned", "config": {"length": 4}}
    spec = {
        "backbone": "tiny",
        "extractor": "vlmad-core:patches",
        "prompts": learned,
        "scorers": ["vlmad-core:text-match"],
    }
    made = vlmad_core.build(spec, backbone=make_detector(captions).backbone)
    with pytest.raises(ConfigError, match="part_losses has weight, and no part here brings losses"):
        vlmad_core.train(made, normal_data(), tmp_path / "out", recipe="fine-grained")


def test_other_losses_still_need_images_with_defects(make_detector, captions, tmp_path):
    with pytest.raises(ConfigError, match="none of the 4 chosen images shows a defect"):
        vlmad_core.train(make_detector(captions, n_context=1), normal_data(), tmp_path / "out", cross_entropy=1.0)


# -- parts in words


def test_parts_have_scores_of_their_own_and_sentences_name_them(make_detector, captions):
    made = make_detector(captions)
    found = score_parts(made, normal_images(1)[0])
    assert {one.name for one in found} <= {"nut", "bar", "dark tray"}
    assert sum(one.share for one in found) == pytest.approx(1)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert str(found[0]).startswith(f"The {found[0].name} fits its abnormal sentences best ")
    evidence = made.predict(normal_images(1)[0]).evidence(normal_images(1)[0])
    assert evidence.score.value == pytest.approx(sum(one.value for one in evidence.score.contributions), abs=1e-5)
    phrases = set(evidence.score.by_phrase())
    assert "a flawless tray of nuts" in phrases
    assert any(f"a broken {one.name}" in phrases for one in found) or "a dirty dark tray" in phrases


def test_parts_of_another_detector_and_of_one_that_learned_nothing_are_refused(make_detector, captions):
    with pytest.raises(NotFittedError, match="learned nothing yet"):
        score_parts(make_detector(captions, n_context=2), normal_images(1)[0])
    other = vlmad_core.build(
        {"backbone": {"use": "tiny"}, "extractor": "vlmad-core:patches", "scorers": ["vlmad-core:memory"]},
        backbone=make_detector(captions).backbone,
    )
    with pytest.raises(ConfigError, match="recipe 'fine-grained'"):
        score_parts(other, normal_images(1)[0])
