"""Images of any size and shape: positions are right to the pixel, whatever an image was read as."""

from __future__ import annotations

import json
import weakref

import numpy as np
import pytest
import torch
from PIL import Image

from vlmad_core import Pipeline, build, load
from vlmad_core.contracts.data import Features, Level, LevelSpec, Scores
from vlmad_core.contracts.image_size import ImageSize
from vlmad_core.contracts.images import Preprocess, read, view_batches
from vlmad_core.contracts.ops import resize
from vlmad_core.contracts.parts import Extractor, Scorer
from vlmad_core.contracts.tiles import MAX_MAP, Tiles
from vlmad_core.contracts.views import View, Views
from vlmad_core.errors import ConfigError, ImageError, IncompatibleError
from vlmad_core.inspection.regions import find_regions
from vlmad_core.pipeline.scales import ViewScores
from vlmad_core.pipeline.spec import PipelineSpec
from vlmad_core.registry.validate import validate
from vlmad_core.run import Scale, draw, judge
from vlmad_core.run.verdicts import region_record
from vlmad_core.testing import memory_registry, tiny_backbone

MEMORY = {"backbone": "tiny", "extractor": "patches", "scorers": ["memory"]}
PATCH = 8


class Brightness(Extractor):
    """The mean of each patch of 8 x 8 pixels."""

    levels = (LevelSpec("mean", 1, False),)

    def forward(self, vision, images):
        cells = torch.nn.functional.avg_pool2d(images.mean(1, keepdim=True), PATCH)
        return Features((Level(self.levels[0], cells.flatten(2).transpose(1, 2), tuple(cells.shape[-2:])),))


class Bright(Scorer):
    """How bright a patch is."""

    def forward(self, features, text_embeddings, size):
        cells = features.levels[0].vectors[..., 0].reshape(-1, *features.levels[0].grid)
        return Scores(cells.flatten(1).amax(1), resize(cells, size))


def brightness(views: Views | None) -> Pipeline:
    """A detector of brightness on 32 x 32 pixels."""
    return Pipeline(tiny_backbone(), Brightness(), [Bright()], views=views)


