"""The few-shot recipes on towers of other families and depths, with random weights: blocks and rotations."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from test_timm_towers import EVERY, random

import vlmad_core
from vlmad_core.contracts import Backbone, Preprocess
from vlmad_timm.vision import TimmVision

FAMILIES = ("dinov2", "dinov2, registers", "dinov3", "siglip")
PICTURES = [np.random.default_rng(seed).integers(0, 256, (40, 40, 3), dtype=np.uint8) for seed in range(3)]


@pytest.mark.parametrize("recipe", ["patch-memory", "subspace"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_recipe_reads_the_middle_blocks_of_any_family(family: str, recipe: str) -> None:
    vision = TimmVision(random(partial(EVERY[family], depth=12)))
    backbone = Backbone(vision, None, Preprocess((32, 32)))
    detector = vlmad_core.build(recipe, backbone=backbone, overrides={"references.rotations": 4})
    assert detector.extractor.layers == (7, 8)
    detector.fit(PICTURES[:2])
    rotated, other = detector.predict([np.rot90(PICTURES[0]).copy(), PICTURES[2]])
    assert rotated.score < other.score
    assert detector.normals["rotations"] == [90.0, 180.0, 270.0]


@pytest.mark.parametrize("family", FAMILIES)
def test_safe_rotations_are_decided_with_or_without_a_class_token(family: str) -> None:
    backbone = Backbone(TimmVision(random(EVERY[family])), None, Preprocess((32, 32)))
    even = np.full((40, 40, 3), 90, np.uint8)
    detector = vlmad_core.build("patch-memory", backbone=backbone).fit([even])
    assert detector.normals["rotations"] == [90.0, 180.0, 270.0]  # an even image is the same from every side
    assert detector.predict(even).score == pytest.approx(0, abs=1e-5)


def test_a_deep_tower_gives_as_many_blocks_as_lie_as_deep() -> None:
    vision = TimmVision(random(partial(EVERY["dinov2"], depth=24)))
    backbone = Backbone(vision, None, Preprocess((32, 32)))
    assert vlmad_core.build("patch-memory", backbone=backbone).extractor.layers == (14, 15, 16, 17)
