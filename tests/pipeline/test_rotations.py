"""Normal images are rotated where that leaves the object what it is, and never help to judge themselves."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

import vlmad_core
from vlmad_core.builtin.memory import Memory
from vlmad_core.builtin.plugin import MemoryConfig
from vlmad_core.contracts.data import Features, Level, LevelSpec
from vlmad_core.contracts.images import Picture
from vlmad_core.errors import ConfigError
from vlmad_core.pipeline.rotations import MAX_ROTATED, choose_angles, regions_before, rotate
from vlmad_core.testing import tiny_backbone

DRAWS = np.random.default_rng(0)
NORMALS = [DRAWS.integers(0, 256, (40, 40, 3), dtype=np.uint8) for _ in range(3)]
QUARTERS = [90.0, 180.0, 270.0]


class Side(nn.Module):
    """A tower whose class token is the mean of the left and of the right half of an image, and its backbone."""

    class_pool, prefix, blocks = True, 1, ()
    device, dtype = torch.device("cpu"), torch.float32

    @property
    def vision(self):
        return self

    def embed(self, images):
        left, right = images[:, 0, :, :10].mean((1, 2)), images[:, 0, :, 10:].mean((1, 2))
        return torch.stack([left, right], 1)[:, None], (1, 1)

    def norm(self, x):
        return x


def halves(*values):
    """Pictures of 20 x 20 pixels: the left half of one value, the right half of another."""
    images = torch.zeros(len(values), 3, 20, 20)
    for image, (left, right) in zip(images, values, strict=True):
        image[:, :, :10], image[:, :, 10:] = left, right
    return [Picture("x", (20, 20), image) for image in images]


def build(rotations="off", **more):
    spec = {
        "extractor": {"use": "patches", "config": {"space": "raw"}},
        "backbone": "tiny",
        "scorers": ["memory"],
        "references": {"rotations": rotations},
        **more,
    }
    return vlmad_core.build(spec, backbone=tiny_backbone(text=False))


def test_a_rotation_by_a_quarter_moves_whole_pixels():
    image = torch.randn(2, 3, 8, 8)
    for angle, turns in ((90, 1), (180, 2), (270, 3)):
        assert torch.equal(rotate(image, angle, [1, 1]), image.rot90(turns, (-2, -1)))


def test_a_bar_of_an_image_that_was_squashed_has_its_true_length_after_a_rotation():
    image = torch.zeros(1, 3, 64, 64)
    image[..., 30:34, 16:48] = 1  # in an image twice as wide as high: 64 x 4 of 128 x 64 pixels
    rotated = rotate(image, 90, [2.0])[0, 0, :, 16:48] > 0.5  # further out, the mirrored border
    assert int(rotated.any(0).sum()) == 2  # 4 pixels wide, squashed to half
    assert int(rotated.any(1).sum()) == 64  # 64 pixels high


def test_other_angles_go_the_same_way_as_quarters():
    image = torch.zeros(1, 3, 32, 32)
    image[..., 4:8, 14:18] = 1  # above the middle
    found = rotate(image, 45, [1.0])[0, 0]
    row, column = divmod(int(found.argmax()), 32)
    assert row < 14
    assert column < 14  # counter-clockwise: to the left
    close = rotate(rotate(image, 45, [1.0]), -45, [1.0])
    assert float((close - image).abs().mean()) < 0.02


def test_a_rotation_is_used_where_the_class_token_moves_less_than_between_two_normal_images():
    images = halves((1.0, 0.2), (0.2, 1.0))  # two orientations among the normal images
    assert choose_angles("auto", Side(), images) == QUARTERS


def test_a_rotation_that_moves_the_class_token_further_is_left_out():
    images = halves((1.0, 0.2), (1.0, 0.3))  # always the same side up: half a turn exchanges the sides
    assert choose_angles("auto", Side(), images) == []


def test_one_image_is_rotated_where_its_own_class_token_hardly_moves():
    assert choose_angles("auto", Side(), halves((1.0, 0.9))) == QUARTERS
    assert choose_angles("auto", Side(), halves((1.0, 0.1))) == []


def test_copies_of_one_image_are_one_image():
    assert choose_angles("auto", Side(), halves((1.0, 0.9), (1.0, 0.9))) == QUARTERS


def test_a_number_gives_equal_steps_and_off_gives_none():
    assert choose_angles(4, Side(), halves((1.0, 0.1))) == QUARTERS
    assert choose_angles("off", Side(), halves((1.0, 0.1))) == []


def test_a_detector_knows_rotated_copies_of_its_normal_images_and_its_record_says_so():
    plain, rotated = build().fit(NORMALS), build(4).fit(NORMALS)
    copy = np.rot90(NORMALS[1]).copy()
    assert rotated.predict(copy).score < plain.predict(copy).score / 20  # not 0: images are resized in 8 bits
    assert rotated.normals["rotations"] == QUARTERS
    assert "rotations" not in plain.normals
    assert len(rotated.scorers[0].bank("raw3")) == 4 * len(plain.scorers[0].bank("raw3"))


def test_no_rotated_copy_of_an_image_helps_to_judge_it():
    calibrated = build(4).fit(NORMALS, calibrate=True).calibration
    for i, reference in enumerate(calibrated.references):
        others = [image for j, image in enumerate(NORMALS) if j != i]
        assert reference.score == pytest.approx(build(4).fit(others).predict(NORMALS[i]).score, abs=1e-5)
    assert all(score > 1e-3 for score in (reference.score for reference in calibrated.references))


def test_the_normal_range_leaves_out_the_copies_of_an_image_too():
    detector = build(4).fit(NORMALS)
    maps = [
        build(4).fit([image for j, image in enumerate(NORMALS) if j != i]).predict(NORMALS[i]).raw_map for i in range(3)
    ]
    assert detector.normal_range[0].item() == pytest.approx(float(np.median(np.stack(maps))), abs=1e-5)


def test_of_many_normal_images_only_the_first_are_rotated():
    images = [NORMALS[0]] * (MAX_ROTATED + 8)
    detector = build(2).fit(images)
    cells = math.prod(detector.backbone.grid)
    assert len(detector.scorers[0].bank("raw3")) == cells * (2 * MAX_ROTATED + 8)


def test_a_saved_detector_keeps_its_copies_and_its_setting(tmp_path):
    before = build(4).fit(NORMALS)
    before.save(tmp_path)
    after = vlmad_core.load(tmp_path, backbone=before.backbone)
    assert after.rotations == 4
    assert after.predict(NORMALS[0]).score == before.predict(NORMALS[0]).score
    assert after.normals == before.normals


@pytest.mark.parametrize("wrong", [1, 0, 73, "quarter", 2.5])
def test_another_setting_is_refused(wrong):
    with pytest.raises(ConfigError, match=r"references.rotations"):
        build(wrong)


def test_the_rows_of_rotated_copies_name_the_cell_of_the_image_that_they_show():
    before = regions_before(90.0, [1.0], (3, 3))[0].reshape(3, 3)
    numbers = torch.arange(9).reshape(3, 3)
    assert torch.equal(before, numbers.rot90(1).to(torch.int32))
    tall = regions_before(90.0, [0.5], (4, 4))[0].reshape(4, 4)
    assert tall.min() >= 0 and tall.max() < 16


def test_a_memory_of_rotated_copies_knows_each_image_once():
    levels = [LevelSpec("a", 4, False)]
    memory = Memory(MemoryConfig(), levels, None)
    features = Features((Level(levels[0], torch.randn(2, 9, 4), (3, 3)),))
    memory.fit(features)
    memory.fit_rotated(features, partial(regions_before, 180.0, [1.0, 1.0]))
    memory.fit(features)
    origins = memory.origins("a")
    assert origins[:, 0].tolist() == [0] * 9 + [1] * 9 + [0] * 9 + [1] * 9 + [2] * 9 + [3] * 9
    assert origins[18:27, 1].tolist() == list(range(8, -1, -1))


def test_each_scale_remembers_rotated_copies_and_normal_images_are_judged_without_their_own():
    detector = build(4, scales=[16, 32]).fit(NORMALS, calibrate=True)
    for of_scale, cells in zip(detector.scorers_by_scale, (4, 16), strict=True):
        assert len(of_scale[0].bank("raw3")) == 3 * 4 * cells
    others = build(4, scales=[16, 32]).fit(NORMALS[1:])
    assert detector.calibration.references[0].score == pytest.approx(others.predict(NORMALS[0]).score, abs=1e-5)


def test_copies_have_the_number_format_of_the_backbone():
    detector = build(4)
    detector.backbone.to(torch.bfloat16)
    assert detector.fit(NORMALS).predict(NORMALS[0]).score >= 0
