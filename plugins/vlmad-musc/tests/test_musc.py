"""Mutual scoring is what the paper says it is, one image at a time; remembering, saving and mixing change nothing."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import vlmad_core
from vlmad_core.contracts import Features, Level, LevelSpec
from vlmad_core.contracts.images import read, stack
from vlmad_core.errors import ConfigError, IncompatibleError
from vlmad_core.testing import parametrize_checks, tiny_backbone
from vlmad_musc import mutual
from vlmad_musc.mutual import Musc, aggregate
from vlmad_musc.plugin import MuscConfig
from vlmad_musc.transductive import rescore

SPECS = (LevelSpec("raw3", 12, False), LevelSpec("raw6", 8, False))
GRID = (4, 5)
PICTURES = [np.random.default_rng(seed).integers(0, 255, (32, 32, 3), dtype=np.uint8) for seed in range(6)]


@parametrize_checks("vlmad-musc")
def test_contract(check):
    check()


def scorer(levels=SPECS, **options):
    return Musc(MuscConfig(**options), levels, None)


def noise(count, seed=0, grid=GRID):
    draws = torch.Generator().manual_seed(seed)
    regions = grid[0] * grid[1]
    return Features(tuple(Level(s, torch.randn(count, regions, s.dim, generator=draws) + 1, grid) for s in SPECS))


def some(features, rows):
    return Features(tuple(Level(level.spec, level.vectors[rows], level.grid) for level in features.levels))


def by_the_paper(features, degrees, lowest):
    """Loops over images, levels and degrees, on the neighbourhoods as they are defined: ``[B, h, w]``."""
    count = len(features.levels[0].vectors)
    maps = torch.zeros(count, *GRID)
    for level in features.levels:
        for degree in degrees:
            normed = F.layer_norm(level.vectors, level.vectors.shape[1:])
            cells = normed.reshape(count, *GRID, -1)
            pooled = torch.zeros_like(cells)
            reach = degree // 2
            for row in range(GRID[0]):
                for column in range(GRID[1]):
                    square = cells[
                        :, max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1
                    ]
                    pooled[:, row, column] = square.mean((1, 2))
            z = F.normalize(pooled, dim=-1).flatten(1, 2)
            for i in range(count):
                others = [torch.cdist(z[i], z[j]).amin(1) for j in range(count) if j != i]
                nearest = torch.stack(others, 1).sort(1).values[:, : int(lowest * (count - 1))]
                maps[i] += nearest.mean(1).reshape(GRID) / len(degrees) / len(features.levels)
    return maps


@pytest.mark.parametrize("degrees", [(1,), (3,), (1, 3, 5)])
@pytest.mark.parametrize("batch", [1, 4, 11])
def test_it_is_mutual_scoring_as_the_paper_has_it(degrees, batch, monkeypatch):
    monkeypatch.setattr(mutual, "_PAIRS", 3 * 20**2)  # a few images at a time, so that parts are joined
    features = noise(11)
    part = scorer(degrees=degrees)
    part.fit(features)
    found = [part(some(features, slice(i, i + batch)), None, GRID) for i in range(0, 11, batch)]
    expected = by_the_paper(features, degrees, 0.3) / 2
    torch.testing.assert_close(torch.cat([scores.anomaly_map for scores in found]), expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(
        torch.cat([scores.image for scores in found]), expected.flatten(1).amax(1), atol=1e-5, rtol=1e-4
    )


def test_an_image_that_is_not_among_them_is_compared_with_all():
    features = noise(8)
    part = scorer(lowest=1.0, degrees=(1,))
    part.fit(some(features, slice(7)))
    new = part(some(features, [7]), None, GRID).anomaly_map
    part.fit(some(features, [7]))
    assert torch.equal(part(some(features, [7]), None, GRID).anomaly_map, new)


def test_an_image_is_known_again_after_the_rounding_of_another_batch():
    features = noise(5)
    part = scorer()
    part.fit(features)
    rounded = Features(tuple(Level(v.spec, v.vectors.bfloat16().float(), v.grid) for v in features.levels))
    exact, near = (part(given, None, GRID).anomaly_map for given in (features, rounded))
    torch.testing.assert_close(exact, near, atol=5e-3, rtol=0)


def test_an_image_that_differs_in_one_region_is_another_one():
    features = noise(1)
    changed = noise(1)
    for level in changed.levels:
        level.vectors[0, 7] *= -1
    part = scorer(degrees=(1,))
    part.fit(features)
    values = part(changed, None, GRID).anomaly_map.flatten()
    assert values.argmax() == 7
    assert values[[i for i in range(20) if i != 7]].max() < values[7] / 4


def test_a_copy_of_an_image_does_not_vouch_for_it():
    features = noise(5)
    part = scorer()
    part.fit(features)
    before = part(some(features, [2]), None, GRID).anomaly_map
    part.fit(some(features, [2]))
    torch.testing.assert_close(part(some(features, [2]), None, GRID).anomaly_map, before)


def test_beside_itself_alone_nothing_is_said():
    features = noise(1)
    part = scorer()
    part.fit(features)
    assert part(features, None, GRID).anomaly_map.abs().max() == 0


def test_what_is_rare_scores_above_what_is_common():
    """Ten parts alike but for noise, one with a mark; it is the mark that stands out, and the part with it."""
    features = noise(1)
    draws = torch.Generator().manual_seed(5)
    levels = []
    for level in features.levels:
        vectors = level.vectors.repeat(10, 1, 1)
        vectors += 0.1 * torch.randn(vectors.shape, generator=draws)
        vectors[4, 12] = torch.randn(level.spec.dim, generator=draws)
        levels.append(Level(level.spec, vectors, GRID))
    part = scorer()
    part.fit(Features(tuple(levels)))
    scores = part(Features(tuple(levels)), None, GRID)
    assert scores.image.argmax() == 4
    assert scores.anomaly_map[4].flatten().argmax() == 12


def test_fitting_in_parts_equals_fitting_at_once():
    features = noise(6)
    at_once, in_parts = scorer(), scorer()
    at_once.fit(features)
    for rows in (slice(2), slice(2, 3), slice(3, 6)):
        in_parts.fit(some(features, rows))
    assert all(torch.equal(at_once.bank(s.name), in_parts.bank(s.name)) for s in SPECS)


def test_regions_that_cover_several_cells_are_not_aggregated():
    cover = torch.eye(20, dtype=torch.bool)

    def covered(features):
        return Features(tuple(Level(v.spec, v.vectors, v.grid, cover) for v in features.levels))

    one, other = scorer(degrees=(1,)), scorer()
    one.fit(noise(4))
    other.fit(noise(4))
    judged = noise(2, seed=1)
    torch.testing.assert_close(other(covered(judged), None, GRID).anomaly_map, one(judged, None, GRID).anomaly_map)


def test_aggregation_takes_the_mean_inside_the_picture_alone():
    vectors = torch.zeros(1, 20, 3)
    vectors[0, 0, 0] = 3.0  # its corner alone; the mean of all numbers is 3 / 60
    found = aggregate(vectors, GRID, (3,))[3][0, 6]  # row 1, column 1 sees the corner
    expected = torch.tensor([3 / 9 - 0.05, -0.05, -0.05])
    torch.testing.assert_close(found, expected / expected.norm())


def test_images_of_another_size_are_refused():
    part = scorer()
    part.fit(noise(2))
    with pytest.raises(IncompatibleError, match="fit images of one size"):
        part.fit(noise(2, grid=(3, 3)))
    with pytest.raises(IncompatibleError, match="images of 20 regions, and these have 9"):
        part(noise(2, grid=(3, 3)), None, GRID)


@pytest.mark.parametrize("degrees", [(2,), (0,), (-1,)])
def test_even_degrees_are_refused(degrees):
    with pytest.raises(ValueError, match="odd side"):
        MuscConfig(degrees=degrees)


def test_a_detector_that_was_saved_judges_the_same(tmp_path):
    spec = {
        "backbone": "tiny",
        "extractor": {"use": "patches", "config": {"space": "both"}},
        "prompts": "templates",
        "scorers": ["text-match", {"use": "musc", "config": {"levels": ["raw*"]}}],
    }
    registry = vlmad_core.testing.memory_registry(base=vlmad_core.registry.default_registry(), plugin="vlmad-tests")
    detector = vlmad_core.build(spec, backbone=tiny_backbone(), registry=registry).fit(PICTURES[:4], class_name="nut")
    again = vlmad_core.load(detector.save(tmp_path / "nut"), backbone=detector.backbone, registry=registry)
    for one, other in zip(detector.predict(PICTURES), again.predict(PICTURES), strict=True):
        np.testing.assert_allclose(one.anomaly_map, other.anomaly_map, atol=1e-6)
        assert one.score == pytest.approx(other.score, abs=1e-6)


def test_the_batch_in_which_images_come_changes_nothing():
    detector = vlmad_core.build("musc", backbone=tiny_backbone(depth=12, text=False))
    detector.fit(PICTURES, batch_size=4)
    together = [prediction.score for prediction in detector.predict(PICTURES, batch_size=6)]
    alone = [detector.predict(picture).score for picture in PICTURES]
    assert alone == pytest.approx(together, abs=1e-4)


def test_rescoring_of_size_1_changes_nothing_and_a_lonely_false_alarm_is_calmed():
    scores = np.array([0.9, 0.1, 0.2, 0.8])
    vectors = np.array([[1.0, 0, 0], [0.9, 0.1, 0], [0.95, 0, 0.1], [0, 0, 1]])
    np.testing.assert_allclose(rescore(scores, vectors, sizes=(1,)), scores)
    calmer = rescore(scores, vectors)
    assert calmer[0] < calmer[3]


def test_rescoring_scales_and_shifts_with_the_scores():
    draws = np.random.default_rng(0)
    scores, vectors = draws.random(9), draws.random((9, 4))
    np.testing.assert_allclose(rescore(3 * scores + 2, vectors), 3 * rescore(scores, vectors) + 2)


@pytest.mark.parametrize(
    ("scores", "vectors", "sizes", "message"),
    [([0.1], np.ones((2, 3)), (1,), "one score and one vector"), ([0.1, 0.2], np.ones((2, 3)), (3,), "between 1 and")],
)
def test_rescoring_refuses_what_does_not_fit(scores, vectors, sizes, message):
    with pytest.raises(ConfigError, match=message):
        rescore(scores, vectors, sizes)


@pytest.mark.parametrize(("depth", "numbers"), [(12, (3, 6, 9, 12)), (24, (6, 12, 18, 24))])
def test_the_recipe_reads_the_last_block_of_each_quarter(depth, numbers):
    detector = vlmad_core.build("musc", backbone=tiny_backbone(depth=depth, text=False))
    assert detector.extractor.layers == numbers


def test_words_and_the_other_images_of_a_folder_count_alike_whatever_their_scales():
    detector = vlmad_core.build("pocket-batch", backbone=tiny_backbone(depth=12)).fit(PICTURES[:4], class_name="nut")
    words, mutual = (float(one.image[0]) for one in scores_of(detector, PICTURES[0]))
    assert detector.predict(PICTURES[0]).score == pytest.approx((words * mutual) ** 0.5, rel=1e-4)


def scores_of(detector, picture):
    """The scores of each scorer by itself."""
    with torch.no_grad():
        pixels = stack(next(iter(read([picture], detector.preprocess))))
        features = detector.extractor(detector.backbone.vision, pixels)
        texts = detector.text_embeddings(["nut"])
        return [scorer(features, texts, detector.backbone.preprocess.size) for scorer in detector.scorers]


def test_images_that_are_compared_with_each_other_are_not_rotated():
    rotated = {"references.rotations": 4}
    detector = vlmad_core.build("musc", backbone=tiny_backbone(depth=12, text=False), overrides=rotated)
    detector.fit(PICTURES[:3])
    assert len(detector.scorers[0].bank("raw3")) == 3
    assert "rotations" not in detector.normals