FIT = ImageSize((32, 32), 64, (PATCH, PATCH))
WAYS = {
    "stretch": Views((ImageSize((64, 64)),)),
    "fit": Views((FIT,)),
    "two sizes": Views((ImageSize((32, 32)), ImageSize((96, 96)))),
    "two sizes, fit": Views((FIT, ImageSize((32, 32), 256, (PATCH, PATCH)))),
    "tiles": Views((ImageSize((32, 32)),), Tiles()),
    "tiles, fit": Views((FIT,), Tiles(side=90)),
    "tiles of one size": Views((ImageSize((32, 32)),), Tiles(count=7, overlap=0.4)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shape", [(240, 320), (600, 120), (90, 700)])
@pytest.mark.parametrize("place", [(0.02, 0.03), (0.97, 0.1), (0.31, 0.72), (0.98, 0.97)])
def test_dot_is_where_it_is(way, shape, place):
    row, column = int(place[0] * shape[0]), int(place[1] * shape[1])
    image = np.zeros((*shape, 3), np.uint8)
    radius = max(4, min(shape) // 24)
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    image[(rows - row) ** 2 + (columns - column) ** 2 <= radius**2] = 255
    found = brightness(WAYS[way]).predict(image)
    assert found.size == shape
    # No map can be finer than the cells that it was made of: those of the coarsest view.
    coarsest = max((view.reduction for view in WAYS[way].of(shape)), key=lambda reduction: max(reduction))
    cell = PATCH * coarsest[0], PATCH * coarsest[1]
    assert abs(found.peak[0] - row) <= cell[0] + radius
    assert abs(found.peak[1] - column) <= cell[1] + radius
    values = found.anomaly_map - np.median(found.anomaly_map)
    weights = np.where(values > 0.5 * values.max(), values, 0)
    centre = (
        weights.sum(1) @ np.arange(shape[0]) / weights.sum(),
        weights.sum(0) @ np.arange(shape[1]) / weights.sum(),
    )
    assert abs(centre[0] - row) <= 0.6 * cell[0] + radius
    assert abs(centre[1] - column) <= 0.6 * cell[1] + radius


@pytest.mark.parametrize("shift", range(0, 64, 7))
def test_dot_on_a_seam_of_tiles_keeps_its_place_and_height(shift):
    """Tiles of 64 pixels every 48: wherever the dot is, two tiles or one see it, and the map says the same."""
    shape, views = (400, 400), Views((ImageSize((32, 32)),), Tiles(side=64))
    image = np.zeros((*shape, 3), np.uint8)
    row, column = 150 + shift, 170 + shift
    image[row : row + 16, column : column + 16] = 255
    found = brightness(views).predict(image)
    assert found.tiles == 64
    (region, *others) = find_regions(found.raw_map, float(found.raw_map.max() + np.median(found.raw_map)) / 2).regions
    assert not others
    left, top, right, bottom = region_record(region, found.raw_map.shape, shape)["box"]
    assert abs((top + bottom) / 2 - row - 8) <= 8
    assert abs((left + right) / 2 - column - 8) <= 8
    assert max(bottom - top, right - left) <= 16 + 2 * 16


def test_overlay_has_its_heat_on_the_dot():
    image = np.zeros((90, 700, 3), np.uint8)
    image[30:45, 500:515] = 255
    found = brightness(WAYS["tiles, fit"]).predict(image)
    drawn = draw(Image.fromarray(np.zeros_like(image)), found, Scale(*np.quantile(found.raw_map, [0.5, 1.0])))
    heat = np.asarray(drawn, dtype=float)[..., 0]
    top = (drawn.height - round(90 * drawn.width / 700)) * 2 // 5
    picture = heat[top - 5 : top + round(90 * drawn.width / 700) + 5]
    _, column = np.unravel_index(picture.argmax(), picture.shape)
    assert abs(column / drawn.width * 700 - 507) < 25


def test_one_stretched_view_is_what_it_always_was():
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    before = brightness(None).predict(image)
    same = brightness(Views((ImageSize((32, 32)),), Tiles())).predict(image)
    assert same.score == before.score
    np.testing.assert_array_equal(same.raw_map, before.raw_map)


# -- one score and one map


WHOLE, FINE = View(0, (0, 0, 40, 40), (4, 4)), View(1, (0, 0, 40, 40), (8, 8))


def fused(rule, ranges=None):
    scores = ViewScores((WHOLE, FINE), (40, 40), rule)
    scores.add(WHOLE, 0.2, np.full((4, 4), 0.1, np.float32))
    scores.add(FINE, 0.6, np.full((8, 8), 0.5, np.float32))
    return scores.result(ranges)


def test_scales_are_fused_by_mean_or_max():
    score, map_ = fused("mean")
    assert (round(score, 6), map_.shape) == (0.4, (8, 8))
    np.testing.assert_allclose(map_, 0.3, rtol=1e-6)
    score, map_ = fused("max")
    assert score == 0.6
    np.testing.assert_allclose(map_, 0.5)


def test_normalized_puts_each_scale_on_the_range_of_its_own_normal_images():
    ranges = np.array([[0.1, 0.3], [0.4, 0.8]], np.float32)  # a gain of 0.5, then 0.1 - 0.2
    score, map_ = fused("normalized", ranges)
    assert score == pytest.approx((0.2 + (0.6 * 0.5 - 0.1)) / 2)
    np.testing.assert_allclose(map_, (0.1 + 0.15) / 2, rtol=1e-5)


def test_normalized_is_the_mean_where_no_range_is_known():
    assert fused("normalized", np.full((2, 2), np.nan, np.float32))[0] == fused("mean")[0]


def test_score_of_tiles_is_that_of_the_most_anomalous_one():
    views = Views((ImageSize((32, 32)),), Tiles(side=50)).of((100, 100))
    scores = ViewScores(views, (100, 100))
    for i, view in enumerate(views):
        scores.add(view, float(i), np.full(view.size, float(i), np.float32))
    assert len(views) == 10
    assert scores.scales[1][0] == 9.0
    assert scores.result()[0] == 4.5  # mean of the whole image, 0, and the highest tile


# -- memory, batches, files


def test_images_of_different_shapes_are_judged_together_and_in_order(tmp_path):
    detector, images = brightness(WAYS["fit"]), []
    for i, shape in enumerate([(40, 40), (40, 80), (40, 40), (80, 40), (300, 10)]):
        images.append(np.full((*shape, 3), 40 * i, np.uint8))
    together = detector.predict(images)
    assert [one.size for one in together] == [image.shape[:2] for image in images]
    for one, image in zip(together, images, strict=True):
        assert one.score == pytest.approx(detector.predict(image).score, abs=1e-6)


def test_one_large_image_is_in_memory_at_a_time():
    """Each decoded image is given back before the next one is read."""
    alive: list[weakref.ref] = []
    most = 0
    preprocess = Preprocess((32, 32), views=Views((ImageSize((32, 32)),), Tiles(side=64)))
    images = [Image.fromarray(np.zeros((200, 200, 3), np.uint8)) for _ in range(6)]
    for pictures in read(images, preprocess, batch_size=4):
        assert len(pictures) == 1
        alive.append(weakref.ref(pictures[0].tiles._image))
        assert sum(len(rows) for rows, _, _ in view_batches(pictures)) == 1 + pictures[0].tile_count
        assert max(len(rows) for rows, _, _ in view_batches(pictures)) <= 8
        most = max(most, sum(one() is not None for one in alive))
        kept = pictures[0]
    assert most == 1
    with pytest.raises(ImageError, match="before the next image is read"):
        kept.view_pixels(1)


def test_small_images_between_large_ones_keep_their_order():
    preprocess = Preprocess((32, 32), views=Views((ImageSize((32, 32)),), Tiles(side=64)))
    sides = [20, 200, 30, 40, 210, 50]
    images = [np.zeros((side, side, 3), np.uint8) for side in sides]
    batches = [[picture.size[0] for picture in pictures] for pictures in read(images, preprocess, batch_size=4)]
    assert batches == [[20], [200], [30, 40], [210], [50]]


def large(count, seed=0, side=160):
    rng = np.random.default_rng(seed)
    return [rng.integers(100, 140, (side, side, 3), np.uint8) for _ in range(count)]


@pytest.fixture
def registry():
    return memory_registry()


def few_shot(registry, **changes):
    return build({**MEMORY, **changes}, registry=registry)


def test_tiles_of_normal_images_are_remembered_apart_from_the_whole(registry):
    detector = few_shot(registry, tiles="80px").fit(large(2))
    tiles = len(Tiles(side=80).of((160, 160), (32, 32)))
    assert len(detector.scorers[0].bank("block3")) == 2 * 16
    assert len(detector.scorers_at(1)[0].bank("block3")) == 2 * tiles * 16
    assert torch.isfinite(detector.scale_ranges).all()
    damaged = large(1)[0].copy()
    damaged[70:80, 90:100] = 255
    assert detector.predict(damaged).score > detector.predict(large(1)[0]).score


def test_tiles_of_an_image_are_not_compared_with_nothing(registry):
    detector = few_shot(registry, tiles="auto").fit(large(2, side=64))
    assert detector.predict(large(1, side=64)[0]).tiles == 0
    with pytest.raises(ImageError, match=r"320 x 320 pixels are read in tiles, and no normal image was large enough"):
        detector.predict(large(1, side=320)[0])


def test_image_that_is_too_small_for_tiles_is_not_compared_with_tiles_alone(registry, tmp_path):
    detector = few_shot(registry, tiles="auto").fit(large(2, side=320))
    again = load(detector.save(tmp_path / "d"), registry=registry)
    for one in (detector, again):
        assert one.predict(large(1, side=320)[0]).tiles == 49
        with pytest.raises(ImageError, match="64 x 64 pixels are too few for tiles, and every normal image was read"):
            one.predict(large(1, side=64)[0])
        picture = next(read(large(1, side=64), one.preprocess, batch_size=1))
        with pytest.raises(ImageError, match="64 x 64 pixels are too few for tiles"):
            one.explain_batch(picture)
    mixed = detector.fit(large(1, side=64), keep=True)
    assert mixed.predict(large(1, side=64)[0]).tiles == 0


def test_in_a_folder_only_the_image_that_has_nothing_to_be_compared_with_fails(registry, tmp_path):
    detector = few_shot(registry, tiles="auto").fit(large(2, side=64))
    for i, side in enumerate([64, 320, 60]):
        Image.fromarray(large(1, side=side)[0]).save(tmp_path / f"{i}.png")
    results = [result for batch in judge(detector, sorted(tmp_path.iterdir())) for result, _ in batch]
    assert [result.score is None for result in results] == [False, True, False]
    assert str(tmp_path / "1.png") in results[1].error
    assert results[0].tiles is None


def test_result_says_in_how_many_tiles_an_image_was_read(tmp_path):
    Image.fromarray(large(1, side=320)[0]).save(tmp_path / "0.png")
    ((result, prediction),) = next(judge(brightness(WAYS["tiles"]), [tmp_path / "0.png"]))
    assert result.tiles == prediction.tiles == 49
    assert result.note == "read as a whole and in 49 tiles of 64 x 64 pixels."
    assert "tiles=49" in repr(prediction)


@pytest.mark.parametrize(
    "changes",
    [
        {"image_size": "fit:36"},
        {"scales": [32, 64]},
        {"tiles": "80px"},
        {"scales": [32, 48], "fuse": {"scales": "normalized"}},
    ],
)
def test_saved_detector_keeps_how_it_reads_images(registry, tmp_path, changes):
    detector = few_shot(registry, **changes).fit(large(3), calibrate=True)
    again = load(detector.save(tmp_path / "d"), registry=registry)
    image = large(1, seed=5)[0][:, :120]
    assert again.views == detector.views
    assert again.predict(image).score == detector.predict(image).score
    np.testing.assert_array_equal(again.predict(image).raw_map, detector.predict(image).raw_map)
    assert (
        again.verdict(again.predict(image)).label == "uncalibrated"
    )  # of three normals; the calibration itself is there
    assert len(again.calibration.references) == 3
    again.calibration.check_detector(again.fingerprint())


@pytest.mark.parametrize(
    "changes", [{"image_size": {"policy": "fit"}}, {"image_size": {"size": 64}}, {"tiles": {"when": "auto"}}]
)
def test_calibration_of_another_way_to_read_images_is_stale(registry, tmp_path, changes):
    calibrated = few_shot(registry).fit(large(3), calibrate=True)
    folder = calibrated.save(tmp_path / "d")
    if "tiles" in changes:
        with pytest.raises(ConfigError, match="were read at 1 scales, counting tiles as one, and 2 are asked for"):
            load(folder, registry=registry, overrides=changes)
        return
    again = load(folder, registry=registry, overrides=changes)
    with pytest.raises(ConfigError, match="the recipe is another one"):
        again.verdict(again.predict(large(1)[0]))


def test_detector_that_was_fitted_with_tiles_can_do_without(registry, tmp_path):
    folder = few_shot(registry, tiles="80px").fit(large(2)).save(tmp_path / "d")
    without = load(folder, registry=registry, overrides={"tiles": "off"})
    plain = few_shot(registry).fit(large(2))
    assert without.predict(large(1, 3)[0]).score == plain.predict(large(1, 3)[0]).score


def test_leave_one_out_scores_are_those_of_a_detector_without_the_image(registry):
    images = large(3)
    detector = few_shot(registry, tiles="80px").fit(images, calibrate=True)
    without = few_shot(registry, tiles="80px").fit(images[1:])
    assert detector.calibration.references[0].score == pytest.approx(without.predict(images[0]).score, abs=1e-6)


def test_calibration_of_images_with_and_without_tiles_is_refused_and_nothing_changes(registry):
    detector, images = few_shot(registry, tiles="auto"), [*large(2, side=320), *large(2, side=64)]
    with pytest.raises(ConfigError, match="'image 1' is read in tiles and 'image 3' is too small for that, so their"):
        detector.fit(images, calibrate=True)
    assert not detector.scorers[0].is_fitted
    assert detector.fit(images).calibration is None


def test_files_of_detectors_with_one_size_do_not_change(registry, tmp_path):
    detector = few_shot(registry).fit(large(2))
    record = json.loads((detector.save(tmp_path / "d") / "detector.json").read_text())
    assert not {"image_size", "scales", "tiles"} & record["spec"].keys()
    assert record["spec"]["fuse"] == {"image": "mean", "map": "mean"}
    assert not [name for name in detector.state_dict() if "scale" in name]


# -- reasons, rotated copies


def test_reasons_are_given_where_the_aspect_ratio_is_kept(registry, tmp_path):
    files = [tmp_path / f"{i}.png" for i in range(3)]
    for i, (file, shape) in enumerate(zip(files, [(60, 90), (90, 60), (60, 90)], strict=True)):
        Image.fromarray(np.random.default_rng(i).integers(0, 255, (*shape, 3), np.uint8)).save(file)
    detector = few_shot(registry, image_size="fit:64").fit(files)
    found = detector.predict(files[1])
    evidence = found.evidence()
    assert evidence.score.value == pytest.approx(found.score, abs=1e-6)
    assert evidence.nearest.path == str(files[1])  # itself, although images of one size are fitted together
    assert evidence.nearest.normal_box is None


@pytest.mark.parametrize(("changes", "error"), [({"scales": [32, 64]}, ConfigError), ({"tiles": "80px"}, ImageError)])
def test_reasons_for_several_inputs_of_an_image_are_refused(registry, changes, error):
    image = large(1)[0]
    found = few_shot(registry, **changes).fit(large(2)).predict(image)
    with pytest.raises(error, match="reasons are given for one input an image"):
        found.evidence(image)


def test_normal_images_are_rotated_at_every_size_and_in_tiles(registry):
    detector = few_shot(registry, scales=[32, 64], tiles="80px", references={"rotations": 4}).fit(large(1))
    tiles = len(Tiles(side=80).of((160, 160), (32, 32)))
    held = [len(detector.scorers_at(scale)[0].bank("block3")) for scale in range(3)]
    assert held == [4 * 16, 4 * 64, 4 * tiles * 16]


# -- pipeline files


@pytest.mark.parametrize(
    ("short", "views"),
    [
        ({"image_size": "fit"}, Views((ImageSize((32, 32), 16, (8, 8)),))),
        ({"image_size": "fit:100"}, Views((ImageSize((32, 32), 100, (8, 8)),))),
        ({"image_size": 64}, Views((ImageSize((64, 64)),))),
        ({"image_size": [64, 32]}, Views((ImageSize((64, 32)),))),
        ({"image_size": "64x32"}, Views((ImageSize((64, 32)),))),
        ({"scales": [32, 64]}, Views((ImageSize((32, 32)), ImageSize((64, 64))))),
        ({"scales": [32], "image_size": "fit"}, Views((ImageSize((32, 32), 16, (8, 8)),))),
        ({"tiles": "auto"}, Views((ImageSize((32, 32)),), Tiles())),
        ({"tiles": 4}, Views((ImageSize((32, 32)),), Tiles(count=4))),
        (
            {"tiles": {"when": "always", "side": 99, "overlap": 0.5}},
            Views((ImageSize((32, 32)),), Tiles(None, 99, 0.5)),
        ),
        ({"tiles": False, "image_size": "stretch"}, None),
    ],
)
def test_short_forms_mean_what_they_say(registry, short, views):
    detector = few_shot(registry, **short)
    assert detector.views == views
    again = validate(PipelineSpec, detector.spec.model_dump(mode="json"))
    assert again == detector.spec
    assert ("input " in detector.summary()) == (views is not None)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (
            {"image_size": "fot"},
            "image_size: must be a side such as 448, HEIGHTxWIDTH such as 336x448, fit",
        ),
        ({"image_size": {"policy": "fit", "size": 64}}, "image_size: policy 'fit' takes tokens and no size"),
        ({"image_size": {"tokens": 64}}, "image_size: tokens belong to policy 'fit'"),
        ({"image_size": "fit:4"}, "image_size.tokens: must be greater than or equal to 16, got 4"),
        ({"scales": [32, 32]}, "each of the scales must be another one"),
        ({"scales": [32], "image_size": 64}, "scales are sizes already"),
        (
            {"tiles": "some"},
            "tiles: must be off, auto, a number of tiles along the longer side",
        ),
        ({"tiles": 1}, "tiles.count: must be greater than or equal to 2, got 1"),
        ({"tiles": {"when": "auto", "side": 9}}, "tiles: give count or side with 'always'"),
        ({"fuse": {"scales": "sum"}}, "fuse.scales: must be 'mean', 'normalized' or 'max'"),
    ],
)
def test_slip_is_refused_in_one_sentence(registry, wrong, text):
    with pytest.raises(ConfigError) as message:
        few_shot(registry, **wrong)
    assert text in str(message.value)


def test_size_that_is_no_whole_number_of_patches_is_refused_when_it_is_built(registry):
    with pytest.raises(IncompatibleError, match="patches of 8 x 8 pixels, and 30 x 30"):
        few_shot(registry, scales=[32, 30])


def test_backbone_of_one_size_alone_is_refused_when_it_is_built(registry, monkeypatch):
    backbone = tiny_backbone()

    def embed(images):
        if images.shape[-2:] != (32, 32):
            raise IncompatibleError("'fixed' was built for images of 32 x 32.")
        return type(backbone.vision).embed(backbone.vision, images)

    monkeypatch.setattr(backbone.vision, "embed", embed)
    build(MEMORY, backbone=backbone, tiles="auto", registry=registry)
    for changes in ({"image_size": "fit:64"}, {"scales": [32, 64]}):
        with pytest.raises(IncompatibleError, match="image_size, scales and tiles: 'fixed' was built"):
            build(MEMORY, backbone=backbone, registry=registry, **changes)


# -- odd images


ODD = [(1, 1), (1, 20_000), (20_000, 1), (3, 700)]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shape", ODD)
def test_odd_shapes_are_judged(way, shape):
    found = brightness(WAYS[way]).predict(np.full((*shape, 3), 128, np.uint8))
    assert found.size == shape
    assert found.anomaly_map.shape == shape
    assert found.is_finite


def test_50_megapixels_are_judged_in_tiles_with_a_bounded_map_and_the_dot_in_its_place():
    image = np.full((5774, 8660, 3), 100, np.uint8)
    image[4000:4040, 7000:7040] = 255
    found = brightness(Views((ImageSize((32, 32)),), Tiles(side=640))).predict(image)
    assert found.size == (5774, 8660)
    assert found.tiles == 216
    assert found.raw_map.size <= MAX_MAP
    assert abs(found.peak[0] - 4020) <= 80  # half a patch of a tile
    assert abs(found.peak[1] - 7020) <= 80


@pytest.mark.parametrize("shape", ODD)
@pytest.mark.parametrize("tiles", ["auto", "3", "100px"])
def test_normal_images_and_images_may_be_of_odd_shapes_with_a_memory_and_tiles(registry, shape, tiles):
    detector = few_shot(registry, tiles=int(tiles) if tiles == "3" else tiles)
    image = np.full((*shape, 3), 128, np.uint8)
    detector.fit([image, image])
    found = detector.predict(image)
    assert found.is_finite
    assert found.anomaly_map.shape == shape
    assert found.score == pytest.approx(0, abs=1e-5)  # it is one of the normal images


@pytest.mark.parametrize("changes", [{"image_size": "fit:64"}, {"scales": [32, 64]}])
def test_normal_images_may_have_another_shape_than_the_images(registry, changes):
    detector = few_shot(registry, **changes).fit([large(1)[0][:40], large(1)[0][:, :40]])
    found = detector.predict(large(1, side=100)[0])
    assert found.is_finite
    assert found.size == (100, 100)
