"""Pixels, maps, regions and verdicts are those of the core, to the last bit where they are copied or computed alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from vlmad_core.contracts import Prediction
from vlmad_core.contracts.decode import decode
from vlmad_core.contracts.images import Preprocess, to_pixels
from vlmad_core.inspection.calibration import Calibration, Fingerprint, ImageScore
from vlmad_core.inspection.regions import find_regions
from vlmad_core.inspection.rule import make_rule
from vlmad_edge.detector import load
from vlmad_edge.detector import to_pixels as edge_pixels
from vlmad_edge.interpolation import bilinear
from vlmad_edge.labelling import label
from vlmad_edge.rule import Rule
from vlmad_edge.shared.decode import decode as edge_decode
from vlmad_edge.shared.regions import find_regions as edge_regions


def _texture(mode: str = "RGB", size: tuple[int, int] = (97, 61)) -> Image.Image:
    rng = np.random.default_rng(3)
    return Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), np.uint8)).resize(size).convert(mode)


def _turned(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    _texture().save(path, exif=exif)


def _with_alpha(path: Path) -> None:
    image = _texture("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    image.save(path)


FILES: dict[str, Callable[[Path], None]] = {
    "plain.png": lambda path: _texture().save(path),
    "photo.jpg": lambda path: _texture().save(path, quality=80),
    "progressive.jpg": lambda path: _texture().save(path, quality=60, progressive=True),
    "turned.jpg": _turned,
    "cmyk.jpg": lambda path: _texture("CMYK").save(path),
    "grey.jpg": lambda path: _texture("L").save(path),
    "alpha.png": _with_alpha,
    "palette.png": lambda path: _texture("P").save(path),
    "one-bit.png": lambda path: _texture("1").save(path),
    "deep.png": lambda path: Image.fromarray(np.asarray(_texture("L")).astype(np.uint16) * 257).save(path),
    "deep.tif": lambda path: Image.fromarray(np.asarray(_texture("L")).astype(np.uint16) * 257).save(path),
    "lossless.webp": lambda path: _texture().save(path, lossless=True),
    "picture.bmp": lambda path: _texture().save(path),
}


@pytest.mark.parametrize("name", FILES)
def test_pixels_are_equal_to_the_last_bit(name: str, tmp_path: Path, model: Path) -> None:
    path = tmp_path / name
    FILES[name](path)
    record = load(model).record
    preprocess = Preprocess(record.size, record.mean, record.std)
    expected = to_pixels(decode(path, smallest=record.size).image, preprocess).numpy()
    np.testing.assert_array_equal(edge_pixels(edge_decode(path, smallest=record.size).image, record), expected)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("size", [(61, 97), (8, 200), (300, 7)])
def test_every_filter_of_the_resize_is_the_core_s(
    interpolation: str, size: tuple[int, int], model: Path, write_record: Callable[..., Path]
) -> None:
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    pixels = {"size": [32, 48], "interpolation": interpolation, "mean": mean, "std": std, "bits": None}
    write_record(model, preprocess=pixels)
    record = load(model).record
    image = _texture(size=(size[1], size[0]))
    preprocess = Preprocess(record.size, mean, std, interpolation)  # type: ignore[arg-type]
    np.testing.assert_array_equal(edge_pixels(image, record), to_pixels(image, preprocess).numpy())


@pytest.mark.parametrize("size", [(224, 224), (97, 301), (10, 5), (1, 1), (14, 14)])
def test_a_map_is_resized_as_the_core_does(size: tuple[int, int]) -> None:
    values = np.random.default_rng(0).random((14, 14), np.float32)
    expected = Prediction(0.0, values, size).map_at(size)
    np.testing.assert_allclose(bilinear(values, size), expected, atol=2e-6)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.3, 0.5, 0.7, 1.0])
@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (37, 53)])
def test_regions_are_numbered_as_scipy_does(share: float, shape: tuple[int, int]) -> None:
    mask = np.random.default_rng(7).random(shape) < share
    labels, boxes = label(mask)
    expected, _ = ndimage.label(mask, structure=np.ones((3, 3)))
    np.testing.assert_array_equal(labels, expected)
    assert boxes == ndimage.find_objects(expected)


def test_a_region_that_joins_late_is_one_region() -> None:
    mask = np.array([[1, 0, 1, 0, 1], [1, 0, 1, 0, 1], [1, 1, 1, 1, 1]], bool)
    assert label(mask)[0].max() == 1


def test_regions_of_a_map_are_the_core_s() -> None:
    values = ndimage.gaussian_filter(np.random.default_rng(2).random((60, 80)), 2)
    threshold = float(np.quantile(values, 0.9))
    ours, theirs = edge_regions(values, threshold), find_regions(values, threshold)
    assert [vars(region) for region in ours.regions] == [vars(region) for region in theirs.regions]
    assert len(ours.regions) > 5


def test_verdicts_are_those_of_the_core_s_rule() -> None:
    rng = np.random.default_rng(1)
    images = tuple(
        ImageScore(f"{i}", float(score), class_nearest=float(near), class_farthest=float(near) * 3)
        for i, (score, near) in enumerate(zip(rng.random(120), rng.random(120) / 10, strict=True))
    )
    rule = make_rule(Calibration(Fingerprint("r", (8, 8), "float32"), held_out=images))
    edge = Rule(
        tuple(rule.normals.tolist()),
        rule.threshold,
        rule.review_threshold,
        rule.scale,
        rule.false_alarms,
        tuple(rule.class_distances.tolist()),
        rule.class_limit,
    )
    scores = [*rng.random(50).tolist(), rule.threshold, float(rule.review_threshold or 0), -1.0, 5.0]
    for score in scores:
        for distance in (None, 0.0, 0.05, 0.29, 0.31):
            assert vars(edge.verdict(score, distance)) == vars(rule.verdict(score, distance))
