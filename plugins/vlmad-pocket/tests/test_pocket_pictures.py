"""The generator of training pictures: seeded, exact masks, every kind and material, and no held-out word."""

import base64
import io
import re
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

BUILD = str(Path(__file__).parents[1] / "build")
if BUILD not in sys.path:
    sys.path.insert(0, BUILD)

from pictures import captions, defects, materials, scanned  # noqa: E402
from pictures.sample import DAMAGED, camouflage, make, stream, visible  # noqa: E402


def test_same_seed_gives_same_picture():
    first, second, other = make(11), make(11), make(12)
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.mask, second.mask)
    assert first.caption == second.caption
    assert not np.array_equal(first.image, other.image)


@pytest.mark.parametrize("size", [96, 224, 336])
def test_shapes_and_types(size):
    sample = make(3, size=size)
    assert sample.image.shape == (size, size, 3)
    assert sample.image.dtype == np.uint8
    assert sample.mask.shape == (size, size)
    assert sample.mask.dtype == np.bool_


def test_mask_is_set_exactly_where_there_is_a_defect_and_words_follow():
    start = time.process_time()
    samples = [make(seed) for seed in range(200)]
    print(f"{1000 * (time.process_time() - start) / len(samples):.1f} ms a picture")
    for sample in samples:
        assert sample.mask.any() == (sample.kind is not None)
        assert bool(sample.place) == bool(sample.extent) == (sample.kind is not None)
        assert sample.caption
        assert sample.normal
        assert sample.abnormal
    normals = sum(sample.kind is None for sample in samples)
    assert 70 < normals < 130
    assert all(sample.mask.mean() < 0.6 for sample in samples)


def test_the_clean_twin_differs_by_the_defect_alone():
    for seed in range(40):
        sample = make(seed, size=112, kind=DAMAGED)
        assert sample.kind is not None
        change = np.abs(sample.image.astype(int) - sample.clean.astype(int)).max(-1)
        assert change[sample.mask].mean() > 4 * max(change[~sample.mask].mean(), 0.5)
    normal = make(3, kind=None)
    assert np.array_equal(normal.image, normal.clean)


def test_strength_is_recorded_and_spreads_from_faint_to_plain():
    samples = [make(seed, size=112) for seed in range(400, 560)]
    for sample in samples:
        assert (sample.strength > 0) == (sample.kind is not None)
        assert sample.strength <= 1
    shown = [sample.strength for sample in samples if sample.kind]
    assert np.percentile(shown, 10) < 0.2
    assert np.percentile(shown, 90) > 0.3


def test_a_second_kind_is_another_one_and_is_told():
    samples = [sample for seed in range(300) if (sample := make(seed, size=64)).second]
    assert len(samples) >= 3
    for sample in samples:
        assert sample.second != sample.kind
        nouns = captions.KIND_WORDS[sample.second][1].split("|")
        assert any(sample.caption.endswith(noun) for noun in nouns)


def test_a_change_that_texture_hides_is_no_defect():
    rng = np.random.default_rng(0)
    rough = np.repeat(rng.uniform(0.2, 0.8, (64, 64, 1)).astype(np.float32), 3, -1)
    even = np.full_like(rough, 0.5)
    step = np.zeros_like(rough)
    step[20:40, 20:40] = 0.06
    assert visible(even, even + step, 0.03, camouflage(even))[20:40, 20:40].all()
    assert not visible(rough, rough + step, 0.03, camouflage(rough)).any()
    assert visible(rough, rough + 8 * step, 0.03, camouflage(rough))[20:40, 20:40].all()


@pytest.mark.parametrize("material", ["even wafer", "crystalline wafer"])
def test_solar_cells_are_grey(material):
    cells = [one for seed in range(12) if (one := make(seed, size=96, material=material)).layout == "solar cell"]
    assert cells
    assert all(np.ptp(one.image.astype(int), axis=-1).max() < 8 for one in cells)


@pytest.mark.parametrize("kind", list(defects.BY_NAME))
def test_every_kind_makes_pictures(kind):
    sample = make(5, kind=kind)
    assert sample.mask.any()
    # A camera that cannot show this kind here shows a particle in its stead, and says so.
    assert sample.kind in (kind, "contamination")


