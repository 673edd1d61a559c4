"""Exact metrics: what they equal, what changes nothing, what is refused, and how little they take."""

import sys
import time
from itertools import pairwise

import numpy as np
import pytest
from scipy.ndimage import label
from sklearn.metrics import average_precision_score, roc_auc_score

from vlmad_core import metrics
from vlmad_core.errors import ConfigError
from vlmad_core.metrics import ranks

SEEDS = range(12)


def scene(seed, count=5, size=24):
    """Maps and masks; odd seeds have few distinct scores, every third seed heavy tails, image 0 no defect."""
    draw = np.random.default_rng(seed)
    masks = draw.random((count, size, size)) < draw.choice([0.02, 0.2, 0.5])
    masks[0] = False
    maps = (draw.normal(size=masks.shape) + masks).astype(np.float32)
    if seed % 2:
        maps = np.round(maps * 2) / 2
    return np.exp(6 * maps) if seed % 3 == 0 else maps, masks


def by_definition(maps, masks, limit):
    """AUPRO threshold by threshold, with nothing clever: the curve as points, cut by a line."""
    regions = []
    for image, mask in enumerate(masks):
        found, count = label(mask, structure=np.ones((3, 3)))
        regions += [maps[image][found == region] for region in range(1, count + 1)]
    normal, points = maps[~masks], [(0.0, 0.0)]
    for threshold in np.unique(maps)[::-1]:
        overlap = np.mean([(region >= threshold).mean() for region in regions])
        points.append(((normal >= threshold).mean(), overlap))
    area = 0.0
    for (left, low), (right, high) in pairwise(points):
        end = min(right, limit)
        if end > left:
            area += (end - left) * (low + low + (high - low) * (end - left) / (right - left)) / 2
    return area / limit


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
def test_aupro_is_its_definition(seed, limit):
    maps, masks = scene(seed, count=3, size=12)
    np.testing.assert_allclose(metrics.aupro(maps, masks, limit=limit), by_definition(maps, masks, limit), rtol=1e-9)


@pytest.mark.parametrize("every", [1, 7])
@pytest.mark.parametrize("seed", SEEDS)
def test_leaving_out_what_lies_beyond_the_limit_changes_nothing(seed, every, monkeypatch):
    maps, masks = scene(seed)
    whole = metrics.pixel_metrics(maps, masks, limits=(0.05, 0.3, 0.6)).aupro
    monkeypatch.setattr(ranks, "EVERY", every)
    monkeypatch.setattr(ranks, "ENOUGH", 1)
    assert ranks._floor(list(zip(maps, masks, strict=True)), 0.05) > maps.min()
    for limit, value in whole.items():
        np.testing.assert_allclose(metrics.aupro(maps, masks, limit=limit), value, rtol=1e-12)


def test_a_sample_that_misleads_costs_time_and_no_accuracy(monkeypatch):
    maps, masks = scene(0)
    whole, asked = metrics.aupro(maps, masks), []
    monkeypatch.setattr(ranks, "_floor", lambda images, limit: asked.append(limit) or maps.max())
    assert metrics.aupro(maps, masks) == whole
    assert asked == [0.3]


@pytest.mark.parametrize("seed", SEEDS)
def test_pixel_metrics_equal_scikit_learn_and_the_functions_for_one(seed):
    maps, masks = scene(seed)
    found = metrics.pixel_metrics(maps, masks, limits=(0.3, 0.01))
    np.testing.assert_allclose(found.auroc, roc_auc_score(masks.ravel(), maps.ravel()), rtol=1e-9)
    np.testing.assert_allclose(found.ap, average_precision_score(masks.ravel(), maps.ravel()), rtol=1e-9)
    for one, value in [("auroc", found.auroc), ("average_precision", found.ap), ("f1max", found.f1max)]:
        np.testing.assert_allclose(getattr(metrics, one)(maps, masks), value, rtol=1e-12)
    for limit, value in found.aupro.items():
        np.testing.assert_allclose(metrics.aupro(maps, masks, limit=limit), value, rtol=1e-12)
    assert found.exact and found.bound == 0
    assert (found.defective, found.normal) == (masks.sum(), (~masks).sum())


