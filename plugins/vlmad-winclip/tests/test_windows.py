"""Windows cover everything, are equal to the plain forward where they are the whole grid, and leave no trace."""

import numpy as np
import pytest
import torch

import vlmad_core
from vlmad_core.contracts.towers import forward_blocks
from vlmad_core.registry.validate import validate
from vlmad_core.testing import tiny_backbone
from vlmad_winclip.plugin import WindowsConfig
from vlmad_winclip.windows import Windows, window_cells


@pytest.mark.parametrize("grid", [(4, 4), (3, 7), (5, 2)])
@pytest.mark.parametrize(("side", "stride"), [(1, 1), (2, 1), (2, 2)])
def test_no_cell_is_left_out(grid, side, stride):
    cells = window_cells(grid, side, stride)
    assert set(cells.flatten().tolist()) == set(range(grid[0] * grid[1]))
    assert cells.shape[1] == side * side


@torch.no_grad()
@pytest.mark.parametrize("class_pool", [True, False])
def test_a_window_of_the_whole_grid_is_the_plain_forward(class_pool):
    backbone = tiny_backbone(class_pool=class_pool)
    images = torch.randn(2, 3, 32, 32)
    features = Windows(WindowsConfig(scales=(4,)), backbone)(backbone.vision, images)
    torch.testing.assert_close(features["window4"].vectors[:, 0], features.image)
    x, _ = forward_blocks(backbone.vision.blocks, backbone.vision.embed(images)[0])
    torch.testing.assert_close(features["patch"].vectors, x[:, backbone.vision.prefix :])


@torch.no_grad()
def test_windows_equal_those_run_one_by_one():
    backbone = tiny_backbone(registers=2)
    vision, images = backbone.vision, torch.randn(2, 3, 32, 40)
    windows = Windows(WindowsConfig(scales=(2,)), tiny_backbone(registers=2, image_size=(32, 40)))
    found = windows(vision, images)["window2"].vectors
    x, grid = vision.embed(images)
    for i, cells in enumerate(window_cells(grid, 2)):
        alone = torch.cat([x[:, : vision.prefix], x[:, vision.prefix + cells]], dim=1)
        torch.testing.assert_close(
            found[:, i], vision.pool(forward_blocks(vision.blocks, alone)[0]), rtol=1e-4, atol=1e-5
        )


@torch.no_grad()
def test_a_result_does_not_depend_on_its_batch_or_the_chunk():
    backbone = tiny_backbone()
    images = torch.randn(3, 3, 32, 32)
    whole = Windows(WindowsConfig(chunk=1000), backbone)(backbone.vision, images)
    alone = Windows(WindowsConfig(chunk=2), backbone)(backbone.vision, images[1:2])
    for one, other in zip(whole.levels, alone.levels, strict=True):
        torch.testing.assert_close(one.vectors[1:2], other.vectors, rtol=1e-4, atol=1e-5)


def test_gradients_reach_the_picture():
    backbone = tiny_backbone()
    images = torch.randn(1, 3, 32, 32, requires_grad=True)
    Windows(WindowsConfig(), backbone)(backbone.vision, images)["window3"].vectors.sum().backward()
    assert images.grad is not None and images.grad.abs().sum() > 0


def test_a_window_larger_than_the_grid_is_refused_before_an_image_is_read():
    with pytest.raises(
        vlmad_core.errors.IncompatibleError, match=r"a window of 3 patches is larger than the grid of 2 x 4"
    ):
        Windows(WindowsConfig(), tiny_backbone(image_size=(16, 32)))


def test_a_tower_of_one_block_is_refused():
    with pytest.raises(vlmad_core.errors.IncompatibleError, match="at least 2 blocks"):
        Windows(WindowsConfig(), tiny_backbone(depth=1))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"scales": []}, "scales"),
        ({"scales": [2, 2]}, "each once"),
        ({"scales": [0]}, "whole numbers from 1"),
        ({"stride": 3}, "stride larger than the smallest scale"),
        ({"chunk": 0}, "chunk: must be greater than 0, got 0"),
        ({"scale": [2]}, "Did you mean 'scales'?"),
    ],
)
def test_impossible_options_are_refused(options, said):
    with pytest.raises(vlmad_core.errors.ConfigError, match=r"extractor\.config") as error:
        validate(WindowsConfig, options, "extractor.config", "windows")
    assert said in str(error.value)


def test_few_shot_without_text_keeps_the_vision_half_and_says_so():
    with pytest.warns(UserWarning, match="scorer 'text-match' is left out"):
        detector = vlmad_core.build("winclip-few-shot", backbone=tiny_backbone(text=False))
    pictures = [np.random.default_rng(i).integers(0, 255, (32, 32, 3), dtype=np.uint8) for i in range(3)]
    detector.fit(pictures[:2], class_name="cell")
    assert detector.predict(pictures[0]).score < 1e-5 < detector.predict(pictures[2]).score


def test_zero_shot_without_text_is_refused():
    with pytest.raises(vlmad_core.errors.IncompatibleError, match="need a backbone with text"):
        vlmad_core.build("winclip", backbone=tiny_backbone(text=False))


@pytest.mark.parametrize("name", ["winclip", "winclip-anomalib", "winclip-zq", "winclip-mala"])
def test_each_recipe_builds_on_any_backbone_with_text(name):
    picture = np.zeros((40, 50, 3), dtype=np.uint8)
    zero = vlmad_core.build(name, backbone=tiny_backbone())
    assert zero.predict(picture, "nut").anomaly_map.shape == (40, 50)
    few = vlmad_core.build(f"{name}-few-shot", backbone=tiny_backbone())
    assert 0 <= few.fit([picture], class_name="nut").predict(picture).score < 1


def test_a_window_larger_than_the_grid_of_one_long_image_is_refused_for_that_image():
    backbone = tiny_backbone(image_size=(64, 64))
    windows = Windows(WindowsConfig(scales=(2, 5)), backbone)
    with pytest.raises(vlmad_core.errors.ImageError, match=r"a window of 5 patches is larger than the grid of 4 x 16"):
        windows(backbone.vision, torch.zeros(1, 3, 32, 128))
