"""Reasons add up to the score; what they name is where it should be."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image

import vlmad_core
from vlmad_core.contracts.data import Features, Level, LevelSpec, Scores
from vlmad_core.contracts.ops import l2_normalize, softmax_shares
from vlmad_core.contracts.parts import Scorer
from vlmad_core.errors import ConfigError, ImageError
from vlmad_core.pipeline.explain import make_terms
from vlmad_core.pipeline.fuse import Fuse
from vlmad_core.testing import tiny_backbone

RECIPES = [
    "pocket",
    "pocket-few-shot",
    "winclip",
    "winclip-few-shot",
    "april-gan",
    "april-gan-few-shot",
    "anomalyclip",
    "patch-memory",
    "subspace",
    "anomaly-dino",
]


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(5):
        Image.fromarray(rng.integers(0, 255, (48, 64, 3), np.uint8)).save(tmp_path / f"{i}.png")
    return [tmp_path / f"{i}.png" for i in range(5)]


def make(recipe, files, **changes):
    detector = vlmad_core.build(recipe, backbone=tiny_backbone(depth=12, image_size=(64, 64)), **changes)
    detector.class_name = "metal_nut"
    detector.trained = {"data": {"name": "random"}}
    return detector.fit(files[:3]) if detector.memory_scorers else detector


@pytest.mark.parametrize("recipe", RECIPES)
def test_contributions_add_up_to_the_score_and_to_the_peak(recipe, files):
    predictions = make(recipe, files).predict(files[3:])
    for prediction in predictions:
        evidence = prediction.evidence()
        assert sum(one.value for one in evidence.contributions) == pytest.approx(prediction.score, abs=1e-5)
        assert evidence.score.value == pytest.approx(prediction.score, abs=1e-6)
        assert sum(one.value for one in evidence.peak.contributions) == pytest.approx(
            float(prediction.raw_map.max()), abs=1e-5
        )
        for most in (2, 4, 100):
            reasons = evidence.reasons(most)
            assert len(reasons) <= max(most, 2) or most == 100
            assert sum(one.value for one in reasons) == pytest.approx(prediction.score, abs=1e-5)
        for split in (evidence.score, evidence.peak):
            text = sum(one.value for one in split.contributions if one.cause == "text")
            assert sum(one.value for one in split.sentences) == pytest.approx(text, abs=1e-6)
            assert sum(split.by_template().values()) == pytest.approx(text, abs=1e-6)
        assert all(one.is_exact for one in evidence.contributions)


def test_a_batch_explained_is_the_batch_predicted(files):
    from vlmad_core.contracts.images import read

    detector = make("pocket-few-shot", files)
    ((*pictures,),) = read(files[:4], detector.preprocess, batch_size=4)
    plain = detector.predict_batch(pictures)
    for one, (other, evidence) in zip(plain, detector.explain_batch(pictures), strict=True):
        assert one.score == other.score
        assert np.array_equal(one.raw_map, other.raw_map)
        assert other.evidence() is evidence


def test_words_are_named_with_the_class_name(files):
    evidence = make("pocket", files).predict(files[3]).evidence()
    phrases = evidence.score.by_phrase()
    assert "damaged metal nut" in phrases and "flawless metal nut" in phrases
    causes = {one.cause for one in evidence.contributions}
    assert causes == {"text", "even odds"}
    assert {one.level for one in evidence.contributions} == {"block12", "whole image"}


def test_a_phrase_that_fits_better_counts_more():
    """Two states of two sentences; the image is the second abnormal sentence."""
    vectors = l2_normalize(torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
    from vlmad_core.builtin.plugin import TextMatchConfig
    from vlmad_core.builtin.text_match import TextMatch
    from vlmad_core.contracts.data import TextEmbeddings
    from vlmad_core.contracts.parts import Sentence, TextParts

    sides = [vectors[:2], vectors[2:]]
    texts = TextEmbeddings(
        torch.stack([l2_normalize(side.mean(0)) for side in sides])[None], torch.tensor([False, True])
    )
    parts = TextParts(
        tuple(Sentence(word, i // 2, word) for i, word in enumerate(("clean", "whole", "bent", "torn"))),
        torch.cat([side / (2 * side.mean(0).norm()) for side in sides]),
    )
    spec = LevelSpec("block1", 4, True)
    features = Features((Level(spec, vectors[3].expand(1, 4, 4).clone(), (2, 2)),), vectors[3:])
    scorer = TextMatch(TextMatchConfig(temperature=0.5), [spec], 4)
    terms = make_terms([scorer], ["text-match"], Fuse(), features, texts, (4, 4))
    ((score, _),) = terms.splits([parts], [(4, 4)])
    shares = score.by_phrase()
    # The margin is cos 45 degrees / 0.5, all of it from "torn"; a quarter of it is common to the four sentences.
    margin = 2**-0.5 / 0.5
    lift = 1 / (1 + np.exp(-margin)) - 0.5
    assert sum(shares.values()) == pytest.approx(lift)
    assert shares == pytest.approx(
        {"torn": 0.75 * lift, "bent": -0.25 * lift, "clean": 0.25 * lift, "whole": 0.25 * lift}
    )


@pytest.mark.parametrize("states", [2, 3, 5])
def test_softmax_shares_add_up_and_ignore_what_states_have_in_common(states):
    logits = 30 * torch.randn(50, states, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    abnormal = torch.arange(states) > 0
    shares, even = softmax_shares(logits, abnormal)
    expected = logits.softmax(-1)[:, 1:].sum(-1)
    assert even == pytest.approx((states - 1) / states)
    torch.testing.assert_close(even + (shares * logits).sum(-1), expected)
    torch.testing.assert_close(shares.sum(-1), torch.zeros(50, dtype=torch.float64), atol=1e-9, rtol=0)
    torch.testing.assert_close(softmax_shares(logits + 7, abnormal)[0], shares, atol=1e-7, rtol=1e-5)


def test_three_states_are_divided_as_the_integral_says():
    logits, abnormal = torch.tensor([[0.5, 2.0, -1.0]], dtype=torch.float64), torch.tensor([False, True, True])
    shares, _ = softmax_shares(logits, abnormal)
    steps = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    path = ((logits - logits.mean()) * steps[:, None]).softmax(-1)
    slopes = path * (abnormal.double() - path[:, 1:].sum(-1, keepdim=True))
    torch.testing.assert_close(shares[0], slopes.mean(0), atol=1e-8, rtol=0)


def test_the_nearest_normal_is_the_file_and_the_place_that_the_patch_was_copied_from(files, tmp_path):
    rng = np.random.default_rng(7)
    for name in ("a", "b"):
        Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)).save(tmp_path / f"{name}.png")
    spec = {
        "backbone": "tiny",
        "extractor": {"use": "patches", "config": {"space": "raw"}},
        "scorers": [{"use": "memory"}],
    }
    from vlmad_core.testing import memory_registry

    detector = vlmad_core.build(
        spec, backbone=tiny_backbone(image_size=(64, 64)), registry=memory_registry(), overrides={}
    ).fit([tmp_path / "a.png", tmp_path / "b.png"])
    evidence = detector.predict(tmp_path / "b.png").evidence()
    # The image itself is remembered: every region is nearest to itself.
    assert evidence.nearest is not None and evidence.nearest.is_known
    assert evidence.nearest.path == str(tmp_path / "b.png")
    left, top, right, bottom = evidence.nearest.box
    assert evidence.nearest.normal_box == pytest.approx((left / 64, top / 64, right / 64, bottom / 64))
    assert evidence.score_without_place == pytest.approx(evidence.score.value, abs=1e-6)


@pytest.mark.parametrize("recipe", ["patch-memory", "pocket-few-shot", "winclip-few-shot", "april-gan-few-shot"])
def test_without_the_suspicious_place_a_memory_scores_less(recipe, files):
    detector = make(recipe, files)
    image = np.asarray(Image.open(files[0])).copy()
    image[:24, :24] = 255 - image[:24, :24]
    prediction = detector.predict(image)
    evidence = prediction.evidence(image)
    assert evidence.score_without_place is not None
    assert evidence.score_without_place <= prediction.score + 1e-6
    if recipe in ("patch-memory", "pocket-few-shot"):
        assert evidence.score_without_place < prediction.score


def test_origins_survive_a_save_and_older_files_say_unknown(files, tmp_path):
    detector = make("patch-memory", files)
    evidence = detector.predict(files[4]).evidence()
    backbone = detector.backbone
    detector.save(tmp_path / "nut.vlmad")
    again = vlmad_core.load(tmp_path / "nut.vlmad", backbone=backbone).predict(files[4])
    assert again.evidence().nearest == evidence.nearest
    state = {name: tensor for name, tensor in detector.state_dict().items() if ".origins_" not in name}
    assert len(state) < len(detector.state_dict())
    fingerprint = detector.fingerprint()
    detector.load_state_dict(state)
    assert detector.fingerprint() == fingerprint  # a calibration stays valid
    old = detector.predict(files[4])
    assert old.score == again.score
    nearest = old.evidence().nearest
    assert nearest is not None and not nearest.is_known and nearest.path == ""


@pytest.mark.parametrize(
    ("options", "names"),
    [({"max_rows": 40}, True), ({"score_levels": ["raw8"]}, True), ({"reach": 1, "max_rows": None}, False)],
)
def test_sums_and_origins_hold_for_each_way_to_remember(options, names, files):
    overrides = {f"scorers.0.config.{name}": value for name, value in options.items()}
    detector = make("patch-memory", files, overrides=overrides)
    prediction = detector.predict(files[3])
    evidence = prediction.evidence()
    assert sum(one.value for one in evidence.contributions) == pytest.approx(prediction.score, abs=1e-5)
    assert (evidence.nearest is not None) == names == (evidence.score_without_place is not None)
    if evidence.nearest is not None:
        assert evidence.nearest.is_known and evidence.nearest.path in map(str, files[:3])


def test_images_added_later_follow_those_before(files):
    detector = make("patch-memory", files)
    detector.fit([files[3]], keep=True)
    evidence = detector.predict(files[3]).evidence()
    assert evidence.nearest is not None and evidence.nearest.path == str(files[3])
    assert [path for path, _ in detector.normal_images] == [str(path) for path in files[:4]]


def test_evidence_needs_the_same_image_and_the_same_detector(files):
    detector = make("patch-memory", files)
    prediction = detector.predict(files[4])
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(files[4])
    with pytest.raises(ConfigError, match=r"has score .* now and had .*changed since"):
        prediction.evidence()
    in_memory = detector.predict(np.zeros((48, 64, 3), np.uint8))
    with pytest.raises(ImageError, match=r"result.evidence\(image\)"):
        in_memory.evidence()
    with pytest.raises(ConfigError, match="no detector with it"):
        pickle.loads(pickle.dumps(prediction)).evidence()


class ThirdParty(Scorer):
    """Offers no region values."""

    def __init__(self, levels):
        super().__init__()
        self.names = levels

    def forward(self, features, text_embeddings, size):
        maps = {
            name: features[name].vectors.abs().sum(-1).mean(1)[:, None, None].expand(-1, *size) for name in self.names
        }
        fused = torch.stack(list(maps.values())).sum(0)
        return Scores(fused.amax((1, 2)), fused, maps)


@pytest.mark.parametrize(("levels", "exact"), [(["a"], True), (["a", "b"], False)])
@pytest.mark.parametrize("how", ["mean", "harmonic", "max", "sum"])
def test_a_scorer_without_region_values_is_split_by_level(levels, exact, how):
    features = Features(
        tuple(Level(LevelSpec(name, 4, False), torch.rand(2, 4, 4) + i, (2, 2)) for i, name in enumerate("ab"))
    )
    terms = make_terms(
        [ThirdParty(levels), ThirdParty(["b"])], ["mine", "other"], Fuse(how, how), features, None, (4, 4)
    )
    for b, (score, peak) in enumerate(terms.splits([None, None], [(4, 4), (4, 4)])):
        for split, value in ((score, terms.scores.image[b]), (peak, terms.scores.anomaly_map[b].max())):
            assert sum(one.value for one in split.contributions) == pytest.approx(float(value), rel=1e-5)
        mine = [one for one in score.contributions if one.scorer == "mine"]
        assert how == "max" or {one.level for one in mine} == set(levels)
        assert all(one.is_exact == exact for one in mine)