@pytest.mark.parametrize("change", [np.exp, np.cbrt, lambda x: 3 * x - 7, lambda x: x.astype(np.float64)])
@pytest.mark.parametrize("seed", SEEDS)
def test_monotone_rescaling_changes_nothing(change, seed):
    maps, masks = scene(seed)
    maps = np.unique(maps, return_inverse=True)[1].reshape(maps.shape) / 400  # apart enough to stay apart
    assert metrics.pixel_metrics(change(maps), masks) == metrics.pixel_metrics(maps, masks)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_order_of_images_and_their_orientation_change_nothing(seed):
    maps, masks = scene(seed)
    order = np.random.default_rng(seed).permutation(len(maps))
    before = metrics.pixel_metrics(maps, masks)
    for other in (
        metrics.pixel_metrics(maps[order], masks[order]),
        metrics.pixel_metrics(maps.transpose(0, 2, 1), masks.transpose(0, 2, 1)),
        metrics.pixel_metrics(list(maps[order]), [mask if mask.any() else None for mask in masks[order]]),
    ):
        for name in ("auroc", "ap", "f1max"):
            np.testing.assert_allclose(getattr(other, name), getattr(before, name), rtol=1e-12)
        np.testing.assert_allclose(list(other.aupro.values()), list(before.aupro.values()), rtol=1e-12)


def test_closed_forms():
    mask = np.zeros((1, 10, 10), bool)
    mask[0, :2] = True
    assert metrics.pixel_metrics(mask.astype(float), mask).aupro == {0.3: 1.0, 0.05: 1.0}
    flat = metrics.pixel_metrics(np.zeros(mask.shape), mask, limits=(0.3, 1.0))
    assert flat.auroc == 0.5
    np.testing.assert_allclose([flat.ap, flat.f1max], [0.2, 2 * 0.2 / 1.2])
    np.testing.assert_allclose(list(flat.aupro.values()), [0.15, 0.5])
    worst = metrics.pixel_metrics(-mask.astype(float), mask)
    assert (worst.auroc, worst.aupro[0.3]) == (0.0, 0.0)
    # A quarter of a region of 20 pixels comes first, the rest after a tenth of the 80 normal pixels.
    ranked = np.full((10, 10), 0.0)
    ranked[0, :5], ranked[2, :8] = 4, 3
    ranked[:2][ranked[:2] == 0] = 2
    np.testing.assert_allclose(metrics.aupro(ranked[None], mask, limit=0.2), (0.1 * 0.25 + 0.1 * 1) / 0.2)


def test_a_step_that_falls_on_the_limit_adds_nothing_left_of_it():
    """The second region is found right behind the normal pixel that reaches the limit."""
    maps = np.array([[[5.0, 4.0, 3.0, 2.0, 1.0, 0.0]]])
    masks = np.array([[[1, 0, 1, 0, 0, 0]]])
    assert metrics.aupro(maps, masks, limit=0.25) == 0.5


def test_corners_are_contact_and_images_are_apart():
    masks = np.zeros((2, 4, 4), bool)
    masks[0, [0, 1, 3], [0, 1, 3]] = True
    masks[1, 0, 0] = True
    assert metrics.pixel_metrics(np.zeros(masks.shape), masks).regions == 3


def test_images_of_several_sizes_and_kinds_of_number():
    maps = [np.array([[0.5, 0.25]], np.float32), np.array([[1], [0]]), np.array([[True]]), np.zeros((1, 3), np.float16)]
    masks = [[[1, 0]], None, [[255]], [[0, 0, 0]]]
    assert metrics.pixel_metrics(maps, masks).auroc == pytest.approx((5 + 5.5) / 12)


@pytest.mark.parametrize(("mask", "known"), [(np.zeros((1, 2, 2)), []), (np.ones((1, 2, 2)), ["ap", "f1max"])])
def test_nan_where_one_kind_is_missing(mask, known):
    found = metrics.pixel_metrics(np.arange(4.0).reshape(1, 2, 2), mask)
    assert [name for name in ("auroc", "ap", "f1max") if not np.isnan(getattr(found, name))] == known
    assert np.isnan(list(found.aupro.values())).all()
    assert found.exact


