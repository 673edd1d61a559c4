"""Metrics equal scikit-learn, anomalib 2.7.0 and the exact definition, on all recorded sets."""

import json

import numpy as np
import pytest
import torch
from tiny_clip import FOLDER, check

from vlmad_core import metrics
from vlmad_core.metrics import PixelSketch, stepped_aupro

SETS = ["plain", "ties", "heavy", "components", "saturated", "constant", "flat_images"]


def stored():
    return np.load(FOLDER / "metrics.npz")


def of(name, what):
    with stored() as arrays:
        return arrays[f"{name}.{what}"]


def same(value, name, what):
    check(torch.as_tensor(value, dtype=torch.float64), "metrics", f"{name}.{what}", ...)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("what", ["auroc", "ap", "f1max"])
def test_image_and_pixel_metrics(name, what):
    function = {"auroc": metrics.auroc, "ap": metrics.average_precision, "f1max": metrics.f1max}[what]
    same(function(of(name, "image_scores"), of(name, "image_labels")), name, f"image_{what}")
    same(function(of(name, "maps"), of(name, "masks")), name, f"pixel_{what}")


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize(("limit", "suffix"), [(0.3, "30"), (0.05, "05")])
@pytest.mark.parametrize("source", ["exact", "anomalib"])
def test_aupro(name, limit, suffix, source):
    same(metrics.aupro(of(name, "maps"), of(name, "masks"), limit=limit), name, f"aupro_{source}_{suffix}")


@pytest.mark.parametrize("name", SETS)
def test_all_pixel_metrics_at_once(name):
    found = metrics.pixel_metrics(of(name, "maps"), of(name, "masks"))
    same(found.auroc, name, "pixel_auroc")
    same(found.ap, name, "pixel_ap")
    same(found.f1max, name, "pixel_f1max")
    same(found.aupro[0.3], name, "aupro_exact_30")
    same(found.aupro[0.05], name, "aupro_exact_05")


@pytest.mark.parametrize("bins", [16, 1 << 20])
@pytest.mark.parametrize("name", SETS)
def test_sketch_within_its_bound(name, bins):
    sketch = PixelSketch(memory=0, bins=bins)
    for values, mask in zip(of(name, "maps"), of(name, "masks"), strict=True):
        sketch.update(values, mask)
    found = sketch.result()
    for value, what, bound in [
        (found.auroc, "pixel_auroc", "auroc"),
        (found.ap, "pixel_ap", "ap"),
        (found.f1max, "pixel_f1max", "f1max"),
        (found.aupro[0.3], "aupro_exact_30", "aupro 0.3"),
        (found.aupro[0.05], "aupro_exact_05", "aupro 0.05"),
    ]:
        np.testing.assert_allclose(value, of(name, what), atol=found.bounds[bound] + 1e-6, rtol=0)


@pytest.mark.parametrize("name", SETS)
def test_aupro_at_200_steps(name):
    found = stepped_aupro(of(name, "maps"), of(name, "masks"))
    same(found.value, name, "aupro_200")
    assert bool(found.reason) == np.isnan(found.value)


def test_monotone_changes_change_nothing():
    maps, masks = of("heavy", "maps"), of("heavy", "masks")
    for function in (metrics.auroc, metrics.average_precision, metrics.f1max, metrics.aupro):
        np.testing.assert_allclose(function(maps, masks), function(np.log(maps), masks), rtol=1e-12)


def test_json_and_arrays_are_of_one_recording():
    with stored() as arrays:
        assert set(json.loads((FOLDER / "metrics.json").read_text())["arrays"]) == set(arrays.files)


def test_bootstrap_holds_the_value():
    draw = np.random.default_rng(0)
    labels = np.arange(200) % 2
    scores = labels + draw.normal(size=200)
    low, high = metrics.bootstrap(metrics.auroc, (scores, labels), draws=200)
    assert low < metrics.auroc(scores, labels) < high
    assert 0.02 < high - low < 0.2
