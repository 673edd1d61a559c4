"""Maps can be undone, colours are fixed for a run, and sheets can be drawn."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vlmad_core.contracts.data import Prediction
from vlmad_core.errors import ConfigError
from vlmad_core.pipeline.pipeline import Pipeline
from vlmad_core.run import Scale, contact_sheet, draw, read_map, read_results, run
from vlmad_core.run.colour import colours
from vlmad_core.run.maps import encode, highest, shrunk
from vlmad_core.run.overlay import picture_box


def flat(value: float, size: tuple[int, int] = (64, 64)) -> Prediction:
    return Prediction(value, np.full((8, 8), value, np.float32), size)


@pytest.mark.parametrize(("kind", "near"), [("png16", 0.51 / 65535), ("npy", 0.0)])
def test_maps_can_be_read_back(
    pipeline: Pipeline, pictures: list[Path], tmp_path: Path, kind: str, near: float
) -> None:
    run(pipeline, pictures[:2], tmp_path / "out", maps=kind, overlays=False)  # type: ignore[arg-type]
    for result in read_results(tmp_path / "out"):
        assert result.overlay is None
        values = read_map(tmp_path / "out" / str(result.anomaly_map))
        assert values.shape == (40, 48)
        np.testing.assert_allclose(values, pipeline.predict(result.path).anomaly_map, atol=near + 1e-6)


def test_no_maps(pipeline: Pipeline, pictures: list[Path], tmp_path: Path) -> None:
    run(pipeline, pictures[:1], tmp_path / "out", maps="none", overlays=False)
    assert not (tmp_path / "out" / "maps").exists()


def test_large_images_have_smaller_maps(pipeline: Pipeline, pictures: list[Path], tmp_path: Path) -> None:
    run(pipeline, pictures[:1], tmp_path / "out", max_side=24)
    (result,) = read_results(tmp_path / "out")
    assert read_map(tmp_path / "out" / str(result.anomaly_map)).shape == (20, 24)
    assert (result.height, result.width) == (40, 48)
    assert json.loads((tmp_path / "out" / "run.json").read_text())["settings"]["max_side"] == 24
    assert shrunk((10, 20000), 4096) == (2, 4096)


def test_sums_have_room(make_pipeline: Callable[..., Pipeline]) -> None:
    assert highest(make_pipeline()) == 1
    layers = {"extractor.config.layers": [1, 2, 3]}
    assert highest(make_pipeline(**layers)) == 1
    assert highest(make_pipeline(**layers, **{"scorers.0.config.combine": "sum"})) == 3
    two = {"scorers": ["memory", "memory"], "fuse.map": "sum"}
    assert highest(make_pipeline(**two)) == 2


def test_values_beyond_the_scale_are_cut_and_said(
    pipeline: Pipeline, pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert encode(flat(1.5), "png16", 1.0, 99)[1]
    assert not encode(flat(1.0), "png16", 1.0, 99)[1]
    assert not encode(flat(1.5), "npy", 1.0, 99)[1]
    monkeypatch.setattr("vlmad_core.run.folder.highest", lambda pipeline: 1e-4)
    with pytest.warns(UserWarning, match="2 maps left 0 to 0.0001 and were cut there"):
        run(pipeline, pictures[:2], tmp_path / "out")


def test_equal_values_have_equal_colours() -> None:
    grey = Image.new("RGB", (64, 64), (128, 128, 128))
    low, high = np.full((8, 8), 0.3, np.float32), np.full((8, 8), 0.3, np.float32)
    low[0, 0], high[0, 0] = 0.0, 0.9
    sheets = [draw(grey, Prediction(0.3, values, (64, 64)), Scale(0, 1)) for values in (low, high)]
    box = picture_box(sheets[0].size)
    corners = [sheet.crop(box).getpixel((500, 500)) for sheet in sheets]
    assert corners[0] == corners[1]


def test_what_normal_images_show_stays_nearly_transparent() -> None:
    grey, scale = Image.new("RGB", (512, 512), (128, 128, 128)), Scale(0.1, 0.3, 0.2)
    change = []
    for value in (0.05, 0.19, 0.3, 5.0):
        sheet = draw(grey, flat(value), scale)
        pixel = sheet.crop(picture_box(sheet.size)).getpixel((256, 256))
        change.append(np.abs(np.array(pixel) - 128).max())
    assert change[0] == 0
    assert change[1] < 20
    assert change[2] > 60
    assert change[2] == change[3]


def test_scale_comes_from_normal_images_where_it_can(pipeline: Pipeline) -> None:
    pipeline.normal_range.copy_(torch.tensor([0.1, 0.3]))
    scale = Scale.of(pipeline)
    assert (scale.low, scale.high, scale.normal) == pytest.approx((0.1, 0.5, 0.3))
    assert Scale.of(pipeline, (0, 2)).high == 2
    pipeline.normal_range.fill_(float("nan"))
    assert Scale.of(pipeline) is None
    assert Scale.of(pipeline, (0, 2)) == Scale(0, 2, None, "given")


def outlined(sheet: Image.Image) -> np.ndarray:
    """Where the white line of the outline lies in the picture of an overlay."""
    return (np.asarray(sheet.crop(picture_box(sheet.size))) >= 235).all(-1)


def bump(height: float, noise: float = 0.01) -> Prediction:
    """Noise around 0.1, with a place in the middle that is higher."""
    values = np.random.default_rng(0).uniform(0.1 - noise, 0.1 + noise, (64, 64)).astype(np.float32)
    values[28:36, 28:36] = height
    return Prediction(height, values, (64, 64))


@pytest.mark.parametrize("height", [0.16, 0.3, 0.9])
@pytest.mark.parametrize("scale", [None, Scale(0.1, 0.2, 0.15, "normals"), Scale(0, 1, 0.15)])
def test_what_is_unusual_is_outlined_whatever_the_scale(height: float, scale: Scale | None) -> None:
    grey = Image.new("RGB", (512, 512), (60, 60, 60))
    line = outlined(draw(grey, bump(height), scale))
    rows, columns = np.nonzero(line[150:360, 150:360])
    assert len(rows) > 100
    assert 50 < np.ptp(rows) < 120
    assert 50 < np.ptp(columns) < 120


def test_nothing_is_outlined_where_all_is_usual() -> None:
    grey = Image.new("RGB", (512, 512), (60, 60, 60))
    assert not outlined(draw(grey, bump(0.12), Scale(0.1, 0.2, 0.15, "normals"))).any()
    assert not outlined(draw(grey, flat(0.4))).any()


def test_map_of_low_values_without_normal_images_is_not_blank() -> None:
    grey = Image.new("RGB", (512, 512), (128, 128, 128))
    sheet = draw(grey, Prediction(0.03, bump(0.03).raw_map / 10, (64, 64)))
    change = np.abs(np.asarray(sheet.crop(picture_box(sheet.size))).astype(int) - 128).max(-1)
    assert change.max() > 60


def test_legend_shows_no_number_beside_the_score_unless_it_was_given() -> None:
    for scale in (Scale(0.1, 0.2, 0.15, "normals"), Scale(0.1, 0.2, 0.15, "picture")):
        assert not any(letter.isdigit() for text in scale.words for letter in text.replace("99.5", ""))
    assert Scale(0.1, 0.2).words == ("map value 0.1", "", "0.2")


@pytest.mark.parametrize("ends", [(1, 0), (1, 1), (0, float("nan")), (0, float("inf"))])
def test_scale_needs_two_numbers(ends: tuple[float, float]) -> None:
    with pytest.raises(ConfigError, match="a colour scale needs two numbers"):
        Scale(*ends)


def test_one_folder_keeps_its_scale(pipeline: Pipeline, pictures: list[Path], tmp_path: Path) -> None:
    run(pipeline, pictures[:1], tmp_path / "out")
    before = json.loads((tmp_path / "out" / "run.json").read_text())["scale"]
    pipeline.normal_range.mul_(1.0001)  # another number of threads
    run(pipeline, pictures, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "run.json").read_text())["scale"] == before


def test_ramp_grows_lighter() -> None:
    light = colours(np.linspace(0, 1, 200)) @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(light) > 0).all()


@pytest.mark.parametrize("size", [(20, 30), (3000, 1000), (12, 4000), (4000, 12)])
def test_overlays_of_any_shape(size: tuple[int, int]) -> None:
    sheet = draw(Image.new("RGB", (size[1], size[0])), flat(0.5, size), Scale(0, 1, 0.4), "a long name " * 20)
    left, top, right, bottom = picture_box(sheet.size)
    assert 360 <= max(sheet.size) <= 1800
    assert (left, right) == (0, sheet.width)
    assert bottom > top


def test_contact_sheet(pipeline: Pipeline, pictures: list[Path], tmp_path: Path) -> None:
    run(pipeline, pictures[:5], tmp_path / "out")
    labels = {str(pictures[0]): "defective"}
    path = contact_sheet(tmp_path / "out", tmp_path / "new" / "sheet.png", count=9, labels=labels)
    with Image.open(path) as sheet:
        assert min(sheet.size) > 300


def test_contact_sheet_without_overlays(pipeline: Pipeline, pictures: list[Path], tmp_path: Path) -> None:
    run(pipeline, pictures[:1], tmp_path / "out", overlays=False)
    with pytest.raises(ConfigError, match="holds no overlays"):
        contact_sheet(tmp_path / "out", tmp_path / "sheet.png")


def test_read_map_refuses_other_files(tmp_path: Path) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "x.png")
    (tmp_path / "y.npy").write_bytes(b"no")
    for name in ("x.png", "y.npy", "z.png"):
        with pytest.raises(ConfigError, match="is not a map written by vlmad"):
            read_map(tmp_path / name)