def test_nothing_at_all_is_nan():
    found = metrics.image_metrics([], [])
    assert np.isnan([metrics.auroc([], []), metrics.pixel_metrics([], []).auroc, found.low, found.high]).all()


@pytest.mark.parametrize(
    ("maps", "masks", "limit", "text"),
    [
        (np.full((1, 2, 2), np.nan), np.zeros((1, 2, 2)), 0.3, "Map 0 holds NaN"),
        ([np.zeros((2, 2)), np.full((2, 2), np.inf)], [None, None], 0.3, "Map 1 holds NaN or infinite"),
        (np.zeros((1, 2, 2)), np.zeros((2, 2, 2)), 0.3, "1 maps and 2 masks"),
        (np.zeros((1, 2, 2)), np.zeros((1, 2, 3)), 0.3, "of one size"),
        (np.zeros((4, 4)), np.zeros((4, 4)), 0.3, "height, width"),
        (np.zeros((1, 0, 4)), np.zeros((1, 0, 4)), 0.3, "with pixels"),
        (np.zeros((1, 2, 2)), np.eye(2)[None], 0.0, "above 0 and at most 1, got 0.0"),
        (np.zeros((1, 2, 2)), np.eye(2)[None], 1.1, "above 0 and at most 1, got 1.1"),
    ],
)
def test_what_has_no_metric_is_refused_in_a_sentence(maps, masks, limit, text):
    with pytest.raises(ValueError, match=text):
        metrics.pixel_metrics(maps, masks, limits=(limit,))


def test_scores_that_are_not_finite_or_not_one_each_are_refused():
    with pytest.raises(ValueError, match="1 of 3 scores are NaN"):
        metrics.auroc([0.0, np.nan, 1.0], [0, 0, 1])
    with pytest.raises(ValueError, match="2 scores and 3 labels"):
        metrics.image_metrics([0.0, 1.0], [0, 0, 1])


def test_the_bootstrap_takes_the_percentiles_of_its_draws():
    found = metrics.bootstrap(lambda values: float(values.mean()), (np.repeat([0.0, 1.0], 200),), draws=400)
    assert found == pytest.approx((0.45, 0.55), abs=0.01)  # 1.96 standard errors of 0.025
    assert np.isnan(metrics.bootstrap(metrics.auroc, (np.zeros(3), np.ones(3)), draws=5)).all()
    with pytest.raises(ValueError, match="one row an image, all of one length; got 2, 3 rows"):
        metrics.bootstrap(metrics.auroc, (np.zeros(2), np.ones(3)))


def test_image_metrics():
    draw = np.random.default_rng(0)
    labels = np.arange(200) % 3 > 0
    scores = labels + draw.normal(size=200)
    found = metrics.image_metrics(scores, labels)
    np.testing.assert_allclose(found.auroc, roc_auc_score(labels, scores))
    np.testing.assert_allclose(found.ap, average_precision_score(labels, scores))
    assert found.f1max == metrics.f1max(scores, labels)
    assert found.low < found.auroc < found.high
    assert (found.abnormal, found.normal) == (133, 67)
    one_kind = metrics.image_metrics([1.0, 2.0], [1, 1])
    assert np.isnan([one_kind.auroc, one_kind.low, one_kind.high]).all()


def test_time_grows_as_sorting_does():
    """Sixteen times the pixels take far less than the 256 times of a quadratic metric."""

    def seconds(count):
        maps, masks = scene(1, count, 64)
        times = []
        for _ in range(3):
            started = time.process_time()
            metrics.aupro(maps, masks)
            times.append(time.process_time() - started)
        return min(times)

    assert seconds(320) < 80 * max(seconds(20), 1e-3)


def test_without_scipy_the_command_that_brings_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.ndimage", None)
    with pytest.raises(ConfigError, match=r"need SciPy: pip install 'vlmad-core\[evaluation\]'"):
        metrics.aupro(np.zeros((1, 4, 4)), np.eye(4, dtype=bool)[None])


def test_where_nothing_is_normal_no_image_metric_is_given():
    found = metrics.image_metrics([0.1, 0.9], [1, 1])
    assert np.isnan([found.auroc, found.low, found.high, found.ap, found.f1max]).all()
    assert (found.normal, found.abnormal) == (0, 2)