@pytest.mark.parametrize("material", list(materials.BY_NAME))
def test_every_material_makes_pictures(material):
    sample = make(5, kind=None, material=material)
    assert sample.material == material
    assert sample.image.std() > 0
    assert not sample.mask.any()


def coded(image):
    """An image as the npm package holds it: a script with base64 in it."""
    file = io.BytesIO()
    image.save(file, "webp", lossless=True)
    return f"export default 'data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}'"


@pytest.fixture
def scans(tmp_path, monkeypatch):
    """A flat normal map and a ball that is red on its left and green on its right."""
    for kind in ("normals", "matcaps"):
        (tmp_path / kind).mkdir()
    (tmp_path / "normals/0000.webp.js").write_text(coded(Image.new("RGB", (64, 64), (128, 128, 255))))
    ball = Image.new("RGB", (128, 128), (255, 0, 0))
    ball.paste((0, 255, 0), (64, 0, 128, 128))
    (tmp_path / "matcaps/0000.webp.js").write_text(coded(ball))
    scanned.reliefs.cache_clear()
    scanned.captures.cache_clear()
    monkeypatch.setenv(scanned.FOLDER, str(tmp_path))
    yield
    scanned.reliefs.cache_clear()
    scanned.captures.cache_clear()


def test_a_scanned_surface_takes_its_colours_from_the_capture(scans):
    assert scanned.available()
    images = [scanned.scanned(np.random.default_rng(seed), 64) for seed in range(12)]
    for image in images:
        assert image.shape == (64, 64, 3)
        assert image.dtype == np.float32
    coloured = [image for image in images if np.ptp(image, -1).max() > 0.5]
    assert coloured
    assert all(image[..., 2].max() < 0.1 for image in coloured)


def test_without_the_scans_the_generator_has_no_scanned_material(monkeypatch):
    monkeypatch.delenv(scanned.FOLDER, raising=False)
    assert not scanned.available()
    assert set(materials.DRAWN).isdisjoint(materials.SCANNED)


def test_every_kind_has_words():
    assert set(captions.KIND_WORDS) == set(defects.BY_NAME)


def test_held_out_words_never_occur():
    rng = np.random.default_rng(0)
    kinds = [None, *defects.BY_NAME]
    for k in range(7000):
        stuff = materials.ALL[k % len(materials.ALL)]
        kind = kinds[k % len(kinds)]
        thing = captions.choose(rng, stuff.sheets)
        sentence = captions.caption(rng, thing, stuff.words, kind, "upper left", "small", 2)
        for text in (sentence, *captions.pair(rng, thing, stuff.words, kind)):
            assert captions.HELD_OUT.isdisjoint(re.findall(r"[a-z]+", text.lower())), text


def test_stream_keeps_order():
    seeds = [4, 1, 9, 2]
    for seed, sample in zip(seeds, stream(seeds, size=64, workers=2), strict=True):
        assert np.array_equal(sample.image, make(seed, size=64).image)


def test_cells_are_defective_where_the_encoder_sees_it():
    features = pytest.importorskip("features")
    share = features.torch.tensor([[0.0, 0.0, 0.5, 0.5, 0.01]])
    moved = features.torch.tensor([[0.0, 0.5, 0.5, 0.0, 0.0]])
    target, weight = features.targets(share, moved)
    assert target.tolist() == [[0, 0, 1, 0, 0]]
    assert weight.tolist() == [[1, 0, 1, 0, 0]], "what moves beside the mask and what hides within is neither"


def test_pairs_come_in_the_shape_of_their_grid():
    features = pytest.importorskip("features")
    for seed in range(6):
        clean, damaged, mask, words = features.generate((seed, (8, 11)))
        assert clean.shape == damaged.shape == (112, 154, 3)
        assert mask.shape == (112, 154)
        assert words["kind"] in defects.BY_NAME


def test_unknown_names_are_refused():
    with pytest.raises(KeyError):
        make(0, kind="no such kind")
    with pytest.raises(KeyError):
        make(0, material="no such material")
