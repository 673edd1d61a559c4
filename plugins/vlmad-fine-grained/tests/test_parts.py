"""Parts are counted and placed: on features whose layout is known, and through a whole detector."""

import numpy as np
import pytest
import torch

from vlmad_core.contracts import Features, Level, LevelSpec
from vlmad_core.errors import ConfigError, IncompatibleError, NotFittedError
from vlmad_core.testing import parametrize_checks
from vlmad_fine_grained.captions import Captions, PartCaption, draft_of, form_of, read_captions
from vlmad_fine_grained.findings import findings_of, sentence_of
from vlmad_fine_grained.layout import learn_layout, statistics_of
from vlmad_fine_grained.plugin import PartsConfig
from vlmad_fine_grained.scorer import Parts

GRID = (16, 16)
PLACES = [(4, 4), (4, 11), (11, 4), (11, 11)]
SPEC = LevelSpec("raw1", 8, False)


@parametrize_checks("vlmad-fine-grained:parts")
def test_contract(check):
    check()


def scene(places, seed=0, radius=2.0):
    """``[M, 8]`` tokens: one direction for the background, another for discs at these places, with noise."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: GRID[0], : GRID[1]]
    part = np.zeros(GRID, bool)
    for y, x in places:
        part |= np.hypot(rows - y - rng.uniform(-0.3, 0.3), columns - x - rng.uniform(-0.3, 0.3)) <= radius
    tokens = np.where(part[..., None], [0, 1.0, 0, 0, 0, 0, 0, 0], [1.0, 0, 0, 0, 0, 0, 0, 0])
    tokens = tokens + rng.normal(0, 0.05, (*GRID, 8))
    tokens /= np.linalg.norm(tokens, axis=-1, keepdims=True)
    return tokens.reshape(-1, 8)


def features(scenes):
    return Features((Level(SPEC, torch.tensor(np.stack(scenes), dtype=torch.float32), GRID),))


@pytest.fixture(scope="module")
def layout():
    normals = np.stack([scene(PLACES, seed) for seed in range(8)])
    return learn_layout(normals, GRID, groups=2, smallest=0.25, use_places=True)


@pytest.fixture
def scorer():
    made = Parts(PartsConfig(), [SPEC], None)
    made.fit(features([scene(PLACES, seed) for seed in range(8)]))
    return made


def test_number_and_places_of_the_parts_are_learned(layout):
    assert layout.count == 4
    found = sorted(tuple(np.round(place).astype(int)) for place in layout.places)
    assert found == PLACES
    assert layout.radius == pytest.approx(3.5, abs=0.3)


@pytest.mark.parametrize(
    ("places", "kind", "place"),
    [
        (PLACES[1:], "missing", "top left"),
        ([*PLACES, (4, 7.5)], "extra", None),
        ([*PLACES[:3], (11, 14)], "moved", "bottom right"),
    ],
)
def test_a_missing_an_extra_and_a_moved_part_are_told_apart(layout, places, kind, place):
    statistics = statistics_of(scene(places, 99), GRID, layout)
    found = findings_of(statistics, layout, Captions(parts=(PartCaption(name="cookie", number=4),)))
    assert found
    assert found[0].kind == kind
    assert found[0].part == "cookie"
    if place is not None:
        assert found[0].place == place
        assert f"cookie is missing at the {place}" in sentence_of(found) or kind == "moved"


def test_a_normal_image_has_no_findings(layout):
    found = findings_of(statistics_of(scene(PLACES, 123), GRID, layout), layout, Captions())
    assert found == []
    assert sentence_of(found) == "Number and places of the parts are as in the normal images."


def test_scores_of_wrong_layouts_are_above_those_of_all_normal_ones(scorer):
    normal = scorer(features([scene(PLACES, 50 + i) for i in range(6)]), None, (32, 32)).image
    wrong = scorer(features([scene(PLACES[:3], 9), scene([*PLACES, (8, 8)], 9)]), None, (32, 32)).image
    assert wrong.min() > normal.max()
    assert (wrong > 0.9).all()


def test_the_map_is_highest_where_the_part_is_missing(scorer):
    scores = scorer(features([scene(PLACES[1:], 5)]), None, (64, 64))
    row, column = np.unravel_index(int(scores.anomaly_map[0].argmax()), (64, 64))
    assert row < 32
    assert column < 32


def test_parts_without_fixed_places_are_still_counted():
    rng = np.random.default_rng(1)

    def anywhere(count, seed):
        cells = [(y, x) for y in (3, 8, 12) for x in (3, 8, 12)]
        return scene([cells[i] for i in rng.permutation(9)[:count]], seed, radius=1.2)

    normals = np.stack([anywhere(4, seed) for seed in range(12)])
    layout = learn_layout(normals, GRID, groups=2, smallest=0.25, use_places=True)
    assert len(layout.places) == 0
    (finding,) = findings_of(statistics_of(anywhere(2, 99), GRID, layout), layout, Captions())
    assert (finding.kind, finding.place, finding.expected) == ("missing", "", 4)


def test_images_that_are_fitted_in_two_batches_count_like_those_in_one(scorer):
    other = Parts(PartsConfig(), [SPEC], None)
    other.fit(features([scene(PLACES, seed) for seed in range(3)]))
    other.fit(features([scene(PLACES, seed) for seed in range(3, 8)]))
    query = features([scene(PLACES[:2], 7)])
    assert torch.equal(other(query, None, (32, 32)).image, scorer(query, None, (32, 32)).image)


def test_a_saved_scorer_scores_the_same(scorer):
    other = Parts(PartsConfig(), [SPEC], None)
    other.load_state_dict(scorer.state_dict())
    query = features([scene(PLACES[:2], 7)])
    assert torch.equal(other(query, None, (32, 32)).image, scorer(query, None, (32, 32)).image)


def test_without_normal_images_it_says_so():
    with pytest.raises(NotFittedError, match="no normal images"):
        Parts(PartsConfig(), [SPEC], None)(features([scene(PLACES)]), None, (32, 32))


def test_a_product_that_fills_the_image_has_no_clear_parts():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(4, 256, 8))
    noise /= np.linalg.norm(noise, axis=-1, keepdims=True)
    assert not learn_layout(noise, GRID, groups=2, smallest=0.25, use_places=True).is_clear
    normals = np.stack([scene(PLACES, seed) for seed in range(4)])
    assert learn_layout(normals, GRID, groups=2, smallest=0.25, use_places=True).is_clear


def test_an_image_of_another_grid_is_refused(scorer):
    other = Features((Level(SPEC, torch.zeros(1, 64, 8) + 0.1, (8, 8)),))
    with pytest.raises(IncompatibleError, match="16 x 16 patches"):
        scorer(other, None, (32, 32))


def test_an_empty_form_and_a_draft_can_be_read_again(tmp_path):
    draft = draft_of({"class_name": "tray", "parts": [{"name": "nut", "number": 2, "place": "left"}]})
    for captions in (Captions(), draft):
        path = tmp_path / "captions.yaml"
        path.write_text(form_of(captions))
        assert read_captions(path).parts
    assert read_captions(tmp_path / "captions.yaml").name_at("top left") == "nut"


@pytest.mark.parametrize(
    ("text", "message"),
    [("parts: [{name: nut, number: 0}]", "number"), ("part: []", "no such option"), ("parts: [{name: nut}]", "number")],
)
def test_captions_that_do_not_fit_are_refused_with_their_place(tmp_path, text, message):
    path = tmp_path / "captions.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_captions(path)


def test_missing_captions_say_how_to_make_some(tmp_path):
    with pytest.raises(ConfigError, match="vlmad captions"):
        read_captions(tmp_path / "none.yaml")
