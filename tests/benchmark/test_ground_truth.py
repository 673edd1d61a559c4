"""Maps against masks: binned where they are too many, saturated where the data set says so, at any resolution."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image

import vlmad_core
from vlmad_core import Sample, VlmadError, metrics
from vlmad_core.benchmark.ground_truth import GroundTruth, PixelScores

SIZE = (16, 20)


@pytest.fixture
def samples():
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (*SIZE, 3), np.uint8) for _ in range(4)]
    mask = np.zeros(SIZE, np.uint8)
    mask[3:9, 4:12] = 1
    kinds = [(False, ()), (True, (mask,)), (True, ()), (True, (mask[::-1],))]
    return [
        Sample(image, label, "plate", "test", masks=masks)
        for image, (label, masks) in zip(pictures, kinds, strict=True)
    ]


@pytest.fixture
def truth(samples):
    return GroundTruth(samples, {}, dict.fromkeys(range(4), SIZE), None)


@pytest.fixture
def maps():
    return torch.rand(4, *SIZE, generator=torch.Generator().manual_seed(0))


def test_defective_images_without_a_mask_count_for_images_alone(truth, samples, maps):
    counted = PixelScores(truth)
    counted.add(range(4), maps)
    kept = [0, 1, 3]
    masks = [np.zeros(SIZE) if not samples[i].masks else samples[i].masks[0] for i in kept]
    wanted = metrics.pixel_metrics([maps[i].numpy() for i in kept], masks)
    numbers = counted.numbers()
    assert truth.indices == [0, 1, 2, 3]
    assert numbers["pixel_auroc"] == pytest.approx(wanted.auroc, abs=1e-12)
    assert numbers["aupro"] == pytest.approx(wanted.aupro[0.3], abs=1e-12)
    assert (numbers["pixel_exact"], numbers["pixel_bound"]) == (True, 0)


def test_more_maps_than_memory_are_binned_within_their_bound(truth, maps):
    exact, binned = PixelScores(truth), PixelScores(truth, memory=0)
    maps = maps * torch.logspace(-20, 20, 4)[:, None, None]  # so wide that bins hold several scores
    for counted in (exact, binned):
        counted.add(range(4), maps)
    message, wanted = binned.numbers(), exact.numbers()
    for name in ("pixel_auroc", "pixel_ap", "pixel_f1max", "aupro", "aupro_05"):
        assert abs(message[name] - wanted[name]) <= message["pixel_bound"] + 1e-12


def test_a_map_that_is_not_a_number_is_refused(truth, maps):
    maps[1, 0, 0] = torch.nan
    with pytest.raises(VlmadError, match="not a number"):
        PixelScores(truth).add(range(4), maps)


def test_masks_are_resized_by_nearest_neighbour(samples):
    small = GroundTruth(samples, {}, dict.fromkeys(range(4), SIZE), (8, 10))
    assert np.array_equal(small.masks[1], np.asarray(samples[1].masks[0])[1::2, 1::2] > 0)


@pytest.mark.parametrize(("size", "counts"), [((8, 10), True), ((5, 7), True), ((32, 40), True), ((20, 16), False)])
def test_a_mask_of_other_proportions_is_left_out_and_named(samples, size, counts):
    mask = np.zeros(size, np.uint8)
    mask[1:3, 1:3] = 1
    odd = dataclasses.replace(samples[1], masks=(mask,))
    seen = GroundTruth([samples[0], odd], {}, dict.fromkeys(range(2), SIZE), (8, 10))
    assert (1 in seen.indices) is counts
    if not counts:
        assert seen.unreadable[1].endswith("is 16 x 20 pixels, and the image 20 x 16: not of the same proportions.")


def test_the_defects_of_mvtec_loco_have_saturation_areas(tmp_path, registry):
    rng, root = np.random.default_rng(0), tmp_path / "loco" / "screw_bag"
    for kind, count in (("train/good", 2), ("validation/good", 1), ("test/good", 2), ("test/logical_anomalies", 2)):
        (root / kind).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(rng.integers(0, 255, (32, 32, 3), np.uint8)).save(root / kind / f"{i:03}.png")
    for i in range(2):
        mask = np.zeros((32, 32), np.uint8)
        mask[4:12, 4 + i : 20] = 255
        folder = root / f"ground_truth/logical_anomalies/{i:03}"
        folder.mkdir(parents=True)
        Image.fromarray(mask).save(folder / "000.png")
    entry = {"defect_name": "missing", "pixel_value": 255, "saturation_threshold": 0.5, "relative_saturation": True}
    (root / "defects_config.json").write_text(json.dumps([entry]))
    data = {"path": str(tmp_path / "loco"), "layout": "mvtec-loco"}
    row = vlmad_core.run_benchmark(
        {"data": data, "methods": ["words"], "resolution": 16}, tmp_path / "out", registry=registry, tables=False
    ).rows[0]
    assert row["status"] == "done"
    assert 0 <= row["au_spro"] <= 1
