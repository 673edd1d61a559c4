"""Masks of every kind as one array of bool, and the saturation areas of MVTec LOCO."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from vlmad_core import Sample, read_dataset
from vlmad_core.datasets.loco import saturation_areas
from vlmad_core.datasets.masks import describe_mask, mask_of, open_mask
from vlmad_core.errors import ConfigError, ImageError
from vlmad_core.testing import memory_registry

HALF = np.zeros((4, 6), np.uint8)
HALF[:2] = 1


def palette(values: np.ndarray) -> Image.Image:
    """Number 0 is white and number 1 black: the colours count."""
    image = Image.new("P", values.shape[::-1])
    image.putpalette([255, 255, 255, 0, 0, 0])
    image.putdata([int(1 - value) for value in values.flat])
    return image


def transparent(values: np.ndarray) -> Image.Image:
    """White everywhere, and seen only where it is defective."""
    return Image.fromarray(np.dstack([np.full((*values.shape, 3), 255, np.uint8), values * 255]), "RGBA")


KINDS = {
    "bilevel": lambda v: Image.fromarray(v * 255).convert("1"),
    "grey": lambda v: Image.fromarray(v * 255),
    "number": lambda v: Image.fromarray(v),
    "sixteen": lambda v: Image.fromarray(v.astype(np.uint16)),
    "integer": lambda v: Image.fromarray(v.astype(np.int32)),
    "palette": palette,
    "blue": lambda v: Image.fromarray(np.dstack([v * 0, v * 0, v])),
    "transparent": transparent,
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_mask(tmp_path, kind):
    path = tmp_path / ("mask.tif" if kind == "integer" else "mask.png")
    KINDS[kind](HALF).save(path)
    found = open_mask(path)
    assert found.dtype == np.bool_
    assert (found == (HALF > 0)).all()


def test_arrays_and_pil_images():
    for source in (HALF, HALF > 0, HALF.astype(np.float32) / 2, Image.fromarray(HALF)):
        assert (open_mask(source) == (HALF > 0)).all()


def test_several_masks_are_joined():
    sample = Sample("a.png", True, "a", "test", masks=(HALF, HALF[::-1].copy()))
    assert mask_of(sample).all()


def test_masks_of_two_sizes_are_refused(tmp_path):
    Image.fromarray(HALF).save(tmp_path / "a.png")
    Image.fromarray(HALF.T.copy()).save(tmp_path / "b.png")
    sample = Sample("x.png", True, "a", "test", masks=(tmp_path / "a.png", tmp_path / "b.png"))
    with pytest.raises(ImageError, match=r"b\.png: is 4 x 6 pixels, but .*a\.png, for the same image, 6 x 4"):
        mask_of(sample)


def test_without_masks_the_image_gives_the_size(tmp_path):
    image = Image.new("RGB", (6, 4))
    image.save(tmp_path / "a.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    image.save(tmp_path / "b.jpg", exif=exif)
    assert mask_of(Sample(tmp_path / "a.png", False, "a", "test")).shape == (4, 6)
    assert mask_of(Sample(tmp_path / "b.jpg", False, "a", "test")).shape == (6, 4)
    assert mask_of(Sample(np.zeros((3, 5, 3)), False, "a", "test")).shape == (3, 5)
    assert not mask_of(Sample("is not opened", False, "a", "test"), (2, 3)).any()


def test_resize_cuts_at_one_half():
    """Two cells of eight: 5 of 8 columns of the left one, 3 of 8 of the right one, are marked."""
    wide = np.zeros((1, 16), bool)
    wide[:, 1:6] = True
    wide[:, 12:15] = True
    found = mask_of(Sample("x", True, "a", "test", masks=(wide,)), (1, 2))
    assert found.tolist() == [[True, False]]


def test_resize_is_that_of_pil():
    noise = np.random.default_rng(0).random((33, 47)) > 0.7
    wanted = Image.fromarray(noise.astype(np.uint8) * 255).resize((20, 10), Image.Resampling.BILINEAR)
    found = mask_of(Sample("x", True, "a", "test", masks=(noise,)), (10, 20))
    assert (found == (np.asarray(wanted) / 255 > 0.5)).all()


def test_describe():
    red = np.zeros((4, 6, 3), np.uint8)
    red[0, 0, 0] = 9
    assert describe_mask(HALF).size == (4, 6)
    assert describe_mask(Image.fromarray(red)).coloured
    assert not describe_mask(Image.fromarray(HALF).convert("RGB")).coloured
    assert not describe_mask(HALF * 0).any


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "no such file"), (b"", "the file is empty"), (b"GIF9", "is not an image that can be read")],
)
def test_masks_that_cannot_be_read(tmp_path, content, words):
    path = tmp_path / "mask.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ImageError, match=rf"mask\.png: {words}"):
        open_mask(path)


def test_mask_cut_short_and_folder(tmp_path):
    path = tmp_path / "mask.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(ImageError, match=r"mask\.png: is damaged or cut short"):
        open_mask(path)
    with pytest.raises(ImageError, match="is a folder, not a mask"):
        open_mask(tmp_path)


@pytest.mark.parametrize("array", [np.zeros((4, 4, 3)), np.zeros((0, 4))])
def test_arrays_that_are_no_masks(array):
    with pytest.raises(ImageError, match=r"a mask must be an array \[height, width\], not empty"):
        open_mask(array)


# -- MVTec LOCO


@pytest.fixture
def loco(tree):
    root = tree("mvtec-loco")
    return root, read_dataset(root, registry=memory_registry()).select(label=True)


def test_saturation_absolute_relative_and_never_more_than_the_defect(loco):
    _, samples = loco
    missing, extra = saturation_areas(samples.samples[0])
    assert (missing.name, missing.mask.sum(), missing.saturation) == ("missing", 16, 10)
    assert (extra.name, extra.mask.sum(), extra.saturation) == ("extra", 32, 16)
    (broken,) = saturation_areas(samples.samples[-1])
    assert (broken.name, broken.saturation) == ("broken", 8)


def test_saturation_of_a_value_that_nobody_knows(loco, mask):
    _, samples = loco
    mask(samples.samples[-1].masks[0], 7)
    with pytest.raises(ConfigError, match=r"defects_config\.json: has no entry 7, which .*000\.png needs\."):
        saturation_areas(samples.samples[-1])


def test_saturation_of_a_mask_with_two_values(loco):
    _, samples = loco
    Image.fromarray(np.arange(3, dtype=np.uint8)[None]).save(samples.samples[-1].masks[0])
    with pytest.raises(ConfigError, match=r"holds one value beside 0, which names the defect; got \[1 2\]"):
        saturation_areas(samples.samples[-1])


def test_saturation_without_its_file(loco):
    root, samples = loco
    config = root / "pushpins/defects_config.json"
    config.write_text(json.dumps({"pixel_value": 1}))
    with pytest.raises(ConfigError, match=r"defects_config\.json: is not a list of defects in JSON"):
        saturation_areas(samples.samples[0])
    config.unlink()
    with pytest.raises(ConfigError, match=r"no defects_config\.json above it"):
        saturation_areas(samples.samples[0])


def test_a_mask_larger_than_pil_allows_is_read(tmp_path, monkeypatch):
    Image.new("L", (8, 8), 255).save(tmp_path / "mask.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    sample = Sample(tmp_path / "image.png", True, "nut", "test", masks=(tmp_path / "mask.png",))
    assert mask_of(sample).all()
